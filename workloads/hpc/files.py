"""Workload files of programs that are no networks: found by name or path, checked by their kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from nnlib.kernels.grids.weather_step import Dynamics
from sim.document import Document, apply_settings, read_document
from sim.named_files import find_file
from sim.network.allreduce import ALGORITHMS
from sim.problems import BadInput, nearest
from sim.validation import validate
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.climate_spec import ClimateWorkload
from workloads.hpc.hpl_spec import HplMapping, HplWorkload, fitting_leaf
from workloads.hpc.names import shipped_programs
from workloads.hpc.schema import ClimateFile, HpcgFile, HplFile

Program: TypeAlias = HplWorkload | HpcgWorkload | ClimateWorkload

KIND_OF: Final[Mapping[type[Program], str]] = MappingProxyType(
    {HplWorkload: "hpl", HpcgWorkload: "hpcg", ClimateWorkload: "climate"}
)
KINDS: Final = tuple(KIND_OF.values())


def list_programs() -> tuple[str, ...]:
    """The names of the programs that come with the package."""
    return tuple(shipped_programs())


def load_program(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Program:
    """The program of a shipped name or of a file, changed by settings such as ``mapping.broadcast=ring``.

    Raises BadInput with every problem found.
    """
    shipped = shipped_programs()
    path = find_file(name_or_path, shipped=shipped, noun="programs")
    document = read_document(path, named=shipped)
    kind = document.data.get("kind")
    if kind not in KINDS:
        expected = f"a kind of program ({', '.join(KINDS)})"
        near = nearest(str(kind), KINDS)
        raise BadInput([document.problem(("kind",), expected=expected, value=kind, nearest=near)])
    match kind:
        case "hpl":
            return _hpl(path.stem, document, overrides)
        case "hpcg":
            return _hpcg(path.stem, document, overrides)
    return _climate(path.stem, document, overrides)


def _hpl(name: str, document: Document, overrides: Sequence[str]) -> HplWorkload:
    document = apply_settings(document, overrides, model=HplFile, noun="workload")
    file = validate(document, HplFile)
    block, leaf = file.problem.block, file.mapping.leaf
    if fitting_leaf(block, leaf) != leaf:
        expected = f"the block of {block} halved as often as wanted"
        raise BadInput([document.problem(("mapping", "leaf"), expected=expected, value=leaf)])
    return HplWorkload(
        name=name,
        title=file.title,
        order=file.problem.order,
        order_nodes=file.problem.order_nodes,
        block=block,
        mapping=HplMapping(**file.mapping.model_dump()),
    )


def _hpcg(name: str, document: Document, overrides: Sequence[str]) -> HpcgWorkload:
    document = apply_settings(document, overrides, model=HpcgFile, noun="workload")
    file = validate(document, HpcgFile)
    problems = []
    if any(points % 2**file.levels for points in file.points):
        expected = f"multiples of {2**file.levels}, so that all {file.levels} levels have even numbers of points"
        problems.append(document.problem(("points",), expected=expected, value=file.points))
    if file.mapping.collective not in ALGORITHMS:
        near = nearest(file.mapping.collective, ALGORITHMS)
        expected = f"an all-reduce algorithm ({', '.join(ALGORITHMS)})"
        value = file.mapping.collective
        problems.append(document.problem(("mapping", "collective"), expected=expected, value=value, nearest=near))
    if problems:
        raise BadInput(problems)
    return HpcgWorkload(
        name=name, title=file.title, points=file.points, levels=file.levels, **file.mapping.model_dump()
    )


def _climate(name: str, document: Document, overrides: Sequence[str]) -> ClimateWorkload:
    document = apply_settings(document, overrides, model=ClimateFile, noun="workload")
    file = validate(document, ClimateFile)
    return ClimateWorkload(
        name=name,
        title=file.title,
        network=file.network,
        windows=file.windows,
        steps=file.steps,
        dynamics=Dynamics(**file.dynamics.model_dump()),
        persistent_threads=file.mapping.persistent_threads,
        stripes=file.mapping.stripes,
        stripe_bytes=file.mapping.stripe,
    )
