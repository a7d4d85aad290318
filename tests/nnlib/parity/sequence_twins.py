"""The library's sequence models and autoencoders, written once more of PyTorch's own modules.

A twin's ``names`` say which of its parameters each of the library's is, and the order of axes that makes it that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tests.nnlib.parity import Array

F = nn.functional
SAME, ROWS, CONVOLUTION, TRANSPOSED = (0,), (1, 0), (2, 3, 1, 0), (2, 3, 0, 1)
Names = dict[str, tuple[torch.Tensor, tuple[int, ...]]]


class Twin(nn.Module):  # type: ignore[misc]
    """A network with outputs by name, and its losses for every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Names = {}

    def affine(self, name: str, module: Any, axes: tuple[int, ...] = ROWS) -> Any:
        """Name a module's weight and, if it has one, its bias."""
        self.names[f"{name}.weight"] = (module.weight, axes)
        if module.bias is not None:
            self.names[f"{name}.bias"] = (module.bias, SAME)
        return module

    def norm(self, name: str, module: Any, suffix: str = "") -> Any:
        """Name a normalisation's parameters and statistics."""
        self.names[f"{name}.scale{suffix}"] = (module.weight, SAME)
        self.names[f"{name}.shift{suffix}"] = (module.bias, SAME)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.double()  # in place for parameters, new arrays for statistics
            assert module.running_mean is not None
            assert module.running_var is not None
            self.names[f"{name}.mean{suffix}"] = (module.running_mean, SAME)
            self.names[f"{name}.variance{suffix}"] = (module.running_var, SAME)
        return module

    def load(self, variables: dict[str, Array]) -> None:
        """Take the library's weights."""
        assert variables.keys() == self.names.keys()
        with torch.no_grad():
            for name, (tensor, axes) in self.names.items():
                tensor.copy_(torch.tensor(np.transpose(variables[name], np.argsort(axes))))

    def values(self) -> dict[str, Array]:
        """Parameters and statistics as the library has them."""
        return {name: tensor.detach().numpy().transpose(axes).copy() for name, (tensor, axes) in self.names.items()}

    def grads(self) -> dict[str, Array]:
        """Gradients by the parameters as the library has them."""
        found = {}
        for name, (tensor, axes) in self.names.items():
            if tensor.requires_grad:
                assert tensor.grad is not None, name
                found[name] = tensor.grad.numpy().transpose(axes).copy()
        return found

    def parameters_of_library(self) -> list[torch.Tensor]:
        """What an optimiser changes."""
        return [tensor for tensor, _ in self.names.values() if tensor.requires_grad]

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of each sample (B,)."""
        raise NotImplementedError


class NormalisedDirection(nn.Module):  # type: ignore[misc]
    """One direction of a layer whose product of the input is batch-normalised before the cell sees it."""

    def __init__(self, twin: Twin, name: str, suffix: str, cell: str, channels: int, units: int) -> None:
        super().__init__()
        gates = {"simple": 1, "gru": 3, "lstm": 4}[cell]
        self.cell, self.backwards, columns = cell, bool(suffix), gates * units
        self.product = nn.Linear(channels, columns, bias=False)
        self.bn = twin.norm(name, nn.BatchNorm1d(columns), suffix)
        self.recurrent = nn.Linear(units, columns, bias=False)
        twin.names[f"{name}.weight{suffix}"] = (self.product.weight, ROWS)
        twin.names[f"{name}.recurrent{suffix}"] = (self.recurrent.weight, ROWS)
        if cell == "gru":
            self.inner = nn.Parameter(torch.zeros(units))
            twin.names[f"{name}.recurrent_bias{suffix}"] = (self.inner, SAME)

    def step(self, x: torch.Tensor, state: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step of the cell on what the input gives it."""
        if self.cell == "simple":
            return (x + self.recurrent(state)).clamp(0, 20), memory
        if self.cell == "lstm":
            i, f, g, o = (x + self.recurrent(state)).chunk(4, dim=1)
            memory = f.sigmoid() * memory + i.sigmoid() * g.tanh()
            return o.sigmoid() * memory.tanh(), memory
        (xr, xz, xn), (hr, hz, hn) = x.chunk(3, dim=1), self.recurrent(state).chunk(3, dim=1)
        update = (xz + hz).sigmoid()
        new = (xn + (xr + hr).sigmoid() * (hn + self.inner)).tanh()
        return (1 - update) * new + update * state, memory

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        product = self.bn(self.product(x).transpose(1, 2)).transpose(1, 2)
        steps = x.shape[1]
        state = memory = torch.zeros(len(x), self.recurrent.in_features, dtype=x.dtype)
        found = [state] * steps
        for t in reversed(range(steps)) if self.backwards else range(steps):
            inside = (t < lengths)[:, None]
            after, kept = self.step(product[:, t], state, memory)
            state, memory = torch.where(inside, after, state), torch.where(inside, kept, memory)
            found[t] = torch.where(inside, after, torch.zeros_like(after))
        return torch.stack(found, dim=1)


