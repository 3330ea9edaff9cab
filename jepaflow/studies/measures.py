"""The measures of the studies at hand: how well a model foretells, how its latents are shaped, what can be read from them.

*Skill* is a ratio in each model's own latent space: a model that throws away what is hard to foretell scores well. So
beside it stands a yardstick that all models share, in the units of the world (metres): a linear probe reads places (the
object's, the gripper's) from the *imagined* latents, and its error is compared with that of the true place not changing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import ROLLOUT_BATCH, Windows
from jepaflow.diagnosis.foresight import carrying, owners
from jepaflow.diagnosis.geometry import measure_geometry
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.diagnosis.probe_targets import Target, find_targets, read_targets
from jepaflow.diagnosis.ridge import FOLDS, Linear, ridge
from jepaflow.studies.evidence import Evidence, stacked
from jepaflow.studies.readings import Ratio, Readings, sum_by_episode
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.sigreg import epps_pulley

DIRECTIONS = 512
PLACES = ("gripper", "object", "agent", "block")
"""Targets that say where something is, in any world that is known."""


@dataclass(frozen=True)
class Foretelling:
    """Skill over copy-last at 1 … ``horizon`` model steps, one-step errors, and the skill of places read from imagination.

    Windows begin with ``history`` frames, so that models of shorter history are asked about the very same futures.
    """

    horizon: int = 5
    history: int = 3
    name: str = "foretelling"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"horizon": self.horizon, "history": self.history, "version": 2}

    def __call__(self, evidence: Evidence) -> Readings:
        """Roll all held-out windows out and compare with what came."""
        windows = evidence.windows(self.history, self.horizon)
        imagined = imagine(evidence.model, windows)
        copied, errors = _squared(windows.history[:, -1:], windows.target), _squared(imagined, windows.target)
        mean = stacked(evidence.fitted_on).mean(0)
        ratios = {
            "skill": _by_episode(windows, errors, copied),
            "mean_skill": _by_episode(windows, _squared(mean, windows.target), copied),
        }
        for target in readable(evidence):
            reader, truth = _fit(evidence, target), self._truth(evidence, target)
            still = np.square(truth.history[:, -1:].numpy() - truth.target.numpy()).sum(-1)
            usual = _truths(evidence, target, evidence.fitted_on).mean(0)
            answers = {"": _read(reader, imagined), "_seen": _read(reader, windows.target), "_mean": usual}
            for kind, answer in answers.items():
                off = np.square(answer - truth.target.numpy()).sum(-1)
                ratios[f"{target.name}_skill{kind}"] = _by_episode(truth, off, still)
        scalars = {"error@1": float(errors[:, 0].mean()), "copy_error@1": float(copied[:, 0].mean())}
        return Readings(ratios, scalars)

    def _truth(self, evidence: Evidence, target: Target) -> Windows:
        """True places in the same windows, in place of the latents."""
        behind = carrying(evidence.held_out, lambda one: _true(evidence, [target], one))
        dim = evidence.model.config.latent_dim
        places = [Trajectory(t.episode, t.phase, t.z[:, dim:], t.blocks) for t in behind]
        return evidence.windows(self.history, self.horizon, places)


@dataclass(frozen=True)
class Shape:
    """How the held-out latents are spread: effective rank, normality, distance from the Gaussian that SIGReg asks for."""

    name: str = "shape"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"directions": DIRECTIONS, "version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Measure the cloud."""
        geometry, _ = measure_geometry(evidence.held_out)
        z = stacked(evidence.held_out)
        perfect = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
        scalars: dict[str, float | None] = {
            "effective_rank": geometry.effective_rank.value,
            "not_normal": geometry.normality.share,
            "normality_samples": float(geometry.normality.n),
            "straightness": geometry.straightness.value,
            "gaussian_distance": gaussian_distance(z),
            "gaussian_distance_floor": gaussian_distance(perfect),
            "latent_dim": float(z.shape[1]),
            "frames": float(len(z)),
        }
        return Readings(scalars=scalars)


