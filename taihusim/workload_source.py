"""Where a workload comes from, and a digest of all that it depends on, without building it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sim.document import read_document
from sim.named_files import find_file, shipped_files

if TYPE_CHECKING:
    from workloads.spec import Workload

FOLDER: Final = Path(__file__).parent.parent / "workloads"
MODEL_FILE: Final = "model.file="


@dataclass(frozen=True, kw_only=True)
class WorkloadSource:
    """A workload's name, file or model file, with the settings that change it.

    ``optimizer`` replaces the recipe's. Of model files ``shapes`` are lengths of axes that they leave open, and
    ``samples`` come at a time; ``trained``: they have a loss to be trained by.
    """

    name: str
    settings: tuple[str, ...] = ()
    optimizer: str | None = None
    shapes: Mapping[str, int] = field(default_factory=dict)
    samples: int = 1
    trained: bool = False

    @property
    def is_model_file(self) -> bool:
        """Whether it is a model alone, with neither data nor recipe."""
        return self.name.lower().endswith(".onnx")

    def load(self) -> Workload:
        """The workload. Raises BadInput with every problem found."""
        from workloads.model_file import workload_of_file
        from workloads.spec import load_workload

        if self.is_model_file:
            return workload_of_file(Path(self.name), shapes=self.shapes, batch=self.samples, trained=self.trained)
        return load_workload(self.name, self.settings, optimizer=self.optimizer)

    def digest(self) -> str:
        """Changes whenever the workload may: with its files, those they extend, its model file and its settings.

        Raises BadInput for a file that is not there.
        """
        found = hashlib.sha256(
            repr((self.settings, self.optimizer, sorted(self.shapes.items()), self.samples, self.trained)).encode()
        )
        for path in self._files():
            found.update(str(path.resolve()).encode())
            found.update(path.read_bytes() if path.is_file() else b"missing")
        return found.hexdigest()

    def _files(self) -> Iterator[Path]:
        if self.is_model_file:
            yield Path(self.name)
            return
        shipped = shipped_files(FOLDER)
        path = find_file(self.name, shipped=shipped, noun="workloads")
        document = read_document(path, named=shipped, whole=lambda mapping: "name" in mapping)
        yield path
        yield from (Path(file) for file in sorted({origin.file for origin in document.origins.values()}))
        model = document.data.get("model")
        named = model.get("file") if isinstance(model, Mapping) else None
        if isinstance(named, str):
            yield Path(document.origin(("model", "file")).file).parent / named
        yield from _model_files(self.settings)


def _model_files(settings: Sequence[str]) -> Iterator[Path]:
    """Model files that settings name, relative to the working folder."""
    for setting in settings:
        if setting.startswith(MODEL_FILE):
            yield Path(setting.removeprefix(MODEL_FILE).strip("'\" "))
