"""How far predictions are from measurements: one report per table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import mean, median

from sim.machine.spec import MachineSpec
from taihusim.validation.groups import GROUPS, Group
from taihusim.validation.inputs import Predictor, Unpredictable
from taihusim.validation.subsets import FLOORS, SUBSETS, Subset
from taihusim.validation.table import Row, Table

NO_PREDICTOR = "no predictor yet"
SHARE = "%"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A predicted row; ``error`` is positive where too much was predicted."""

    row: Row
    predicted: float

    @property
    def error(self) -> float:
        """Fraction of the measured value; percentage points where that is itself a share."""
        difference = self.predicted - self.row.measured
        return difference if self.row.unit == SHARE else difference / abs(self.row.measured)


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """All rows of a table: compared, uncovered with a reason, or excluded because 0 was measured.

    ``subset``: the rows that the accepted error is taken over, if not all. ``groups``: reports of parts, by name.
    """

    name: str
    rows: int
    compared: tuple[Comparison, ...]
    uncovered: tuple[tuple[Row, str], ...]
    excluded: int
    unit_of_error: str
    subset: Subset | None = None
    groups: tuple[tuple[str, TableReport], ...] = ()

    @property
    def errors(self) -> tuple[float, ...]:
        return tuple(each.error for each in self.compared)

    @property
    def mean_abs_error(self) -> float | None:
        return mean(map(abs, self.errors)) if self.compared else None

    @property
    def median_abs_error(self) -> float | None:
        return median(map(abs, self.errors)) if self.compared else None

    @property
    def p95_abs_error(self) -> float | None:
        """The smallest error that 95 % of the rows do not exceed."""
        ordered = sorted(map(abs, self.errors))
        return ordered[-(-19 * len(ordered) // 20) - 1] if ordered else None

    @property
    def max_abs_error(self) -> float | None:
        return max(map(abs, self.errors)) if self.compared else None

    @property
    def bias(self) -> float | None:
        """Mean error with its sign."""
        return mean(self.errors) if self.compared else None

    @property
    def of_subset(self) -> TableReport | None:
        """The report of the declared subset alone."""
        if self.subset is None:
            return None
        compared = tuple(each for each in self.compared if self.subset.contains(each.row.inputs))
        uncovered = tuple((row, why) for row, why in self.uncovered if self.subset.contains(row.inputs))
        return replace(
            self,
            rows=len(compared) + len(uncovered),
            compared=compared,
            uncovered=uncovered,
            excluded=0,
            subset=None,
            groups=(),
        )

    def as_json(self) -> dict[str, object]:
        """Plain values; errors are null where nothing is covered, what is said of a subset where none is declared."""
        of_subset = self.of_subset
        return {
            "name": self.name,
            "rows": self.rows,
            "covered": len(self.compared),
            "excluded_zero": self.excluded,
            "mean_abs_error": self.mean_abs_error,
            "median_abs_error": self.median_abs_error,
            "p95_abs_error": self.p95_abs_error,
            "max_abs_error": self.max_abs_error,
            "bias": self.bias,
            "unit_of_error": self.unit_of_error,
            "accepted_subset": self.subset and self.subset.words,
            "subset_rows": of_subset and of_subset.rows,
            "subset_covered": of_subset and len(of_subset.compared),
            "subset_mean_abs_error": of_subset and of_subset.mean_abs_error,
            "subset_max_abs_error": of_subset and of_subset.max_abs_error,
            "subset_bias": of_subset and of_subset.bias,
            "groups": [
                {
                    "name": name,
                    "rows": group.rows,
                    "covered": len(group.compared),
                    "mean_abs_error": group.mean_abs_error,
                    "max_abs_error": group.max_abs_error,
                    "bias": group.bias,
                }
                for name, group in self.groups
            ],
            "uncovered": [{"row": dict(row.inputs), "line": row.line, "reason": why} for row, why in self.uncovered],
        }


def compare(
    table: Table,
    *,
    machine: MachineSpec,
    predictors: Mapping[str, Predictor],
    say: Callable[[int], None] = lambda _: None,
) -> TableReport:
    """Predict every row of ``table`` from its inputs alone; ``say`` is told how many rows are done."""
    report = _compare(table, machine=machine, predictor=predictors.get(table.name), say=say)
    groups = tuple(
        (group.words, _of_group(group, table, report, machine))
        for group in GROUPS.get(table.name, ())
        if report.compared and any(group.contains(row.inputs) for row in table.rows)
    )
    return replace(report, subset=SUBSETS.get(table.name), groups=groups)


def _compare(
    table: Table, *, machine: MachineSpec, predictor: Predictor | None, say: Callable[[int], None] = lambda _: None
) -> TableReport:
    floor = FLOORS.get(table.name)
    compared: list[Comparison] = []
    uncovered: list[tuple[Row, str]] = []
    excluded = 0
    for number, row in enumerate(table.rows):
        if row.measured == 0:
            excluded += 1
        elif predictor is None:
            uncovered.append((row, NO_PREDICTOR))
        elif floor is not None and row.measured < floor.least:
            uncovered.append((row, floor.words))
        else:
            try:
                compared.append(Comparison(row=row, predicted=predictor(row.inputs, machine)))
            except Unpredictable as reason:
                uncovered.append((row, str(reason)))
        say(number + 1)
    return TableReport(
        name=table.name,
        rows=len(table.rows),
        compared=tuple(compared),
        uncovered=tuple(uncovered),
        excluded=excluded,
        unit_of_error=_unit_of_error(row.unit for row in table.rows),
    )


def _of_group(group: Group, table: Table, whole: TableReport, machine: MachineSpec) -> TableReport:
    """The group's rows from the whole table's report, or predicted anew by its own predictor."""
    if group.predictor is None:
        return replace(whole, subset=Subset(words=group.words, contains=group.contains)).of_subset or whole
    rows = tuple(row for row in table.rows if group.contains(row.inputs))
    return _compare(replace(table, rows=rows), machine=machine, predictor=group.predictor)


def _unit_of_error(units: Iterable[str]) -> str:
    shares = {unit == SHARE for unit in units}
    if shares == {True}:
        return "percentage points"
    return "fraction" if True not in shares else "fraction; percentage points of shares"