@dataclass(frozen=True)
class Reading:
    """R² on held-out episodes of places read linearly from the latent, coordinates z-scored by the training episodes."""

    name: str = "reading"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"version": 1}

    def __call__(self, evidence: Evidence) -> Readings:
        """Read every held-out frame."""
        along, ratios = evidence.held_out, {}
        for target in readable(evidence):
            scale = _truths(evidence, target, evidence.fitted_on).std(0)
            scale = np.where(scale > 1e-9, scale, np.inf)  # what never moved in training counts for nothing
            truth, read = _truths(evidence, target, along), _read(_fit(evidence, target), stacked(along))
            off, spread = (
                np.square(part / scale).mean(1, keepdims=True) for part in (read - truth, truth - truth.mean(0))
            )
            if spread.sum() > 0:
                ratios[f"{target.name}_r2"] = sum_by_episode(off, spread, np.ones_like(off, bool), owners(along))
        return Readings(ratios)


def find_places(store: Store) -> list[Target]:
    """Where things are, as far as the store's columns tell; the joints where they tell nothing else; else nothing."""
    try:
        known = find_targets(store)
    except JepaflowError:
        return []
    places = [target for target in known if target.name in PLACES]
    return places or [target for target in known if target.name == "joints"]


def readable(evidence: Evidence) -> list[Target]:
    """Places that a probe can be fitted for: none where there are fewer episodes than it is cross-validated on."""
    return find_places(evidence.store) if len(evidence.fitted_on) >= FOLDS else []


def imagine(model: JEPA, windows: Windows) -> Float[Tensor, "W N D"]:
    """What the model imagines in every window, on the CPU in float32."""
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(windows.reach), ROLLOUT_BATCH):
            rows = slice(begin, begin + ROLLOUT_BATCH)
            told = (one[rows].to(model.device) for one in (windows.history, windows.past, windows.future))
            parts.append(model.rollout(*told).float().cpu())
    return torch.cat(parts)


def gaussian_distance(z: Float[Tensor, "n D"], seed: int = 0) -> float:
    """SIGReg's statistic against N(0, I) along random directions, per sample: a distance between distributions.

    Divided by n it estimates the same thing for any number of samples and for samples that are alike; of a perfect Gaussian it
    is about 1 / n of what the training sees.

    Args:
        z: latents.
        seed: of the directions.
    """
    u = torch.randn(z.shape[1], DIRECTIONS, generator=torch.Generator().manual_seed(seed))
    projected = z.float() @ (u / u.norm(dim=0, keepdim=True))
    return float(epps_pulley(projected[None])) / len(z)


def _squared(forecast: Tensor, target: Tensor) -> Float[ndarray, "W N"]:
    errors: ndarray = (forecast.double() - target.double()).square().mean(-1).numpy()
    return errors


def _by_episode(windows: Windows, error: Float[ndarray, "W N"], reference: Float[ndarray, "W N"]) -> Ratio:
    real = np.arange(1, error.shape[1] + 1) <= windows.reach.numpy()[:, None]
    return sum_by_episode(error, reference, real, windows.episode.numpy())


def _true(evidence: Evidence, targets: list[Target], one: Trajectory) -> Float[ndarray, "T Q"]:
    return read_targets(evidence.store, targets, one.episode, one.phase, evidence.model.config.block)


def _truths(evidence: Evidence, target: Target, along: list[Trajectory]) -> Float[ndarray, "n Q"]:
    return np.concatenate([_true(evidence, [target], one) for one in along])


def _fit(evidence: Evidence, target: Target) -> Linear:
    """A linear probe of the target, fitted on training episodes; a latent without any variance reads the mean."""
    along = evidence.fitted_on
    return ridge((stacked(along).double().numpy(), _truths(evidence, target, along), owners(along)))


def _read(reader: Linear, z: Float[Tensor, "... D"]) -> Float[ndarray, "... Q"]:
    flat = reader.read(z.double().numpy().reshape(-1, z.shape[-1]))
    return flat.reshape(*z.shape[:-1], flat.shape[-1])
