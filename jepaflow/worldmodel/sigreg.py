"""SIGReg: keep the latent an isotropic Gaussian, so that it cannot collapse (LeJEPA; LeWorldModel §2).

For each time step, the batch of latents is projected on fresh random directions and each projection's empirical
characteristic function is compared with that of N(0, 1) (Epps & Pulley 1983):

    T(h) = B · Σ_k w_k [ (mean cos t_k h − e^{−t_k²/2})² + (mean sin t_k h)² ]

with 17 knots on [0, 3], trapezoid weights doubled by symmetry (2·dt inside, dt at the ends) times e^{−t²/2}. The factor
B is part of the released loss: the batch size changes the effective λ. The statistic is averaged over directions and time.

Written as one autograd function because the plain graph keeps 17 cosines and sines of every projection: the knots
are multiples of dt, so one sine and cosine and a rotation per knot suffice, and the gradient is a closed form.
Under data parallelism the characteristic function is that of the global batch; every rank must draw the same
directions; the gradient is multiplied by the world size because data-parallel training averages gradients.
"""

from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError

KNOTS, T_MAX, DIRECTIONS = 17, 3.0, 1024


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _knots(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Knots t, N(0, 1)'s characteristic function there, and the weights."""
    t = torch.linspace(0, T_MAX, KNOTS, device=device)
    phi = torch.exp(-t * t / 2)
    weights = torch.full_like(t, 2 * T_MAX / (KNOTS - 1))
    weights[[0, -1]] /= 2
    return t, phi, weights * phi


class _EppsPulley(torch.autograd.Function):
    """Mean Epps–Pulley statistic of projections ``h[T, B, M]`` over T and M; the batch is axis 1."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        t, phi, weights = _knots(h.device)
        world, batch = _world(), h.shape[1] * _world()
        cos1, sin1 = torch.cos(t[1] * h), torch.sin(t[1] * h)
        mean_cos, mean_sin = [], []
        cos, sin = torch.ones_like(h), torch.zeros_like(h)
        for _ in range(1, KNOTS):
            cos, sin = cos * cos1 - sin * sin1, sin * cos1 + cos * sin1
            mean_cos.append(cos.mean(1))
            mean_sin.append(sin.mean(1))
        ecf = torch.stack([torch.stack(mean_cos), torch.stack(mean_sin)])  # [2, knots - 1, T, M]; t = 0 adds nothing
        if world > 1:
            dist.all_reduce(ecf, op=dist.ReduceOp.SUM)
            ecf /= world
        error = ecf - torch.stack([phi[1:], torch.zeros_like(phi[1:])])[:, :, None, None]
        statistic = batch * (error.square().sum(0) * weights[1:, None, None]).sum(0)
        ctx.save_for_backward(cos1, sin1, error)
        return statistic.mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        cos1, sin1, error = ctx.saved_tensors
        t, _, weights = _knots(cos1.device)
        out = torch.zeros_like(cos1)
        cos, sin = torch.ones_like(cos1), torch.zeros_like(cos1)
        for k in range(1, KNOTS):
            cos, sin = cos * cos1 - sin * sin1, sin * cos1 + cos * sin1
            slope = 2 * weights[k] * t[k] * error[:, k - 1, :, None]  # [2, T, 1, M]
            out.addcmul_(cos, slope[1]).addcmul_(sin, slope[0], value=-1)
        # d statistic / d h = B · (…) / B: the batch factor and the mean cancel; × world undoes the averaging of gradients.
        gradient: Tensor = out * (grad * _world() / (cos1.shape[0] * cos1.shape[2]))
        return gradient


def epps_pulley(h: Float[Tensor, "T B M"]) -> Float[Tensor, ""]:
    """Epps–Pulley statistic of projections against N(0, 1), over axis 1, averaged over T and M. Float32."""
    result: Tensor = _EppsPulley.apply(h.float())  # type: ignore[no-untyped-call]
    return result


@cache
def subspace_basis(dim: int, subspaces: int) -> Float[Tensor, "D D"]:
    """Frozen random orthonormal basis whose columns, ``dim // subspaces`` at a time, span the sub-spaces of Sub-JEPA.

    A pure function of the two sizes: nothing of it needs to be kept with a run.

    Raises:
        JepaflowError: when the latent cannot be shared out evenly.
    """
    if dim % subspaces:
        raise JepaflowError(
            f"A latent of {dim} numbers has no {subspaces} equal sub-spaces. Choose a divisor of {dim}."
        )
    basis: Tensor = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(subspaces)))[0]
    return basis


def sigreg(
    z: Float[Tensor, "B T D"], generator: torch.Generator, directions: int = DIRECTIONS, subspaces: int = 1
) -> Float[Tensor, ""]:
    """Distance of the batch of latents from an isotropic Gaussian, per time step.

    Args:
        z: latents.
        generator: draws the directions (on the CPU); give all ranks the same seed.
        directions: number of random unit directions.
        subspaces: draw every direction inside one of so many frozen orthogonal sub-spaces, in turn (Sub-JEPA,
            arXiv 2605.09241): how they depend on each other is then left to the data. 1: the whole latent.
    """
    u = torch.randn(z.shape[-1], directions, generator=generator)
    if subspaces > 1:
        basis, size = subspace_basis(z.shape[-1], subspaces), z.shape[-1] // subspaces
        inside = torch.arange(z.shape[-1])[:, None] // size == torch.arange(directions) % subspaces
        u = basis @ (u * inside)
    u = (u / u.norm(dim=0, keepdim=True)).to(z.device)
    with torch.autocast(z.device.type, enabled=False):
        return epps_pulley(z.float().transpose(0, 1) @ u)
