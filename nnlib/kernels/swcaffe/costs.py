"""What swCaffe's layers on the MPE cost: cycles of a scalar loop for each number and for each plane of pixels.

[derived] SWCAFFE figures 8 and 9, AlexNet on four core groups: the times of normalisations are linear in numbers and
planes within 1 %, those of dropout in numbers. About one instruction a cycle: forward, a mean (load, add), a variance
(load, subtract, multiply-add), the result (load, subtract, multiply, multiply-add, store); a plane's 0.8 us are calls.
"""

from __future__ import annotations

from typing import Final

NORMALISE_CYCLES: Final = 10.2
NORMALISE_PLANE_CYCLES: Final = 1130.0
NORMALISE_BACK_CYCLES: Final = 11.8
NORMALISE_BACK_PLANE_CYCLES: Final = 1160.0
SCALE_CYCLES: Final = 3.0
"""Known statistics, as at inference: load, multiply-add, store; nothing published."""
DROPOUT_CYCLES: Final = 59.0
"""With a random number for each."""
DROPOUT_BACK_CYCLES: Final = 17.0
