"""The checkpoint of a training run: kept up to date while it runs, taken up again when it goes on."""

from __future__ import annotations

import time as host
from pathlib import Path

from taihusim.setup import Setup
from workloads.checkpoint import Checkpoint, load_checkpoint, run_key, save_checkpoint
from workloads.datasets.dataset import Part
from workloads.datasets.stream import SampleStream
from workloads.load import describe
from workloads.training import TrainingState

CHECKPOINT_SECONDS = 15.0
"""Host seconds between checkpoints of a run."""


def checkpoint_path(folder: Path, *, nodes: int) -> Path:
    """The checkpoint of the run on ``nodes`` nodes."""
    return folder / f"checkpoint_{nodes}.npz"


class CheckpointKeeper:
    """Keeps a run's checkpoint up to date, and takes it up again."""

    def __init__(self, *, setup: Setup, nodes: int, seed: int, folder: Path | None, resume: bool) -> None:
        self.path = None if folder is None else checkpoint_path(folder, nodes=nodes)
        self.resume = resume
        self.last = host.monotonic()
        self.key = run_key(
            machine=setup.machine,
            workload=describe(setup.workload),
            mapping=setup.mapping,
            nodes=nodes,
            seed=seed,
        )

    def check(self) -> None:
        """Raise BadInput if there is a checkpoint to go on from, and it is damaged or of another run."""
        self._kept()

    def restore(self, state: TrainingState, *, train: Part) -> None:
        """Go on where the checkpoint stopped, if there is one and going on was asked for."""
        kept = self._kept()
        if kept is None:
            return
        state.variables = dict(kept.parameters)
        state.optimizer = dict(kept.optimizer["arrays"])
        state.stream = SampleStream.from_state(train, kept.stream)
        state.step = kept.step
        state.curve = [dict(point) for point in kept.curve]
        state.loss, state.measured = kept.optimizer["loss"], kept.optimizer["measured"]

    def keep(self, state: TrainingState, *, now: bool = False) -> None:
        """Write a checkpoint if the last one is old, or ``now``."""
        if self.path is None or (not now and host.monotonic() - self.last < CHECKPOINT_SECONDS):
            return
        self.last = host.monotonic()
        save_checkpoint(
            Checkpoint(
                key=self.key,
                step=state.step,
                parameters=state.variables,
                optimizer={"arrays": state.optimizer, "loss": state.loss, "measured": state.measured},
                stream=state.stream.state(),
                curve=state.curve,
            ),
            self.path,
        )

    def _kept(self) -> Checkpoint | None:
        if self.path is None or not self.resume or not self.path.exists():
            return None
        return load_checkpoint(self.path, key=self.key)
