"""A device whose gradients and updates are computed as a strategy divides them."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.batch import Arrays, Batch
from nnlib.device import TRAINING
from nnlib.graph import Variables
from nnlib.layers.layer import Array, Run
from nnlib.model import Gradients, Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from workloads.parallel.execution import Execution
from workloads.parallel.sharding import ShardedUpdate


@dataclass(frozen=True)
class StrategyDevice:
    """Virtual ranks that compute layer by layer; what is not training is done by one of them."""

    execution: Execution

    @property
    def model(self) -> Model:
        """The network and its losses."""
        return self.execution.source

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        """Mean loss over the samples' ``weights`` and its gradients. Raises ValueError if ranks do not divide them."""
        return self.execution.gradients(variables, batch, weights, run)

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        """The network's outputs by name, samples in front."""
        return self.model.graph.predict(variables, inputs)

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """The optimiser's step of size ``rate``, in place."""
        if self.execution.sharded:
            ShardedUpdate(self.execution).step(
                optimizer=optimizer, parameters=parameters, grads=grads, state=state, rate=rate
            )
        else:
            optimizer.update(parameters, grads, state, rate=rate)

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Clip the gradients in place."""
        clip.apply(grads)
