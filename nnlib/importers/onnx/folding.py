"""Operators whose result is known before any sample is: computed once, by ONNX's own reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnlib.importers.onnx.values import Fixed, Unsupported


def folded(node: Any, inputs: Sequence[Fixed | None], *, opset: int) -> tuple[Fixed, ...]:
    """The results of ``node``. A transposed or unchanged initialiser stays one that can be learned."""
    if node.op_type == "Identity" and inputs[0] is not None:
        return (inputs[0],)
    if node.op_type == "Transpose" and inputs[0] is not None:
        axes = next((tuple(each.ints) for each in node.attribute if each.name == "perm"), None)
        return (inputs[0].transposed(axes or tuple(range(inputs[0].array.ndim))[::-1]),)
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    arrays = {name: each.array for name, each in zip(node.input, inputs, strict=True) if each is not None}
    constants = [numpy_helper.from_array(np.asarray(array, order="C"), name) for name, array in arrays.items()]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "folded", [], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        results = ReferenceEvaluator(model).run(None, {})
    except Exception as error:  # whatever the reference does not know or cannot do
        raise Unsupported(f"its inputs are known, but it cannot be computed beforehand ({error})") from None
    return tuple(Fixed(np.asarray(result)) for result in results)
