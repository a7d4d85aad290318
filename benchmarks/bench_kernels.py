"""Host time of timing every distinct kernel of one ResNet-50 training step, its convolution plans tuned.

Cold: nothing on disk, every plan that could win is simulated. Warm: a new process that finds the times on disk. The
shapes are in resnet50.yaml: all convolutions with both gradients, the linear layer, activations, pooling, additions of
the shortcuts, loss and weight updates, in fp32, on one core group of the machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from measure import verdict

from machine_configs import DEFAULT_MACHINE
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.convolution import PASSES, Convolution
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.convolutions.tuner import tune
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise, SumCopies
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.window import Window
from nnlib.precision import DTypeName
from sim.machine.load import load_machine
from taihusim.cache import VARIABLE, default_store

SHAPES = Path(__file__).with_name("resnet50.yaml")
DTYPE: DTypeName = "fp32"
COLD_SECONDS_LIMIT = 20.0
WARM_SECONDS_LIMIT = 0.05
WARM_ROUNDS = 5
ONCE = "--once"


def tasks(shapes: dict[str, Any]) -> list[Task]:
    """Every convolution, forward and both gradients; the images need no gradient."""
    found = []
    for number, each in enumerate(shapes["convolutions"]):
        convolution = Convolution(
            batch=shapes["batch"],
            ni=each["inputs"],
            no=each["outputs"],
            ri=each["size"],
            ci=each["size"],
            kr=each["k"],
            kc=each["k"],
            stride=each["stride"],
            padding=each["padding"],
        )
        found += [
            Task(convolution=convolution, which=which, dtype=DTYPE)
            for which in PASSES
            if number > 0 or which != "input_gradient"
        ]
    return found


def kernels(shapes: dict[str, Any]) -> list[Kernel]:
    """Every other kernel."""
    batch, pool, linear = shapes["batch"], shapes["pool"], shapes["linear"]
    ins, outs = linear["inputs"], linear["outputs"]
    window = Window(batch, pool["size"], pool["size"], pool["channels"], (pool["k"], pool["k"]), pool["stride"])
    found: list[Kernel] = [
        Gemm(m=batch, n=outs, k=ins, dtype=DTYPE),
        Gemm(m=batch, n=ins, k=outs, dtype=DTYPE, transpose_b=True),
        Gemm(m=ins, n=outs, k=batch, dtype=DTYPE, transpose_a=True),
        MaxPool(window, DTYPE),
        MaxPoolGradient(window, DTYPE),
        SoftmaxCrossEntropy(batch, outs, DTYPE),
    ]
    for each in shapes["tensors"]:
        elements = batch * each["size"] ** 2 * each["channels"]
        found += [Elementwise("relu", elements, DTYPE), Elementwise("relu_gradient", elements, DTYPE)]
        found.append(SumCopies(2, elements, DTYPE))
    weights = {each["inputs"] * each["outputs"] * each["k"] ** 2 for each in shapes["convolutions"]} | {ins * outs}
    return found + [Elementwise("nesterov", elements, DTYPE) for elements in sorted(weights)]


def once() -> None:
    """Time everything and say how long that took, after all imports."""
    shapes = yaml.safe_load(SHAPES.read_text(encoding="utf-8"))
    processor = load_machine(DEFAULT_MACHINE).processor
    begin = time.perf_counter()
    clock = KernelClock(processor, store=default_store())
    tuned = [tune(task, clock=clock) for task in tasks(shapes)]
    timings = [clock.time(kernel) for kernel in kernels(shapes)]
    seconds = time.perf_counter() - begin
    plans = Counter(each.plan for each in tuned)
    print(json.dumps({"seconds": seconds, "kernels": len(tuned) + len(timings), "plans": plans}))


def run(folder: str) -> dict[str, Any]:
    """The same in a process of its own, with kernel times in ``folder``."""
    environment = os.environ | {VARIABLE: folder, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__, ONCE], env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        cold = run(folder)
        warm = min(run(folder)["seconds"] for _ in range(WARM_ROUNDS))
    print(f"{cold['kernels']} kernels of a ResNet-50 training step; plans chosen: {cold['plans']}")
    holds = verdict("cold, plans tuned by simulation", cold["seconds"], COLD_SECONDS_LIMIT, " s")
    return 0 if verdict("warm, from disk, new process", warm, WARM_SECONDS_LIMIT, " s") and holds else 1


if __name__ == "__main__":
    if ONCE in sys.argv:
        once()
    else:
        sys.exit(main())
