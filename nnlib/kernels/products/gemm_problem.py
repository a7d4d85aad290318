"""What a GEMM multiplies under which scheme, and what LDM its tiles take."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.kernels.products.gemm_scheme import GemmPlan, GemmScheme
from nnlib.precision import DTYPES, DTypeName
from sim.chip.ldm import aligned

FP64 = DTYPES["fp64"]


@dataclass(frozen=True, kw_only=True)
class GemmProblem:
    """What is to be multiplied, and under which scheme. ``accumulate``: the product is added to c."""

    m: int
    n: int
    k: int
    dtype: DTypeName
    transpose_a: bool
    transpose_b: bool
    accumulate: bool
    scheme: GemmScheme

    @property
    def buffers(self) -> int:
        """Of each operand."""
        return 1 if self.scheme.overlap == "nothing" else 2

    @property
    def reads_ahead(self) -> bool:
        """The next C tile comes under the compute."""
        return self.accumulate and self.scheme.reads_ahead and self.scheme.overlap == "everything"

    @property
    def c_buffers(self) -> int:
        """One is computed in, one is being put and one, if it is read ahead, filled."""
        if self.scheme.overlap != "everything":
            return 1
        return 3 if self.reads_ahead else 2

    @property
    def operands_in_fp64(self) -> bool:
        """fp32 operands have a copy in fp64."""
        return self.dtype == "fp32" and self.scheme.fp32 != "direct"

    @property
    def all_in_fp64(self) -> bool:
        """c too."""
        return self.dtype == "fp32" and self.scheme.fp32 == "all"

    def ldm_bytes(self, plan: GemmPlan) -> int:
        """LDM of the buffers of a, b and c, of the transposed b, and of what is converted to fp64."""
        item = DTYPES[self.dtype].itemsize
        a, b, c = plan.m * plan.k, plan.k * plan.n, plan.m * plan.n
        c_item = FP64.itemsize if self.all_in_fp64 else item  # c is converted in place
        sizes = [*[item * a, item * b] * self.buffers, *[c_item * c] * self.c_buffers]
        if self.transpose_b:
            sizes.append(item * b)
        if self.operands_in_fp64:
            sizes += [FP64.itemsize * a, FP64.itemsize * b]
        return sum(aligned(size) for size in sizes)

    def part(self, plan: GemmPlan, *, left: tuple[int, int, int], mesh: tuple[int, int]) -> GemmPlan:
        """A CPE's part where ``left`` elements are left of m, n and k: clipped to what the scheme's multiples allow."""
        multiples = self.scheme.multiples
        if multiples is None:
            return plan
        rows, columns = mesh
        return GemmPlan(
            m=min(plan.m, raised(-(-left[0] // rows), multiples.m)),
            n=min(plan.n, raised(-(-left[1] // columns), multiples.n)),
            k=min(plan.k, raised(-(-left[2] // columns), multiples.k)),
        )

    def whole_tiles(self, plan: GemmPlan, *, mesh: tuple[int, int]) -> tuple[float, float, float]:
        """How many whole tiles all tiles together amount to along m, n and k, clipped ones in part."""
        rows, columns = mesh
        extents = plan.m * rows, plan.n * columns, plan.k * columns
        full = [-(-length // extent) - 1 for length, extent in zip((self.m, self.n, self.k), extents, strict=True)]
        left = self.m - full[0] * extents[0], self.n - full[1] * extents[1], self.k - full[2] * extents[2]
        last = self.part(plan, left=left, mesh=mesh)
        return full[0] + last.m / plan.m, full[1] + last.n / plan.n, full[2] + last.k / plan.k


def raised(length: int, multiple: int) -> int:
    """The least multiple that is not below ``length``."""
    return -(-length // multiple) * multiple
