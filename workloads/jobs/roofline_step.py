"""What a node with roofline devices does in a training step or for a batch, from the network alone.

Rectifiers and their like work in place, as they do in Caffe.
"""

from __future__ import annotations

from math import prod

from nnlib.lowering.site import part_of
from nnlib.model import Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.update import state_kinds
from sim.machine.roofline_spec import RooflineSpec
from sim.machine.spec import MachineSpec
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_build import packed_buckets
from workloads.jobs.node_memory import largest_bucket
from workloads.jobs.node_step import Blob, Bucket, NodeMemory, NodeStep
from workloads.jobs.roofline_timer import Account, RooflineTimer
from workloads.mapping import Mapping


def roofline_step(
    *,
    model: Model,
    machine: MachineSpec,
    devices: RooflineSpec,
    mapping: Mapping,
    samples: int,
    optimizer: Optimizer,
    clip: Clip | None = None,
) -> NodeStep:
    """A step of a node with ``samples`` samples, shared out among its ``devices``."""
    graph, active = model.training, min(devices.devices, samples)
    timer = RooflineTimer(devices, mapping, graph, -(-samples // devices.devices))
    account = Account()
    for node in graph.nodes:
        timer.forward(account, node, training=True)
    timer.loss(account, model)
    forward = account.seconds
    ready: dict[str, float] = {}
    for node in reversed(graph.nodes):
        if node.name in graph.learned:
            timer.backward(account, node)
            own = [f"{node.name}.{name}" for name in node.layer.parameter_shapes(graph.input_shapes(node))]
            for name in [*own, *(full for _, full in node.shared)]:
                if name in graph.parameters:
                    ready[name] = account.seconds
    backward = account.seconds - forward
    blobs = sorted(
        (Blob(name=name, elements=prod(graph.parameters[name]), ready_seconds=when) for name, when in ready.items()),
        key=lambda blob: (blob.ready_seconds, blob.elements),
    )
    buckets = []
    for bucket in packed_buckets(blobs, item=timer.item, limit=mapping.bucket_bytes):
        timer.sum_devices(account, bucket.elements, machine=machine, active=active)
        late = account.seconds - (forward + backward)
        buckets.append(Bucket(elements=bucket.elements, ready_seconds=bucket.ready_seconds + late))
    gradients = account.seconds
    sizes = [blob.elements for blob in blobs]
    timer.update(account, sizes, optimizer=optimizer, clip=clip)
    return NodeStep(
        samples=timer.samples,
        active_core_groups=active,
        forward_seconds=forward,
        backward_seconds=backward,
        gradient_seconds=gradients,
        update_seconds=account.seconds - gradients,
        buckets=tuple(buckets),
        blobs=tuple(blobs),
        reasons=account.reasons,
        by_part=account.by_part,
        memory=roofline_memory(timer, sizes, optimizer=optimizer),
        flops=round(active * account.flops),
        moved_bytes=round(account.moved_bytes),
        busiest=account.busiest,
        launches=account.launches,
        launch_seconds=devices.launch_seconds,
        item_bytes=timer.item,
        statistics=tuple(prod(shape) for shape in graph.statistics.values()),
    )


def roofline_answer(*, model: Model, devices: RooflineSpec, mapping: Mapping, samples: int) -> NodeAnswer:
    """A batch of inference of a node."""
    graph = model.graph.inference
    timer = RooflineTimer(devices, mapping, graph, -(-samples // devices.devices))
    account = Account()
    for node in graph.nodes:
        timer.forward(account, node, training=False)
    arriving = timer.item * sum(prod(each.shape) for each in graph.inputs)
    leaving = timer.item * sum(prod(graph.shapes[name]) for name in graph.outputs)
    weights = timer.item * sum(map(prod, graph.variables.values()))
    widest = max(timer.touched(node) for node in graph.nodes)
    return NodeAnswer(
        seconds=account.seconds,
        reasons=account.reasons,
        input_bytes=arriving,
        output_bytes=leaving,
        memory_bytes=weights + timer.item * widest,
        moved_bytes=round(account.moved_bytes),
        active_core_groups=min(devices.devices, samples),
        core_groups=devices.devices,
        flops=round(min(devices.devices, samples) * account.flops),
        busiest=account.busiest,
        launches=account.launches,
        launch_seconds=devices.launch_seconds,
    )


def roofline_memory(timer: RooflineTimer, sizes: list[int], *, optimizer: Optimizer) -> NodeMemory:
    """Bytes of a device's memory: outputs of layers are kept, and their gradients beside them, as in Caffe.

    Layers in place have neither. The libraries' own room for work is not counted.
    """
    graph, item, samples = timer.graph, timer.item, timer.samples
    kept = sum(prod(graph.shapes[node.name]) for node in graph.nodes if part_of(node.layer) != "activation")
    inputs = samples * sum(prod(each.shape) for each in graph.inputs)
    return NodeMemory(
        weights=item * sum(map(prod, graph.variables.values())),
        gradients=item * sum(sizes),
        optimiser=item * len(state_kinds(optimizer)) * sum(sizes),
        activations=2 * item * samples * kept,
        buffers=2 * item * inputs + largest_bucket(sizes, item=item, limit=timer.mapping.bucket_bytes),
    )
