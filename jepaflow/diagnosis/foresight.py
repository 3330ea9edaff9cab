"""What a model imagines some model steps ahead, open loop, beside what came: for probes that read imagined latents.

Whatever rides behind the latents of a trajectory (true places, floors' features) rides along here, so that a window knows
the truth of its own moment without an index into the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from jepaflow.diagnosis.forecast import ROLLOUT_BATCH, cut_windows
from jepaflow.diagnosis.latents import Imagines, Trajectory, device_of

AHEAD = (1, 3, 5)
"""Model steps."""


@dataclass(frozen=True)
class Foresight:
    """Windows: the latents (with what rides behind them) now and some steps later, and the imagined ones."""

    now: Float[Tensor, "n DQ"]
    then: Float[Tensor, "n DQ"]
    imagined: Float[Tensor, "n D"]
    episode: Int[np.ndarray, " n"]


def carrying(
    trajectories: Sequence[Trajectory], behind: Callable[[Trajectory], Float[np.ndarray, "T Q"]]
) -> list[Trajectory]:
    """Put numbers behind the latents of each frame, such as what is true there."""
    out = []
    for one in trajectories:
        rider = torch.from_numpy(np.asarray(behind(one), np.float32))
        out.append(replace(one, z=torch.cat([one.z, rider], 1)))
    return out


def owners(trajectories: Sequence[Trajectory]) -> Int[np.ndarray, " n"]:
    """The episode of each frame, trajectory after trajectory."""
    return np.repeat([t.episode for t in trajectories], [len(t.z) for t in trajectories])


def foresee(
    model: Imagines, trajectories: Sequence[Trajectory], dim: int, history: int, ahead: Sequence[int] = AHEAD
) -> dict[int, Foresight]:
    """Roll every window out open loop.

    Args:
        model: what imagines.
        trajectories: the first ``dim`` numbers of each frame are its latent.
        dim: size of a latent.
        history: real frames that the imagining begins with.
        ahead: model steps.

    Returns:
        By steps ahead, the windows that reach so far; none where no window does.
    """
    windows = cut_windows(trajectories, history, max(ahead))
    if windows is None:
        return {}
    parts, device = [], device_of(model)
    with torch.inference_mode():
        for begin in range(0, len(windows.reach), ROLLOUT_BATCH):
            rows = slice(begin, begin + ROLLOUT_BATCH)
            z, past, future = windows.history[rows, :, :dim], windows.past[rows], windows.future[rows]
            parts.append(model.rollout(z.to(device), past.to(device), future.to(device)).float().cpu())
    imagined, found = torch.cat(parts), {}
    for steps in ahead:
        there = windows.reach >= steps
        if bool(there.any()):
            now, then = windows.history[there, -1], windows.target[there, steps - 1]
            found[steps] = Foresight(now, then, imagined[there, steps - 1], windows.episode[there].numpy())
    return found
