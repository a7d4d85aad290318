"""What a recurrent layer asks of a device: one product of all inputs, then one of the states for each step."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.layers.layer import Shape
from nnlib.layers.recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class RecurrentWork:
    """Flops and numbers moved of ``samples`` sequences. ``launches``: steps of all directions, one after another.

    A step reads its weights again, as a batch of states lets nothing of them stay on the device.
    """

    launches: int
    input_flops: float
    input_numbers: float
    step_flops: float
    step_numbers: float
    kept: float

    @classmethod
    def of(cls, layer: Recurrent, input_shapes: tuple[Shape, ...], *, samples: int) -> RecurrentWork:
        """Of a layer over ``input_shapes`` per sample."""
        steps, channels = input_shapes[0]
        directions, columns, units = len(layer.suffixes), layer.columns, layer.units
        rows = samples * steps
        return cls(
            launches=directions * steps,
            input_flops=2.0 * rows * directions * columns * channels,
            input_numbers=rows * channels + directions * columns * (channels + rows),
            step_flops=2.0 * samples * columns * units,
            # weights; gates from the input's product and after the step; the state before, after, and the cell's
            step_numbers=columns * units + samples * (2 * columns + 3 * units),
            kept=directions * (rows * (columns + units) + columns * units),
        )

    @property
    def all_flops(self) -> float:
        """Of one pass over the sequences."""
        return self.input_flops + self.launches * self.step_flops
