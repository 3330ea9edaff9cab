"""Encoders: one frame (all views) → one feature vector, trained from scratch.

``vit`` is LeWorldModel's ViT-Tiny, pre-norm, class token, learned positions. ``conv`` is the fast choice on a CPU:
a patchifying stem, stride-2 stages, residual blocks at the last resolution, then a *flatten* (not a pool): where
things are is what a world model must know. It has no BatchNorm of its own: that cost a quarter of a training step on a
CPU, and the projector's normalises already. Several views enter as extra input channels (early stacking), or one after the
other through the same encoder (`jepaflow.worldmodel.views`).
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.attention import SelfAttention
from jepaflow.worldmodel.views import SharedViews


@dataclass(frozen=True)
class EncoderConfig:
    """What the encoder is. Sizes that ``kind`` does not use are ignored."""

    kind: Literal["conv", "vit"] = "conv"
    width: int = 128
    """features that leave the encoder: the ViT's token width, the conv net's last linear"""
    patch: int = 14
    """side of a ViT patch, in pixels"""
    depth: int = 12
    heads: int = 3
    mlp_ratio: int = 4
    channels: tuple[int, ...] = (48, 96, 128)
    """channels of the conv net's stages; the first is the stem (stride 4), each later one halves the resolution"""
    blocks: int = 1
    """residual blocks of the conv net at its last resolution"""
    fusion: Literal["stacked", "shared"] = "stacked"
    """several views: channels of one picture, or one encoder for each and their features fused"""

    def __post_init__(self) -> None:
        if self.kind == "vit" and self.width % self.heads:
            raise JepaflowError(
                f"The ViT's width {self.width} is not a multiple of its {self.heads} heads. Change one of them."
            )
        if self.kind == "conv" and not self.channels:
            raise JepaflowError("The conv encoder needs at least one stage: its channels are empty.")


class ViTLayer(nn.Module):
    """Pre-norm transformer layer of ViT (Dosovitskiy et al. 2021)."""

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.attention = SelfAttention(dim, heads, dim // heads, qkv_bias=True)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp), nn.GELU(), nn.Linear(mlp, dim))

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """One layer."""
        x = x + self.attention(self.norm1(x), causal=False)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ViT(nn.Module):
    """Vision transformer; returns the class token. Same parameters as ``transformers.ViTModel`` without its pooler."""

    def __init__(self, config: EncoderConfig, image_size: int, in_channels: int) -> None:
        super().__init__()
        if image_size % config.patch:
            raise JepaflowError(
                f"Frames of {image_size} px do not divide into patches of {config.patch} px. Convert with another --image-size."
            )
        dim, patches = config.width, (image_size // config.patch) ** 2
        self.patchify = nn.Conv2d(in_channels, dim, config.patch, config.patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.position = nn.Parameter(torch.randn(1, patches + 1, dim) * 0.02)
        self.layers = nn.ModuleList(ViTLayer(dim, config.heads, config.mlp_ratio * dim) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B F"]:
        """Normalised pixels → class token."""
        tokens = self.patchify(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1) + self.position
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.norm(x[:, 0])
        return out


class _SmallMapConv(torch.autograd.Function):
    """3×3 convolution, stride 1, padding 1, whose gradients are convolutions as well.

    That of the weight is one over the batch, with the gradient's map for a kernel. On maps of 4×4 and less it takes half to
    three quarters of the time of oneDNN's own weight gradient, in float32 on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = (_channels_last(saved) for saved in ctx.saved_tensors)
        grad = _channels_last(grad)
        to_x = nn.functional.conv2d(grad, _channels_last(weight.flip(2, 3).transpose(0, 1)), padding=1)
        over_batch = _channels_last(x.transpose(0, 1)), _channels_last(grad.transpose(0, 1))
        to_weight = nn.functional.conv2d(*over_batch, padding=1).transpose(0, 1)
        return to_x, to_weight, grad.sum((0, 2, 3))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _convolve(conv: nn.Conv2d, x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B C S S"]:
    """Apply a 3×3 convolution of a residual block, by the path whose gradient is fastest."""
    small = x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[-1] <= 4
    if small and torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu"):
        fast: Tensor = _SmallMapConv.apply(x, conv.weight, conv.bias)  # type: ignore[no-untyped-call]
        return fast
    out: Tensor = conv(x)
    return out


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (He et al. 2016), the second starting at zero instead of a BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B C S S"]:
        """One block."""
        return torch.relu(x + _convolve(self.conv2, torch.relu(_convolve(self.conv1, x))))


class ConvNet(nn.Module):
    """Small convolutional encoder; keeps where things are by flattening its last feature map."""

    def __init__(self, config: EncoderConfig, image_size: int, in_channels: int) -> None:
        super().__init__()
        stride = 4 * 2 ** (len(config.channels) - 1)
        side = math.ceil(image_size / stride)
        if image_size % 4:
            raise JepaflowError(
                f"Frames of {image_size} px do not suit the conv encoder: it needs a multiple of 4. Convert with another size."
            )
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((in_channels, *config.channels[:-1]), config.channels, strict=True)):
            conv = nn.Conv2d(before, after, 4, 4) if i == 0 else nn.Conv2d(before, after, 3, 2, 1)
            nn.init.kaiming_normal_(conv.weight)
            layers += [conv, nn.ReLU()]
        layers += [ResidualBlock(config.channels[-1]) for _ in range(config.blocks)]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(config.channels[-1] * side * side, config.width)

    def forward(self, x: Float[Tensor, "B C S S"]) -> Float[Tensor, "B F"]:
        """Normalised pixels → features."""
        features = self.trunk(_channels_last(x))
        out: Tensor = self.head(features.flatten(1))
        return out


def make_encoder(config: EncoderConfig, image_size: int, views: int) -> nn.Module:
    """Build the encoder for ``views`` views of ``image_size``² pixels.

    Raises:
        JepaflowError: when the frame size does not fit the encoder.
    """
    shared = config.fusion == "shared" and views > 1
    encoder: nn.Module = {"vit": ViT, "conv": ConvNet}[config.kind](config, image_size, 3 if shared else 3 * views)
    if shared:
        encoder = SharedViews(encoder, views, config.width)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder
