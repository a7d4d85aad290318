"""Sums and scalings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.pointwise.functions.definition import Definition, Numbers
from nnlib.ops.affine import affine_forward
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

ArithmeticName: TypeAlias = Literal["add", "multiply", "affine", "not_negative", "scale", "clip_value"]


def _add(ins: Sequence[Array], outs: Sequence[Array], _: Numbers) -> None:
    np.add(ins[0], ins[1], out=outs[0])


def _multiply(ins: Sequence[Array], outs: Sequence[Array], _: Numbers) -> None:
    np.multiply(ins[0], ins[1], out=outs[0])


def _affine(ins: Sequence[Array], outs: Sequence[Array], constants: Numbers) -> None:
    affine_forward(ins[0], factor=constants[0], offset=constants[1], out=outs[0])


def _not_negative(ins: Sequence[Array], outs: Sequence[Array], _: Numbers) -> None:
    outs[0][...] = ins[0] >= 0


def _scale(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    np.multiply(ins[0], hyper[0], out=outs[0])


def _clip_value(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    np.clip(ins[0], -hyper[0], hyper[0], out=outs[0])


ARITHMETIC: Final[Mapping[str, Definition]] = {
    "add": Definition(("x", "y"), ("z",), Body(loads=2, stores=1, arithmetic=1), 1, (), _add),
    "multiply": Definition(("x", "y"), ("z",), Body(loads=2, stores=1, arithmetic=1), 1, (), _multiply),
    "affine": Definition(
        ("x",), ("y",), Body(loads=1, stores=1, arithmetic=1), 2, (), _affine, {"factor": 1.0, "offset": 0.0}
    ),
    # 1 or 0: which labels count
    "not_negative": Definition(("x",), ("y",), Body(loads=1, stores=1, arithmetic=2), 0, (), _not_negative),
    # in place: gradients under a limit of their norm, or of each number
    "scale": Definition(("x",), ("x",), Body(loads=1, stores=1, arithmetic=1), 1, ("factor",), _scale),
    "clip_value": Definition(("x",), ("x",), Body(loads=1, stores=1, arithmetic=2), 0, ("limit",), _clip_value),
}
