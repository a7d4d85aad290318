"""The reference of all convolution plans against PyTorch: forward and both gradients over random shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import Convolution, forward, input_gradient, weight_gradient
from tests.nnlib.kernels.shapes import any_convolution
from tests.nnlib.parity import TOLERANCE, check_same, hwio, nchw, nhwc, oihw

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]


@pytest.mark.parametrize("dtype", TOLERANCE)
@settings(max_examples=60, deadline=None)
@given(shape=any_convolution(kernel=(5, 4), padding=3, pixels=13, ni=4, no=4), seed=st.integers(0, 1 << 30))
def test_the_reference_is_pytorchs(shape: Convolution, seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    x, weight, grad_y = (
        rng.standard_normal(size).astype(dtype) for size in (shape.x_shape, shape.weight_shape, shape.y_shape)
    )
    images = torch.from_numpy(nchw(x)).requires_grad_()
    filters = torch.from_numpy(oihw(weight)).requires_grad_()
    y = F.conv2d(
        images,
        filters,
        stride=shape.stride,
        padding=shape.padding,
        dilation=shape.dilation,
        groups=shape.groups,
    )
    y.backward(torch.from_numpy(nchw(grad_y)))
    check_same(forward(shape, x, weight), nhwc(y.detach().numpy()), "y")
    check_same(input_gradient(shape, grad_y, weight), nhwc(images.grad.numpy()), "grad_x")
    check_same(weight_gradient(shape, grad_y, x), hwio(filters.grad.numpy()), "grad_weight")