class DeepSpeech2(Twin):
    """Convolutions over (frames, bins), recurrent layers in both directions, CTC with the last symbol as the blank."""

    KERNELS = ((11, 41, 2, 2), (11, 21, 1, 2), (11, 21, 1, 2))

    def __init__(
        self, *, bins: int, symbols: int, channels: tuple[int, int, int], units: int, layers: int, cell: str
    ) -> None:
        super().__init__()
        self.convolutions, self.norms, self.layers = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        sources = (1, *channels)
        for number, (long, high, step, leap) in enumerate(self.KERNELS):
            convolution = nn.Conv2d(
                sources[number], sources[number + 1], (long, high), (step, leap), (long // 2, high // 2), bias=False
            )
            self.convolutions.append(self.affine(f"conv{number + 1}", convolution, CONVOLUTION))
            self.norms.append(self.norm(f"bn{number + 1}", nn.BatchNorm2d(sources[number + 1])))
            bins = (bins - 1) // leap + 1
        width = bins * channels[-1]
        for number in range(1, layers + 1):
            both = [NormalisedDirection(self, f"recurrent{number}", s, cell, width, units) for s in ("", "_reverse")]
            self.layers.append(nn.ModuleList(both))
            width = units
        self.bn = self.norm("bn_output", nn.BatchNorm1d(units))
        self.symbols = self.affine("symbols", nn.Linear(units, symbols))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x, lengths = inputs["input"].permute(0, 3, 1, 2), inputs["lengths"]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).clamp(0, 20)
        lengths = (lengths - 1) // 2 + 1
        x = x.permute(0, 2, 3, 1).flatten(2)
        for forwards, backwards in self.layers:
            x = forwards(x, lengths) + backwards(x, lengths)
        self.lengths = lengths
        return {"symbols": self.symbols(self.bn(x.transpose(1, 2)).transpose(1, 2))}

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        labels, logits = targets["label"], outputs["symbols"]
        return F.ctc_loss(
            logits.log_softmax(dim=2).transpose(0, 1),
            labels.clamp(min=0),
            self.lengths,
            (labels >= 0).sum(dim=1),
            blank=logits.shape[2] - 1,
            reduction="none",
        )


class LanguageModel(Twin):
    """Embedding, layers of LSTM, logits of the next token."""

    def __init__(self, *, vocabulary: int, units: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, units)
        self.names["embedding.weight"] = (self.embedding.weight, (0, 1))
        self.lstm = nn.LSTM(units, units, layers, batch_first=True)
        for number in range(layers):
            names = {"weight": ("weight_ih", ROWS), "recurrent": ("weight_hh", ROWS), "bias": ("bias_ih", SAME)}
            for name, (theirs, axes) in names.items():
                self.names[f"lstm{number + 1}.{name}"] = (getattr(self.lstm, f"{theirs}_l{number}"), axes)
            nn.init.zeros_(getattr(self.lstm, f"bias_hh_l{number}"))
        self.logits = self.affine("logits", nn.Linear(units, vocabulary))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"logits": self.logits(self.lstm(self.embedding(inputs["tokens"]))[0])}

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(outputs["logits"].transpose(1, 2), targets["next"], reduction="none").mean(dim=1)


def named_block(twin: Twin, name: str, block: nn.TransformerEncoderLayer) -> nn.TransformerEncoderLayer:
    """Name the parameters of one of PyTorch's transformer layers."""
    attention = block.self_attn
    assert attention.in_proj_weight is not None
    assert attention.in_proj_bias is not None
    twin.names[f"{name}_attention.qkv_weight"] = (attention.in_proj_weight, ROWS)
    twin.names[f"{name}_attention.qkv_bias"] = (attention.in_proj_bias, SAME)
    twin.names[f"{name}_attention.out_weight"] = (attention.out_proj.weight, ROWS)
    twin.names[f"{name}_attention.out_bias"] = (attention.out_proj.bias, SAME)
    twin.affine(f"{name}_fc1", block.linear1)
    twin.affine(f"{name}_fc2", block.linear2)
    twin.norm(f"{name}_norm1", block.norm1)
    twin.norm(f"{name}_norm2", block.norm2)
    return block


