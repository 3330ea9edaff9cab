"""Some held-out frames, at equal distances, with everything that their latents are compared with.

Isometry, neighbours and the maps look at the same frames: what a map shows is what the figures count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import nn

from jepaflow.data.store import Store
from jepaflow.diagnosis.geometry import first_phases
from jepaflow.diagnosis.latents import Trajectory, encode_episodes
from jepaflow.diagnosis.told import Told, read_told
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.worldmodel.jepa import JEPA

LIMIT = 1500
SIDE = 16
"""side that frames are averaged down to for the floor *pixels*"""
BATCH = 64


@dataclass(frozen=True)
class Kinds:
    """A class per frame: the task or the behaviour."""

    title: str
    index: Int[ndarray, " n"]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Frames:
    """Frames of held-out episodes, phase 0, in store order.

    Attributes:
        z: latents.
        pixels: frames averaged down to 16 px, all cameras, flat, 0 … 1: the floor of a model that learned nothing.
        untrained: latents of the same architecture with random weights; None where it was not asked for.
        row, episode: in the store.
        step: model step in its episode; ``when`` the same as a share of the episode, 0 … 1.
        told: what the store tells of the scene.
        kinds: tasks or behaviours, where there are several.
        block: control steps per model step.
    """

    z: Float[ndarray, "n D"]
    pixels: Float[ndarray, "n p"]
    untrained: Float[ndarray, "n D"] | None
    row: Int[ndarray, " n"]
    episode: Int[ndarray, " n"]
    step: Int[ndarray, " n"]
    when: Float[ndarray, " n"]
    told: Told | None
    kinds: Kinds | None
    block: int

    def representations(self) -> dict[str, Float[ndarray, "n d"]]:
        """What the latents have to beat: floor's name to vectors."""
        known = {"pixels": self.pixels, "untrained": self.untrained}
        return {name: value for name, value in known.items() if value is not None}


def gather_frames(
    trajectories: Sequence[Trajectory],
    store: Store,
    cameras: Sequence[str],
    model: JEPA | None = None,
    limit: int = LIMIT,
    seed: int = 0,
) -> Frames:
    """Choose at most ``limit`` frames of the episodes' first phases and read what belongs to them.

    Args:
        trajectories: of `encode_episodes`, not empty.
        store: where the frames lie.
        cameras: the model's.
        model: also encode the frames with an untrained twin of it.
        limit: most frames.
        seed: of the untrained twin's weights.
    """
    ones = first_phases(trajectories)
    block = int(ones[0].blocks.shape[1])
    lengths = [len(t.z) for t in ones]
    chosen = np.unique(np.linspace(0, sum(lengths) - 1, min(limit, sum(lengths))).round().astype(np.int64))
    step = np.concatenate([np.arange(n) for n in lengths])
    last = np.concatenate([np.full(n, max(1, n - 1)) for n in lengths])
    row = np.concatenate([store.ep_offset[t.episode] + t.phase + block * np.arange(len(t.z)) for t in ones])
    untrained = None
    if model is not None:
        untrained = _untrained_latents(model, store, ones, cameras, block, seed)[chosen]
    return Frames(
        z=torch.cat([t.z for t in ones]).numpy()[chosen].astype(np.float64),
        pixels=_small(store, row[chosen], tuple(cameras)),
        untrained=untrained,
        row=row[chosen],
        episode=np.repeat([t.episode for t in ones], lengths)[chosen],
        step=step[chosen],
        when=(step / last)[chosen],
        told=read_told(store, row[chosen]),
        kinds=_kinds(store, row[chosen]),
        block=block,
    )


def _small(store: Store, rows: ndarray, cameras: tuple[str, ...]) -> Float[ndarray, "n p"]:
    """Frames averaged down, a batch at a time: at 224 px all of them would take a gigabyte."""
    side, parts = min(SIDE, store.image_size), []
    for begin in range(0, len(rows), BATCH):
        frames = torch.from_numpy(store.pixels(rows[begin : begin + BATCH], cameras)).flatten(0, 1)
        small = nn.functional.adaptive_avg_pool2d(frames.permute(0, 3, 1, 2).float() / 255, side)
        parts.append(small.reshape(len(frames) // len(cameras), -1).numpy())
    return np.concatenate(parts)


def _untrained_latents(
    model: JEPA, store: Store, ones: Sequence[Trajectory], cameras: Sequence[str], block: int, seed: int
) -> Float[ndarray, "n D"]:
    """Latents of the twin for the same frames, in the same order."""
    twin = untrained_twin(model, seed)
    body = model.config.proprio_dim > 0
    found = {}
    for phase in {t.phase for t in ones}:
        episodes = [t.episode for t in ones if t.phase == phase]
        encoded = encode_episodes(twin, store, episodes, cameras=cameras, block=block, phases=[phase], proprio=body)
        found.update({t.episode: t.z for t in encoded})
    return torch.cat([found[t.episode] for t in ones]).numpy().astype(np.float64)


def _kinds(store: Store, rows: ndarray) -> Kinds | None:
    """Tasks where the frames have several, else behaviours; None where all are alike."""
    if "task_index" in store.columns and len(store.tasks) > 1:
        task = np.asarray(store.read("task_index", rows)).reshape(-1).astype(np.int64)
        if len(np.unique(task)) > 1:
            return Kinds("task", task, tuple(store.tasks))
    if "behaviour" in store.columns:
        kind = np.asarray(store.read("behaviour", rows)).reshape(-1).astype(np.int64)
        labels = tuple(store.meta.get("features", {}).get("behaviour", {}).get("labels") or ())
        if len(np.unique(kind)) > 1:
            known = labels if len(labels) > int(kind.max()) else tuple(map(str, range(int(kind.max()) + 1)))
            return Kinds("behaviour", kind, known)
    return None
