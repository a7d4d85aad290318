"""A network put together layer by layer."""

from __future__ import annotations

from nnlib.graph import INPUT, Graph, Input, Node
from nnlib.layers.layer import Layer, Shape


class Network:
    """Collects layers; one that does not say what it takes, takes what was added last.

    >>> network = Network((8, 8, 1))
    >>> network.add(Flatten("flatten"), Linear("logits", 10))
    'logits'
    >>> network.graph().output_shape
    (10,)
    """

    def __init__(self, shape: Shape | None = None, *, inputs: tuple[Input, ...] = ()) -> None:
        self.inputs = inputs if shape is None else (Input(INPUT, shape), *inputs)
        self.nodes: list[Node] = []
        self.last = self.inputs[0].name

    def add(self, *layers: Layer) -> str:
        """Layers one behind the other, from the last one on; returns the name of the last."""
        for layer in layers:
            self.join(layer, self.last)
        return self.last

    def join(
        self, layer: Layer, *inputs: str, shared: tuple[tuple[str, str], ...] = (), frozen: tuple[str, ...] = ()
    ) -> str:
        """A layer over named inputs; returns its name. ``shared``, ``frozen``: see :class:`nnlib.graph.Node`."""
        self.nodes.append(Node(layer, inputs, shared, frozen))
        self.last = layer.name
        return self.last

    def after(self, name: str) -> Network:
        """Go on from another layer or input."""
        self.last = name
        return self

    def graph(self, *outputs: str) -> Graph:
        """The network with ``outputs``, by default the last layer. Raises ShapeError if layers do not fit together."""
        return Graph(self.inputs, tuple(self.nodes), outputs or (self.last,))
