"""Which arrays of a dataset's samples a model takes: found by name, checked in shape and range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnlib.graph import INPUT
from nnlib.layers.embedding import Embedding
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.losses.loss import Loss
from nnlib.model import Model
from sim.problems import BadInput, Problem, nearest
from workloads.datasets.dataset import LABEL, Binding, Field, Source

Shape = tuple[int, ...]


def bind(fields: Mapping[str, Field], model: Model, *, file: str, layers: bool, foreign: bool = False) -> Binding:
    """The binding of a model to samples of ``fields``.

    An input or a target takes the array of its own name; one called ``input`` else takes the first, a target called
    ``label`` the last. Axes of length 1 at the end of a shape may be too many or too few. ``layers``: whether the model
    is written as layers, which decides the key that ``file``'s problems name. ``foreign``: whether it is another
    program's, whose only input is taken for ``input`` whatever it is called.

    Raises BadInput with all that does not fit: names, shapes, and more classes than the model has outputs or entries.
    """
    binder = _Binder(fields, model, file, "model.input" if layers else "model", "model.layers" if layers else "model")
    general = model.graph.inputs[0].name if foreign and len(model.graph.inputs) == 1 else INPUT
    inputs = {each.name: binder.source(each.name, each.shape, general, "input") for each in model.graph.inputs}
    targets = {}
    for loss in model.losses:
        if loss.target is not None:
            targets[loss.target] = binder.target(loss)
    binder.check_tables(inputs)
    if binder.problems:
        raise BadInput(binder.problems)
    return Binding(
        inputs={name: source for name, source in inputs.items() if source is not None},
        targets={name: source for name, source in targets.items() if source is not None},
    )


@dataclass(frozen=True)
class _Found:
    name: str
    field: Field


class _Binder:
    """Looks arrays up and collects what is wrong."""

    def __init__(self, fields: Mapping[str, Field], model: Model, file: str, input_key: str, key: str) -> None:
        self.fields, self.model, self.file = fields, model, file
        self.input_key, self.key = input_key, key
        self.problems: list[Problem] = []

    def source(self, name: str, shape: Shape | None, general: str, what: str) -> Source | None:
        """Where the array ``name`` is from; ``shape`` None takes every shape."""
        found = self._find(name, general, what)
        if found is None or shape is None or found.field.shape == shape:
            return None if found is None else Source(field=found.name)
        if _without_ones(found.field.shape) == _without_ones(shape):
            return Source(field=found.name, shape=shape)
        of = "images" if found.name == "image" else found.name
        expected = f"{list(found.field.shape)}, the shape of the dataset's {of}"
        key = self.input_key if what == "input" else self.key
        self.problems.append(Problem(file=self.file, key=key, value=f"{list(shape)}", expected=expected))
        return None

    def target(self, loss: Loss) -> Source | None:
        """Where a loss's target is from, labels numbered as the loss numbers classes."""
        assert loss.target is not None
        wanted, blank = self.model.targets.get(loss.target), None
        if isinstance(loss, CtcLoss):
            blank = loss.blank
        source = self.source(loss.target, None if blank is not None else wanted, LABEL, "target")
        if source is None:
            return None
        field = self.fields[source.field]
        if field.classes is not None and isinstance(loss, CrossEntropy | CtcLoss):
            self._check_classes(loss, field.classes + (blank is not None), blank is not None)
        if blank is None or wanted is None:
            return source
        if len(field.shape) != 1 or field.classes is None or field.shape[0] > wanted[0]:
            expected = f"a dataset of sequences of at most {wanted[0]} labels, as many as the loss takes"
            value = f"{source.field} of shape {list(field.shape)}"
            self.problems.append(Problem(file=self.file, key="data.dataset", value=value, expected=expected))
            return None
        return Source(field=source.field, blank=blank, width=wanted[0])

    def check_tables(self, inputs: Mapping[str, Source | None]) -> None:
        """Every layer that looks entries up by a number has to have one for each number that may come."""
        for node in self.model.graph.nodes:
            source = inputs.get(node.inputs[0]) if node.inputs else None
            if source is None or not isinstance(node.layer, Embedding):
                continue
            count = node.layer.count
            classes = self.fields[source.field].classes
            if classes is None:
                expected = f"whole numbers for layer {node.name!r}, not the dataset's {source.field}"
                self.problems.append(Problem(file=self.file, key="data.dataset", value=None, expected=expected))
            elif count < classes:
                expected = f"at least {classes} entries in layer {node.name!r}, as the dataset's {source.field} has"
                self.problems.append(Problem(file=self.file, key=self.key, value=count, expected=expected))

    def _find(self, name: str, general: str, what: str) -> _Found | None:
        if name in self.fields:
            return _Found(name, self.fields[name])
        names = list(self.fields)
        if name == general:
            chosen = names[0] if what == "input" else names[-1]
            return _Found(chosen, self.fields[chosen])
        expected = f"a dataset that gives the model's {what} {name} (it gives: {', '.join(names)})"
        self.problems.append(
            Problem(file=self.file, key="data.dataset", value=None, expected=expected, nearest=nearest(name, names))
        )
        return None

    def _check_classes(self, loss: Loss, classes: int, with_blank: bool) -> None:
        outputs = self.model.graph.shapes[loss.outputs[0]][-1]
        if outputs >= classes:
            return
        blank = " and the blank" if with_blank else ""
        expected = f"at least {classes} outputs, the number of classes in the dataset{blank}"
        self.problems.append(Problem(file=self.file, key=self.key, value=outputs, expected=expected))


def _without_ones(shape: Shape) -> Shape:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
