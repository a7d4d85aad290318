"""Arrays that a user gives a network: files named on the command line, checked against its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Graph, Input
from sim.problems import BadInput, Problem, nearest
from taihusim.workload_source import WorkloadSource


def read_inputs(given: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The arrays of ``FILE`` or ``NAME=FILE``; one without a name stands under the empty name.

    Raises BadInput for files that are missing, damaged or no arrays of numbers with samples in front, and for names
    given twice.
    """
    found: dict[str, NDArray[Any]] = {}
    problems = []
    for text in given:
        name, _, file = text.rpartition("=")
        if name in found:
            problems.append(_problem(text, "each input once", value=name or file))
            continue
        try:
            found[name] = _array(text, Path(file))
        except BadInput as error:
            problems += error.problems
    sizes = {len(array) for array in found.values()}
    if len(sizes) > 1:
        problems.append(_problem(" ".join(given), "as many samples in each input", value=sorted(sizes)))
    if problems:
        raise BadInput(problems)
    return found


def bound_inputs(arrays: Mapping[str, NDArray[Any]], graph: Graph) -> dict[str, NDArray[Any]]:
    """The arrays by the network's inputs. Raises BadInput for names, shapes and kinds of numbers that do not fit."""
    names = [each.name for each in graph.inputs]
    problems = []
    found: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        if not name and len(names) > 1:
            problems.append(_problem("", f"NAME=FILE, as there are the inputs {', '.join(names)}"))
        elif name and name not in names:
            expected = f"one of the inputs {', '.join(names)}"
            problems.append(_problem(f"{name}=", expected, near=nearest(name, names)))
        else:
            own = next(each for each in graph.inputs if each.name == (name or names[0]))
            problems += _misfits(own, array)
            found[own.name] = array
    if not problems:
        problems = [_problem(f"{name}=FILE", "this input too, which is missing") for name in names if name not in found]
    if problems:
        raise BadInput(problems)
    return found


def read_shapes(given: Sequence[str], *, workload: str) -> dict[str, int]:
    """Lengths of axes from ``AXIS=LENGTH``. Raises BadInput for what is no length, or where no file leaves any open."""
    found: dict[str, int] = {}
    problems: list[Problem] = []
    if given and not WorkloadSource(name=workload).is_model_file:
        expected = "an ONNX file as WORKLOAD, whose axes may be open; a workload file says model.shapes"
        problems.append(Problem(file="--shape", key="", value=workload, expected=expected))
    for text in given:
        name, _, length = text.rpartition("=")
        if name and length.isdecimal() and int(length) > 0:
            found[name] = int(length)
        else:
            expected = "an axis and its length, such as height=224"
            problems.append(Problem(file=f"--shape {text}", key="", value=None, expected=expected))
    if problems:
        raise BadInput(problems)
    return found


def _misfits(own: Input, array: NDArray[Any]) -> list[Problem]:
    shape = ("samples", *own.shape)
    problems = []
    if array.shape[1:] != own.shape:
        expected = f"an array of shape ({', '.join(map(str, shape))})"
        problems.append(_problem(f"{own.name}=", expected, value=f"{array.shape}"))
    if own.integer and not np.issubdtype(array.dtype, np.integer):
        problems.append(_problem(f"{own.name}=", "whole numbers", value=str(array.dtype)))
    return problems


def _array(text: str, path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise BadInput([_problem(text, "a .npy file that exists")])
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "pickle" in reason:  # what numpy says of any file that does not begin as its own do
            reason = "it is of another kind"
        raise BadInput([_problem(text, f"a whole .npy file ({reason})")]) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or not array.ndim or not len(array):
        raise BadInput([_problem(text, "an array of numbers with at least one sample in front")])
    return array


def _problem(text: str, expected: str, *, value: object = None, near: str | None = None) -> Problem:
    return Problem(file=f"--input {text}".strip(), key="", value=value, expected=expected, nearest=near)
