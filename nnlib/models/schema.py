"""The ``model`` section of a workload file: layers in order, a model of the library by name, or a file of its own.

The keys of a layer are the fields of its class, those of a named model the arguments of the function that builds it.
They are made, and the class is loaded, when a file is read that has one, as there are many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache, reduce
from inspect import Parameter, signature
from operator import or_
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, Tag
from pydantic import create_model as create_keys

from nnlib.layers import catalogue as layers
from nnlib.layers.layer import Layer
from nnlib.lazy_table import LazyTable
from nnlib.losses import catalogue as losses
from nnlib.losses.loss import Loss
from nnlib.model import Model
from nnlib.models.catalogue import MODELS
from sim.machine.quantity import Count, Whole

CountOrZero = Annotated[int, Whole(least=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]

OTHER_NAMES: Final[Mapping[str, str]] = {"out_channels": "channels", "out_features": "units"}
"""What a field is called in a file."""
FROM_ZERO: Final = frozenset({"padding", "output_padding", "blank"})
"""Fields that may be 0; other whole numbers are counts."""
SIGNED: Final = frozenset({"axis", "axes", "start", "stop", "shape", "ignore"})
"""Fields that may be negative."""


class Section(BaseModel):
    """A group of keys of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class LayerSection(Section):
    """What every layer may say: its name, by default type and number; what it takes, by default the layer before."""

    name: Name | None = None
    inputs: tuple[Name, ...] | None = None


class LossSection(Section):
    """What every loss may say: which layers it takes, by default the last one, which target, and its weight."""

    outputs: tuple[Name, ...] | None = None
    target: str | None = None
    weight: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0


def type_name(kind: type) -> str:
    """What a class of layers or losses is called in a file: ``Conv2d`` is ``conv2d``."""
    return _type_name(kind.__name__)


def _type_name(name: str) -> str:
    special = {"MaxPool": "maxpool", "AveragePool": "avgpool", "PReLU": "prelu", "SiLU": "silu"}
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return special.get(name, spaced.lower().replace("re_lu", "relu"))


LAYERS: Final[Mapping[str, type[Layer]]] = LazyTable(
    {_type_name(name): place for name, place in sorted(layers.LAYERS.places.items())}
)
LOSSES: Final[Mapping[str, type[Loss]]] = LazyTable(
    {_type_name(name): place for name, place in sorted(losses.LOSSES.places.items())}
)


def _whole(name: str) -> Any:
    if name in SIGNED:
        return Annotated[int, Field(strict=True)]
    return CountOrZero if name in FROM_ZERO else Count


def _pair(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value, value)


def _annotation(name: str, hint: Any) -> Any:
    """The type of a key for a field of type ``hint``; None for what a file cannot say."""
    if hint is int:
        return _whole(name)
    if hint is float:
        return Number
    if hint is bool:
        return StrictBool
    if hint is str or get_origin(hint) is Literal:
        return hint
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        inner = [each if each is ... else _annotation(name, each) for each in arguments]
        if None in inner:
            return None
        exact = tuple[tuple(inner)]  # type: ignore[valid-type, misc]
        return Annotated[exact, BeforeValidator(_pair)] if hint == tuple[int, int] else exact
    if arguments:  # a union
        members = [each if each is type(None) else _annotation(name, each) for each in arguments]
        return None if None in members else reduce(or_, members)
    return None


def _of_fields(kind: type, tag: str, base: type[Section]) -> Any:
    """Keys with the fields of a dataclass."""
    keys: dict[str, Any] = {"type": (Literal[tag], ...)}
    hints = get_type_hints(kind)
    for field in fields(kind):
        annotation = None if field.name in base.model_fields else _annotation(field.name, hints[field.name])
        if annotation is None:
            continue
        default = ... if field.default is MISSING else field.default
        if (tag, field.name) in {("maxpool", "stride"), ("avgpool", "stride")}:
            annotation, default = annotation | None, None  # windows side by side
        keys[OTHER_NAMES.get(field.name, field.name)] = (annotation, default)
    return create_keys(f"{kind.__name__}Keys", __base__=base, __doc__=kind.__doc__, **keys)


def _of_arguments(build: Callable[..., Model], tag: str) -> Any:
    """Keys with the arguments of a function that builds a model."""
    keys: dict[str, Any] = {"name": (Literal[tag], ...)}
    hints = get_type_hints(build)
    for argument in signature(build).parameters.values():
        default = ... if argument.default is Parameter.empty else argument.default
        keys[argument.name] = (_annotation(argument.name, hints[argument.name]), default)
    return create_keys(f"{tag.title()}Keys", __base__=Section, __doc__=build.__doc__, **keys)


def _tagged(kinds: list[Any], discriminator: str) -> Any:
    if len(kinds) == 1:
        return kinds[0]
    return Annotated[reduce(or_, kinds), Field(discriminator=discriminator)]


