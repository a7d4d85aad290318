"""A lowered program: what a core group launches, on which buffers, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Literal, TypeAlias

from nnlib.kernels.kernel import Kernel
from nnlib.parts import Part
from nnlib.precision import STORAGE, DTypeName, StorageName
from sim.chip.memory import AddressSpace, Shape

Phase: TypeAlias = Literal["forward", "recompute", "backward"]
Role: TypeAlias = Literal["input", "parameter", "gradient", "statistic", "activation"]
Layout: TypeAlias = Literal["channels-last", "planar", "pixels-first"]
"""How images lie in a buffer: (batch, rows, columns, channels), Caffe's (batch, channels, rows, columns), or
(rows, columns, channels, batch), the order of implicit convolutions."""


@dataclass(frozen=True)
class Buffer:
    """An array in main memory, stored in ``dtype``, live from launch ``first`` to launch ``last``.

    Inputs, parameters, gradients and statistics live as long as the program. ``shape`` has channels last whatever the
    ``layout``.
    """

    name: str
    shape: Shape
    role: Role
    address: int
    first: int
    last: int
    dtype: StorageName = "fp64"
    layout: Layout = "channels-last"

    @property
    def nbytes(self) -> int:
        return prod(self.shape) * STORAGE[self.dtype].itemsize


@dataclass(frozen=True)
class Launch:
    """One kernel on one core group. ``arguments`` names the buffer of each parameter; shapes may be other views.

    ``part``: what it is for, see :mod:`nnlib.parts`.
    """

    kernel: Kernel
    arguments: Mapping[str, str]
    layer: str
    phase: Phase
    part: Part = "others"


@dataclass(frozen=True)
class Program:
    """The launches of one core group, in order, and their buffers; ``aliases`` are further names of buffers."""

    launches: tuple[Launch, ...]
    buffers: Mapping[str, Buffer]
    aliases: Mapping[str, str]
    dtype: DTypeName

    def buffer(self, name: str) -> Buffer:
        """The buffer behind a name or an alias."""
        return self.buffers[self.aliases.get(name, name)]

    @property
    def memory_bytes(self) -> int:
        """High-water mark of the main memory that the program's buffers take."""
        return self._high_water(self.buffers.values())

    @property
    def certain_bytes(self) -> int:
        """The same of nothing but outputs of layers and what lives as long as the program.

        All else, such as columns and other orders of images, depends on plans that another batch may not have.
        """
        own = (each for each in self.buffers.values() if each.role != "activation" or not set(each.name) & set(".:"))
        return self._high_water(own)

    def _high_water(self, buffers: Iterable[Buffer]) -> int:
        always, change = 0, [0] * (len(self.launches) + 1)
        for buffer in buffers:
            if buffer.role != "activation":
                always += buffer.nbytes
            else:
                change[buffer.first] += buffer.nbytes
                change[buffer.last + 1] -= buffer.nbytes
        return always + max(accumulate(change)) if self.launches else 0

    def dependences(self) -> tuple[frozenset[int], ...]:
        """For each launch the earlier launches whose results it reads or overwrites."""
        writer: dict[str, int] = {}
        readers: dict[str, set[int]] = {}
        found: list[frozenset[int]] = []
        for number, launch in enumerate(self.launches):
            needs: set[int] = set()
            for parameter in launch.kernel.parameters():
                buffer = launch.arguments[parameter.name]
                if buffer in writer:
                    needs.add(writer[buffer])
                if parameter.use != "in":
                    needs |= readers.get(buffer, set())
            for parameter in launch.kernel.parameters():
                buffer = launch.arguments[parameter.name]
                if parameter.use == "in":
                    readers.setdefault(buffer, set()).add(number)
                else:
                    writer[buffer] = number
                    readers[buffer] = set()
            found.append(frozenset(needs - {number}))
        return tuple(found)


