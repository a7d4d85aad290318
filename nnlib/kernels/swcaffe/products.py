"""The matrix products of swCaffe's layers by version of the framework."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from nnlib.kernels.generations import Library
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.products.gemm_scheme import SWGEMM_CONVERTED, GemmPlan, GemmScheme
from nnlib.precision import DTypeName

Version: TypeAlias = Literal["swcaffe-2018", "swcaffe-2019"]

SCHEME: Final = GemmScheme(library="swcaffe-2018", schedule="swcaffe-2018", overlap="depth", fp32="direct")
"""The fp32 micro-kernel of ``gemm_float.S``; operands of the next k-range come under the compute."""
CUBE: Final = GemmPlan(m=32, n=32, k=32)
"""256 × 256 × 256 on the mesh, whatever the layer: equal sides, the largest power of two that fits the LDM."""


@dataclass(frozen=True)
class Products:
    """Products by a version: one cube of tiles for all in 2018, swGEMM with searched tiles in 2019 (THESIS ch. 4)."""

    version: Version
    dtype: DTypeName

    @property
    def library(self) -> Library:
        return "swcaffe-2018" if self.version == "swcaffe-2018" else "autotuned-2019"

    def gemm(
        self,
        m: int,
        n: int,
        k: int,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        accumulate: bool = False,
    ) -> Gemm:
        """A product in the way of the version."""
        scheme, plan = SWGEMM_CONVERTED, None
        if self.version == "swcaffe-2018":
            scheme, plan = SCHEME, CUBE
        return Gemm(
            m=m, n=n, k=k, dtype=self.dtype, transpose_a=transpose_a, transpose_b=transpose_b, library=self.library,
            scheme=scheme, plan=plan, accumulate=accumulate,
        )  # fmt: skip
