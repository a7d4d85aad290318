"""What the gates of a recurrent step compute, forward and backward: arrays, instructions and numbers of each cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.ops.gru import (
    gru_candidate,
    gru_candidate_gradient,
    gru_cell,
    gru_cell_gradient,
    gru_gates,
    gru_gates_gradient,
)
from nnlib.ops.lstm import lstm_cell, lstm_cell_gradient
from nnlib.ops.simple_recurrent import CEILING, Activation, simple_cell, simple_cell_gradient
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

CellName: TypeAlias = Literal["lstm", "gru", "tanh", "relu", "clipped_relu"]
StageName: TypeAlias = Literal["gru_gates", "gru_candidate"]
"""The stages of a gated recurrent unit that resets before its product: another product lies between them."""
Direction: TypeAlias = Literal["forward", "gradient"]
Named: TypeAlias = Mapping[str, Array]
"""Arrays (rows, planes·width) by name."""


GATES: Final[Mapping[CellName, int]] = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1, "clipped_relu": 1}


@dataclass(frozen=True)
class CellArrays:
    """Arrays of a cell kernel and their planes of H columns; instructions per vector of H, and flops per element."""

    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    body: Body
    flops: int
    run: Callable[[Named, Named], None]
    carries: bool = True
    """False for a stage that leaves the gradients by the states to another."""


def _lstm(ins: Named, outs: Named) -> None:
    product = ins["x_product"] + ins["h_product"]
    outs["gates"][...], outs["new_cell"][...], outs["new_hidden"][...] = lstm_cell(product, ins["cell"])


def _lstm_gradient(ins: Named, outs: Named) -> None:
    by_hidden = ins["grad_y"] + ins["grad_hidden"]
    found = lstm_cell_gradient(ins["gates"], ins["cell"], ins["new_cell"], by_hidden, ins["grad_cell"])
    outs["grad_product"][...], outs["grad_cell_before"][...] = found


def _gru(ins: Named, outs: Named) -> None:
    width = ins["hidden"].shape[1]
    outs["h_candidate"][...] = ins["h_product"][:, 2 * width :] + ins.get("candidate_bias", 0)
    product = np.concatenate([ins["h_product"][:, : 2 * width], outs["h_candidate"]], axis=1)
    outs["gates"][...], outs["new_hidden"][...] = gru_cell(ins["x_product"], product, ins["hidden"])


def _gru_gradient(ins: Named, outs: Named) -> None:
    by_hidden = ins["grad_y"] + ins["grad_hidden"]
    found = gru_cell_gradient(ins["gates"], ins["h_candidate"], ins["hidden"], by_hidden)
    outs["grad_product"][...], outs["grad_h_product"][...], outs["grad_before"][...] = found


def _gru_gates(ins: Named, outs: Named) -> None:
    outs["opened"][...], outs["remembered"][...] = gru_gates(ins["x_product"], ins["h_product"], ins["hidden"])


def _gru_candidate(ins: Named, outs: Named) -> None:
    x_candidate = ins["x_product"][:, 2 * ins["hidden"].shape[1] :]
    found = gru_candidate(x_candidate, ins["h_product"], ins["opened"], ins["hidden"])
    outs["candidate"][...], outs["new_hidden"][...] = found


def _gru_candidate_gradient(ins: Named, outs: Named) -> None:
    by_hidden = ins["grad_y"] + ins["grad_hidden"]
    outs["grad_candidate"][...] = gru_candidate_gradient(ins["opened"], ins["candidate"], by_hidden)


def _gru_gates_gradient(ins: Named, outs: Named) -> None:
    by_hidden, width = ins["grad_y"] + ins["grad_hidden"], ins["hidden"].shape[1]
    found = gru_gates_gradient(ins["opened"], ins["candidate"], ins["hidden"], by_hidden, ins["by_remembered"])
    outs["grad_product"][:, : 2 * width], outs["grad_before"][...] = found
    outs["grad_product"][:, 2 * width :] = ins["grad_candidate"]


def _simple(activation: Activation, ceiling: float) -> Callable[[Named, Named], None]:
    def run(ins: Named, outs: Named) -> None:
        product = ins["x_product"] + ins["h_product"]
        outs["new_hidden"][...] = simple_cell(product, activation=activation, ceiling=ceiling)

    return run


def _simple_gradient(activation: Activation, ceiling: float) -> Callable[[Named, Named], None]:
    def run(ins: Named, outs: Named) -> None:
        grad = ins["grad_y"] + ins["grad_hidden"]
        outs["grad_product"][...] = simple_cell_gradient(
            ins["new_hidden"], grad, activation=activation, ceiling=ceiling
        )

    return run


# a sigmoid is an exponential, an addition and a division, a hyperbolic tangent two multiply-adds more
_LSTM: Final = CellArrays(
    {"x_product": 4, "h_product": 4, "cell": 1},
    {"gates": 4, "new_cell": 1, "new_hidden": 1},
    Body(loads=9, stores=6, arithmetic=16, divides=5, exponentials=5),
    24,
    _lstm,
)
_LSTM_GRADIENT: Final = CellArrays(
    {"gates": 4, "cell": 1, "new_cell": 1, "grad_y": 1, "grad_hidden": 1, "grad_cell": 1},
    {"grad_product": 4, "grad_cell_before": 1},
    Body(loads=9, stores=5, arithmetic=24, divides=1, exponentials=1),
    29,
    _lstm_gradient,
)
_GRU: Final = CellArrays(
    {"x_product": 3, "h_product": 3, "hidden": 1},
    {"gates": 3, "h_candidate": 1, "new_hidden": 1},
    Body(loads=8, stores=5, arithmetic=12, divides=3, exponentials=3),
    18,
    _gru,
)
_GRU_GRADIENT: Final = CellArrays(
    {"gates": 3, "h_candidate": 1, "hidden": 1, "grad_y": 1, "grad_hidden": 1},
    {"grad_product": 3, "grad_h_product": 3, "grad_before": 1},
    Body(loads=7, stores=7, arithmetic=16),
    16,
    _gru_gradient,
)


STAGES: Final[Mapping[tuple[StageName, Direction], CellArrays]] = {
    ("gru_gates", "forward"): CellArrays(
        {"x_product": 3, "h_product": 2, "hidden": 1},
        {"opened": 2, "remembered": 1},
        Body(loads=5, stores=3, arithmetic=5, divides=2, exponentials=2),
        9,
        _gru_gates,
    ),
    ("gru_candidate", "forward"): CellArrays(
        {"x_product": 3, "h_product": 1, "opened": 2, "hidden": 1},
        {"candidate": 1, "new_hidden": 1},
        Body(loads=4, stores=2, arithmetic=6, divides=1, exponentials=1),
        8,
        _gru_candidate,
    ),
    ("gru_candidate", "gradient"): CellArrays(
        {"opened": 2, "candidate": 1, "grad_y": 1, "grad_hidden": 1},
        {"grad_candidate": 1},
        Body(loads=4, stores=1, arithmetic=5),
        5,
        _gru_candidate_gradient,
        carries=False,
    ),
    ("gru_gates", "gradient"): CellArrays(
        {"opened": 2, "candidate": 1, "hidden": 1, "grad_y": 1, "grad_hidden": 1, "by_remembered": 1}
        | {"grad_candidate": 1},
        {"grad_product": 3, "grad_before": 1},
        Body(loads=8, stores=4, arithmetic=12),
        12,
        _gru_gates_gradient,
    ),
}


def cell_arrays(cell: CellName | StageName, direction: Direction, ceiling: float = CEILING) -> CellArrays:
    """What a cell's kernel moves and computes."""
    if cell == "gru_gates" or cell == "gru_candidate":
        return STAGES[cell, direction]
    if cell == "lstm":
        return _LSTM if direction == "forward" else _LSTM_GRADIENT
    if cell == "gru":
        return _GRU if direction == "forward" else _GRU_GRADIENT
    tanh = cell == "tanh"
    if direction == "forward":
        body = Body(loads=2, stores=1, arithmetic=4, divides=1, exponentials=1)
        if not tanh:
            body = Body(loads=2, stores=1, arithmetic=2 if cell == "relu" else 3)
        run = _simple(cell, ceiling)
        return CellArrays({"x_product": 1, "h_product": 1}, {"new_hidden": 1}, body, 5 if tanh else 1, run)
    body = Body(loads=3, stores=1, arithmetic=3 if cell != "clipped_relu" else 4)
    run = _simple_gradient(cell, ceiling)
    inputs = {"new_hidden": 1, "grad_y": 1, "grad_hidden": 1}
    return CellArrays(inputs, {"grad_product": 1}, body, 4 if tanh else 1, run)
