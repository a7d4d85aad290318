"""Attention by heads as kernels: forward, the gradient by queries, the gradients by keys and values.

No kernel keeps the scores: each block of them is made, used and forgotten in the LDM, and the gradients make them again
from the log-sum-exp that the forward kernel leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnlib.kernels.attention.attention_forward import AttentionForward, forward_blocks
from nnlib.kernels.attention.attention_key_gradient import KeyGradient, key_gradient_blocks
from nnlib.kernels.attention.attention_query_gradient import QueryGradient, query_gradient_blocks
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.generations import DEFAULT_LIBRARY, Library
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.ops.attention import attention_backward, attention_forward
from nnlib.precision import DTypeName
from sim.chip.memory import Array

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True)
class Attention:
    """``out = softmax(scale·query·keyᵀ + mask)·value`` (batch, Tq, heads, dv), and ``logs`` (batch, heads, Tq).

    ``query`` (batch, Tq, heads, d), ``key`` and ``value`` (batch, Tk, heads, d or dv); ``logs``: log-sum-exp of the
    scores, which the gradients need.
    """

    shape: AttentionShape
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "attention"

    @property
    def dtype(self) -> DTypeName:
        return self.shape.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        return (
            *shape.inputs,
            Parameter("out", shape.queries_shape(shape.value_depth), "out"),
            Parameter("logs", shape.scores_shape[:3], "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By whole arrays."""
        shape, arrays = self.shape, self.shape.unpacked_arrays(arrays)
        query, key, value = (_flat(arrays[name]) for name in ("query", "key", "value"))
        out, logs = attention_forward(
            query, key, value, heads=shape.heads, masking=shape.masking(arrays), scale=shape.scale
        )
        arrays["out"][...] = out.reshape(arrays["out"].shape)
        arrays["logs"][...] = logs

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""
        blocks = forward_blocks(
            shape=self.shape, library=self.library, kernel=self.name, processor=core_group.processor
        )
        AttentionForward(shape=self.shape, blocks=blocks, core_group=core_group, arguments=arguments).run()


@dataclass(frozen=True)
class AttentionQueryGradient:
    """``grad_query`` from ``grad_out``.

    ``delta`` (batch, heads, Tq): each row's ``grad_out · out``, which the other gradients need. ``mask_gradient``: also
    ``grad_mask`` (batch, heads, Tq, Tk), the gradient by the scores.
    """

    shape: AttentionShape
    mask_gradient: bool = False
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "attention_query_gradient"

    @property
    def dtype(self) -> DTypeName:
        return self.shape.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        found = [
            *shape.inputs,
            Parameter("out", shape.queries_shape(shape.value_depth), "in"),
            Parameter("logs", shape.scores_shape[:3], "in"),
            Parameter("grad_out", shape.queries_shape(shape.value_depth), "in"),
            Parameter("grad_qkv", shape.packed_shape, "out")
            if shape.packed
            else Parameter("grad_query", shape.queries_shape(shape.depth), "out"),
            Parameter("delta", shape.scores_shape[:3], "out"),
        ]
        if self.mask_gradient:
            found.append(Parameter("grad_mask", shape.scores_shape, "out"))
        return tuple(found)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By whole arrays."""
        arrays = self.shape.unpacked_arrays(arrays)
        arrays["delta"][...] = (arrays["grad_out"] * arrays["out"]).sum(axis=3).transpose(0, 2, 1)
        if self.mask_gradient:
            arrays["grad_mask"][...] = 0
        grad_query, _, _ = whole_gradients(self.shape, arrays, arrays.get("grad_mask"))
        arrays["grad_query"][...] = grad_query.reshape(arrays["grad_query"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""
        blocks = query_gradient_blocks(
            shape=self.shape, library=self.library, kernel=self.name, processor=core_group.processor
        )
        QueryGradient(
            shape=self.shape,
            blocks=blocks,
            core_group=core_group,
            arguments=arguments,
            mask_gradient=self.mask_gradient,
        ).run()


@dataclass(frozen=True)
class AttentionKeyValueGradient:
    """``grad_key`` and ``grad_value`` from ``grad_out``, ``logs`` and ``delta``."""

    shape: AttentionShape
    library: Library = DEFAULT_LIBRARY

    @property
    def name(self) -> str:
        return "attention_key_value_gradient"

    @property
    def dtype(self) -> DTypeName:
        return self.shape.dtype

    def parameters(self) -> tuple[Parameter, ...]:
        shape = self.shape
        found = [
            *shape.inputs,
            Parameter("logs", shape.scores_shape[:3], "in"),
            Parameter("grad_out", shape.queries_shape(shape.value_depth), "in"),
            Parameter("delta", shape.scores_shape[:3], "in"),
        ]
        if shape.packed:  # the gradient by queries is there already
            return (*found, Parameter("grad_qkv", shape.packed_shape, "inout"))
        return (
            *found,
            Parameter("grad_key", shape.keys_shape(shape.depth), "out"),
            Parameter("grad_value", shape.keys_shape(shape.value_depth), "out"),
        )

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """By whole arrays."""
        arrays = self.shape.unpacked_arrays(arrays)
        _, grad_key, grad_value = whole_gradients(self.shape, arrays, None)
        arrays["grad_key"][...] = grad_key.reshape(arrays["grad_key"].shape)
        arrays["grad_value"][...] = grad_value.reshape(arrays["grad_value"].shape)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan if no tile fits the LDM."""
        blocks = key_gradient_blocks(
            shape=self.shape, library=self.library, kernel=self.name, processor=core_group.processor
        )
        KeyGradient(shape=self.shape, blocks=blocks, core_group=core_group, arguments=arguments).run()


def whole_gradients(
    shape: AttentionShape, arrays: Mapping[str, Array], grad_mask: Array | None
) -> tuple[Array, Array, Array]:
    """Gradients by query, key and value."""
    query, key, value, grad_out = (_flat(arrays[name]) for name in ("query", "key", "value", "grad_out"))
    return attention_backward(
        grad_out,
        query,
        key,
        value,
        arrays["logs"],
        dots=arrays["delta"],
        heads=shape.heads,
        masking=shape.masking(arrays),
        scale=shape.scale,
        grad_mask=grad_mask,
    )


def _flat(x: Array) -> Array:
    """Heads side by side, as the operations have them."""
    return x.reshape(*x.shape[:2], -1)
