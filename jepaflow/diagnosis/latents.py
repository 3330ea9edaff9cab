"""Held-out episodes as latent trajectories: every frame is encoded once, all measurements share the result.

A trajectory is one episode seen every ``K`` control steps from a *phase* 0 … ``K-1``; several phases of an episode
give more windows, and count as one episode in every interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError

# Frames encoded at a time: large enough to keep the processor busy, small at 224 px (20 MB of pixels).
ENCODE_BATCH = 32


@runtime_checkable
class Encodes(Protocol):
    """The part of a model that sees."""

    def encode(self, pixels: Any, proprio: Any = None) -> Tensor:
        """Pixels ``[B, T, V, S, S, 3]`` uint8 (and proprioception ``[B, T, P]``) to latents ``[B, T, D]``."""
        ...


@runtime_checkable
class Imagines(Protocol):
    """The part of a model that forecasts; actions in the units of the dataset."""

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """History ``[B, H, D]``, past blocks ``[B, H-1, K, A]``, future ``[B, N, K, A]`` to ``[B, N, D]``."""
        ...


@runtime_checkable
class FrameStore(Protocol):
    """What a diagnosis needs of a store (``jepaflow.data.store.Store``)."""

    columns: Any
    ep_len: Any

    def episode_rows(self, episode: int) -> ndarray:
        """Row numbers of an episode, in order."""
        ...

    def read(self, column: str, rows: ndarray) -> ndarray:
        """Rows of a column, in the given order."""
        ...

    def pixels(self, rows: ndarray, cameras: Any) -> ndarray:
        """Frames ``[n, V, S, S, 3]`` uint8."""
        ...


@dataclass(frozen=True)
class Trajectory:
    """One episode at model-step spacing.

    Attributes:
        episode: index in the store.
        phase: control step of the first frame.
        z: latents of ``T`` frames, ``K`` control steps apart.
        blocks: the ``T - 1`` action blocks between them, ``blocks[t]`` leads from frame ``t`` to ``t + 1``.
    """

    episode: int
    phase: int
    z: Float[Tensor, "T D"]
    blocks: Float[Tensor, "L K A"]


def choose_episodes(episodes: Sequence[int], limit: int, seed: int) -> list[int]:
    """At most ``limit`` of the episodes, drawn without replacement, in store order."""
    if len(episodes) <= limit:
        return sorted(int(e) for e in episodes)
    rng = np.random.default_rng(seed)
    return sorted(int(e) for e in rng.choice(np.asarray(episodes), limit, replace=False))


def choose_phases(lengths: Sequence[int], block: int, budget: int) -> list[int]:
    """As many evenly spaced phases 0 … ``K-1`` as a budget of frames allows, always at least phase 0."""
    frames = sum(-(-length // block) for length in lengths)
    count = max(1, min(block, budget // max(1, frames)))
    return sorted({int(phase) for phase in np.linspace(0, block, count, endpoint=False)})


def require_actions(store: FrameStore, name: str) -> None:
    """Refuse a store without actions, such as one made of ordinary videos.

    Raises:
        JepaflowError: when the store has no column ``action``.
    """
    if "action" not in store.columns:
        raise JepaflowError(
            f"{name} has no actions (it was made from plain videos), and a forecast of this model needs them. "
            "Diagnose on a store that was converted from a dataset with actions."
        )


def encode_episodes(
    model: Encodes,
    store: FrameStore,
    episodes: Sequence[int],
    *,
    cameras: Sequence[str],
    block: int,
    phases: Sequence[int],
    proprio: bool,
) -> list[Trajectory]:
    """Encode episodes of a store; an episode shorter than one block gives a trajectory of a single frame.

    Args:
        model: the model, in evaluation mode.
        store: where the frames lie.
        episodes: store indices.
        cameras: views, in the model's order.
        block: control steps per model step, ``K``.
        phases: first control steps.
        proprio: also feed the column ``proprio``.

    Raises:
        JepaflowError: on actions, proprioception or latents that are not finite.
    """
    plan = [(e, p) for e in episodes for p in phases if p < int(store.ep_len[e])]
    trajectories = []
    with torch.inference_mode(), progress("encode", len(plan)) as advance:
        for episode, phase in plan:
            rows = store.episode_rows(episode)
            actions = np.asarray(store.read("action", rows), dtype=np.float32)
            _refuse_non_finite(actions, "action", episode)
            frames = rows[phase::block]
            z = _encode_rows(model, store, frames, cameras, proprio, episode)
            steps = len(frames) - 1
            dense = actions[phase : phase + steps * block].reshape(steps, block, actions.shape[1])
            trajectories.append(Trajectory(episode, phase, z, torch.from_numpy(dense.copy())))
            advance()
    return trajectories


def _encode_rows(
    model: Encodes, store: FrameStore, rows: ndarray, cameras: Sequence[str], proprio: bool, episode: int
) -> Float[Tensor, "T D"]:
    """Latents of single frames, on the CPU in float32."""
    device = device_of(model)
    parts = []
    for begin in range(0, len(rows), ENCODE_BATCH):
        some = rows[begin : begin + ENCODE_BATCH]
        pixels = torch.from_numpy(np.ascontiguousarray(store.pixels(some, tuple(cameras))))[:, None].to(device)
        body: Tensor | None = None
        if proprio:
            values = np.asarray(store.read("proprio", some), dtype=np.float32)
            _refuse_non_finite(values, "proprio", episode)
            body = torch.from_numpy(values)[:, None].to(device)
        parts.append(model.encode(pixels, body)[:, 0].float().cpu())
    z = torch.cat(parts)
    if not bool(torch.isfinite(z).all()):
        raise JepaflowError(
            f"The latents of episode {episode} are not finite: the weights or the frames are damaged. "
            "Diagnose an earlier checkpoint, and run `jepaflow doctor` on the dataset."
        )
    return z


def _refuse_non_finite(values: ndarray, column: str, episode: int) -> None:
    bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if bad.any():
        raise JepaflowError(
            f"The column {column} of episode {episode} is not finite at frame {int(bad.argmax())}. "
            "Run `jepaflow doctor` on the dataset and convert it with `--on-damage drop`."
        )


def device_of(model: object) -> torch.device:
    """Where a model's weights lie; objects without weights compute on the CPU."""
    if isinstance(model, torch.nn.Module):
        first = next(model.parameters(), None)
        if first is not None:
            return first.device
    return torch.device("cpu")
