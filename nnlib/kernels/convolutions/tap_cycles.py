"""What a CPE's product of a tap takes by a loop without register blocking."""

from __future__ import annotations

from nnlib.kernels.convolutions.convolution import Pass
from nnlib.kernels.convolutions.tap_product import Step
from sim.chip.pipeline.unblocked import Form, unblocked_cycles
from sim.machine.spec import ProcessorSpec


def form_of(which: Pass) -> Form:
    """Which operands lie side by side: outputs of neighbouring channels, or the products of one sum."""
    return "dot" if which == "input_gradient" else "columns"


def product_cycles(processor: ProcessorSpec, step: Step, *, which: Pass, vectorised: bool) -> list[float]:
    """Cycles of each CPE's product of a step by a loop without register blocking."""
    known: dict[tuple[int, ...], float] = {}
    found = []
    for size in map(tuple, step.size.tolist()):
        if size not in known:
            m, n, k = size
            known[size] = unblocked_cycles(cpe=processor.cpe, form=form_of(which), vectorised=vectorised, m=m, n=n, k=k)
        found.append(known[size])
    return found
