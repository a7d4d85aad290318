"""Every operator that is imported gives ONNX Runtime's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from nnlib.importers.onnx.importer import RULES
from tests.nnlib.importers.graphs import check_model, model, samples
from tests.nnlib.importers.operators import CASES

pytestmark = pytest.mark.numeric


def test_every_operator_is_here() -> None:
    assert set().union(*(case.kinds for case in CASES.values())) - {"Shape"} == set(RULES)


@pytest.mark.parametrize("batch", ["N", pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_operator(name: str, batch: int | str, tmp_path: Path) -> None:
    case = CASES[name]
    shapes = {key: (batch, *shape) for key, shape in case.inputs.items()}
    proto = model(case.nodes, shapes, case.weights, outputs=case.outputs, opset=case.opset, integers=case.integers)
    feeds = samples(proto, np.random.default_rng(0))
    if case.positive:
        feeds = {key: np.abs(array) + array.dtype.type(0.5) for key, array in feeds.items()}
    expected = None if case.runtime else ReferenceEvaluator(proto).run(None, feeds)
    check_model(tmp_path, proto, feeds, expected)
