"""What workload files call data sets, units of text and measures."""

from __future__ import annotations

from typing import Literal, TypeAlias

DatasetName: TypeAlias = Literal[
    "digits", "archive", "mnist", "cifar10", "images", "storms", "tones", "text", "masked_text"
]
Unit: TypeAlias = Literal["characters", "words"]
MeasureName: TypeAlias = Literal["accuracy", "mean_iou", "label_error_rate", "bits_per_symbol", "reconstruction_error"]
