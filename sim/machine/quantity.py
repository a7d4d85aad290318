"""Quantities with units: '64 KiB', '34.1 GB/s', '1.45 GHz', '1 us', '200 cycles', '375 W', '0.286 ns/B'.

Base units are bytes, bytes per second, hertz, seconds, cycles, watts and seconds per byte. KB, MB, GB and TB are
decimal, KiB, MiB, GiB and TiB binary. Decimal arithmetic keeps a parsed value equal to the float one would write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:  # who reads a quantity by itself need not load what checks files
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema

NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*(\S*)\s*", re.ASCII)
LARGEST_WHOLE = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """What a quantity measures. ``units`` gives the size of each unit in base units; the first is the base unit."""

    noun: str
    example: str
    units: Mapping[str, Decimal] = field(hash=False)
    shown: tuple[str, ...]
    """Units used for printing, smallest first."""

    @property
    def base(self) -> str:
        return next(iter(self.units))


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """How one parameter is written: its dimension, whether zero is allowed, whether it is whole in base units.

    Used as metadata of an ``Annotated`` type it makes pydantic parse the text.
    """

    dimension: Dimension
    zero: bool = False
    whole: bool = False

    @property
    def expected(self) -> str:
        """What is expected, in words: "a bandwidth such as '34.1 GB/s'"."""
        return f"{self.dimension.noun} such as '{self.dimension.example}'"

    def parse(self, text: object) -> float:
        """The value in base units, an int where ``whole``. Raises ValueError saying what was expected."""
        if isinstance(text, int | float) and not isinstance(text, bool):
            raise self._wrong("the unit is missing")
        if not isinstance(text, str):
            raise self._wrong()
        match = NUMBER_AND_UNIT.fullmatch(text)
        if match is None:
            raise self._wrong("a plain number and a unit")
        number, unit = match[1], match[2]
        if unit not in self.dimension.units:
            raise self._wrong(self._wrong_unit(unit))
        exact = Decimal(number) * self.dimension.units[unit]
        value = float(exact)
        if exact < 0 or (exact == 0 and not self.zero):
            raise self._wrong("zero or more" if self.zero else "above zero")
        if not isfinite(value) or (value == 0 and exact != 0):
            raise self._wrong("within the range of floating-point numbers")
        if not self.whole:
            return value
        if exact > LARGEST_WHOLE or exact != exact.to_integral_value():
            raise self._wrong(f"a whole number of {self.dimension.base}, at most 2^63 - 1")
        return int(exact)

    def format(self, value: float) -> str:
        """The text that parses back to exactly ``value``, in the largest unit that keeps it at 1 or more."""
        exact = Decimal(repr(value))
        unit = self._unit_for(exact)
        number = exact / self.dimension.units[unit]
        return f"{_plain(number)} {_singular(unit, number)}"

    def round(self, value: float, *, digits: int = 4) -> str:
        """A text for people, rounded to ``digits`` significant digits."""
        unit = self._unit_for(Decimal(repr(value)))
        number = Decimal(f"{Decimal(repr(value)) / self.dimension.units[unit]:.{digits}g}")
        return f"{_plain(number)} {_singular(unit, number)}"

    def _unit_for(self, exact: Decimal) -> str:
        units = self.dimension.units
        binary = [name for name in self.dimension.shown if name.startswith(("Ki", "Mi", "Gi", "Ti"))]
        decimal = [name for name in self.dimension.shown if name not in binary]
        if self.whole and exact != 0 and any(exact % units[name] == 0 for name in binary):
            return max(
                (name for name in self.dimension.shown if exact % units[name] == 0), key=lambda name: units[name]
            )
        fitting = [name for name in decimal if abs(exact) >= units[name] and (name != "h" or exact % units[name] == 0)]
        return fitting[-1] if fitting else self.dimension.base if exact == 0 else decimal[0]

    def _wrong(self, detail: str = "") -> ValueError:
        return ValueError(f"{self.expected} ({detail})" if detail else self.expected)

    def _wrong_unit(self, unit: str) -> str:
        if not unit:
            return "the unit is missing"
        other = next((each for each in DIMENSIONS if unit in each.units), None)
        if other is not None:
            return f"{unit!r} belongs to {other.noun}"
        return f"{unit!r} is not one of {', '.join(self.dimension.units)}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A count without a unit: a whole number of at least ``least``."""

    least: int = 1

    @property
    def expected(self) -> str:
        return f"a whole number of at least {self.least}, without a unit"

    def parse(self, value: object) -> int:
        """The number itself. Raises ValueError saying what was expected."""
        if isinstance(value, bool) or not isinstance(value, int) or not self.least <= value <= LARGEST_WHOLE:
            raise ValueError(self.expected)
        return value

    def format(self, value: float) -> str:
        return str(int(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))


