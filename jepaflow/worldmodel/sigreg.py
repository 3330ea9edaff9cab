"""SIGReg: keep the latent an isotropic Gaussian, so that it cannot collapse (LeJEPA; LeWorldModel §2).

For each time step, the batch of latents is projected on fresh random directions and each projection's empirical
characteristic function is compared with that of N(0, 1) (Epps & Pulley 1983):

    T(h) = B · Σ_k w_k [ (mean cos t_k h − e^{−t_k²/2})² + (mean sin t_k h)² ]

with 17 knots on [0, 3], trapezoid weights doubled by symmetry (2·dt inside, dt at the ends) times e^{−t²/2}. The factor
B is part of the released loss: the batch size changes the effective λ. The statistic is averaged over directions and time.

Written as one autograd function because the plain graph keeps 17 cosines and sines of every projection: the knots
are multiples of dt, so cos and sin of all of them are the powers of one complex number e^{i·dt·h}, and the gradient is a
polynomial in it (Horner). That is a third of the time of rotating cosines and sines apart.
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
        world = _world()
        turn = torch.polar(torch.ones_like(h), t[1] * h)
        power, means = turn.clone(), [turn.mean(1)]
        for _ in range(2, KNOTS):
            power *= turn
            means.append(power.mean(1))
        error = torch.stack(means)  # the characteristic function, [knots - 1, T, M]; t = 0 adds nothing
        if world > 1:
            dist.all_reduce(torch.view_as_real(error), op=dist.ReduceOp.SUM)
            error /= world
        error -= phi[1:, None, None]
        ctx.save_for_backward(turn, error)
        square = torch.view_as_real(error).square().sum(-1)
        return (h.shape[1] * world * (square * weights[1:, None, None]).sum(0)).mean()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        turn, error = ctx.saved_tensors
        t, _, weights = _knots(turn.device)
        # d statistic / d h = −Im Σ_k 2 w_k t_k · conj(error_k) · turn^k, whatever the batch: its factor and the mean's cancel.
        slope = (2 * weights * t)[1:, None, None] * error.conj()
        total = slope[-1, :, None] * turn
        for k in reversed(range(KNOTS - 2)):
            total += slope[k, :, None]
            total *= turn
        # × world undoes the averaging of gradients.
        gradient: Tensor = total.imag * (-grad * _world() / (turn.shape[0] * turn.shape[2]))
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
