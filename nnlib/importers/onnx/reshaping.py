"""Reshapes: numbers stay in their order, and the batch is found again among the new axes."""

from __future__ import annotations

from math import prod

from nnlib.importers.onnx.importer import Importer, attribute, rule
from nnlib.importers.onnx.values import Operator, Tensor, Unsupported, groups_of
from nnlib.layers.layer import Shape

Factors = list[tuple[int, int]]
"""Numbers and lengths of factors."""


@rule("Reshape")
def reshape(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    wanted = [int(each) for each in importer.known(operator, 1).array]
    shape = x.shape
    if not attribute(operator, "allowzero", 0):
        wanted = [shape[axis] if length == 0 else length for axis, length in enumerate(wanted)]
    if -1 in wanted:
        rest = prod(length for length in wanted if length != -1)
        wanted[wanted.index(-1)] = prod(shape) // rest if rest else 0
    importer.set(operator, reshaped_to(importer, operator, x, tuple(wanted)))


@rule("Flatten")
def flatten(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    axis = attribute(operator, "axis", 1)
    axis = axis + x.rank if axis < 0 else axis
    importer.set(operator, reshaped_to(importer, operator, x, (prod(x.shape[:axis]), prod(x.shape[axis:]))))


@rule("DepthToSpace", "SpaceToDepth")
def depth_to_space(importer: Importer, operator: Operator) -> None:
    x = importer.tensor(operator)
    if x.rank != 4 or not x.plain:
        raise Unsupported(f"its input has the shape {x.shape}")
    samples, channels, height, width = x.shape
    size = int(operator.attributes["blocksize"])
    if operator.type == "SpaceToDepth":
        blocks = reshaped_to(importer, operator, x, (samples, channels, height // size, size, width // size, size))
        moved = blocks.permuted((0, 3, 5, 1, 2, 4))
        shape = (samples, channels * size * size, height // size, width // size)
    else:
        less = channels // (size * size)
        first = attribute(operator, "mode", "DCR") == "DCR"
        split = (samples, size, size, less) if first else (samples, less, size, size)
        blocks = reshaped_to(importer, operator, x, (*split, height, width))
        moved = blocks.permuted((0, 3, 4, 1, 5, 2) if first else (0, 1, 4, 2, 5, 3))
        shape = (samples, less, height * size, width * size)
    importer.set(operator, reshaped_to(importer, operator, moved, shape))


def reshaped_to(importer: Importer, operator: Operator, x: Tensor, shape: Shape) -> Tensor:
    """``x`` under another ONNX shape. Raises Unsupported where that moves numbers between samples."""
    if prod(shape) != prod(x.shape) or not shape:
        raise Unsupported(f"it makes {shape} of {x.shape}")
    place = x.order[0]
    factors = x.factors
    axis, before, behind = _batch_in(x, shape)
    ahead = (*shape[:axis], *((before,) if before > 1 else ()))
    after = (*((behind,) if behind > 1 else ()), *shape[axis + 1 :])
    groups = groups_of(1 + (before > 1) + (behind > 1) if number == axis else 1 for number in range(len(shape)))
    numbered = list(enumerate((*ahead, x.stored[0], *after)))
    old = list(enumerate(factors))
    blocks = [
        *_blocks(old[:place], numbered[: len(ahead)]),
        *_blocks(old[place + 1 :], numbered[len(ahead) + 1 :]),
    ]
    laid = _in_blocks(x, blocks)
    if laid is None:
        x = importer.natural(operator, x)
        laid = [number for number, n in (*numbered[: len(ahead)], *numbered[len(ahead) + 1 :]) if n != 1]
    ones = [number for number, length in numbered if length == 1 and number != len(ahead)]
    order = (len(ahead), *ones, *laid)
    lengths = dict(numbered)
    return importer.reshaped(operator, x, tuple(lengths[number] for number in order), order, groups)


def _batch_in(x: Tensor, shape: Shape) -> tuple[int, int, int]:
    """The axis of ``shape`` with the batch, and how many numbers of it are before and behind the batch.

    Where a batch of one sample could be at several places, it is rather an axis of its own, rather first in its axis
    with others, and rather not among the features, which are last.
    """
    samples = x.stored[0]
    ahead = prod(x.factors[: x.order[0]])
    found = []
    done = 1
    for axis, length in enumerate(shape):
        before, left = divmod(ahead, done)
        if not left and length % (before * samples) == 0:
            behind = length // (before * samples)
            last = axis == len(shape) - 1 and behind > 1 and len(shape) > 1
            found.append((before * behind > 1, last, before > 1, axis, before, behind))
        done *= length
    if not found:
        raise Unsupported(f"it makes {shape} of {x.shape}, which moves numbers between samples")
    *_, axis, before, behind = min(found)
    return axis, before, behind


def _blocks(old: Factors, new: Factors) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of factors that have as many numbers before and after; those of length 1 left out."""
    left, right = ([each for each in part if each[1] != 1] for part in (old, new))
    found: list[tuple[list[int], list[int]]] = []
    while left or right:
        taken, made = [left.pop(0)], [right.pop(0)]
        while (a := prod(n for _, n in taken)) != (b := prod(n for _, n in made)):
            if a < b:
                taken.append(left.pop(0))
            else:
                made.append(right.pop(0))
        found.append(([number for number, _ in taken], [number for number, _ in made]))
    return found


def _in_blocks(x: Tensor, blocks: list[tuple[list[int], list[int]]]) -> list[int] | None:
    """The new factors in the order in which ``x`` lies; None where a block does not lie together."""
    factors = x.factors
    stored = [factor for factor in x.order[1:] if factors[factor] != 1]
    by_first = {taken[0]: (taken, made) for taken, made in blocks}
    found: list[int] = []
    while stored:
        taken, made = by_first.get(stored[0], ([], []))
        if not taken or stored[: len(taken)] != taken:
            return None
        found += made
        del stored[: len(taken)]
    return found
