"""From a document to a pydantic model, or to all its problems in plain words.

Models forbid extra keys and are frozen. A validator of a model raises ValueError with a text that completes
"expected ...", for instance ``a bandwidth above zero, such as '34.1 GB/s'``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sim.document import Document, dotted
from sim.problems import BadInput, Problem, nearest
from sim.schema_walk import known_keys, step_into
from sim.yaml_file import KeyPath

Model = TypeVar("Model", bound=BaseModel)

A_MAPPING = "a mapping of keys to values"
WORDS = {
    "missing": "this key, which is missing",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": A_MAPPING,
    "model_attributes_type": A_MAPPING,
    "dict_type": A_MAPPING,
    "mapping_type": A_MAPPING,
    "string_too_short": "text that is not empty",
}
BOUNDS = {
    "greater_than": ("a number above {}", "gt"),
    "greater_than_equal": ("a number of at least {}", "ge"),
    "less_than": ("a number below {}", "lt"),
    "less_than_equal": ("a number of at most {}", "le"),
    "too_short": ("at least {} entries", "min_length"),
    "too_long": ("at most {} entries", "max_length"),
    "literal_error": ("one of {}", "expected"),
    "enum": ("one of {}", "expected"),
    "union_tag_invalid": ("one of {}", "expected_tags"),
    "union_tag_not_found": ("a key {}", "discriminator"),
}


def validate(document: Document, model: type[Model]) -> Model:
    """The document as the model. Raises BadInput with every problem: file, line, key, value, what was expected."""
    problems = list(document.problems)
    try:
        valid = model.model_validate(document.data)
    except ValidationError as error:
        problems += _joined([_problem(document, model, each) for each in error.errors(include_url=False)])
    if problems:
        raise BadInput(sorted(problems, key=lambda each: (each.file, each.line or 0)))
    return valid


def _problem(document: Document, model: type[BaseModel], error: ErrorDetails) -> Problem:
    path = _data_path(document.data, error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        return _unknown_key(document, model, path)
    value = None if kind == "missing" else error["input"]
    if kind != "missing" and path not in document.origins and path[:-1] in document.origins:
        path = path[:-1]  # a value that was written without the mapping around it
    if kind != "missing" and value is None and path:
        return document.problem(path, expected=f"{_expected(error)}, found nothing")
    near = None
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        choices = str(error["ctx"][BOUNDS[kind][1]]).replace(" or ", ", ").replace("'", "").split(", ")
        given = error["ctx"].get("tag", value)
        near = nearest(given, choices) if isinstance(given, str) else None
        value = given
    return document.problem(path, expected=_expected(error), value=value, nearest=near)


def _expected(error: ErrorDetails) -> str:
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in BOUNDS:
        text, name = BOUNDS[kind]
        return text.format(context[name])
    return WORDS.get(kind, error["msg"].removeprefix("Input should be ").removeprefix("Value error, "))


def _unknown_key(document: Document, model: type[BaseModel], path: KeyPath) -> Problem:
    types: tuple[Any, ...] = (model,)
    current: Any = document.data
    for part in path[:-1]:
        types = step_into(types, part)
        current = current[part]
    keys = known_keys(types, current) or _leaf_keys(types)
    near = nearest(str(path[-1]), keys)
    return document.problem(
        path,
        expected=f"one of the keys {', '.join(keys)}",
        nearest=None if near is None else dotted((*path[:-1], near)),
    )


def _leaf_keys(types: tuple[Any, ...]) -> list[str]:
    return list(dict.fromkeys(key for each in types if hasattr(each, "model_fields") for key in each.model_fields))


def _data_path(data: Any, location: tuple[str | int, ...]) -> KeyPath:
    """The key path of an error: pydantic's location without the tags it adds for unions."""
    path: KeyPath = ()
    current = data
    for index, part in enumerate(location):
        if isinstance(current, Mapping) and part in current:
            current = current[str(part)]
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            current = current[part]
        elif not (index == len(location) - 1 and isinstance(current, Mapping)):
            continue
        path = (*path, part)
    return path


def _joined(problems: list[Problem]) -> list[Problem]:
    """One problem per key: the alternatives of a union are all expected there."""
    by_key: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        place = (problem.file, problem.key)
        if place in by_key and by_key[place].expected != problem.expected:
            expected = f"{by_key[place].expected}, or {problem.expected}"
            problem = Problem(**{**vars(by_key[place]), "expected": expected})
        by_key[place] = problem
    return list(by_key.values())
