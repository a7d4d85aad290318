"""Networks of PyTorch that are exported to ONNX, each with a batch of inputs and what it should learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

SAMPLES: Final = 3


class Cnn(nn.Module):
    """Convolutions, one of them batch-normalised, pooling, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.normal = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 5, 3, stride=2, padding=1)
        self.last = nn.Linear(5 * 2 * 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.max_pool2d(torch.relu(self.normal(self.first(x))), 2)
        return self.last(torch.flatten(torch.sigmoid(self.second(x)), 1))


class Residual(nn.Module):
    """Two blocks with a way past them, one with a convolution on it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.convs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2)])
        self.normals = nn.ModuleList([nn.BatchNorm2d(4), nn.BatchNorm2d(4, momentum=0.3)])
        self.wide = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.past = nn.Conv2d(4, 6, 1, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        y = x
        for conv, normal in zip(self.convs, self.normals, strict=True):
            y = functional.leaky_relu(normal(conv(y)), 0.1)
        x = x + y
        return self.last(self.pool(functional.silu(self.wide(x) + self.past(x))).flatten(1))


class Recurrent(nn.Module):
    """Embedded tokens through a recurrent layer; all its outputs, and its last ones, decide."""

    def __init__(self, kind: type[nn.Module], *, bidirectional: bool = False, steps_first: bool = False) -> None:
        super().__init__()
        width = 10 if bidirectional else 5
        self.table = nn.Embedding(7, 3)
        self.steps_first = steps_first
        self.recurrent = kind(3, 5, batch_first=not steps_first, bidirectional=bidirectional)
        self.last = nn.Linear(width, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        y, state = self.recurrent(x.transpose(0, 1) if self.steps_first else x)
        final = state[0] if isinstance(state, tuple) else state
        y = y.mean(0 if self.steps_first else 1)
        return self.last(y) + self.last(torch.cat(tuple(final), 1))


class Encoder(nn.Module):
    """A transformer block of PyTorch's own, and a linear layer on the mean."""

    def __init__(self, *, norm_first: bool = False, activation: str = "relu", batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.block = nn.TransformerEncoderLayer(
            8, 2, 12, dropout=0.0, batch_first=batch_first, norm_first=norm_first, activation=activation
        )
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.batch_first:
            return self.last(self.block(x).mean(1))
        return self.last(self.block(x.transpose(0, 1)).mean(0))


class Attention(nn.Module):
    """A causal block as language models have it; the table of tokens reads the answer out, too."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 8)
        self.positions = nn.Embedding(9, 8)
        self.normal = nn.LayerNorm(8)
        self.inside = nn.Linear(8, 24)
        self.outside = nn.Linear(8, 8)
        self.final = nn.LayerNorm(8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        steps = tokens.shape[1]
        x = self.tokens(tokens) + self.positions(torch.arange(steps))
        parts = self.inside(self.normal(x)).split(8, dim=2)
        query, key, value = (each.reshape(-1, steps, 2, 4).transpose(1, 2) for each in parts)
        y = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.outside(y.transpose(1, 2).reshape(-1, steps, 8))
        return self.final(functional.gelu(x, approximate="tanh")) @ self.tokens.weight.T


class Vision(nn.Module):
    """Patches of an image with a class token and positions, and attention among them."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))
        self.normal = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        y = self.normal(x)
        return self.last((x + self.attention(y, y, y, need_weights=False)[0])[:, 0])


class Windows(nn.Module):
    """Attention in windows of an image, which are samples of their own beside the batch; then all moves by a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(6, 18)
        self.outside = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        samples = x.shape[0]
        windows = x.view(samples, 2, 4, 2, 4, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, 6)
        query, key, value = self.inside(windows).reshape(-1, 16, 3, 2, 3).permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax((query * 0.5) @ key.transpose(-2, -1), -1)
        y = self.outside((weights @ value).transpose(1, 2).reshape(-1, 16, 6))
        y = y.view(samples, 2, 2, 4, 4, 6).permute(0, 1, 3, 2, 4, 5).reshape(samples, 8, 8, 6)
        return (x + torch.roll(y, (1, 1), (1, 2))).mean((1, 2))


class Depthwise(nn.Module):
    """Convolutions of each channel alone between convolutions of pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Conv2d(3, 6, 1, bias=False)
        self.first = nn.BatchNorm2d(6)
        self.spread = nn.Conv2d(6, 6, 3, padding=1, stride=2, groups=6, bias=False)
        self.second = nn.BatchNorm2d(6)
        self.squeeze = nn.Conv2d(6, 2, 1)
        self.excite = nn.Conv2d(2, 6, 1)
        self.narrow = nn.Conv2d(6, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu6(self.first(self.widen(x)))
        x = functional.hardswish(self.second(self.spread(x)))
        x = x * functional.hardsigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        return self.narrow(x).mean((2, 3))


class UNet(nn.Module):
    """Down and up again, with the finer images beside the coarser ones."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.normal = nn.GroupNorm(2, 4)
        self.deep = nn.Conv2d(4, 6, 3, padding=1)
        self.slopes = nn.PReLU(6)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.last = nn.Conv2d(12, 2, 1)
        self.slope = nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.slope(self.normal(self.first(x)))
        coarse = functional.max_pool2d(fine, 2)
        deep = self.slopes(self.deep(coarse))
        wide = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(torch.cat([fine, self.up(deep), wide], 1))


@dataclass(frozen=True)
class Twin:
    """A network, the shape of a sample, and its loss. ``tokens``: below which whole numbers it takes."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    loss: str = "cross_entropy"
    tokens: int = 0

    def inputs(self, generator: torch.Generator) -> torch.Tensor:
        shape = (SAMPLES, *self.shape)
        if self.tokens:
            return torch.randint(0, self.tokens, shape, generator=generator)
        return torch.randn(shape, generator=generator)

    def network(self) -> nn.Module:
        """With random numbers everywhere: exporters take equal arrays for one."""
        torch.manual_seed(3)
        network = self.build()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.4)
            for name, buffer in network.named_buffers():
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
                elif name.endswith("running_mean"):
                    buffer.normal_(0, 0.3)
        return network


IMAGE: Final = (3, 8, 6)
TWINS: Final[dict[str, Twin]] = {
    "cnn": Twin(Cnn, IMAGE),
    "residual": Twin(Residual, IMAGE),
    "lstm": Twin(lambda: Recurrent(nn.LSTM), (6,), tokens=7),
    "lstm both ways": Twin(lambda: Recurrent(nn.LSTM, bidirectional=True), (6,), tokens=7),
    "gru": Twin(lambda: Recurrent(nn.GRU, bidirectional=True, steps_first=True), (6,), tokens=7),
    "transformer": Twin(Encoder, (5, 8)),
    "transformer of steps": Twin(
        lambda: Encoder(norm_first=True, activation="gelu", batch_first=False), (5, 8), loss="mean_squared_error"
    ),
    "language model": Twin(Attention, (6,), tokens=7),
    "vision transformer": Twin(Vision, (3, 8, 8)),
    "windows": Twin(Windows, (8, 8, 6)),
    "depthwise": Twin(Depthwise, IMAGE),
    "unet": Twin(UNet, IMAGE, loss="mean_squared_error"),
}


def loss_of(twin: Twin, outputs: Any, target: Any) -> Any:
    """The mean over the batch, as the library has it."""
    if twin.loss == "mean_squared_error":
        return functional.mse_loss(outputs, target)
    return functional.cross_entropy(outputs.reshape(-1, outputs.shape[-1]), target.reshape(-1))
