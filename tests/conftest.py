"""One BLAS thread, as the command line has it: pytest's own processes take the cores. No kernel times on disk."""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["TAIHUSIM_CACHE"] = "off"
