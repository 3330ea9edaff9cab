"""The plain training step, straight from the paper: SIGReg as an autograd graph of cosines and sines, and fused
attention, float32. Checked in the tests to give the same loss as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from jepaflow.data.windows import Window
from jepaflow.worldmodel import attention
from jepaflow.worldmodel.jepa import JEPA


def plain_sigreg(z: Tensor, generator: torch.Generator, directions: int) -> Tensor:
    """SIGReg of latents [B, T, D], written as its formula reads."""
    u = torch.randn(z.shape[-1], directions, generator=generator)
    h = z.float().transpose(0, 1) @ (u / u.norm(dim=0, keepdim=True))
    t = torch.linspace(0, 3, 17)
    weights = torch.full((17,), 2 * 3 / 16)
    weights[[0, -1]] = 3 / 16
    phi = torch.exp(-t.square() / 2)
    angle = h[..., None] * t
    error = (angle.cos().mean(1) - phi).square() + angle.sin().mean(1).square()
    return ((error * weights * phi).sum(-1) * z.shape[0]).mean()


def fused_attention(q: Tensor, k: Tensor, v: Tensor, causal: bool, dropout: float = 0.0) -> Tensor:
    """PyTorch's own kernel, whatever the device."""
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Use the fused kernel in every layer."""
    with patch.object(attention, "attend", fused_attention):
        yield


def plain_loss(model: JEPA, window: Window, weight: float, directions: int, generator: torch.Generator) -> Tensor:
    """Prediction error + λ·SIGReg on one batch."""
    history = model.config.history
    z = model.encode(window.pixels, window.proprio)
    forecast = model.predict(z[:, :history], window.blocks[:, :history])
    return (forecast - z[:, 1 : history + 1]).square().mean() + weight * plain_sigreg(z, generator, directions)
