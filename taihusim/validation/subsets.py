"""Which rows of a table the accepted error is taken over, where that is not all of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from taihusim.validation.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Rows that ``contains`` says yes to, from their inputs alone; ``words`` say for people which and why."""

    words: str
    contains: Callable[[Inputs], bool]


def _conv_fc_relu(inputs: Inputs) -> bool:
    """Convolutions, fully connected layers and rectifiers, not ``conv1/bn`` or ``fc8_fc8_0_split``."""
    return re.fullmatch(r"(conv|fc|relu)[\d_]+", inputs.get("layer", "")) is not None


_CONV_FC_RELU: Final = Subset(
    words="conv, fc and relu rows, forward and backward; the others ran partly on the MPE",
    contains=_conv_fc_relu,
)

SUBSETS: Final[Mapping[str, Subset]] = MappingProxyType(
    {"layers_swcaffe_log_fp32_1cg": _CONV_FC_RELU, "layers_swcaffe_fig_fp32_4cg": _CONV_FC_RELU}
)
