"""A device that infers in integers: the network is calibrated once on a sample of data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnlib.batch import Arrays, Batch
from nnlib.device import TRAINING, Loaded
from nnlib.graph import Variables
from nnlib.layers.layer import INFERENCE, Array, Run
from nnlib.model import Gradients, Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from nnlib.precision.calibration import Calibration
from nnlib.precision.formats import IntegerName
from nnlib.quantised.lower import integer_parameters, lower_integer
from nnlib.quantised.network import IntegerNetwork, quantise_network
from sim.machine.spec import ProcessorSpec


class InferenceOnly(TypeError):
    """A network in integers was asked to learn."""

    def __init__(self) -> None:
        super().__init__("a calibrated network of integers does not learn: train in another precision")


@dataclass(frozen=True)
class IntegerDevice:
    """Calibrates on the inputs ``sample``, computes in integers of ``storage``.

    ``processor``: of a core group that computes in its tiles, ``together`` samples at a time.
    """

    model: Model
    storage: IntegerName
    sample: Arrays
    calibration: Calibration
    processor: ProcessorSpec | None = None
    together: int = 1
    calibrated: list[IntegerNetwork] = field(default_factory=list, compare=False, repr=False)

    def network(self, variables: Variables) -> IntegerNetwork:
        """The calibrated network; other variables calibrate it anew."""
        if not self.calibrated or self.calibrated[0].calibrated is not variables:
            found = quantise_network(
                self.model.graph, variables, self.sample, storage=self.storage, calibration=self.calibration
            )
            self.calibrated[:] = [found]
        return self.calibrated[0]

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        network = self.network(variables)
        if self.processor is None:
            return network.outputs(inputs)
        parameters = integer_parameters(network)
        count = len(next(iter(inputs.values())))
        parts = []
        for first in range(0, count, self.together):
            some = {name: array[first : first + self.together] for name, array in inputs.items()}
            program = lower_integer(network, batch=min(self.together, count - first))
            arrays = Loaded(program, parameters, self.processor).run(some, INFERENCE)
            size = len(next(iter(some.values())))
            parts.append(
                {
                    name: arrays[program.buffer(name).name].reshape(size, *network.graph.shapes[name]).copy()
                    for name in network.graph.outputs
                }
            )
        return {name: np.concatenate([part[name] for part in parts]) for name in network.graph.outputs}

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        """Raises InferenceOnly."""
        raise InferenceOnly

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """Raises InferenceOnly."""
        raise InferenceOnly

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Raises InferenceOnly."""
        raise InferenceOnly
