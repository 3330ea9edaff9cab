"""The objective: prediction error plus λ·SIGReg, and optionally the error of an imagined rollout.

The prediction error is the *mean* square over batch, time and latent: λ = 0.09 is tied to that convention. Gradients
flow through the target as well. ``rollout`` adds the error of imagining several steps from the model's own forecasts;
one-step training alone leaves the planner a nearly flat cost surface (reference: LeWM on a real FR3 arm). ``inverse``
asks the latents to hold what the actions did, which small motions of a wrist or a gripper otherwise lose; ``grounding``
asks them to hold the joints themselves, as exactly as a planner must place them; ``colour`` asks them to hold which
colour lies where, which no forecast needs and every sentence names.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.windows import Window
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.sigreg import DIRECTIONS, sigreg


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the losses."""

    sigreg: float = 0.09
    """λ, weight of SIGReg (with the ×batch statistic: doubling the batch doubles it)"""
    directions: int = DIRECTIONS
    """random directions of SIGReg"""
    subspaces: int = 1
    """SIGReg inside so many orthogonal sub-spaces of the latent (Sub-JEPA) instead of the whole"""
    rollout: float = 0.0
    """weight of the open-loop rollout error"""
    rollout_steps: int = 1
    """model steps imagined after the history; windows grow by rollout_steps − 1 frames"""
    inverse: float = 0.0
    """weight of the inverse-dynamics error: which actions lie between two successive latents (Delta-JEPA, AD-WM)"""
    grounding: float = 0.0
    """weight of the error of observation.state read linearly from the latent (GA-WM); needs --proprio"""

    colour: float = 0.0
    """weight of the error of the maps of colours read from the latent (`ColourHead`), on the ends of each window"""

    def __post_init__(self) -> None:
        for name in ("sigreg", "rollout", "inverse", "grounding", "colour"):
            if getattr(self, name) < 0:
                raise JepaflowError(f"--loss.{name} is {getattr(self, name):g}. Loss weights must not be negative.")
        if self.rollout_steps < 1 or self.directions < 1 or self.subspaces < 1:
            raise JepaflowError("--loss.rollout-steps, --loss.directions and --loss.subspaces must be at least 1.")


@dataclass(frozen=True)
class Losses:
    """The parts of the loss, as scalar tensors, and the latents they were computed on."""

    total: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]
    rollout: Float[Tensor, ""]
    inverse: Float[Tensor, ""]
    grounding: Float[Tensor, ""]
    colour: Float[Tensor, ""]
    latents: Float[Tensor, "B T D"]


def losses(model: JEPA, window: Window, config: ObjectiveConfig, generator: torch.Generator) -> Losses:
    """Compute the objective on a batch of windows of T ≥ history + 1 frames.

    Args:
        model: in train mode for training.
        window: the batch, on the model's device.
        config: weights.
        generator: draws SIGReg's directions.
    """
    history = model.config.history
    z = model.encode(window.pixels, window.proprio)
    forecast = model.predict(z[:, :history], window.blocks[:, :history])
    prediction = (forecast - z[:, 1 : history + 1]).square().mean()
    gaussian = sigreg(z, generator, config.directions, config.subspaces)
    imagined = torch.zeros((), device=z.device)
    if config.rollout:
        steps = z.shape[1] - history
        future = window.blocks[:, history - 1 : history - 1 + steps]
        rolled = model.rollout(z[:, :history], window.blocks[:, : history - 1], future)
        imagined = (rolled - z[:, history:]).square().mean()
    nothing = torch.zeros((), device=z.device)
    inverted = inverse_error(model, z, window.blocks) if config.inverse else nothing
    grounded = nothing
    if config.grounding and window.proprio is not None:
        grounded = (model.grounding(z) - model.proprio_scaler(window.proprio)).square().mean()
    coloured = nothing
    if config.colour:
        ends = [0, -1]
        coloured = model.colours.error(z[:, ends].flatten(0, 1), window.pixels[:, ends].flatten(0, 1))
    total = prediction + config.sigreg * gaussian + config.rollout * imagined
    total = total + config.inverse * inverted + config.grounding * grounded + config.colour * coloured
    return Losses(total, prediction, gaussian, imagined, inverted, grounded, coloured, z)


def backward(
    model: JEPA,
    window: Window,
    config: ObjectiveConfig,
    generator: torch.Generator,
    pieces: int = 1,
    precision: torch.dtype = torch.float32,
) -> Losses:
    """Add the objective's gradients on a batch to the model's, one micro-batch after the other.

    SIGReg is a statistic of the batch that grows with its size: of micro-batches it is ``pieces`` times their mean, so that
    λ means what it meant for the whole batch. All else is a mean over windows, and the same in any number of pieces.

    Args:
        model, window, config, generator: as for `losses`.
        pieces: micro-batches; must divide the batch.
        precision: of the forward pass where autocast lowers it.

    Returns:
        The losses of the whole batch, detached.
    """
    weighted, found = replace(config, sigreg=config.sigreg * pieces), []
    for piece in _split(window, pieces):
        with torch.autocast(model.device.type, precision, enabled=precision != torch.float32):
            parts = losses(model, piece, weighted, generator)
        (parts.total / pieces).backward()  # type: ignore[no-untyped-call]
        found.append({field.name: getattr(parts, field.name).detach() for field in fields(parts)})
    if pieces == 1:
        return Losses(**found[0])
    means = {name: torch.stack([part[name] for part in found]).mean() for name in found[0] if name != "latents"}
    means["sigreg"] = means["sigreg"] * pieces
    return Losses(**means, latents=torch.cat([part["latents"] for part in found]))


def _split(window: Window, pieces: int) -> Iterator[Window]:
    """Equal shares of a batch, in order."""
    size = len(window.where) // pieces
    for begin in range(0, size * pieces, size):
        rows = slice(begin, begin + size)
        proprio = None if window.proprio is None else window.proprio[rows]
        yield Window(window.pixels[rows], window.blocks[rows], proprio, window.where[rows])


def inverse_error(model: JEPA, z: Float[Tensor, "B T D"], blocks: Float[Tensor, "B T K A"]) -> Float[Tensor, ""]:
    """Mean squared error of the actions (as the predictor is told them) recovered from successive latents.

    The first block is left out: what changed before it is unknown.
    """
    told = model.scale_blocks(blocks)
    first = 1 if z.shape[1] > 2 else 0
    recovered: Tensor = model.inverse(torch.cat([z[:, first:-1], z[:, first + 1 :]], -1))
    return (recovered - told[:, first : z.shape[1] - 1]).square().mean()
