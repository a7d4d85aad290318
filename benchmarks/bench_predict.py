"""Processor time and memory of predicting a step of ResNet-50 on all 40,960 nodes.

Cold: a new process, imports included, at most 1.0 s, where it finds the node's step on disk, where it finds no more
than the times of kernels and what has been read before, and where the workload has not even been read. Warm: again in
the same process, at most 50 ms with equal ranks, at most 2 s with a clock of its own for each rank, under 500 MB.
Beside them what they replace: the node's program lowered and timed kernel by kernel, and every all-reduce of the step
by itself.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from statistics import median

from measure import verdict

from machine_configs import DEFAULT_MACHINE
from nnlib.kernels.store import KernelStore
from taihusim.cache import VARIABLE, default_store
from taihusim.descriptions import described_machine, described_mapping
from taihusim.node_programs import training_node
from taihusim.node_steps import NodeSteps
from taihusim.options import Settings
from taihusim.planning import plan_steps
from taihusim.predict import Predictor
from taihusim.setup import prepare, setup_of
from taihusim.workload_source import WorkloadSource
from workloads.jobs.gradients import communicator
from workloads.mapping import DEFAULT_MAPPING

NODES = 40_960
ROUNDS = 5
COLD_LIMIT, WARM_LIMIT, NOISE_LIMIT = 1.0, 0.05, 2.0
BYTES_LIMIT = 500e6
MEASURE_MEMORY, TIME_KERNELS, DESCRIBE = "--memory", "--kernels", "--workload"
COMMAND = ("-m", "taihusim", "predict", "resnet50", "--nodes", str(NODES), "--target", "training", "--json")


def steps_of(*, store: KernelStore | None) -> NodeSteps:
    """Node steps of ResNet-50 with what is kept in ``store``."""
    steps = plan_steps(workload="resnet50", machine="sunway_taihulight", mapping="default", settings=Settings())
    steps.store = store
    return steps


def median_seconds(
    call: Callable[[], object], *, rounds: int = ROUNDS, before: Callable[[], object] = lambda: None
) -> float:
    """Processor seconds of a call, its child processes included; what waits for other programs' turns is not ours.

    ``before`` each call something else, which does not count.
    """
    taken = []
    for _ in range(rounds):
        before()
        begin = processor_seconds()
        call()
        taken.append(processor_seconds() - begin)
    return median(taken)


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def predict_again(steps: NodeSteps, *, seed: int | None = None, forget: bool = False) -> None:
    """A new prediction from the node's step and, unless they are to be forgotten, collectives that were the same."""
    node = steps.training(steps.facts.batch_per_node)
    steps.known = {name: kept for name, kept in steps.known.items() if kept is node}
    steps.store = None
    if forget:
        steps.communicators.clear()
    Predictor(steps, seed=seed).training(NODES)


def predict_plainly(steps: NodeSteps) -> None:
    """Everything anew but the kernels' times on disk, every collective by itself."""
    plain = NodeSteps(
        machine=steps.machine, mapping=steps.mapping, source=steps.source, prepare=steps.prepare, store=None
    )
    plain.communicators[NODES] = communicator(machine=plain.machine, mapping=plain.mapping, nodes=NODES, item_bytes=8)
    plain.communicators[NODES].remember = False
    Predictor(plain).training(NODES)


def new_process(*arguments: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout


def measure_memory() -> int:
    """What the fresh process does."""
    Predictor(steps_of(store=default_store()), seed=1).training(NODES)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return 0


def time_kernels() -> int:
    """Put the times of the step's kernels on disk and the machine on which they are, but not the workload."""
    source, store = WorkloadSource(name="resnet50"), default_store()
    machine, mapping = described_machine(DEFAULT_MACHINE, store=store), described_mapping(DEFAULT_MAPPING, store=store)
    setup = setup_of(machine=machine, mapping=mapping, workload=source.load(), source=source)
    training_node(setup, samples=setup.samples_per_node(NODES))
    return 0


def describe() -> int:
    """Put what the workload is on disk, too."""
    prepare(workload="resnet50")
    return 0


def only_what_is_in(folder: str) -> None:
    """A disk store that has what the one in ``folder`` has."""
    shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)
    shutil.copytree(folder, os.environ[VARIABLE])


def main() -> int:
    if TIME_KERNELS in sys.argv[1:]:
        return time_kernels()
    if MEASURE_MEMORY in sys.argv[1:]:
        return measure_memory()
    if DESCRIBE in sys.argv[1:]:
        return describe()
    with tempfile.TemporaryDirectory() as folder:
        # as a package that pip has installed: its modules are compiled once, whatever they are run from here
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        kernels = os.environ[VARIABLE] = f"{folder}/kernels"
        new_process(__file__, TIME_KERNELS)
        os.environ[VARIABLE] = f"{folder}/copy"
        from_kernels = median_seconds(lambda: new_process(*COMMAND), before=lambda: only_what_is_in(kernels))
        os.environ[VARIABLE] = described = shutil.copytree(kernels, f"{folder}/described")
        new_process(__file__, DESCRIBE)
        os.environ[VARIABLE] = f"{folder}/copy"
        from_both = median_seconds(lambda: new_process(*COMMAND), before=lambda: only_what_is_in(described))
        os.environ[VARIABLE] = f"{folder}/all"
        print(f"nothing on disk: {median_seconds(lambda: new_process(*COMMAND), rounds=1):.1f} s")
        memory = int(new_process(__file__, MEASURE_MEMORY))
        cold = median_seconds(lambda: new_process(*COMMAND))
        empty = median_seconds(lambda: new_process("-c", "import numpy, pydantic, click, yaml"))
        print(f"a new process that only imports NumPy, pydantic, click and PyYAML: {empty:.2f} s")
        steps = steps_of(store=default_store())
        steps.timing(steps.facts.batch_per_node, NODES)
        warm = median_seconds(lambda: predict_again(steps))
        noise = median_seconds(lambda: predict_again(steps, seed=1, forget=True))
        plain = median_seconds(lambda: predict_plainly(steps), rounds=1)
    print(f"in process, lowered and timed anew from kernels on disk, all ranks' clocks: {plain:.2f} s")
    held = verdict("cold, node step on disk", cold, COLD_LIMIT, " s")
    held &= verdict("cold, kernels on disk", from_both, COLD_LIMIT, " s")
    held &= verdict("cold, kernels on disk, the workload new", from_kernels, COLD_LIMIT, " s")
    held &= verdict("warm, equal ranks", warm, WARM_LIMIT, " s")
    held &= verdict("warm, a clock for each rank", noise, NOISE_LIMIT, " s")
    held &= verdict("peak memory of a fresh process", memory / 1e6, BYTES_LIMIT / 1e6, " MB")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
