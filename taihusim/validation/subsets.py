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


def long_messages(inputs: Inputs) -> bool:
    """All-reduces of at least 8 MB."""
    try:
        return float(inputs.get("message_MB", "")) >= 8
    except ValueError:
        return False


def _understood(inputs: Inputs) -> bool:
    return inputs.get("algorithm") in ("Topawa", "SWMPI_Allreduce") and long_messages(inputs)


_CONV_FC_RELU: Final = Subset(
    words="conv, fc and relu rows, forward and backward; the others ran partly on the MPE",
    contains=_conv_fc_relu,
)

SUBSETS: Final[Mapping[str, Subset]] = MappingProxyType(
    {
        "layers_swcaffe_log_fp32_1cg": _CONV_FC_RELU,
        "layers_swcaffe_fig_fp32_4cg": _CONV_FC_RELU,
        "allreduce_bandwidth": Subset(
            words="topology-aware and stock rows from 8 MB up; below, the stock curves follow no mechanism, and the "
            "ring's label is in doubt",
            contains=_understood,
        ),
    }
)


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Rows of less than ``least``, in the table's unit, are not compared: ``words`` say why."""

    least: float
    words: str


FLOORS: Final[Mapping[str, Floor]] = MappingProxyType(
    {"p2p_bandwidth": Floor(least=0.05, words="below 0.05 GB/s the printed digits are a few per cent apart")}
)
"""What is too small to be compared. The only thing that is asked of a measured value before a prediction."""
