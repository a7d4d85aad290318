"""The ``model`` section of a workload file: layers in order, a model of the library by name, or a file of its own.

The keys of a layer are the fields of its class, those of a named model the arguments of the function that builds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import reduce
from inspect import Parameter, signature
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StrictBool, Tag
from pydantic import create_model as create_keys

import nnlib.layers
import nnlib.losses
from nnlib.layers import Layer
from nnlib.losses import Loss
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

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    special = {"MaxPool": "maxpool", "AveragePool": "avgpool", "PReLU": "prelu", "SiLU": "silu"}
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__)
    return special.get(kind.__name__, spaced.lower().replace("re_lu", "relu"))


def _classes(package: Any, base: type) -> dict[str, Any]:
    found = (getattr(package, name) for name in package.__all__)
    return {
        type_name(each): each
        for each in found
        if isinstance(each, type) and issubclass(each, base) and each is not base
    }


LAYERS: Final[Mapping[str, type[Layer]]] = _classes(nnlib.layers, Layer)
LOSSES: Final[Mapping[str, type[Loss]]] = _classes(nnlib.losses, Loss)


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


if TYPE_CHECKING:  # made from the classes when this is imported, which a type checker cannot follow
    LayerKeys: TypeAlias = Any
    LossKeys: TypeAlias = Any
    NamedKeys: TypeAlias = Any
else:
    LayerKeys = _tagged([_of_fields(kind, tag, LayerSection) for tag, kind in LAYERS.items()], "type")
    LossKeys = _tagged([_of_fields(kind, tag, LossSection) for tag, kind in LOSSES.items()], "type")
    NamedKeys = _tagged([_of_arguments(build, name) for name, build in MODELS.items()], "name")


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
    layers: Annotated[tuple[LayerKeys, ...], AfterValidator(_not_empty)]
    loss: LossKeys | None = None


class FileKeys(Section):
    """A model of another program, an ONNX file, and the loss that it learns by.

    ``shapes``: lengths for those axes of its inputs that the file leaves open, by their names there.
    """

    file: Annotated[str, Field(min_length=1)]
    loss: LossKeys | None = None
    shapes: dict[str, Count] = {}


def _kind(value: Any) -> str:
    has = value if isinstance(value, Mapping) else vars(value) if hasattr(value, "__dict__") else {}
    return next((kind for kind in ("name", "file") if kind in has), "list")


ModelKeys: TypeAlias = Annotated[
    Annotated[LayersKeys, Tag("list")] | Annotated[NamedKeys, Tag("name")] | Annotated[FileKeys, Tag("file")],
    Discriminator(_kind),
]
