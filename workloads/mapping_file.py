"""Mappings by name or file: read, extended, changed by settings, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from sim.document import Document, apply_settings, read_document
from sim.named_files import find_file
from sim.network.choices import GENERATIONS, Choices
from sim.problems import BadInput, Problem
from sim.validation import validate
from workloads.mapping import DEFAULT_MAPPING, Mapping
from workloads.mapping_schema import MappingFile
from workloads.parallel.strategy import strategy_settings
from workloads.shipped import shipped_mappings

COMMUNICATES_AS: Final = {"searched-2019": "autotuned-2019"}
"""Libraries whose communication has another's name."""


def list_mappings() -> tuple[str, ...]:
    """The names of the mappings that come with the package."""
    return tuple(shipped_mappings())


def load_mapping(name_or_path: str | Path = DEFAULT_MAPPING, overrides: Sequence[str] = ()) -> Mapping:
    """The mapping of a shipped name or of a file, changed by settings such as ``gradient_buckets=1MB``.

    ``strategy=tensor=4,pipeline=8`` sets all keys of a strategy (:mod:`workloads.parallel.strategy`).
    What a file does not say is taken from the default mapping. Raises BadInput with every problem found.
    """
    shipped = shipped_mappings()
    path = find_file(name_or_path, shipped=shipped, noun="mappings")
    document = read_document(path, named=shipped)
    if "title" not in document.data:
        document = replace(document, data={"title": path.stem, **document.data})
    document = _over(read_document(shipped[DEFAULT_MAPPING]), document)
    document = apply_settings(document, strategy_settings(overrides), model=MappingFile, noun="mapping")
    file = validate(document, MappingFile)
    if file.batch_per_node is not None and file.global_batch is not None:
        raise BadInput([_one_batch_only(document, file)])
    values = {**file.model_dump(), **_communication(file)}
    sizes = {"bucket_bytes": values.pop("gradient_buckets"), "stripe_bytes": values.pop("stripe_size")}
    sizes["segment_bytes"] = values.pop("message_segment") or None
    return Mapping(name=path.stem, **sizes, **values)


def _communication(file: MappingFile) -> dict[str, object]:
    """The file's keys about communication, those that are null as the library has them.

    Generations from before training ran on several nodes use what MPI offers.
    """
    library = COMMUNICATES_AS.get(file.library, file.library)
    name = file.communication or (library if library in GENERATIONS else "stock-mpi")
    keys = ("collective", "reduction_by", "reduction_overlap", "packing", "overlap")
    own = Choices(**{key: getattr(file, key) for key in keys}).over(GENERATIONS[name])
    return {"communication": name, **{key: getattr(own, key) for key in keys}}


def _over(base: Document, document: Document) -> Document:
    """The document with what it leaves out taken from ``base``. Mapping files have no nested keys."""
    return replace(document, data={**base.data, **document.data}, origins={**base.origins, **document.origins})


def _one_batch_only(document: Document, file: MappingFile) -> Problem:
    expected = f"nothing, as batch_per_node is {file.batch_per_node}: only one of the two may be set"
    return document.problem(("global_batch",), value=file.global_batch, expected=expected)
