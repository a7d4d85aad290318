"""Transposed convolution: the input gradient of a convolution as a layer of its own, its mirrored convolution.

The mirrored convolution goes from the outputs here to the inputs here: its forward pass is the input gradient here. Its
weights are (kh, kw, No of a group, Ni), those here (kh, kw, Ni, No of a group). ``output_padding``: pixels more below
and on the right, which the mirrored convolution does not reach with every stride; padding takes pixels away.
"""

from __future__ import annotations

from nnlib.ops.conv_1d import row_padding
from nnlib.ops.convolution import conv2d_forward, conv2d_input_gradient, conv2d_weight_gradient
from nnlib.ops.patches import Array
from nnlib.ops.reach import Kernel, Padding, Pair, pair, sides


def transposed_shape(
    lengths: tuple[int, int],
    kernel: Kernel,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
) -> tuple[int, int]:
    """Rows and columns of the output of a transposed convolution of images of ``lengths``.

    Raises ValueError if no output is left, or if the output padding is neither below the stride nor the dilation.
    """
    around = sides(mirrored_padding(padding, output_padding))
    found = []
    for length, taps, step, edges, more, apart in zip(
        lengths, kernel, pair(stride), around, pair(output_padding), pair(dilation), strict=True
    ):
        if more >= max(step, apart):
            raise ValueError(f"an output padding of {more} is neither below the stride {step} nor the dilation {apart}")
        found.append((length - 1) * step + apart * (taps - 1) + 1 - sum(edges))
        if found[-1] < 1:
            raise ValueError(f"a transposed kernel of {taps} taps over {length} pixels leaves nothing of the padding")
    rows, columns = found
    return rows, columns


def conv_transpose2d_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """``y`` (B, Ro, Co, No) of images ``x`` (B, H, W, Ni) under ``weight`` (kh, kw, Ni, No of a group).

    Raises ValueError if no output is left, or if the output padding is neither below the stride nor the dilation.
    """
    around = mirrored_padding(padding, output_padding)
    rows, columns = transposed_shape(
        (x.shape[1], x.shape[2]),
        (weight.shape[0], weight.shape[1]),
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    shape = len(x), rows, columns, weight.shape[3] * groups
    y = conv2d_input_gradient(
        x, mirrored(weight), shape, stride=stride, padding=around, dilation=dilation, groups=groups
    )
    if bias is not None:
        y += bias
    return y


def conv_transpose2d_input_gradient(
    grad: Array,
    weight: Array,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Gradient by ``x`` (B, H, W, Ni) from the gradient by ``y``."""
    around = mirrored_padding(padding, output_padding)
    return conv2d_forward(grad, mirrored(weight), None, stride=stride, padding=around, dilation=dilation, groups=groups)


def conv_transpose2d_weight_gradient(
    grad: Array,
    x: Array,
    kernel: Kernel,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """Gradient by the weights (kh, kw, Ni, No of a group) from the gradient by ``y`` and the images ``x``."""
    around = mirrored_padding(padding, output_padding)
    return mirrored(
        conv2d_weight_gradient(x, grad, kernel, stride=stride, padding=around, dilation=dilation, groups=groups)
    )


def mirrored(weight: Array) -> Array:
    """The weights of the mirrored convolution, or of a transposed one from these."""
    return weight.swapaxes(2, 3)


def mirrored_padding(padding: Padding, output_padding: Pair) -> tuple[int, int, int, int]:
    """The padding of the mirrored convolution; negative at the end where it does not reach the last pixels."""
    (top, bottom), (left, right) = sides(padding)
    below, behind = pair(output_padding)
    return top, bottom - below, left, right - behind


def conv_transpose1d_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    *,
    stride: int = 1,
    padding: Pair = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """``y`` (B, To, No) of sequences ``x`` (B, T, Ni) under ``weight`` (k, Ni, No of a group)."""
    y = conv_transpose2d_forward(
        x[:, None],
        weight[None],
        bias,
        stride=(1, stride),
        padding=row_padding(padding),
        output_padding=(0, output_padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return y[:, 0]


def conv_transpose1d_input_gradient(
    grad: Array,
    weight: Array,
    *,
    stride: int = 1,
    padding: Pair = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Gradient by ``x`` (B, T, Ni)."""
    gradient = conv_transpose2d_input_gradient(
        grad[:, None],
        weight[None],
        stride=(1, stride),
        padding=row_padding(padding),
        output_padding=(0, output_padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return gradient[:, 0]


def conv_transpose1d_weight_gradient(
    grad: Array,
    x: Array,
    kernel: int,
    *,
    stride: int = 1,
    padding: Pair = 0,
    output_padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """Gradient by the weights (k, Ni, No of a group)."""
    gradient = conv_transpose2d_weight_gradient(
        grad[:, None],
        x[:, None],
        (1, kernel),
        stride=(1, stride),
        padding=row_padding(padding),
        output_padding=(0, output_padding),
        dilation=(1, dilation),
        groups=groups,
    )
    taps: Array = gradient[0]
    return taps
