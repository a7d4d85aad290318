"""One thread of BLAS and of PyTorch: pytest's own processes take the cores. No kernel times on disk."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TAIHUSIM_CACHE"] = "off"

# `.ci/run` draws the same examples each time, so that what landed once lands again; others search on at random
settings.register_profile("ci", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
