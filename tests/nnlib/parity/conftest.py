"""PyTorch as the tests compare with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def native_convolutions() -> Iterator[None]:
    """PyTorch's own loops: on small odd shapes oneDNN has ended the whole process once in some thousand."""
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the flags touch one that only Intel's GPUs have
        flags = torch.backends.mkldnn.flags(enabled=False)
        flags.__enter__()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flags.__exit__(None, None, None)
