"""Recurrent layers lowered: time in front, one product of all inputs, all steps in one launch, and back."""

from __future__ import annotations

from dataclasses import dataclass

from nnlib.kernels.arranging.copying import Copy, Move, shifted_move, whole_move
from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.sequences.lengths import StepMask
from nnlib.kernels.sequences.recurrent import RecurrentLayer, RecurrentLayerGradient
from nnlib.kernels.sequences.recurrent_gates import CellName
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape
from nnlib.kernels.sequences.reset_first import ResetFirstGradient, ResetFirstLayer
from nnlib.layers.recurrent import EPSILON, GRU, LSTM, MOMENTUM, SimpleRecurrent
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of

AnyRecurrent = LSTM | GRU | SimpleRecurrent


@lower_forward_of.register(LSTM)
@lower_forward_of.register(GRU)
@lower_forward_of.register(SimpleRecurrent)
def _(layer: AnyRecurrent, site: Site) -> None:
    batch, (steps, channels) = site.batch, site.in_shapes[0]
    x = site.buffer("steps", (steps, batch, channels))
    site.launch(Copy(whole_move((batch, steps, channels), (1, 0, 2)), site.dtype), x=site.inputs[0], y=x)
    if len(site.inputs) == 2:
        mask = StepMask(batch=batch, steps=steps, dtype=site.dtype)
        inside = site.buffer("inside", (steps, batch, 1))
        site.launch(mask, lengths=site.inputs[1], inside=inside)
    for suffix in layer.suffixes:
        _Direction(layer, site, suffix).forward()
    _merge(layer, site)


@lower_backward_of.register(LSTM)
@lower_backward_of.register(GRU)
@lower_backward_of.register(SimpleRecurrent)
def _(layer: AnyRecurrent, site: Site) -> None:
    batch, (steps, channels) = site.batch, site.in_shapes[0]
    grad_steps = site.buffer("grad_steps", (steps, batch, channels)) if site.needs[0] else None
    for suffix in layer.suffixes:
        _Direction(layer, site, suffix).backward(grad_steps)
    if grad_steps is not None:
        grad = site.input_gradient()
        site.launch(Copy(whole_move((steps, batch, channels), (1, 0, 2)), site.dtype), x=grad_steps, y=grad)
        site.contribute(grad)


def _merge(layer: AnyRecurrent, site: Site) -> None:
    """The directions' outputs with the batch in front, side by side or added."""
    batch, (steps, width), units = site.batch, site.out_shape, layer.units
    y = site.output()
    added = layer.bidirectional and layer.merge == "sum"
    targets = [site.buffer(f"part{number}", (batch, steps, units)) for number in range(2)] if added else [y, y]
    for number, suffix in enumerate(layer.suffixes):
        masked = len(site.inputs) == 2
        planes = steps if masked else steps + 1
        move = Move(
            source=(planes, batch, units),
            target=(batch, steps, units if added else width),
            size=(batch, steps, units),
            source_start=(0 if masked or suffix else 1, 0, 0),
            target_start=(0, 0, 0 if added else number * units),
            axes=(1, 0, 2),
        )
        source = site.made(f"y{suffix}" if masked else f"hidden{suffix}")
        site.launch(Copy(move, site.dtype), x=source, y=targets[number])
    if added:
        kernel = Elementwise("add", site.elements(site.out_shape), site.dtype)
        site.launch(kernel, x=targets[0], y=targets[1], z=y)


