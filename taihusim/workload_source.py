"""Where a workload comes from, and a digest of all that it depends on, without building it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sim.document_files import document_files, files_digest, may_have_key
from sim.named_files import find_file
from sim.problems import BadInput, Problem
from workloads.shipped import shipped_workloads

if TYPE_CHECKING:
    from workloads.spec import Workload

MODEL_FILE: Final = "model.file"
SAMPLES_OF_FILE: Final = 32
"""Samples at a time on a node for a model file, which has no recipe."""


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
        from workloads.load import load_workload
        from workloads.model_file import workload_of_file

        if self.is_model_file:
            self._check_unchanged()
            return workload_of_file(Path(self.name), shapes=self.shapes, batch=self.samples, trained=self.trained)
        return load_workload(self.name, self.settings, optimizer=self.optimizer)

    def digest(self) -> str:
        """Changes whenever the workload may: with its files, those they extend, its model file and its settings.

        Raises BadInput for a file that is not there.
        """
        how: tuple[object, ...] = (self.name, self.settings, self.optimizer)
        if self.is_model_file:
            how = (self.name, sorted(self.shapes.items()), self.samples, self.trained)
        return hashlib.sha256(repr((how, files_digest(self._files()))).encode()).hexdigest()

    def _files(self) -> Iterator[Path]:
        if self.is_model_file:
            self._check_unchanged()
            yield Path(self.name)
            return
        documents = document_files(self._path, named=shipped_workloads())
        yield from documents
        if any(may_have_key(path, "file") for path in documents):
            yield from self._model_file()
        yield from _model_files(self.settings)

    def _check_unchanged(self) -> None:
        """Raise BadInput for settings of a model file."""
        expected = "a workload file that names the model file: by itself it has neither data nor recipe to change"
        problems = [
            Problem(file=f"--set workload.{each}", key="", value=None, expected=expected) for each in self.settings
        ]
        if problems:
            raise BadInput(problems)

    @property
    def _path(self) -> Path:
        return find_file(self.name, shipped=shipped_workloads(), noun="workloads")

    def _model_file(self) -> Iterator[Path]:
        """As the workload's files have it, relative to the one that says it."""
        from sim.document import read_document

        document = read_document(self._path, named=shipped_workloads(), whole=lambda mapping: "name" in mapping)
        model = document.data.get("model")
        name = model.get("file") if isinstance(model, Mapping) else None
        if isinstance(name, str):
            yield Path(document.origin(("model", "file")).file).parent / name


def _model_files(settings: Sequence[str]) -> Iterator[Path]:
    """Model files that settings name, relative to the working folder."""
    for setting in settings:
        key, _, text = setting.partition("=")
        if key.strip() not in ("model", MODEL_FILE):
            continue
        from sim.yaml_file import parse_value

        with suppress(ValueError):  # said when it is read
            value = parse_value(text)
            name = value.get("file") if isinstance(value, dict) else value
            if isinstance(name, str):
                yield Path(name)
