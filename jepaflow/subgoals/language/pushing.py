"""The pusher: System 1 for a clause whose thing is moved without being held.

A hand that pushes neither closes nor opens, so nothing in its joints tells where the deed begins and ends, and there is no pointing hand
to aim at. But a push is steered by sight all the time. So the pusher is a behaviour clone that is told, at every look, where
the pointer sees the thing and how hot it is there (the arm hides it, or half of it), and where it saw thing and place when the
attempt began, beside latent, joints, and their change since the look before: the same pose is passed on the way to the thing, behind it
and back. Words do not enter: what is pushed is whatever the pointer points at.

Legend: n rows, D latent, V views, T things, J joints, c steps of a chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.console import progress
from jepaflow.subgoals.language.lessons import Part
from jepaflow.subgoals.language.pointing import Pointer
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit

THIN = 2
"""control steps between the frames learned from"""
HOT = 6.0
"""heat of a thing that nothing hides, about"""
BATCH = 256
"""frames looked at together"""


class Pusher(nn.Module):
    """Latent, joints and two places in the views in; actions out.

    Args:
        dim: D.
        views: V.
        joints: J.
        chunk: c.
        hidden: width.
    """

    def __init__(self, dim: int, views: int, joints: int, chunk: int, hidden: int = 384) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim + 2 * joints + 11 * views, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, chunk * joints), nn.Unflatten(1, (chunk, joints)),
        )  # fmt: skip

    def forward(
        self,
        scaled: Float[Tensor, "n D"],
        here: Float[Tensor, "n J"],
        before: Float[Tensor, "n J"],
        now: Float[Tensor, "n V3"],
        begun: Float[Tensor, "n V4"],
    ) -> Float[Tensor, "n c J"]:
        """Return actions relative to the joints now, in their deviations.

        Args:
            scaled, here: latent and joints now, z-scored.
            before: joints at the look before.
            now: where the thing shows, and how hot it is there (`seen`).
            begun: where thing and place showed when the attempt began (`begun`).
        """
        views = now.shape[1] // 3
        at, (thing, place) = now[:, : 2 * views], begun.chunk(2, 1)
        ways = (3 * (here - before), 3 * (place - at), 3 * (place - thing))
        found: Tensor = self.net(torch.cat([scaled, here, now, begun, *ways], 1))
        return found


@torch.no_grad()
def seen(pointer: Pointer, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"]) -> Float[Tensor, "n V3"]:
    """Return where things show in the views, -1 … 1, and how hot they are there, 0 … 1."""
    at, heat = pointer.spots(pointer.maps(frames), torch.from_numpy(thing))
    return torch.cat([at, (heat / HOT).clamp(0, 1)], 1)


def begun(
    pointer: Pointer, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"], place: Int[ndarray, " n"]
) -> Float[Tensor, "n V4"]:
    """Return where things and their places show in the views when an attempt begins."""
    size = 2 * frames.shape[1]
    return torch.cat([seen(pointer, frames, each)[:, :size] for each in (thing, place)], 1)


@dataclass(frozen=True, eq=False)
class Pushes:
    """Frames in which something is being pushed."""

    rows: Int[ndarray, " n"]
    """of the corpus"""
    before: Int[ndarray, " n"]
    """rows of a look earlier, in the same deed"""
    last: Int[ndarray, " n"]
    """row at which the deed is done, of each"""
    now: Float[Tensor, "n V3"]
    begun: Float[Tensor, "n V4"]


def pushes_of(
    pointer: Pointer, corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part], block: int
) -> Pushes | None:
    """Look at all that was pushed; None where nothing was.

    Args:
        pointer: trained.
        corpus: recordings.
        cameras: V of them.
        parts: what was done there.
        block: control steps between looks.
    """
    mine = [part for part in parts if part.verb == "push"]
    if not mine:
        return None
    rows = np.concatenate([np.arange(part.first, part.last + 1, THIN) for part in mine])
    each = np.repeat(np.arange(len(mine)), [len(range(part.first, part.last + 1, THIN)) for part in mine])
    thing, place, first, last = (
        np.array([getattr(part, name) for part in mine]) for name in ("thing", "place", "first", "last")
    )
    found = []
    with progress("Look at what was pushed", len(rows)) as advance:
        for some in np.array_split(np.arange(len(rows)), max(1, len(rows) // BATCH)):
            found.append(seen(pointer, corpus.frames(rows[some], cameras), thing[each[some]]))
            advance(len(some))
    starts = [
        begun(pointer, corpus.frames(first[some], cameras), thing[some], place[some])
        for some in np.array_split(np.arange(len(mine)), max(1, len(mine) // BATCH))
    ]
    before = np.maximum(rows - block, first[each])
    return Pushes(rows, before, last[each], torch.cat(found), torch.cat(starts)[torch.from_numpy(each)])


def train_pusher(
    pusher: Pusher,
    z: Float[Tensor, "n D"],
    here: Float[Tensor, "n J"],
    before: Float[Tensor, "n J"],
    away: Float[Tensor, "n c J"],
    pushes: Pushes,
    config: FitConfig,
    batch: int = 512,
    noise: float = 0.02,
    seed: int = 0,
) -> None:
    """Train a pusher in place on what the recordings did next.

    Args:
        pusher: untrained.
        z, here, before: z-scored latents and joints of the rows, and joints of a look earlier.
        away: actions from each row on, relative to the joints, in their deviations.
        pushes: the rows, and what was seen there.
        config: of the fit.
        batch: rows in a step.
        noise: on all inputs.
        seed: of the draws.
    """

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = torch.randint(len(z), (batch,), generator=g)
        told = (z[some], here[some], before[some], pushes.now[some], pushes.begun[some])
        scales = (noise, noise, noise, noise / 4, noise / 4)
        blurred = (x + scale * torch.randn(x.shape, generator=g) for x, scale in zip(told, scales, strict=True))
        return F.smooth_l1_loss(pusher(*blurred), away[some], beta=0.1)

    fit(pusher.train(), loss, config, "Train the pusher")
    pusher.eval()
