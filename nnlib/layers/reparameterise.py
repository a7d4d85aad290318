"""The sampling of a variational autoencoder's code."""

from __future__ import annotations

import numpy as np

from nnlib.layers.layer import Array, Layer, Params, Run, Saved, Shape, ShapeError
from nnlib.layers.randomness import layer_key
from nnlib.ops.reparameterisation import normal_noise, reparameterise_backward, reparameterise_forward


class Reparameterise(Layer):
    """In training a draw from normal distributions of given means and log-variances, in inference the means."""

    def output_shape(self, input_shapes: tuple[Shape, ...]) -> Shape:
        if len(input_shapes) != 2 or input_shapes[0] != input_shapes[1]:
            raise ShapeError(
                f"layer {self.name!r} (reparameterise) takes means and log-variances of one shape, got {input_shapes}"
            )
        return input_shapes[0]

    def forward(self, params: Params, inputs: tuple[Array, ...], run: Run) -> tuple[Array, Saved]:
        mean, log_variance = inputs
        if not run.training:
            return mean, np.zeros_like(mean)
        key = layer_key(run.key, self.name)
        noise = normal_noise(key, run.first_sample, mean.shape, mean.dtype)
        return reparameterise_forward(mean, log_variance, noise)

    def backward(
        self, params: Params, saved: Saved, grad_output: Array, needs: tuple[bool, ...]
    ) -> tuple[tuple[Array | None, ...], dict[str, Array]]:
        by_mean, by_log_variance = reparameterise_backward(saved, grad_output)
        return (by_mean if needs[0] else None, by_log_variance if needs[1] else None), {}