@cache
def layer_keys(tag: str) -> Any:
    """The keys of a layer of a type."""
    return _of_fields(LAYERS[tag], tag, LayerSection)


@cache
def loss_keys(tag: str) -> Any:
    """The keys of a loss of a type."""
    return _of_fields(LOSSES[tag], tag, LossSection)


@cache
def named_keys(name: str) -> Any:
    """The keys of a model of the library."""
    return _of_arguments(MODELS[name], name)


def _not_empty(entries: Any) -> Any:
    # not min_length: pydantic counts only the entries that are right, and would complain twice about a wrong one
    if not entries:
        raise ValueError("at least one entry")
    return entries


def _shape_or_shapes(value: Any) -> str:
    return "shapes" if isinstance(value, Mapping) else "shape"


InputKeys: TypeAlias = Annotated[
    Annotated[tuple[Count, ...], AfterValidator(_not_empty), Tag("shape")]
    | Annotated[dict[Name, tuple[Count, ...]], AfterValidator(_not_empty), Tag("shapes")],
    Discriminator(_shape_or_shapes),
]


class LayersKeys(Section):
    """Layers one behind the other, over samples of shape ``input``; by default the last one's numbers are logits.

    Several inputs have names and a shape each; ``[]`` is one whole number, such as a length. The first layer takes the
    first of them.
    """

    input: InputKeys
    layers: Annotated[tuple[LayerSection, ...], AfterValidator(_not_empty)]
    loss: LossSection | None = None


class FileKeys(Section):
    """A model of another program, an ONNX file, and the loss that it learns by.

    ``shapes``: lengths for those axes of its inputs that the file leaves open, by their names there.
    """

    file: Annotated[str, Field(min_length=1)]
    loss: LossSection | None = None
    shapes: dict[str, Count] = {}


ModelKeys: TypeAlias = Any
"""A section ``model``: LayersKeys, FileKeys, or for a model of the library what :func:`named_keys` gives."""


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Types of layers and of losses, and models of the library: what a section may have, in the order of messages."""

    layers: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


EVERY_KIND: Final = Kinds(layers=tuple(LAYERS), losses=tuple(LOSSES), models=tuple(MODELS))


def kinds_in(section: object) -> Kinds:
    """The fewest kinds that a section of a file needs if nothing is wrong with it; otherwise all."""
    if not isinstance(section, Mapping):
        return EVERY_KIND
    if _kind(section) == "name":
        name = section["name"]
        return Kinds(models=(name,)) if name in EVERY_KIND.models else EVERY_KIND
    entries, loss = section.get("layers", ()), section.get("loss")
    if not isinstance(entries, list | tuple):
        return EVERY_KIND
    types = [_type_in(each) for each in entries]
    measures = [] if loss is None else [_type_in(loss)]
    if not (all(each in EVERY_KIND.layers for each in types) and all(each in EVERY_KIND.losses for each in measures)):
        return EVERY_KIND
    return Kinds(layers=tuple(dict.fromkeys(types)), losses=tuple(measures))


def _type_in(entry: object) -> Any:
    return entry.get("type") if isinstance(entry, Mapping) else None


@cache
def file_keys(measures: tuple[str, ...]) -> type[FileKeys]:
    """The keys of a model file that learns by one of the losses ``measures``."""
    made: type[FileKeys] = create_keys("FileKeys", __base__=FileKeys, __doc__=FileKeys.__doc__, loss=_loss(measures))
    return made


@cache
def layers_keys(tags: tuple[str, ...], measures: tuple[str, ...]) -> Any:
    """The keys of a list of layers of the types ``tags`` that learns by one of the losses ``measures``."""
    entry: Any = _tagged([layer_keys(tag) for tag in tags], "type")
    entries = Annotated[tuple[entry, ...], AfterValidator(_not_empty)]
    return create_keys(
        "LayersKeys", __base__=LayersKeys, __doc__=LayersKeys.__doc__, layers=(entries, ...), loss=_loss(measures)
    )


@cache
def model_keys(kinds: Kinds = EVERY_KIND) -> Any:
    """The type of a section that has no other kinds."""
    members: list[Any] = [Annotated[file_keys(kinds.losses), Tag("file")]]
    if kinds.models:
        named: Any = _tagged([named_keys(name) for name in kinds.models], "name")
        members.insert(0, Annotated[named, Tag("name")])
    if kinds.layers:
        members.insert(0, Annotated[layers_keys(kinds.layers, kinds.losses), Tag("list")])
    return Annotated[reduce(or_, members), Discriminator(_kind)] if len(members) > 1 else members[0]


def _loss(tags: tuple[str, ...]) -> Any:
    return (_tagged([loss_keys(tag) for tag in tags], "type") | None if tags else None, None)


def _kind(value: Any) -> str:
    has = value if isinstance(value, Mapping) else vars(value) if hasattr(value, "__dict__") else {}
    return next((kind for kind in ("name", "file") if kind in has), "list")
