"""The folder of a run: record, weights, outputs and figure, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from sim.chip.memory import Array
from taihusim.checkpointing import checkpoint_path
from taihusim.figure import save_figure
from taihusim.places import check_folder
from taihusim.setup import Setup
from workloads.checkpoint import save_weights
from workloads.files import replaced
from workloads.load import describe
from workloads.record import RunRecord, as_plain, load_record, save_record
from workloads.record_schema import Kind

TRAIN_RECORD, INFER_RECORD = "train.json", "infer.json"
WEIGHTS, FIGURE = "weights.npz", "figure.png"
OUTPUTS, NAMED_OUTPUTS = "outputs.npy", "outputs.npz"
"""The one output of a network, or several by name."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where a run's files go; made when the first one is written.

    ``program``: the description of the program whose network the setup has, if it is one; the record keeps both.
    """

    path: Path
    setup: Setup
    seed: int
    version: str
    program: object | None = None

    def check(self) -> None:
        """Raise BadInput if the folder cannot be made or written to."""
        check_folder(self.path)

    def save_training(self, result: dict[str, Any], *, parameters: Sequence[dict[str, Any] | None]) -> list[Path]:
        """Write the record, the last run's weights and the figure; returns the files."""
        self.path.mkdir(parents=True, exist_ok=True)
        written = [self._record("train", result, TRAIN_RECORD)]
        if parameters and parameters[-1] is not None:
            save_weights(parameters[-1], self.path / WEIGHTS)
            written.append(self.path / WEIGHTS)
        for run in result["runs"]:
            checkpoint_path(self.path, nodes=run["nodes"]).unlink(missing_ok=True)
        return [*written, *self._figure()]

    def save_inference(
        self, result: dict[str, Any], *, outputs: Mapping[str, Array] | None
    ) -> tuple[dict[str, Any], list[Path]]:
        """Write outputs, record and, beside a training record, the figure anew; returns the result and the files."""
        self.path.mkdir(parents=True, exist_ok=True)
        written = []
        if outputs is not None:
            place = self.path / (OUTPUTS if len(outputs) == 1 else NAMED_OUTPUTS)
            with replaced(place) as file:
                if len(outputs) == 1:
                    np.save(file, next(iter(outputs.values())))
                else:
                    np.savez(file, allow_pickle=False, **outputs)
            written.append(place)
            result = {**result, "outputs": str(place)}
        written.append(self._record("infer", result, INFER_RECORD))
        return result, [*written, *self._figure()]

    def _record(self, kind: Kind, result: dict[str, Any], name: str) -> Path:
        around = {} if self.program is None else {"program": as_plain(self.program)}
        record = RunRecord(
            kind=kind,
            version=self.version,
            seed=self.seed,
            machine=as_plain(self.setup.machine),
            workload=describe(self.setup.workload) | around,
            mapping=as_plain(self.setup.mapping),
            result=result,
        )
        save_record(record, self.path / name)
        return self.path / name

    def _figure(self) -> list[Path]:
        """Draw what the folder holds, if there is a training record and matplotlib is installed."""
        train, infer = self.path / TRAIN_RECORD, self.path / INFER_RECORD
        if not train.exists() or find_spec("matplotlib") is None:
            return []
        place = self.path / FIGURE
        save_figure(train=load_record(train), infer=load_record(infer) if infer.exists() else None, path=place)
        return [place]
