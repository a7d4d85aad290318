"""The library's models of images, written once more of PyTorch's own modules, after the papers and torchvision."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.nnlib.parity.sequence_twins import CONVOLUTION, TRANSPOSED, Twin

F = nn.functional
Tensors = dict[str, torch.Tensor]


class ImageTwin(Twin):
    """A network of images with one output."""

    output = "fc"
    class_weights: torch.Tensor | None = None

    def conv(
        self, name: str, inside: int, outside: int, kernel: int, stride: int = 1, padding: int = 0, **more: Any
    ) -> Any:
        """A convolution."""
        return self.affine(name, nn.Conv2d(inside, outside, kernel, stride, padding, **more), CONVOLUTION)

    def conv_bn(
        self,
        name: str,
        bn: str,
        inside: int,
        outside: int,
        kernel: int,
        stride: int = 1,
        epsilon: float = 1e-5,
        **more: Any,
    ) -> Any:
        """A convolution that keeps sizes but for its stride, and batch normalisation."""
        padding = kernel // 2 * more.get("dilation", 1)
        convolution = self.conv(name, inside, outside, kernel, stride, padding, bias=False, **more)
        return nn.Sequential(convolution, self.norm(bn, nn.BatchNorm2d(outside, eps=epsilon)))

    def linear(self, name: str, inside: int, outside: int) -> Any:
        """A fully connected layer."""
        return self.affine(name, nn.Linear(inside, outside))

    def forward(self, inputs: Tensors) -> Tensors:
        return {self.output: self.logits(inputs["input"].permute(0, 3, 1, 2))}

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, classes) of images (B, channels, height, width)."""
        raise NotImplementedError

    def losses(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        return F.cross_entropy(outputs[self.output], targets["label"], reduction="none")


def flat(x: torch.Tensor) -> torch.Tensor:
    """Pixels one after the other, each with its channels together, as the library flattens them."""
    return x.permute(0, 2, 3, 1).flatten(1)


class LeNet5(ImageTwin):
    """Images of 28 × 28 padded to the paper's 32 × 32."""

    output = "fc5"

    def __init__(self, *, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            self.conv("conv1", 1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            self.conv("conv2", 6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            self.linear("fc3", 400, 120),
            nn.ReLU(),
            self.linear("fc4", 120, 84),
            nn.ReLU(),
            self.linear("fc5", 84, classes),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(flat(self.features(x)))


class AlexNet(ImageTwin):
    """Two towers: normalised over neighbouring channels, or over the batch."""

    output = "fc8"

    def __init__(self, *, classes: int, normalised: bool, pixels: int) -> None:
        super().__init__()
        layers: list[Any] = []

        def convolution(
            number: int, inside: int, outside: int, kernel: int, stride: int, padding: int, groups: int
        ) -> None:
            name = f"conv{number}"
            layers.append(self.conv(name, inside, outside, kernel, stride, padding, groups=groups, bias=not normalised))
            if normalised:
                layers.append(self.norm(f"bn{number}", nn.BatchNorm2d(outside)))
            layers.append(nn.ReLU())

        def local() -> None:
            if not normalised:
                layers.append(nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0))

        convolution(1, 3, 96, 11, 4, 0, 1)
        local()
        layers.append(nn.MaxPool2d(3, 2))
        convolution(2, 96, 256, 5, 1, 2, 2)
        local()
        layers.append(nn.MaxPool2d(3, 2))
        convolution(3, 256, 384, 3, 1, 1, 1)
        convolution(4, 384, 384, 3, 1, 1, 2)
        convolution(5, 384, 256, 3, 1, 1, 2)
        layers.append(nn.MaxPool2d(3, 2))
        self.features = nn.Sequential(*layers)
        self.fc6, self.fc7 = self.linear("fc6", 256 * pixels, 4096), self.linear("fc7", 4096, 4096)
        self.fc8 = self.linear("fc8", 4096, classes)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc8(self.fc7(self.fc6(flat(self.features(x))).relu()).relu())


class OneTower(ImageTwin):
    """torchvision's AlexNet."""

    output = "fc8"

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            self.conv("conv1", 3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            self.conv("conv2", 64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            self.conv("conv3", 192, 384, 3, padding=1),
            nn.ReLU(),
            self.conv("conv4", 384, 256, 3, padding=1),
            nn.ReLU(),
            self.conv("conv5", 256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d(6),
        )
        self.classifier = nn.Sequential(
            self.linear("fc6", 9216, 4096),
            nn.ReLU(),
            self.linear("fc7", 4096, 4096),
            nn.ReLU(),
            self.linear("fc8", 4096, classes),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(flat(self.features(x)))


class Vgg(ImageTwin):
    """Configurations as lists of channels, M for pooling."""

    output = "fc8"
    D = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
    E = (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4, "M")

    def __init__(self, configuration: tuple[Any, ...], *, classes: int) -> None:
        super().__init__()
        layers: list[Any] = []
        inside, stage, number = 3, 1, 0
        for entry in configuration:
            if entry == "M":
                layers.append(nn.MaxPool2d(2, 2))
                stage, number = stage + 1, 0
                continue
            number += 1
            layers += [self.conv(f"conv{stage}_{number}", inside, entry, 3, padding=1), nn.ReLU()]
            inside = entry
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            self.linear("fc6", 512, 4096),
            nn.ReLU(),
            self.linear("fc7", 4096, 4096),
            nn.ReLU(),
            self.linear("fc8", 4096, classes),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(flat(self.features(x)))


class Inception(nn.Module):  # type: ignore[misc]
    """Four branches whose channels are laid side by side."""

    def __init__(self, unit: Any, name: str, inside: int, channels: tuple[int, ...], wide: int) -> None:
        super().__init__()
        single, reduce3, three, reduce5, five, pooled = channels
        self.branch1 = unit(f"{name}_1x1", inside, single, 1)
        self.branch2 = nn.Sequential(
            unit(f"{name}_3x3_reduce", inside, reduce3, 1), unit(f"{name}_3x3", reduce3, three, 3)
        )
        self.branch3 = nn.Sequential(
            unit(f"{name}_5x5_reduce", inside, reduce5, 1), unit(f"{name}_5x5", reduce5, five, wide)
        )
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(f"{name}_pool_proj", inside, pooled, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class GoogLeNet(ImageTwin):
    """Caffe's with biases and two further heads, or torchvision's with batch normalisation."""

    output = "classifier"

    def __init__(self, *, classes: int, normalised: bool) -> None:
        super().__init__()
        self.normalised = normalised
        wide = 3 if normalised else 5
        self.conv1 = self.unit("conv1", 3, 64, 7, 2)
        if normalised:
            self.conv2, self.conv3 = self.unit("conv2", 64, 64, 1), self.unit("conv3", 64, 192, 3)
        else:
            self.conv2, self.conv3 = self.unit("conv2_reduce", 64, 64, 1, relu="relu2"), self.unit("conv2", 64, 192, 3)

        def inception(name: str, inside: int, *channels: int) -> Inception:
            return Inception(self.unit, f"inception_{name}", inside, channels, wide)

        self.i3a = inception("3a", 192, 64, 96, 128, 16, 32, 32)
        self.i3b = inception("3b", 256, 128, 128, 192, 32, 96, 64)
        self.i4a = inception("4a", 480, 192, 96, 208, 16, 48, 64)
        self.i4b = inception("4b", 512, 160, 112, 224, 24, 64, 64)
        self.i4c = inception("4c", 512, 128, 128, 256, 24, 64, 64)
        self.i4d = inception("4d", 512, 112, 144, 288, 32, 64, 64)
        self.i4e = inception("4e", 528, 256, 160, 320, 32, 128, 128)
        self.i5a = inception("5a", 832, 256, 160, 320, 32, 128, 128)
        self.i5b = inception("5b", 832, 384, 192, 384, 48, 128, 128)
        self.classifier = self.linear("classifier", 1024, classes)
        if not normalised:
            self.head1, self.head2 = self.head("loss1", 512, classes), self.head("loss2", 528, classes)

    def unit(self, name: str, inside: int, outside: int, kernel: int, stride: int = 1, relu: str = "") -> Any:
        """A convolution with what comes behind it."""
        if self.normalised:
            return nn.Sequential(
                self.conv_bn(name, f"{name}_bn", inside, outside, kernel, stride, epsilon=1e-3), nn.ReLU()
            )
        return nn.Sequential(self.conv(name, inside, outside, kernel, stride, kernel // 2), nn.ReLU())

    def head(self, name: str, inside: int, classes: int) -> Any:
        """A classifier on an inner layer."""
        return nn.ModuleList(
            [
                nn.Sequential(nn.AvgPool2d(5, 3), self.conv(f"{name}_conv", inside, 128, 1), nn.ReLU()),
                nn.Sequential(self.linear(f"{name}_fc", 128, 1024), nn.ReLU()),
                self.linear(f"{name}_classifier", 1024, classes),
            ]
        )

    def forward(self, inputs: Tensors) -> Tensors:
        x = inputs["input"].permute(0, 3, 1, 2)
        local = nn.Identity() if self.normalised else nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        last = 2 if self.normalised else 3
        x = local(F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True))
        x = F.max_pool2d(local(self.conv3(self.conv2(x))), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.i3b(self.i3a(x)), 3, 2, ceil_mode=True)
        fourth = self.i4a(x)
        seventh = self.i4d(self.i4c(self.i4b(fourth)))
        x = F.max_pool2d(self.i4e(seventh), last, 2, ceil_mode=True)
        outputs = {"classifier": self.classifier(self.i5b(self.i5a(x)).mean(dim=(2, 3)))}
        if not self.normalised:
            for name, (convolution, hidden, classifier), source in (
                ("loss1_classifier", self.head1, fourth),
                ("loss2_classifier", self.head2, seventh),
            ):
                outputs[name] = classifier(hidden(flat(convolution(source))))
        return outputs

    def losses(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        parts = {name: F.cross_entropy(each, targets["label"], reduction="none") for name, each in outputs.items()}
        return sum((1.0 if name == "classifier" else 0.3) * each for name, each in parts.items())


class Block(nn.Module):  # type: ignore[misc]
    """A residual block: a branch, and its input, projected where shapes differ."""

    def __init__(self, branch: Any, shortcut: Any) -> None:
        super().__init__()
        self.branch, self.shortcut = branch, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.branch(x) + self.shortcut(x)).relu()


class ResNet(ImageTwin):
    """Basic blocks or bottlenecks in four stages."""

    def __init__(
        self,
        counts: tuple[int, ...],
        *,
        classes: int,
        width: int,
        bottleneck: bool,
        small: bool = False,
        version: int = 1,
    ) -> None:
        super().__init__()
        stem = [self.conv_bn("conv1", "bn1", 3, width, 3 if small else 7, 1 if small else 2), nn.ReLU()]
        self.stem = nn.Sequential(*stem, *([] if small else [nn.MaxPool2d(3, 2, 1)]))
        inside, stages = width, []
        for stage, count in enumerate(counts):
            channels = width * 2**stage
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                make = self.bottleneck if bottleneck else self.basic
                stages.append(make(f"block{stage + 2}_{number + 1}", inside, channels, stride, version=version))
                inside = channels * (4 if bottleneck else 1)
        self.stages, self.fc = nn.Sequential(*stages), self.linear("fc", inside, classes)

    def shortcut(self, name: str, inside: int, outside: int, stride: int) -> Any:
        if inside == outside and stride == 1:
            return nn.Identity()
        return self.conv_bn(f"{name}_shortcut", f"{name}_shortcut_bn", inside, outside, 1, stride)

    def basic(self, name: str, inside: int, channels: int, stride: int, *, version: int) -> Block:
        branch = nn.Sequential(
            self.conv_bn(f"{name}_conv1", f"{name}_bn1", inside, channels, 3, stride),
            nn.ReLU(),
            self.conv_bn(f"{name}_conv2", f"{name}_bn2", channels, channels, 3),
        )
        return Block(branch, self.shortcut(name, inside, channels, stride))

    def bottleneck(
        self, name: str, inside: int, channels: int, stride: int, *, version: int = 2, dilation: int = 1
    ) -> Block:
        first, second = (stride, 1) if version == 1 else (1, stride)
        branch = nn.Sequential(
            self.conv_bn(f"{name}_conv1", f"{name}_bn1", inside, channels, 1, first),
            nn.ReLU(),
            self.conv_bn(f"{name}_conv2", f"{name}_bn2", channels, channels, 3, second, dilation=dilation),
            nn.ReLU(),
            self.conv_bn(f"{name}_conv3", f"{name}_bn3", channels, 4 * channels, 1),
        )
        return Block(branch, self.shortcut(name, inside, 4 * channels, stride))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.stages(self.stem(x)).mean(dim=(2, 3)))


class InvertedResidual(nn.Module):  # type: ignore[misc]
    """From few channels to many, each convolved by itself, and back."""

    def __init__(self, branch: Any, *, residual: bool) -> None:
        super().__init__()
        self.branch, self.residual = branch, residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


class MobileNetV2(ImageTwin):
    """Table 2 of the paper; channels are given."""

    STRIDES = (1, 2, 2, 2, 1, 2, 1)
    REPEATS = (1, 2, 3, 4, 3, 3, 1)

    def __init__(self, *, classes: int, first: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[Any] = [self.conv_bn("conv1", "conv1_bn", 3, first, 3, 2), nn.ReLU6()]
        inside, number = first, 0
        for outside, repeats, stride in zip(channels, self.REPEATS, self.STRIDES, strict=True):
            for repeat in range(repeats):
                number += 1
                wide = inside * (1 if number == 1 else 6)
                layers.append(self.block(f"block{number}", inside, wide, outside, 1 if repeat else stride))
                inside = outside
        layers += [self.conv_bn("conv2", "conv2_bn", inside, 1280, 1), nn.ReLU6()]
        self.features, self.fc = nn.Sequential(*layers), self.linear("fc", 1280, classes)

    def block(self, name: str, inside: int, wide: int, outside: int, stride: int) -> InvertedResidual:
        branch: list[Any] = []
        if wide != inside:
            branch += [self.conv_bn(f"{name}_expand", f"{name}_expand_bn", inside, wide, 1), nn.ReLU6()]
        branch += [
            self.conv_bn(f"{name}_depthwise", f"{name}_depthwise_bn", wide, wide, 3, stride, groups=wide),
            nn.ReLU6(),
            self.conv_bn(f"{name}_project", f"{name}_project_bn", wide, outside, 1),
        ]
        return InvertedResidual(nn.Sequential(*branch), residual=stride == 1 and inside == outside)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean(dim=(2, 3)))


class Segmentation(ImageTwin):
    """A network with logits for every pixel."""

    output = "classes"

    def forward(self, inputs: Tensors) -> Tensors:
        return {"classes": self.logits(inputs["input"].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)}

    def losses(self, outputs: Tensors, targets: Tensors) -> torch.Tensor:
        logits = outputs["classes"].permute(0, 3, 1, 2)
        each = F.cross_entropy(logits, targets["label"], weight=self.class_weights, reduction="none")
        return each.mean(dim=(1, 2))


class UNet(Segmentation):
    """Down with pooling and up with transposed convolutions; each level is joined with its like."""

    def __init__(self, *, inside: int, channels: int, depth: int, class_weights: tuple[float, ...]) -> None:
        super().__init__()
        self.class_weights = torch.tensor(class_weights, dtype=torch.float64)
        widths = [channels * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            self.twice(f"down{level + 1}", ([inside, *widths])[level], widths[level]) for level in range(depth)
        )
        self.bottom = self.twice("bottom", widths[-2], widths[-1])
        self.up, self.levels = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(depth)):
            up = nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2)
            self.up.append(self.affine(f"up{level + 1}", up, TRANSPOSED))
            self.levels.append(self.twice(f"level{level + 1}", 2 * widths[level], widths[level]))
        self.last = self.conv("classes", channels, len(class_weights), 1)

    def twice(self, name: str, inside: int, outside: int) -> Any:
        return nn.Sequential(
            self.conv_bn(f"{name}_conv1", f"{name}_bn1", inside, outside, 3),
            nn.ReLU(),
            self.conv_bn(f"{name}_conv2", f"{name}_bn2", outside, outside, 3),
            nn.ReLU(),
        )

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        seen = []
        for double in self.down:
            x = double(x)
            seen.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, double in zip(self.up, self.levels, strict=True):
            x = double(torch.cat([seen.pop(), up(x)], dim=1))
        return self.last(x)


class DeepLab(Segmentation):
    """Version 3+ on a ResNet-50 of output stride 16."""

    def __init__(self, *, inside: int, width: int, pyramid: int, class_weights: tuple[float, ...]) -> None:
        super().__init__()
        self.class_weights = torch.tensor(class_weights, dtype=torch.float64)
        stem = self.conv_bn("conv1", "bn1", inside, width, 7, 2)
        self.stem = nn.Sequential(stem, nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.stage2 = self.stage(2, 3, width, width, 1)
        self.stage3 = self.stage(3, 4, 4 * width, 2 * width, 2)
        self.stage4 = self.stage(4, 6, 8 * width, 4 * width, 2)
        self.stage5 = self.stage(5, 3, 16 * width, 8 * width, 1, dilation=2)
        deep = 32 * width
        self.branches = nn.ModuleList(
            self.relu_conv(f"pyramid{number}", deep, pyramid, kernel, rate)
            for number, kernel, rate in ((1, 1, 1), (2, 3, 6), (3, 3, 12), (4, 3, 18), (5, 1, 1))
        )
        self.joined = self.relu_conv("pyramid_output", 5 * pyramid, pyramid, 1)
        low = 48 * width // 64
        self.low = self.relu_conv("decoder_low", 4 * width, low, 1)
        self.decoder = nn.Sequential(
            self.relu_conv("decoder1", pyramid + low, pyramid, 3),
            self.relu_conv("decoder2", pyramid, pyramid, 3),
            self.conv("logits", pyramid, len(class_weights), 1),
        )

    def relu_conv(self, name: str, inside: int, outside: int, kernel: int, dilation: int = 1) -> Any:
        return nn.Sequential(self.conv_bn(name, f"{name}_bn", inside, outside, kernel, dilation=dilation), nn.ReLU())

    def stage(self, stage: int, count: int, inside: int, channels: int, stride: int, dilation: int = 1) -> Any:
        blocks = []
        for number in range(count):
            name, step = f"block{stage}_{number + 1}", stride if number == 0 else 1
            block = ResNet.bottleneck(self, name, inside, channels, step, dilation=dilation)
            blocks.append(block)
            inside = 4 * channels
        return nn.Sequential(*blocks)

    shortcut = ResNet.shortcut

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[2:]
        low = self.stage2(self.stem(x))
        x = self.stage5(self.stage4(self.stage3(low)))
        seen = [branch(x) for branch in self.branches[:4]]
        mean = self.branches[4](F.adaptive_avg_pool2d(x, 1))
        x = self.joined(torch.cat([*seen, mean.expand(-1, -1, *x.shape[2:])], dim=1))
        x = F.interpolate(x, size=low.shape[2:], mode="bilinear", align_corners=False)
        x = self.decoder(torch.cat([x, self.low(low)], dim=1))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