@dataclass(frozen=True)
class _Direction:
    """A direction of a layer in its place; ``suffix`` ends the names of its parameters and buffers."""

    layer: AnyRecurrent
    site: Site
    suffix: str

    @property
    def rows(self) -> int:
        """Steps of all samples."""
        return self.site.batch * self.site.in_shapes[0][0]

    @property
    def channels(self) -> int:
        return self.site.in_shapes[0][1]

    @property
    def shape(self) -> RecurrentShape:
        """What the kernels go over."""
        layer = self.layer
        name: CellName
        match layer:
            case LSTM():
                name = "lstm"
            case GRU():
                name = "gru"
            case SimpleRecurrent():
                name = layer.activation
        return RecurrentShape(
            cell=name,
            batch=self.site.batch,
            steps=self.site.in_shapes[0][0],
            hidden=layer.units,
            masked=len(self.site.inputs) == 2,
            reverse=bool(self.suffix),
            ceiling=layer.ceiling if isinstance(layer, SimpleRecurrent) else 0.0,
            bias=layer.has_recurrent_bias,
        )

    @property
    def resets_first(self) -> bool:
        """True for a gated recurrent unit that resets before its product."""
        return isinstance(self.layer, GRU) and not self.layer.linear_before_reset

    def variable(self, name: str) -> str:
        return self.site.variable(f"{name}{self.suffix}")

    def gradient(self, name: str) -> str:
        return self.site.parameter_gradient(f"{name}{self.suffix}")

    def buffer(self, name: str, shape: tuple[int, ...]) -> str:
        return self.site.buffer(f"{name}{self.suffix}", shape)

    def made(self, name: str) -> str:
        return self.site.made(f"{name}{self.suffix}")

    def forward(self) -> None:
        """The input's product, and all steps."""
        site, layer = self.site, self.layer
        columns, dtype = layer.columns, site.dtype
        product = self.buffer("product", (self.rows, columns))
        gemm = Gemm(m=self.rows, n=columns, k=self.channels, dtype=dtype)
        site.launch(gemm, a=site.made("steps"), b=self.variable("weight"), c=product)
        if layer.normalised:
            product = self.normalise(product)
        elif layer.bias:
            site.launch(BiasAdd(rows=self.rows, channels=columns, dtype=dtype), y=product, bias=self.variable("bias"))
        kernel: RecurrentLayer | ResetFirstLayer = RecurrentLayer(shape=self.shape, dtype=dtype, fresh=True)
        if self.resets_first:
            kernel = ResetFirstLayer(shape=self.shape, dtype=dtype)
        arguments = {"x_product": product, "weight": self.variable("recurrent")}
        if layer.has_recurrent_bias:
            arguments["candidate_bias"] = self.variable("recurrent_bias")
        if self.shape.masked:
            arguments["inside"] = site.made("inside")
        for each in kernel.parameters():
            if each.name not in arguments:
                arguments[each.name] = self.buffer(each.name, each.shape)
        site.launch(kernel, **arguments)

    def normalise(self, product: str) -> str:
        """Batch normalisation of the product over all steps; the buffer of the result."""
        site, columns = self.site, self.layer.columns
        made = {name: self.buffer(name, (columns,)) for name in ("inverse_deviation", "folded_scale", "folded_shift")}
        arguments = {
            "inverse_deviation": made["inverse_deviation"],
            "scale": made["folded_scale"],
            "shift": made["folded_shift"],
            "gamma": self.variable("scale"),
            "beta": self.variable("shift"),
        }
        fold = FoldStatistics(columns, site.dtype, EPSILON, True)
        if site.training:
            of_batch = {name: self.buffer(f"batch_{name}", (columns,)) for name in ("mean", "variance")}
            site.launch(BatchStatistics(self.rows, columns, site.dtype), x=product, **of_batch)
            fold = FoldStatistics(columns, site.dtype, EPSILON, True, MOMENTUM, self.rows)
            for name, buffer in of_batch.items():
                arguments |= {
                    name: buffer,
                    f"running_{name}": self.variable(name),
                    f"new_{name}": site.new_statistic(f"{name}{self.suffix}"),
                }
        else:
            arguments |= {name: self.variable(name) for name in ("mean", "variance")}
        site.launch(fold, **arguments)
        normal = self.buffer("normal", (self.rows, columns))
        kernel = ScaleShift(self.rows, columns, site.dtype)
        site.launch(kernel, x=product, scale=made["folded_scale"], shift=made["folded_shift"], y=normal)
        return normal

    def backward(self, grad_steps: str | None) -> None:
        """All steps back, then what goes through the input's product; later directions add to ``grad_steps``."""
        site, layer, shape = self.site, self.layer, self.shape
        kernel: RecurrentLayerGradient | ResetFirstGradient
        kernel = RecurrentLayerGradient(shape=shape, dtype=site.dtype, fresh=True)
        if self.resets_first:
            kernel = ResetFirstGradient(shape=shape, dtype=site.dtype)
        arguments = {
            "weight": self.variable("recurrent"),
            "grad_weight": self.gradient("recurrent"),
            "grad_y": self.output_gradient(),
        }
        for each in kernel.parameters():
            if each.name in arguments:
                continue
            if each.use == "in":
                arguments[each.name] = site.made("inside") if each.name == "inside" else self.made(each.name)
            else:
                arguments[each.name] = self.buffer(each.name, each.shape)
        site.launch(kernel, **arguments)
        if layer.has_recurrent_bias:
            self.candidate_bias_gradient()
        grad, columns, rows = self.made("grad_product"), layer.columns, self.rows
        if layer.normalised:
            grad = self.normalisation_gradient(grad)
        elif layer.bias:
            site.launch(ColumnSum(rows=rows, columns=columns, dtype=site.dtype), x=grad, total=self.gradient("bias"))
        by_weight = Gemm(m=self.channels, n=columns, k=rows, dtype=site.dtype, transpose_a=True)
        site.launch(by_weight, a=site.made("steps"), b=grad, c=self.gradient("weight"))
        if grad_steps is not None:
            by_input = Gemm(
                m=rows,
                n=self.channels,
                k=columns,
                dtype=site.dtype,
                transpose_b=True,
                accumulate=self.suffix != layer.suffixes[0],
            )
            site.launch(by_input, a=grad, b=self.variable("weight"), c=grad_steps)

    def output_gradient(self) -> str:
        """The gradient by the direction's outputs, time in front."""
        site, layer = self.site, self.layer
        batch, (steps, width), units = site.batch, site.out_shape, layer.units
        second = bool(self.suffix) and layer.merge == "concatenate"
        move = Move(
            source=(batch, steps, width),
            target=(steps, batch, units),
            size=(steps, batch, units),
            source_start=(0, 0, units if second else 0),
            target_start=(0, 0, 0),
            axes=(1, 0, 2),
        )
        grad = self.buffer("grad_y", (steps, batch, units))
        site.launch(Copy(move, site.dtype), x=site.grad_output, y=grad)
        return grad

    def candidate_bias_gradient(self) -> None:
        """Sums of the candidate's part of the gradient by the recurrent product."""
        site, columns, units = self.site, self.layer.columns, self.layer.units
        sums = self.buffer("sums", (columns,))
        kernel = ColumnSum(rows=self.rows, columns=columns, dtype=site.dtype)
        site.launch(kernel, x=self.made("grad_h_product"), total=sums)
        move = shifted_move((columns,), (units,), (2 * units,))
        site.launch(Copy(move, site.dtype), x=sums, y=self.gradient("recurrent_bias"))

    def normalisation_gradient(self, grad: str) -> str:
        """The gradient by the product before normalisation."""
        site, columns = self.site, self.layer.columns
        arrays = {
            "grad_y": grad,
            "x": self.made("product"),
            "mean": self.made("batch_mean"),
            "inverse_deviation": self.made("inverse_deviation"),
            "grad_gamma": self.gradient("scale"),
            "grad_beta": self.gradient("shift"),
        }
        site.launch(NormalisationSums(self.rows, columns, site.dtype), **arrays)
        found = self.buffer("grad_normal", (self.rows, columns))
        kernel = BatchNormalisationGradient(self.rows, columns, site.dtype, True)
        site.launch(kernel, **arrays, gamma=self.variable("scale"), grad_x=found)
        return found
