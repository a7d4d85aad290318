"""From a question about an operation to the launches that answer it, or to every reason why none do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Final, cast

from nnlib.kernels.catalogue import OPERATIONS, Operation, Sizes, convolution_of
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.plans import PLANS, Refusal, Task, build
from nnlib.kernels.convolutions.tuner import NoPlan, tune
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.kernel import InfeasiblePlan, UnsuitablePlan
from nnlib.kernels.launch import Launch
from nnlib.precision import DTYPES, DTypeName
from sim.chip.counters import KernelTiming
from sim.chip.memory import MemoryUse
from sim.machine.spec import MachineSpec, ProcessorSpec
from sim.problems import BadInput, Problem, nearest
from taihusim.tile_problem import tile_problem

if TYPE_CHECKING:
    from taihusim.kernel import KernelRequest

MOST_WORK: Final = 1 << 60
"""The product of all sizes; beyond that addresses leave 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request whose words are all known; ``task`` is None for what is no convolution."""

    operation: Operation
    sizes: Sizes
    dtype: DTypeName
    library: Library
    core_groups: int
    plan: str | None
    task: Task | None

    @property
    def memory(self) -> MemoryUse:
        """How the library's jobs use the chip's memory."""
        return replace(GENERATIONS[self.library].memory, active=self.core_groups)


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The kernels of one core group, the one with most to do, and their times."""

    plan: str
    kernels: tuple[str, ...]
    timings: tuple[KernelTiming, ...]
    launches: Callable[[], tuple[Launch, ...]]
    refusals: tuple[Refusal, ...] = ()
    slower: tuple[str, ...] = ()


def checked(processor: ProcessorSpec, request: KernelRequest) -> Question:
    """The request in known words. Raises BadInput with all problems at once."""
    operation = OPERATIONS.get(request.op)
    if operation is None:
        expected = f"one of the operations {', '.join(OPERATIONS)}"
        near = nearest(request.op, OPERATIONS)
        raise BadInput([Problem(file=request.op, key="", value=None, expected=expected, nearest=near)])
    problems = _size_problems(operation, request)
    if not 1 <= request.core_groups <= processor.core_groups:
        expected = f"1 to {processor.core_groups} core groups on {processor.name}"
        problems.append(Problem(file="--core-groups", key="", value=request.core_groups, expected=expected))
    if request.library not in GENERATIONS:
        problems.append(_not_one_of("--library", request.library, GENERATIONS))
    plans = PLANS if operation.convolution is not None else {operation.plan: None}
    if request.plan is not None and request.plan not in plans:
        problems.append(_not_one_of("--plan", request.plan, plans))
    if request.dtype not in DTYPES and not operation.integers:
        expected = f"fp64 or fp32: there are no kernels of integers for {request.op}"
        problems.append(Problem(file="--dtype", key="", value=request.dtype, expected=expected))
    if problems:
        raise BadInput(problems)
    sizes = {**operation.defaults, **request.sizes}
    if prod(max(size, 1) for size in sizes.values()) > MOST_WORK:
        expected = f"sizes whose product is at most {MOST_WORK:,}"
        raise BadInput([Problem(file=request.op, key="", value=None, expected=expected)])
    library = cast(Library, request.library)
    return Question(
        operation=operation,
        sizes=sizes,
        dtype=request.dtype,
        library=library,
        core_groups=request.core_groups,
        plan=request.plan,
        task=_task(operation, sizes, request, library),
    )


def plan(machine: MachineSpec, question: Question, *, clock: KernelClock) -> Planned:
    """The launches and their times. Raises BadInput if the plan asked for, or every plan, cannot do it."""
    task = question.task
    if task is not None and question.plan is None:
        try:
            tuned = tune(task, clock=clock, memory=question.memory)
        except NoPlan as error:
            problems = [_refused(machine, question, each.reason, plan=each.plan) for each in error.refusals]
            raise BadInput(problems) from error
        return Planned(
            plan=tuned.plan,
            kernels=tuned.kernels,
            timings=tuned.timings,
            launches=lambda: build(tuned.plan, task, clock.processor),
            refusals=tuned.refusals,
            slower=tuned.slower,
        )
    with refusals_as_bad_input(machine, question):
        name, launches = named_launches(question, clock.processor)
        timings = tuple(clock.time(launch.kernel, memory=question.memory) for launch in launches)
    kernels = tuple(launch.kernel.name for launch in launches)
    return Planned(plan=name, kernels=kernels, timings=timings, launches=lambda: launches)


def named_launches(question: Question, processor: ProcessorSpec) -> tuple[str, tuple[Launch, ...]]:
    """The plan asked for, or the only one, and its launches. Raises InfeasiblePlan and UnsuitablePlan."""
    operation = question.operation
    if question.task is not None:
        assert question.plan is not None
        return question.plan, build(question.plan, question.task, processor)
    assert operation.build is not None
    share = -(-question.sizes[operation.divided] // question.core_groups)
    sizes = {**question.sizes, operation.divided: share}
    return operation.plan, operation.build(sizes, question.dtype, question.library)


@contextmanager
def refusals_as_bad_input(machine: MachineSpec, question: Question) -> Iterator[None]:
    """A plan that cannot do what is asked is the asker's problem. Raises BadInput in its place."""
    try:
        yield
    except InfeasiblePlan as error:
        raise BadInput([tile_problem(machine, error)]) from error
    except UnsuitablePlan as error:
        raise BadInput([_refused(machine, question, error.reason, plan=question.plan)]) from error


def _size_problems(operation: Operation, request: KernelRequest) -> list[Problem]:
    known = [*operation.needs, *operation.defaults]
    problems = [
        Problem(file=f"--{name}", key="", value=None, expected=f"a number of {meaning} for {request.op}")
        for name, meaning in operation.needs.items()
        if name not in request.sizes
    ]
    return problems + [
        Problem(file=f"--{name}", key="", value=value, expected=f"no such size: {request.op} has {', '.join(known)}")
        for name, value in request.sizes.items()
        if name not in known
    ]


def _task(operation: Operation, sizes: Sizes, request: KernelRequest, library: Library) -> Task | None:
    if operation.convolution is None:
        return None
    try:
        convolution = convolution_of(sizes)
        if min(convolution.ri, convolution.ci) < 1:
            raise ValueError(f"with {convolution.padding} zeros around it no pixel of the image is left to be seen")
    except ValueError as error:
        raise BadInput([Problem(file=request.op, key="", value=None, expected=f"sizes that fit: {error}")]) from error
    return Task(
        convolution=convolution,
        which=operation.convolution,
        dtype=request.dtype,
        library=library,
        core_groups=request.core_groups,
    )


def _not_one_of(option: str, value: str, known: Collection[str]) -> Problem:
    expected = f"one of {', '.join(known)}"
    return Problem(file=option, key="", value=value, expected=expected, nearest=nearest(value, known))


def _refused(machine: MachineSpec, question: Question, reason: str, *, plan: str | None) -> Problem:
    """A plan cannot do what is asked."""
    expected = f"a plan that can do this on {machine.name}: {reason}"
    return Problem(file=f"--library {question.library}", key="", value=plan, expected=expected)