class ProgramBuilder:
    """Collects launches and buffers; every launch's arguments are checked against its kernel.

    ``again``: names may be declared a second time, and from then on mean the new buffers; inputs stay what they are.
    """

    def __init__(self, *, dtype: DTypeName, alignment: int) -> None:
        self.dtype = dtype
        self.space = AddressSpace(alignment=alignment)
        self.launches: list[Launch] = []
        self.kernels: dict[Kernel, Kernel] = {}
        self.shapes: dict[str, Shape] = {}
        self.roles: dict[str, Role] = {}
        self.dtypes: dict[str, StorageName] = {}
        self.aliases: dict[str, str] = {}
        self.layouts: dict[str, Layout] = {}
        self.again = False

    def buffer(
        self,
        name: str,
        shape: Shape,
        role: Role = "activation",
        *,
        dtype: StorageName | None = None,
        layout: Layout = "channels-last",
    ) -> str:
        """Declare a buffer, by default of the program's precision; returns its name."""
        stored = self.dtype if dtype is None else dtype
        if self.again and (name in self.shapes or name in self.aliases):
            if role == "input":
                return name
            new = self.fresh(name)
            self.shapes[new], self.roles[new], self.dtypes[new] = shape, "activation", stored
            self.aliases[name], self.layouts[new] = new, layout
            return name
        self._check_new(name)
        self.shapes[name], self.roles[name], self.dtypes[name] = shape, role, stored
        self.layouts[name] = layout
        return name

    def layout(self, name: str) -> Layout:
        """How images lie in the buffer behind a name."""
        return self.layouts[self.resolve(name)]

    def alias(self, name: str, of: str) -> str:
        """Another name of a buffer: the same bytes under another shape."""
        if not self.again:
            self._check_new(name)
        self.aliases[name] = self.resolve(of)
        return name

    def rename(self, name: str, to: str) -> None:
        """From now on ``name`` means the buffer ``to``."""
        self.aliases[name] = self.resolve(to)

    def fresh(self, name: str) -> str:
        """``name``, or with a number behind it if that is taken."""
        number, found = 1, name
        while found in self.shapes or found in self.aliases:
            number += 1
            found = f"{name}:{number}"
        return found

    def shape(self, name: str) -> Shape:
        """The shape of the buffer behind a name."""
        return self.shapes[self.resolve(name)]

    def elements(self, name: str) -> int:
        """Numbers in the buffer behind a name."""
        return prod(self.shape(name))

    def resolve(self, name: str) -> str:
        """The buffer behind a name."""
        return self.aliases.get(name, name)

    def launch(self, kernel: Kernel, *, layer: str, phase: Phase, part: Part = "others", **arguments: str) -> None:
        """Append a launch. Raises ValueError if an argument is missing, of another size or stored otherwise."""
        bound = {name: self.resolve(buffer) for name, buffer in arguments.items()}
        for parameter in kernel.parameters():
            buffer = bound.get(parameter.name)
            if buffer is None or prod(self.shapes[buffer]) != prod(parameter.shape):
                raise ValueError(f"{layer}: {kernel.name} wants {parameter.name} {parameter.shape}, got {buffer}")
            stored = kernel.dtype if parameter.dtype is None else parameter.dtype
            if self.dtypes[buffer] != stored:
                raise ValueError(
                    f"{layer}: {kernel.name} wants {parameter.name} in {stored}, {buffer} is in {self.dtypes[buffer]}"
                )
        kernel = self.kernels.setdefault(kernel, kernel)  # equal ones are one, so that they need be timed once
        self.launches.append(Launch(kernel=kernel, arguments=bound, layer=layer, phase=phase, part=part))

    def finish(self, *, kept: Iterable[str] = ()) -> Program:
        """Place the buffers and return the program; the buffers ``kept`` live to its end."""
        uses: dict[str, list[int]] = {name: [] for name in self.shapes}
        for number, launch in enumerate(self.launches):
            for buffer in launch.arguments.values():
                uses[buffer].append(number)
        for name in kept:
            uses[self.resolve(name)].append(len(self.launches) - 1)
        buffers = {
            name: Buffer(
                name=name,
                shape=shape,
                role=self.roles[name],
                address=self.space.place(name=name, shape=shape, dtype=STORAGE[self.dtypes[name]]).address,
                first=min(uses[name], default=0),
                last=max(uses[name], default=0),
                dtype=self.dtypes[name],
                layout=self.layout(name),
            )
            for name, shape in self.shapes.items()
        }
        return Program(launches=tuple(self.launches), buffers=buffers, aliases=dict(self.aliases), dtype=self.dtype)

    def _check_new(self, name: str) -> None:
        if name in self.shapes or name in self.aliases:
            raise ValueError(f"buffer {name!r} is declared twice")
