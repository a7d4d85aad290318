"""Network and batch, lowered once to the launches of a core group: what every device times or executes."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.graph import Graph
from nnlib.lowering.choice import OWN, Choice
from nnlib.lowering.site import (
    IMAGE_AXES,
    LossSite,
    Lowering,
    Site,
    loss_buffer,
    lower_backward_of,
    lower_forward_of,
    lower_loss_of,
    shares_buffer,
    target_buffer,
)
from nnlib.model import Model
from nnlib.precision import DTypeName
from nnlib.program import Program, ProgramBuilder
from nnlib.segments import segments


def lower_forward(*, graph: Graph, batch: int, dtype: DTypeName, alignment: int = 128, choice: Choice = OWN) -> Program:
    """Inference of ``batch`` samples on one core group: results in the buffers of the graph's outputs.

    ``choice``: whose kernels it launches.
    """
    lowering = _declare(graph.inference, batch=batch, dtype=dtype, alignment=alignment, training=False, choice=choice)
    sites = {site.name: site for site in _lower_layers(lowering)}
    for name in graph.outputs:
        if name in sites and lowering.builder.layout(name) != "channels-last":
            shape = lowering.graph.shapes[name]
            copy = lowering.in_layout(name, "channels-last", shape, layer=name, phase="forward")
            lowering.builder.rename(name, copy)
    return lowering.builder.finish(kept=graph.outputs)


def lower_gradients(
    *,
    model: Model,
    batch: int,
    dtype: DTypeName,
    alignment: int = 128,
    recompute: bool = False,
    choice: Choice = OWN,
) -> Program:
    """Forward, losses and backward of ``batch`` samples on one core group.

    Gradients are in buffers ``grad:PARAMETER``, statistics after the batch in ``new:STATISTIC``. Of layers that no loss
    depends on there is nothing. ``recompute``: before the backward pass of a segment of the network its forward pass
    is launched once more, so that its activations need not be kept until then. ``choice``: whose kernels it launches.
    """
    lowering = _declare(model.training, batch=batch, dtype=dtype, alignment=alignment, training=True, choice=choice)
    builder = lowering.builder
    sites = _lower_layers(lowering)
    for target, shape in model.targets.items():
        builder.buffer(target_buffer(target), (batch, *shape), "input")
    for number, loss in enumerate(model.losses):
        builder.buffer(shares_buffer(number), (batch, 1), "input")
        builder.buffer(loss_buffer(number), (batch, 1))
        lower_loss_of(loss, LossSite(lowering, loss, number))
    by_name = {site.name: site for site in sites}
    parts = segments(lowering.graph) if recompute else (lowering.graph.nodes,)
    for part in reversed(parts):
        some = [by_name[node.name] for node in part]
        if part is not parts[-1]:
            _lower_again(lowering, some)
        _lower_backward(lowering, some)
    return builder.finish(kept=[loss_buffer(number) for number in range(len(model.losses))])


def _declare(graph: Graph, *, batch: int, dtype: DTypeName, alignment: int, training: bool, choice: Choice) -> Lowering:
    builder = ProgramBuilder(dtype=dtype, alignment=alignment)
    for each in graph.inputs:
        planar = choice.swcaffe is not None and len(each.shape) == IMAGE_AXES
        builder.buffer(each.name, (batch, *each.shape), "input", layout="planar" if planar else "channels-last")
    for name, shape in graph.variables.items():
        builder.buffer(name, shape, "parameter")
    return Lowering(graph=graph, builder=builder, batch=batch, training=training, choice=choice)


def _lower_again(lowering: Lowering, sites: Sequence[Site]) -> None:
    lowering.builder.again = True
    for site in sites:
        site.phase = "recompute"
        lower_forward_of(site.node.layer, site)
    lowering.builder.again = False


def _lower_backward(lowering: Lowering, sites: Sequence[Site]) -> None:
    for site in reversed(sites):
        if site.name in lowering.graph.learned and site.name in lowering.gradients:
            site.phase = "backward"
            lower_backward_of(site.node.layer, site)
            lowering.add_parts(layer=site.name)


def _lower_layers(lowering: Lowering) -> list[Site]:
    sites = [Site(lowering, node) for node in lowering.graph.nodes]
    for site in sites:
        lower_forward_of(site.node.layer, site)
    return sites
