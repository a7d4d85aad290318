"""An ONNX file read and checked, before anybody asks what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sim.problems import BadInput, Problem

LEAST_OPSET: Final = 13
LARGEST_FILE_BYTES: Final = 2**31 - 1
"""What a protocol buffer can hold; larger models keep their weights in files beside it."""


def read_onnx(path: Path) -> Any:
    """The file's ``onnx.ModelProto``, weights included.

    Raises BadInput for a file that is missing, too large, damaged or older than operator set 13, and
    ModuleNotFoundError when onnx is not installed.
    """
    import onnx

    if not path.is_file():
        raise _bad(path, "an ONNX file that exists")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        expected = "a file below 2 GiB, the limit of the format; keep the weights in external data beside it"
        raise _bad(path, expected, value=f"{path.stat().st_size} B")
    try:
        model = onnx.load(str(path))
    except OSError as error:
        raise _bad(path, f"a file that can be read with its external data ({error.strerror or error})") from None
    except Exception as error:  # DecodeError of whichever protocol buffer library is installed, ValidationError
        raise _bad(path, f"a whole ONNX file; this one is damaged or cut short ({first_line(error)})") from None
    _check(path, model)
    if model.functions:
        from onnx.inliner import inline_local_functions

        return inline_local_functions(model)
    return model


def _check(path: Path, model: Any) -> None:
    import onnx

    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if not model.graph.node or not versions:
        raise _bad(path, "an ONNX model with operators; this one is empty or cut short")
    if versions[0] < LEAST_OPSET:
        raise _bad(path, f"operator set {LEAST_OPSET} or newer; export the model again", value=versions[0])
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError, and what its C++ part raises
        raise _bad(path, f"a valid ONNX model ({first_line(error)})") from None


def first_line(error: Exception) -> str:
    """What an error says, at most a line of it."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _bad(path: Path, expected: str, *, value: object = None) -> BadInput:
    return BadInput([Problem(file=str(path), key="", value=value, expected=expected)])
