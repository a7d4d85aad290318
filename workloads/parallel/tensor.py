"""A network divided among the ranks of a tensor group, layer by layer (Shoeybi et al. 2019).

Linear layers and convolutions divide their output channels where their input is whole, and their input channels where
the ranks have parts of it; attention divides its heads. What works channel by channel goes on with the parts, and a
convolution's sum is divided again. All other layers take whole tensors and are computed by every rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from nnlib.graph import Graph, Node
from nnlib.layers.activation import POINTWISE
from nnlib.layers.arrangement import Flatten
from nnlib.layers.attention import MultiHeadAttention
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.binary import Add, Divide, Multiply, Subtract
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.operand import Operand
from nnlib.layers.scale import Scale
from nnlib.model import Model
from nnlib.ops.multi_head_attention import PARTS
from sim.problems import BadInput, Problem
from workloads.parallel.exchange import CopyIn, Exchange, GatherOut, ScatterOut, SumOut
from workloads.parallel.layer_parts import AttentionPart, DropoutPart, EmbeddingPart
from workloads.parallel.pieces import Piece, Runs, repeated, whole_run

BY_CHANNEL = (
    *POINTWISE,
    Scale,
    MaxPool,
    MaxPool1d,
    AveragePool,
    AveragePool1d,
    GlobalAveragePool,
    GlobalMaxPool,
    BatchNorm,
)
"""Layers that treat every channel by itself: with parts of the channels they do the same."""
ELEMENTWISE = (Add, Subtract, Multiply, Divide)


@dataclass(frozen=True, kw_only=True)
class Division:
    """A model as each of ``ways`` ranks has it: graphs of the same nodes and shapes.

    ``pieces``: what a rank's variables are of the network's. ``origin``: the layer that a node comes from.
    ``replicated``: layers with matrix products that every rank computes whole, and why.
    """

    models: tuple[Model, ...]
    pieces: Mapping[str, Piece]
    origin: Mapping[str, str]
    replicated: Mapping[str, str]

    @property
    def ways(self) -> int:
        """Ranks of the group."""
        return len(self.models)

    @property
    def graph(self) -> Graph:
        """The first rank's graph."""
        return self.models[0].graph


def divide(model: Model, ways: int) -> Division:
    """The part of ``model`` that its losses depend on, for each of ``ways`` ranks.

    Raises BadInput if no layer can be divided, saying why for the one with most arithmetic.
    """
    found = [_Divider(model, ways, rank) for rank in range(ways)]
    first = found[0]
    if ways > 1 and not first.divided:
        counts = model.training.multiply_accumulates
        layer = max(counts, key=lambda name: counts[name], default=model.training.output)
        why = first.replicated.get(layer, "it has no matrix product")
        expected = f"a number of ranks that divides a layer: the largest, {layer!r}, cannot be, as {why}; take tensor=1"
        raise BadInput([Problem(file="strategy", key="tensor", value=ways, expected=expected)])
    return Division(
        models=tuple(each.model() for each in found),
        pieces=first.pieces,
        origin=first.origin,
        replicated=first.replicated,
    )


