"""The plain training step, straight from the paper: SIGReg as an autograd graph of cosines and sines on the plain model.
Checked in the tests to give the same loss and gradients as ours."""

import torch
from torch import Tensor

from benchmarks.reference.plain_model import PlainJEPA
from jepaflow.data.windows import Window


def plain_sigreg(z: Tensor, generator: torch.Generator, directions: int) -> Tensor:
    """SIGReg of latents [B, T, D], written as its formula reads."""
    u = torch.randn(z.shape[-1], directions, generator=generator).to(z.device)
    h = z.float().transpose(0, 1) @ (u / u.norm(dim=0, keepdim=True))
    t = torch.linspace(0, 3, 17, device=z.device)
    weights = torch.full((17,), 2 * 3 / 16, device=z.device)
    weights[[0, -1]] = 3 / 16
    phi = torch.exp(-t.square() / 2)
    angle = h[..., None] * t
    error = (angle.cos().mean(1) - phi).square() + angle.sin().mean(1).square()
    return ((error * weights * phi).sum(-1) * z.shape[0]).mean()


def plain_loss(model: PlainJEPA, window: Window, weight: float, directions: int, generator: torch.Generator) -> Tensor:
    """Prediction error + λ·SIGReg on one batch."""
    history = model.config.history
    z = model.encode(window.pixels)
    forecast = model.predict(z[:, :history], window.blocks[:, :history])
    prediction = (forecast - z[:, 1 : history + 1]).square().mean()
    with torch.autocast(z.device.type, enabled=False):  # a statistic of thousands of cosines is float32's matter
        return prediction + weight * plain_sigreg(z, generator, directions)