@dataclass(frozen=True, kw_only=True)
class Number:
    """A factor or a part: a number without a unit from ``least`` (or, if ``above``, from above it) to ``most``."""

    expected: str
    least: float = 0
    most: float = LARGEST_WHOLE
    above: bool = False

    def parse(self, value: object) -> float:
        """The number itself. Raises ValueError saying what was expected."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.least <= value <= self.most:
            raise ValueError(self.expected)
        if self.above and value == self.least:
            raise ValueError(self.expected)
        return float(value)

    def format(self, value: float) -> str:
        return f"{value:g}"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Lengths in several dimensions, written '32 x 32 x 40'."""

    expected: str = "lengths such as '32 x 32 x 40', whole numbers of at least 1"

    def parse(self, value: object) -> tuple[int, ...]:
        """The lengths. Raises ValueError saying what was expected."""
        parts = re.split(r"\s*x\s*", value.strip()) if isinstance(value, str) else []
        if not parts or not all(re.fullmatch(r"[1-9]\d{0,8}", part, re.ASCII) for part in parts):
            raise ValueError(self.expected)
        return tuple(int(part) for part in parts)

    def format(self, value: tuple[int, ...]) -> str:
        return " x ".join(str(length) for length in value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.parse, handler(source))


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _singular(unit: str, number: Decimal) -> str:
    return "cycle" if unit == "cycles" and number == 1 else unit


def _powers(*, suffix: str, prefixes: str, alias: Mapping[str, str] | None = None) -> dict[str, Decimal]:
    """Units of 10^3 steps: ``prefixes`` lists the SI prefixes, a dot for none."""
    exponents = {"n": -9, "u": -6, "m": -3, ".": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15}
    units = {prefix.strip(".") + suffix: Decimal(1).scaleb(exponents[prefix]) for prefix in prefixes}
    return units | {name: units[of] for name, of in (alias or {}).items()}


def _bytes(suffix: str) -> dict[str, Decimal]:
    binary = {f"{p}iB{suffix}": Decimal(1024 ** (n + 1)) for n, p in enumerate("KMGT")}
    return _powers(suffix=f"B{suffix}", prefixes=".KMGT", alias={f"kB{suffix}": f"KB{suffix}"}) | binary


SIZE = Dimension(
    noun="a size",
    example="64 KiB",
    units=_bytes(""),
    shown=("B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"),
)
BANDWIDTH = Dimension(
    noun="a bandwidth",
    example="34.1 GB/s",
    units=_bytes("/s"),
    shown=("B/s", "KB/s", "MB/s", "GB/s", "TB/s"),
)
FREQUENCY = Dimension(
    noun="a frequency",
    example="1.45 GHz",
    units=_powers(suffix="Hz", prefixes=".kMG"),
    shown=("Hz", "kHz", "MHz", "GHz"),
)
DURATION = Dimension(
    noun="a duration",
    example="1 us",
    units=_powers(suffix="s", prefixes=".mun", alias={"µs": "us"}) | {"h": Decimal(3600)},
    shown=("ns", "us", "ms", "s", "h"),
)
CYCLES = Dimension(
    noun="a number of cycles",
    example="200 cycles",
    units={"cycles": Decimal(1), "cycle": Decimal(1)},
    shown=("cycles",),
)
POWER = Dimension(
    noun="a power",
    example="375 W",
    units=_powers(suffix="W", prefixes=".kM"),
    shown=("W", "kW", "MW"),
)
TIME_PER_BYTE = Dimension(
    noun="a time per byte",
    example="0.286 ns/B",
    units=_powers(suffix="s/B", prefixes=".mun"),
    shown=("ns/B", "us/B", "ms/B", "s/B"),
)
FLOP_RATE = Dimension(
    noun="a flop rate",
    example="742.4 GFLOPS",
    units=_powers(suffix="FLOPS", prefixes=".KMGTP"),
    shown=("FLOPS", "MFLOPS", "GFLOPS", "TFLOPS", "PFLOPS"),
)
DIMENSIONS = (SIZE, BANDWIDTH, FREQUENCY, DURATION, CYCLES, POWER, TIME_PER_BYTE, FLOP_RATE)

Bytes = Annotated[int, Quantity(dimension=SIZE, whole=True)]
BytesOrZero = Annotated[int, Quantity(dimension=SIZE, whole=True, zero=True)]
BytesPerSecond = Annotated[float, Quantity(dimension=BANDWIDTH)]
Hertz = Annotated[float, Quantity(dimension=FREQUENCY)]
Seconds = Annotated[float, Quantity(dimension=DURATION)]
SecondsOrZero = Annotated[float, Quantity(dimension=DURATION, zero=True)]
CyclesOrZero = Annotated[float, Quantity(dimension=CYCLES, zero=True)]
WholeCycles = Annotated[int, Quantity(dimension=CYCLES, whole=True)]
WholeCyclesOrZero = Annotated[int, Quantity(dimension=CYCLES, whole=True, zero=True)]
Watts = Annotated[float, Quantity(dimension=POWER)]
WattsOrZero = Annotated[float, Quantity(dimension=POWER, zero=True)]
SecondsPerByteOrZero = Annotated[float, Quantity(dimension=TIME_PER_BYTE, zero=True)]
Count = Annotated[int, Whole()]
CountOrZero = Annotated[int, Whole(least=0)]
Factor = Annotated[float, Number(expected="a number of at least 1, without a unit", least=1)]
Share = Annotated[float, Number(expected="a number from 0 to 1, without a unit", most=1)]
Portion = Annotated[float, Number(expected="a number above 0 and up to 1, without a unit", most=1, above=True)]
FlopsPerSecond = Annotated[float, Quantity(dimension=FLOP_RATE)]
Lengths = Annotated[tuple[int, ...], Grid()]
