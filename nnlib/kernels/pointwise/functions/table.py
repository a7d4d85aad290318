"""All functions of element-wise kernels by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, cast

from nnlib.kernels.pointwise.functions.activations import FORWARD, GRADIENTS, GradientName
from nnlib.kernels.pointwise.functions.arithmetic import ARITHMETIC, ArithmeticName
from nnlib.kernels.pointwise.functions.definition import Definition
from nnlib.kernels.pointwise.functions.updates import UPDATES, UpdateName
from nnlib.ops.activation import ActivationName

Function: TypeAlias = ArithmeticName | ActivationName | GradientName | UpdateName

_ALL: Final[Mapping[str, Definition]] = MappingProxyType({**ARITHMETIC, **FORWARD, **GRADIENTS, **UPDATES})
FUNCTIONS: Final = cast(Mapping[Function, Definition], _ALL)
