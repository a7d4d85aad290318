"""Host time and memory of ResNet-50's forward and backward pass, fp32, by both backends against PyTorch's own modules.

NumPy may take 3 times as long as PyTorch and 1.5 times the memory, the torch backend 1.1 times as long. PyTorch has the
order of pixels and channels in which it is faster. Each runs in a process of its own, so that none finds what memory
another has left or split up, and they take turns. Takes the number of images as an argument, 8 by default;
``OMP_NUM_THREADS`` says how many threads all have, 2 by default.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])  # read when NumPy is loaded

import numpy as np
from measure import verdict

from nnlib.backend import Backend
from nnlib.backends import layer_device
from nnlib.batch import Batch
from nnlib.models.resnet import resnet50

IMAGES = 8
ROUNDS = 5
LIMITS = {"numpy": 3.0, "torch": 1.1}
MEMORY_LIMIT = 1.5
FIRST, LAST = "PyTorch, channels first", "PyTorch, channels last"
STEPS_FOR_MEMORY = 2


def plain(count: int, *, channels_last: bool) -> Callable[[], object]:
    """A step of PyTorch's own modules."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy

    class Bottleneck(nn.Module):  # type: ignore[misc]
        """A residual block as He et al. (2016) have it."""

        def __init__(self, ins: int, channels: int, stride: int) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(ins, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, 4 * channels, 1, bias=False),
                nn.BatchNorm2d(4 * channels),
            )
            self.shortcut = nn.Sequential()
            if stride != 1 or ins != 4 * channels:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(ins, 4 * channels, 1, stride, bias=False), nn.BatchNorm2d(4 * channels)
                )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu_(self.branch(x) + self.shortcut(x))

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    stem = (nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    blocks, ins = [], 64
    for repeats, channels, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for number in range(repeats):
            blocks.append(Bottleneck(ins, channels, stride if number == 0 else 1))
            ins = 4 * channels
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(ins, 1000))
    network.to(memory_format=layout)
    images, labels = samples(count)
    x = torch.from_numpy(images.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        cross_entropy(network(x), torch.from_numpy(labels)).backward()

    return step


def own(count: int, *, backend: Backend) -> Callable[[], object]:
    """A step by a backend."""
    model = resnet50()
    device = layer_device(model, backend=backend)
    variables = model.graph.initialise(np.random.default_rng(0), np.dtype(np.float32))
    (given,), (wanted,) = model.graph.inputs, model.targets
    images, labels = samples(count)
    batch = Batch(inputs={given.name: images}, targets={wanted: labels})
    weights = np.ones(count, dtype=np.float32)
    return lambda: device.gradients(variables=variables, batch=batch, weights=weights)


def samples(count: int) -> tuple[Any, Any]:
    """Random images and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, 224, 224, 3)).astype(np.float32), rng.integers(0, 1000, count)


def candidate(name: str, count: int) -> Callable[[], object]:
    """One of what is compared."""
    if name in (FIRST, LAST):
        return plain(count, channels_last=name == LAST)
    return own(count, backend="torch" if name == "torch" else "numpy")


class Runner:
    """A candidate in a process of its own."""

    def __init__(self, name: str, count: int) -> None:
        command = [sys.executable, __file__, str(count), name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.memory = float(self._line())

    def step(self) -> float:
        """Seconds of another step, behind one that finds threads asleep and memory given back."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a candidate ended with {self.process.wait()}")
        return line

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def serve(name: str, count: int) -> None:
    """What a :class:`Runner` runs: the bytes of the first steps, then for each line read the seconds of one of two."""
    step = candidate(name, count)
    before = most_memory()
    for _ in range(STEPS_FOR_MEMORY):
        step()
    print(most_memory() - before, flush=True)
    for _ in sys.stdin:
        step()
        begin = time.perf_counter()
        step()
        print(time.perf_counter() - begin, flush=True)


def measured(count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds and bytes of every candidate."""
    runners = {name: Runner(name, count) for name in (FIRST, LAST, *LIMITS)}
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(ROUNDS):
        for name, runner in runners.items():
            taken[name].append(runner.step())
    for runner in runners.values():
        runner.close()
    return {name: median(each) for name, each in taken.items()}, {n: r.memory for n, r in runners.items()}


def most_memory() -> int:
    """Bytes that the process has had at most. ``getrusage`` would count those of its parent before it began."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def main() -> int:
    """0 if the limits hold, or PyTorch is missing."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        print("skipped: PyTorch is missing (pip install 'taihusim[parity]')")
        return 0
    count = int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    if len(sys.argv) > 2:
        serve(sys.argv[2], count)
        return 0
    seconds, taken = measured(count)
    for name in seconds:
        print(f"{name:<58}{seconds[name]:10.3g} s {taken[name] / 1e9:10.3g} GB")
    fastest = min((FIRST, LAST), key=lambda name: seconds[name])
    held = [
        verdict(f"{name} / PyTorch", seconds[name] / seconds[fastest], limit, "x") for name, limit in LIMITS.items()
    ]
    held.append(verdict("memory, numpy / PyTorch", taken["numpy"] / taken[fastest], MEMORY_LIMIT, "x"))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
