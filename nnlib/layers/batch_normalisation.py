"""Normalisation over the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape
from nnlib.layers.normalisation import Gradients, gradients_of, identity, scale_and_shift, with_channels
from nnlib.ops.normalisation import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    batch_norm_inference_backward,
)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Each channel of (..., C) by its mean and variance over the batch and all other axes; C is the last.

    In inference by running ones, the statistics ``mean`` and ``variance``, which in training take ``momentum`` of each
    batch's. ``affine``: parameters ``scale`` and ``shift``. Training needs more than one number per channel.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    @property
    def mixes_samples(self) -> bool:
        return True

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        return with_channels(self, input_shapes)

    def parameter_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        return scale_and_shift(self.output_shape(input_shapes)[-1:], self.affine)

    def statistic_shapes(self, input_shapes: tuple[Shape, ...]) -> dict[str, Shape]:
        channels = self.output_shape(input_shapes)[-1:]
        return {"mean": channels, "variance": channels}

    def initialise(
        self, input_shapes: tuple[Shape, ...], rng: np.random.Generator, dtype: np.dtype[np.floating]
    ) -> dict[str, Array]:
        statistics = {name: np.zeros(shape, dtype) for name, shape in self.statistic_shapes(input_shapes).items()}
        statistics["variance"] += 1
        return identity(self.parameter_shapes(input_shapes), dtype) | statistics

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        (x,) = inputs
        scale, shift = params.get("scale"), params.get("shift")
        if run.training:
            y, statistics = batch_norm_forward(x, scale, shift, epsilon=self.epsilon)
            return y, (x, statistics)
        mean, variance = params["mean"], params["variance"]
        return batch_norm_inference(x, scale, shift, mean=mean, variance=variance, epsilon=self.epsilon), (x, None)

    def backward(self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]) -> Gradients:
        x, statistics = saved
        scale = params.get("scale")
        if statistics is None:
            mean, variance = params["mean"], params["variance"]
            found = batch_norm_inference_backward(
                grad_output, x, scale, mean=mean, variance=variance, epsilon=self.epsilon
            )
        else:
            found = batch_norm_backward(grad_output, x, scale, statistics)
        return gradients_of(found, self.affine, needs)

    def statistics(self, params: Params, saved: Saved) -> dict[str, Array]:
        _, statistics = saved
        mean, variance = statistics.running(params["mean"], params["variance"], momentum=self.momentum)
        return {"mean": mean, "variance": variance}