class _Divider:
    """One rank's nodes, made in the order of the network's."""

    def __init__(self, model: Model, ways: int, rank: int) -> None:
        self.source = model
        self.graph = model.training
        self.ways = ways
        self.rank = rank
        self.nodes: list[Node] = []
        self.pieces: dict[str, Piece] = {}
        self.origin: dict[str, str] = {}
        self.replicated: dict[str, str] = {}
        self.divided = False
        self.whole: dict[str, str] = {each.name: each.name for each in self.graph.inputs}
        """The node that has a tensor whole, by the tensor's name in the network."""
        self.parts: dict[str, tuple[str, Runs]] = {}
        """The node that has a rank's part of a tensor, and how it is divided."""
        self.copies: dict[str, str] = {}
        self.consumers = Counter(name for node in self.graph.nodes for name in set(node.inputs))
        self.tied = {full.rpartition(".")[0] for node in self.graph.nodes for _, full in node.shared}
        self.vocabularies = _vocabularies(self.graph)
        for node in self.graph.nodes:
            self.here = node.name
            self._add(node)

    def model(self) -> Model:
        """The rank's model."""
        self.here = ""
        losses = tuple(
            replace(loss, outputs=tuple(self._whole(name) for name in loss.outputs)) for loss in self.source.losses
        )
        wanted = tuple(dict.fromkeys(name for loss in losses for name in loss.outputs))
        return Model(Graph(self.graph.inputs, tuple(self.nodes), wanted), losses)

    def _add(self, node: Node) -> None:
        layer = node.layer
        if self.ways == 1:
            self._keep(node)
        elif isinstance(layer, Linear | Conv1d | Conv2d):
            self._product(node, layer)
        elif isinstance(layer, MultiHeadAttention):
            self._attention(node, layer)
        elif isinstance(layer, Embedding) and node.name in self.vocabularies:
            self._embedding(node, layer)
        elif not self._by_channel(node):
            self._keep(node)

    def _keep(self, node: Node, why: str | None = None) -> None:
        """Every rank computes the layer whole."""
        if self.ways > 1 and self.graph.multiply_accumulates.get(node.name):
            self.replicated[node.name] = why or "layers of its kind have no divided form"
        inputs = tuple(self._whole(name) for name in node.inputs)
        self._node(node.layer, inputs, {name: Piece(full) for name, full in self._own(node).items()}, node)
        self.whole[node.name] = node.name

    def _by_channel(self, node: Node) -> bool:
        """Go on with parts, if the inputs are parts and the layer treats every channel by itself."""
        known = [self.parts.get(name) for name in node.inputs]
        if not all(known):
            return False
        inputs = tuple(each[0] for each in known if each)
        runs = known[0][1] if known[0] else ()
        layer = node.layer
        shapes = self.graph.input_shapes(node)
        pieces: dict[str, Piece] = {}
        if node.frozen or node.shared or node.name in self.tied:
            return False
        if isinstance(layer, BY_CHANNEL) and len(inputs) == 1:
            pieces = {name: Piece(full, 0, runs) for name, full in self._own(node).items()}
        elif isinstance(layer, Dropout):
            layer = DropoutPart(layer.name, layer.rate, runs, self.ways, self.rank)
        elif isinstance(layer, Flatten):
            channels = shapes[0][-1]
            runs = repeated(runs, length=channels, count=self.graph.shapes[node.name][0] // channels)
        elif (
            not isinstance(layer, ELEMENTWISE)
            or any(each and each[1] != runs for each in known)
            or len(set(shapes)) > 1
        ):
            return False
        self._node(layer, inputs, pieces)
        self.parts[node.name] = (node.name, runs)
        return True

    def _product(self, node: Node, layer: Linear | Conv1d | Conv2d) -> None:
        """Divide output channels, or input channels where a rank has a part of them."""
        (source,) = node.inputs
        groups = 1 if isinstance(layer, Linear) else layer.groups
        outs = layer.out_features if isinstance(layer, Linear) else layer.out_channels
        if dict(node.shared).get("weight", "").rpartition(".")[0] in self.vocabularies:
            self._by_vocabulary(node, outs)
        elif why := self._undividable(node):
            self._keep(node, why)
        elif groups > 1:
            self._grouped(node, layer, groups, outs)
        elif source in self.parts and not isinstance(layer, Linear) and outs % self.ways == 0:
            self._scattered(node, layer, outs)
        elif source in self.parts and source not in self.whole and (self.consumers[source] == 1 or outs % self.ways):
            self._by_inputs(node, layer)
        elif outs % self.ways:
            self._keep(node, f"{self.ways} ranks do not divide its {outs:,} output channels")
        else:
            runs = whole_run(outs)
            weight = 0 if isinstance(layer, Linear) and layer.transposed else -1
            own = self._own(node)
            pieces = {name: Piece(own[name], {"weight": weight, "bias": 0}[name], runs) for name in own}
            self._node(self._narrower(layer, outs // self.ways), (self._copied(source),), pieces)
            self.parts[node.name] = (node.name, runs)
            self.divided = True

    def _embedding(self, node: Node, layer: Embedding) -> None:
        """Each rank has some rows of the table that the last product shares; each token is found by one of them."""
        rows = -(-layer.count // self.ways)
        part = EmbeddingPart(f"{node.name}", rows, layer.features, self.rank * rows)
        weight = f"{node.name}.weight"
        self._node(
            part, tuple(self._whole(name) for name in node.inputs), {"weight": Piece(weight, 0, whole_run(layer.count))}
        )
        self._summed(node, node.name, None, name=f"{node.name}:sum")

    def _by_vocabulary(self, node: Node, outs: int) -> None:
        """The product with a table of which each rank has some rows; the last rank's may be fewer."""
        (source,) = node.inputs
        own, runs = self._own(node), whole_run(outs)
        layer = replace(node.layer, out_features=-(-outs // self.ways))  # type: ignore[call-arg]
        pieces = {name: Piece(full, 0, runs) for name, full in own.items()}
        self._node(layer, (self._copied(source),), pieces, like=node)
        self.parts[node.name] = (node.name, runs)
        self._whole(node.name)
        self.divided = True

    def _by_inputs(self, node: Node, layer: Linear | Conv1d | Conv2d) -> None:
        """A sum over the ranks, each with its part of the inputs; the bias is added to the sum."""
        source, runs = self.parts[node.inputs[0]]
        own = self._own(node)
        axis = 1 if isinstance(layer, Linear) and layer.transposed else -2
        product = replace(layer, name=f"{node.name}:part", bias=False)
        self._node(product, (source,), {"weight": Piece(own["weight"], axis, runs)})
        self._summed(node, product.name, own.get("bias"))

    def _scattered(self, node: Node, layer: Conv1d | Conv2d, outs: int) -> None:
        """A sum over the ranks, each with its part of the inputs, of which each keeps its part of the channels.

        What follows a convolution mostly goes on channel by channel.
        """
        source, runs = self.parts[node.inputs[0]]
        own, bias, parts = self._own(node), layer.bias, whole_run(outs)
        product = replace(layer, name=f"{node.name}:part", bias=False)
        self._node(product, (source,), {"weight": Piece(own["weight"], -2, runs)})
        scatter = ScatterOut(f"{node.name}:sum" if bias else node.name, parts, self.ways)
        self._node(scatter, (product.name,), {})
        if bias:
            shape = (outs // self.ways,)
            self._node(Operand(node.name, "add", shape), (scatter.name,), {"value": Piece(own["bias"], 0, parts)})
        self.parts[node.name] = (node.name, parts)
        self.divided = True

    def _grouped(self, node: Node, layer: Linear | Conv1d | Conv2d, groups: int, outs: int) -> None:
        """Groups of channels do not see one another: ranks that have whole groups' inputs compute whole groups."""
        (source,) = node.inputs
        assert not isinstance(layer, Linear)
        if groups % self.ways:
            self._keep(node, f"{self.ways} ranks do not divide its {groups:,} groups")
            return
        if source not in self.parts or len(self.parts[source][1]) > 1:
            self._keep(node, "its groups of channels need an input that is divided already")
            return
        runs, own = whole_run(outs), self._own(node)
        pieces = {name: Piece(own[name], -1 if name == "weight" else 0, runs) for name in own}
        part = replace(layer, out_channels=outs // self.ways, groups=groups // self.ways)
        self._node(part, (self.parts[source][0],), pieces)
        self.parts[node.name] = (node.name, runs)
        self.divided = True

    def _attention(self, node: Node, layer: MultiHeadAttention) -> None:
        """Each rank has some heads: their columns of the projections and their rows of the last product."""
        why = self._undividable(node)
        if layer.heads % self.ways:
            why = f"{self.ways} ranks do not divide its {layer.heads:,} heads"
        if why:
            self._keep(node, why)
            return
        own, shapes = self._own(node), self.graph.input_shapes(node)
        sources = layer.sources(shapes)
        width, heads = sources[0][1], layer.heads // self.ways
        lengths = tuple(self._whole(name) for name in node.inputs[len(sources) :])
        projected = []
        for number, part in enumerate(PARTS):
            packed = len(sources) == 1
            name, first = ("qkv", number * width) if packed else (part, 0)
            runs = ((first, width),)
            pieces = {"weight": Piece(own[f"{name}_weight"], 1, runs)}
            if layer.bias:
                pieces["bias"] = Piece(own[f"{name}_bias"], 0, runs)
            projection = Linear(f"{node.name}:{part}", width // self.ways, layer.bias)
            self._node(projection, (self._copied(node.inputs[0 if number == 0 or packed else 1]),), pieces)
            projected.append(projection.name)
        attention = AttentionPart(node.name, heads, self.rank * heads, layer.causal, layer.dropout)
        self._node(attention, (*projected, *lengths), {})
        out = Linear(f"{node.name}:part", width, bias=False)
        self._node(out, (node.name,), {"weight": Piece(own["out_weight"], 0, whole_run(width))})
        self._summed(node, out.name, own.get("out_bias"), name=f"{node.name}:out")

    def _summed(self, node: Node, source: str, bias: str | None, *, name: str | None = None) -> None:
        """The sum over the ranks, and the bias."""
        name = name or node.name
        self._node(SumOut(name if bias is None else f"{node.name}:sum"), (source,), {})
        if bias is not None:
            shape = self.graph.variables[bias]
            self._node(Operand(name, "add", shape), (f"{node.name}:sum",), {"value": Piece(bias)})
        self.whole[node.name] = name
        self.divided = True

    def _whole(self, name: str) -> str:
        """The node that has a tensor whole: gathered from the parts the first time."""
        if name not in self.whole:
            source, runs = self.parts[name]
            self._node(GatherOut(f"{name}:whole", runs, self.ways), (source,), {})
            self.whole[name] = f"{name}:whole"
        return self.whole[name]

    def _copied(self, name: str) -> str:
        """A whole tensor for divided layers: their gradients by it are summed. Of inputs nobody needs a gradient."""
        if name not in self.copies:
            whole = self._whole(name)
            if name in self.graph.learned:
                self._node(CopyIn(f"{name}:copy"), (whole,), {})
                whole = f"{name}:copy"
            self.copies[name] = whole
        return self.copies[name]

    def _node(self, layer: Layer, inputs: tuple[str, ...], pieces: dict[str, Piece], like: Node | None = None) -> None:
        shared, frozen = ((), ()) if like is None else (like.shared, like.frozen)
        self.nodes.append(Node(layer, inputs, shared, frozen))
        elsewhere = dict(shared)
        self.pieces |= {f"{layer.name}.{name}": piece for name, piece in pieces.items() if name not in elsewhere}
        self.origin[layer.name] = self.here or layer.name.rpartition(":")[0]

    def _own(self, node: Node) -> Mapping[str, str]:
        return self.graph.variable_names[node.name]

    def _undividable(self, node: Node) -> str | None:
        if node.shared or node.name in self.tied:
            return "it shares its weight with another layer"
        return "its parameters are frozen" if node.frozen else None

    @staticmethod
    def _narrower(layer: Linear | Conv1d | Conv2d, outs: int) -> Layer:
        return replace(layer, out_features=outs) if isinstance(layer, Linear) else replace(layer, out_channels=outs)


def _vocabularies(graph: Graph) -> frozenset[str]:
    """The embeddings whose tables are shared with nothing but products that give a number for each row."""
    found = {
        node.name: [other for other in graph.nodes if f"{node.name}.weight" in dict(other.shared).values()]
        for node in graph.nodes
        if isinstance(node.layer, Embedding) and not node.frozen and not node.shared
    }
    return frozenset(
        name
        for name, users in found.items()
        if users and all(isinstance(user.layer, Linear) and user.layer.transposed and not user.frozen for user in users)
    )


def exchanges(graph: Graph) -> tuple[Exchange, ...]:
    """The layers of a graph at which ranks exchange numbers, in order."""
    return tuple(node.layer for node in graph.nodes if isinstance(node.layer, Exchange))
