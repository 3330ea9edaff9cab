"""A camera lost, late or moved at test time: what a trained model still sees, held against what it would have seen.

The model sees the disturbed frames for as long as it watches; then it imagines, and its forecasts are compared with the
latents of the *undisturbed* future, and with the forecast that nothing changes of an undisturbed watcher. So every
disturbance is asked the same question as the healthy model, with the same floor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import ROLLOUT_BATCH, Windows
from jepaflow.diagnosis.latents import Trajectory, choose_episodes, encode_episodes
from jepaflow.studies.evidence import Evidence, stacked
from jepaflow.studies.readings import Ratio, Readings, sum_by_episode
from jepaflow.worldmodel.jepa import JEPA

FILLS = ("black", "mean")
SAMPLED = 256
"""Training frames whose mean fills a lost camera."""


class DisturbedStore:
    """A store whose camera number ``view`` shows a still picture, or is late, or has been moved.

    Args:
        store: the undisturbed one.
        view: number of the camera in the model's order.
        fill: the still picture; None: the camera runs.
        late: control steps; an episode's first frame stands for what lies before it.
        moved: pixels to the right and down that the picture is shifted by; its edge is repeated.
    """

    def __init__(
        self, store: Store, view: int, fill: UInt8[ndarray, "S S 3"] | None = None, late: int = 0, moved: int = 0
    ) -> None:
        self.store, self.view, self.fill, self.late, self.moved = store, view, fill, late, moved
        self.columns, self.ep_len, self.fps = store.columns, store.ep_len, store.fps

    def episode_rows(self, episode: int) -> ndarray:
        """Row numbers of an episode."""
        return self.store.episode_rows(episode)

    def read(self, column: str, rows: ndarray) -> ndarray:
        """Rows of a column, undisturbed."""
        return self.store.read(column, rows)

    def pixels(self, rows: ndarray, cameras: tuple[str, ...]) -> UInt8[ndarray, "n V S S 3"]:
        """Frames, one view of them disturbed."""
        seen = self.store.pixels(rows, cameras)
        if self.fill is not None:
            seen[:, self.view] = self.fill
        elif self.late:
            first = self.store.ep_offset[np.searchsorted(self.store.ep_offset, rows, "right") - 1]
            seen[:, self.view] = self.store.pixels(np.maximum(rows - self.late, first), (cameras[self.view],))[:, 0]
        elif self.moved:
            at = np.maximum(np.arange(seen.shape[2]) - self.moved, 0)
            seen[:, self.view] = seen[:, self.view][:, at][:, :, at]
        return seen


@dataclass(frozen=True)
class Disturbed:
    """Skill and latent agreement with one camera moved, lost or late; a model of one view cannot lose it.

    Ratios ``<way>_skill`` and ``<way>_agreement`` for the ways ``moved_<view>_<pixels>``, ``lost_<view>_<fill>`` and
    ``late_<n>`` (the last camera is late). Agreement is 1 − squared distance between disturbed and undisturbed latents /
    their variance. ``between_agreement`` compares what the first camera alone tells with what the last alone does.
    """

    horizon: int = 5
    lates: tuple[int, ...] = (1, 2, 3, 4, 5)
    moves: tuple[int, ...] = (2, 6)
    episodes: int = 40
    name: str = "disturbed"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {
            "horizon": self.horizon,
            "lates": list(self.lates),
            "moves": list(self.moves),
            "episodes": self.episodes,
            "version": 2,
        }

    def __call__(self, evidence: Evidence) -> Readings:
        """Disturb every held-out episode in every way."""
        clean = self._seen(evidence, evidence.store)
        ratios = {"undisturbed_skill": self._skill(evidence, clean, clean)}
        alone: list[list[Trajectory]] = []
        for way, store in self._ways(evidence):
            seen = self._seen(evidence, store)
            ratios |= {f"{way}_skill": self._skill(evidence, seen, clean), f"{way}_agreement": agreement(seen, clean)}
            if way.endswith("_mean"):
                alone.append(seen)
        if alone:
            ratios["between_agreement"] = agreement(alone[0], alone[-1])
        return Readings(ratios)

    def _ways(self, evidence: Evidence) -> Iterator[tuple[str, DisturbedStore]]:
        store, cameras = evidence.store, evidence.model.config.cameras
        for view, camera in enumerate(cameras):
            for moved in self.moves:
                yield f"moved_{camera}_{moved}", DisturbedStore(store, view, moved=moved)
        if len(cameras) < 2:
            return
        for view, camera in enumerate(cameras):
            black = np.zeros((store.image_size, store.image_size, 3), np.uint8)
            for fill, picture in zip(FILLS, (black, _picture(evidence, camera))):
                yield f"lost_{camera}_{fill}", DisturbedStore(store, view, picture)
        for late in self.lates:
            yield f"late_{late}", DisturbedStore(store, len(cameras) - 1, late=late)

    def _seen(self, evidence: Evidence, store: Store | DisturbedStore) -> list[Trajectory]:
        config = evidence.model.config
        episodes = choose_episodes([one.episode for one in evidence.held_out], self.episodes, 0)
        return encode_episodes(
            evidence.model, store, episodes, cameras=config.cameras, block=config.block, phases=[0], proprio=config.proprio_dim > 0
        )  # fmt: skip

    def _skill(self, evidence: Evidence, seen: list[Trajectory], clean: list[Trajectory]) -> Ratio:
        history = evidence.model.config.history
        watched, truth = (evidence.windows(history, self.horizon, along) for along in (seen, clean))
        return forecast_ratio(evidence.model, watched, truth)


def forecast_ratio(model: JEPA, watched: Windows, truth: Windows) -> Ratio:
    """Skill of what is imagined after watching one thing, against the future and the last latent of another.

    Args:
        model: that imagines.
        watched: windows whose history is given to the model.
        truth: the same windows, undisturbed.
    """
    parts = []
    with torch.inference_mode():
        for begin in range(0, len(watched.reach), ROLLOUT_BATCH):
            rows = slice(begin, begin + ROLLOUT_BATCH)
            told = (one[rows].to(model.device) for one in (watched.history, watched.past, watched.future))
            parts.append(model.rollout(*told).float().cpu())
    error, copy = (_squared(made, truth.target) for made in (torch.cat(parts), truth.history[:, -1:]))
    real = np.arange(1, error.shape[1] + 1) <= truth.reach.numpy()[:, None]
    return sum_by_episode(error, copy, real, truth.episode.numpy())


def agreement(seen: list[Trajectory], clean: list[Trajectory]) -> Ratio:
    """1 − squared distance between two latents of the same instants / variance of the second, by episode."""
    mean = stacked(clean).mean(0)
    off = np.concatenate([_squared(a.z, b.z)[:, None] for a, b in zip(seen, clean)])
    spread = np.concatenate([_squared(b.z, mean.expand_as(b.z))[:, None] for b in clean])
    owner = np.concatenate([np.full(len(b.z), b.episode) for b in clean])
    return sum_by_episode(off, spread, np.ones_like(off, bool), owner)


def _squared(one: Float[Tensor, "... D"], other: Float[Tensor, "... D"]) -> ndarray:
    errors: ndarray = (one.double() - other.double()).square().mean(-1).numpy()
    return errors


def _picture(evidence: Evidence, camera: str) -> UInt8[ndarray, "S S 3"]:
    """Mean frame of the training episodes, as one camera sees them."""
    rows = np.concatenate([evidence.store.episode_rows(e) for e in evidence.run.train_episodes])
    some = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLED).astype(int))]
    mean: ndarray = evidence.store.pixels(some, (camera,))[:, 0].astype(np.float64).mean(0).round().astype(np.uint8)
    return mean
