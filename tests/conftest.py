"""One thread of BLAS and of PyTorch: pytest's own processes take the cores. Kernel times last for a run of tests."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

if "PYTEST_XDIST_WORKER" not in os.environ:  # workers have the folder of the process that started them
    # what one test has simulated the next need not; tests of kernels do not use it
    kernel_times = TemporaryDirectory(prefix="taihusim-tests-", ignore_cleanup_errors=True)
    os.environ["TAIHUSIM_CACHE"] = kernel_times.name

# `.ci/run` draws the same examples each time, so that what landed once lands again; others search on at random
settings.register_profile("ci", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
