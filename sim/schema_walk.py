"""Which keys a pydantic model accepts at a place of a document."""

from __future__ import annotations

import types as python_types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Types = tuple[Any, ...]


def alternatives(annotation: Any) -> Types:
    """The members of a union (or the annotation itself), without ``Annotated`` wrappers."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, python_types.UnionType):
        return tuple(member for each in get_args(annotation) for member in alternatives(each))
    return (annotation,)


def is_leaf(annotation: Any) -> bool:
    """Whether the type is written as one value although it is a model: models say so with ``is_leaf = True``."""
    return isinstance(annotation, type) and bool(getattr(annotation, "is_leaf", False))


def known_keys(types: Types, current: object) -> list[str] | None:
    """The keys that exist at a place, None when any key may be written there.

    ``types`` are the types the place may have, ``current`` what stands there now.
    """
    if isinstance(current, list):
        return [str(index) for index in range(len(current))]
    keys: list[str] = []
    models = sum(isinstance(each, type) and issubclass(each, BaseModel) for each in types)
    for each in types:
        if isinstance(each, type) and issubclass(each, BaseModel):
            if models > 1 and _is_another(each, current):
                continue
            keys += [] if is_leaf(each) else [key for key in each.model_fields if key not in keys]
        elif each is Any or each is dict or _is_generic(each, Mapping):
            return None
    return keys


def step_into(types: Types, part: str | int) -> Types:
    """The types that may stand at key or index ``part`` below places of the given types."""
    found: list[Any] = []
    for each in types:
        if isinstance(each, type) and issubclass(each, BaseModel):
            if not is_leaf(each) and part in each.model_fields:
                found += alternatives(each.model_fields[str(part)].annotation)
        elif _is_generic(each, Mapping):
            found += alternatives(get_args(each)[1])
        elif _is_generic(each, Iterable):
            found += alternatives(get_args(each)[0])
        elif each is Any:
            found.append(Any)
    return tuple(found)


def _is_another(model: type[BaseModel], current: object) -> bool:
    """Whether what stands there says by a tag, such as its ``type``, that it is another member of a union."""
    if not isinstance(current, Mapping):
        return False
    return any(
        get_origin(field.annotation) is Literal and name in current and current[name] not in get_args(field.annotation)
        for name, field in model.model_fields.items()
    )


def _is_generic(annotation: Any, base: type) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, base)