class Bert(Twin):
    """The encoder with normalisation behind each part, and the two heads of its pre-training."""

    def __init__(self, *, vocabulary: int, positions: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.segment = nn.Embedding(2, width)
        for name in ("word", "position", "segment"):
            self.names[f"{name}.weight"] = (getattr(self, name).weight, (0, 1))
        self.norm0 = self.norm("norm0", nn.LayerNorm(width, eps=1e-12))
        blocks = [
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation=F.gelu, layer_norm_eps=1e-12, batch_first=True
            )
            for _ in range(layers)
        ]
        self.blocks = nn.ModuleList(named_block(self, f"layer{n}", block) for n, block in enumerate(blocks, start=1))
        self.transform = self.affine("transform", nn.Linear(width, width))
        self.transform_norm = self.norm("transform_norm", nn.LayerNorm(width, eps=1e-12))
        self.masked = nn.Parameter(torch.zeros(vocabulary))
        self.names["masked.bias"] = (self.masked, SAME)
        self.pooler = self.affine("pooler", nn.Linear(width, width))
        self.follows = self.affine("follows", nn.Linear(width, 2))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = inputs["tokens"]
        places = torch.arange(tokens.shape[1])
        x = self.norm0(self.word(tokens) + self.position(places) + self.segment(inputs["segments"]))
        for block in self.blocks:
            x = block(x)
        words = self.transform_norm(F.gelu(self.transform(x)))
        masked = F.linear(words, self.word.weight, self.masked)
        return {"masked": masked, "follows": self.follows(self.pooler(x[:, 0]).tanh())}

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        masked = targets["masked"]
        costs = F.cross_entropy(outputs["masked"].transpose(1, 2), masked, ignore_index=-1, reduction="none")
        of_words = costs.sum(dim=1) / (masked >= 0).sum(dim=1)
        return of_words + F.cross_entropy(outputs["follows"], targets["follows"], reduction="none")


def tanh_gelu(x: torch.Tensor) -> torch.Tensor:
    """GPT-2's."""
    return F.gelu(x, approximate="tanh")


class Gpt2(Twin):
    """The decoder with normalisation before each part; the last product is by the embedding."""

    def __init__(self, *, vocabulary: int, positions: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.word, self.position = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        for name in ("word", "position"):
            self.names[f"{name}.weight"] = (getattr(self, name).weight, (0, 1))
        blocks = [
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation=tanh_gelu, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        ]
        self.blocks = nn.ModuleList(named_block(self, f"layer{n}", block) for n, block in enumerate(blocks, start=1))
        self.last = self.norm("norm", nn.LayerNorm(width))

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tokens = inputs["tokens"]
        steps = tokens.shape[1]
        x = self.word(tokens) + self.position(torch.arange(steps))
        future = nn.Transformer.generate_square_subsequent_mask(steps, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, src_mask=future, is_causal=True)
        return {"logits": F.linear(self.last(x), self.word.weight)}

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.cross_entropy(outputs["logits"].transpose(1, 2), targets["next"], reduction="none").mean(dim=1)


class Autoencoder(Twin):
    """Strided convolutions to a code and back; a variational one draws its code with the noise it is given."""

    def __init__(self, *, channels: tuple[int, ...], code: int, hidden: int, side: int, variational: bool) -> None:
        super().__init__()
        self.variational, self.inner = variational, side >> len(channels)
        sources = (1, *channels)
        self.down = nn.ModuleList(
            self.affine(f"down{n}", nn.Conv2d(sources[n - 1], sources[n], 3, 2, 1), CONVOLUTION)
            for n in range(1, len(sources))
        )
        size = self.inner**2 * channels[-1]
        self.encoder = self.affine("encoder", nn.Linear(size, hidden))
        self.mean = self.affine("mean" if variational else "code", nn.Linear(hidden, code))
        if variational:
            self.log_variance = self.affine("log_variance", nn.Linear(hidden, code))
        self.decoder = self.affine("decoder", nn.Linear(code, hidden))
        self.spread = self.affine("spread", nn.Linear(hidden, size))
        self.up = nn.ModuleList(
            self.affine(f"up{n}", nn.ConvTranspose2d(sources[n], sources[n - 1], 4, 2, 1), TRANSPOSED)
            for n in reversed(range(1, len(sources)))
        )

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        x = inputs["input"].permute(0, 3, 1, 2)
        for layer in self.down:
            x = layer(x).relu()
        features = self.encoder(x.permute(0, 2, 3, 1).flatten(1)).relu()
        code = self.mean(features)
        if self.variational:
            self.code = torch.distributions.Normal(code, (0.5 * self.log_variance(features)).exp())
            if self.training:
                code = self.code.loc + self.code.scale * inputs["noise"]
        x = self.spread(self.decoder(code).relu()).relu()
        x = x.unflatten(1, (self.inner, self.inner, -1)).permute(0, 3, 1, 2)
        for number, layer in enumerate(self.up, start=1):
            x = layer(x)
            if number < len(self.up):
                x = x.relu()
        self.pixels = x.permute(0, 2, 3, 1)
        return {"image": self.pixels.sigmoid()}

    def losses(self, outputs: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
        wanted = targets["image"]
        if not self.variational:
            return F.mse_loss(outputs["image"], wanted, reduction="none").flatten(1).mean(dim=1)
        pixels = F.binary_cross_entropy_with_logits(self.pixels, wanted, reduction="none").flatten(1).sum(dim=1)
        prior = torch.distributions.Normal(0.0, 1.0)
        return pixels + torch.distributions.kl_divergence(self.code, prior).sum(dim=1)
