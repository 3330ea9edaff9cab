"""The pusher: System 1 for a clause whose thing is moved without being held.

A hand that pushes neither closes nor opens, so nothing in its joints tells where the deed begins and ends, and there is no pointing hand
to aim at. But a push is steered by sight all the time. So the pusher is a behaviour clone that is told, at every look, where
the pointer sees the thing and how hot it is there (the arm hides it, or half of it), and where it saw thing and place when the
attempt began, each also as joints of a hand that would close there (where any hand ever closed), beside the joints now and their change
since the look before: the same pose is passed on the way to the thing, behind it and back. That change is left out half of the time: a
clone that is always told what it just did copies that instead of looking (de Haan 2019). The latent is left out altogether: with it
fewer pushes end well. Words do not enter: what is pushed is whatever the pointer points at.

Legend: n rows, V views, T things, J joints, c steps of a chunk, k numbers that a pusher is told.
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
from jepaflow.subgoals.language.pointing import GRID, Pointer
from jepaflow.subgoals.language.resting import LEFT, SEEN, train_rest
from jepaflow.subgoals.language.spots import HOT
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.worldmodel.colours import cells

THIN = 2
"""control steps between the frames learned from"""
UNTOLD = 0.5
"""share of the frames in training in which the change of the joints is not told"""
BATCH = 256
"""frames looked at together"""
SHORT = 0.05
"""how far beyond its place a thing is pushed, in pictures' halves (about 11 mm): a clone stops short"""


class Pusher(nn.Module):
    """What is known of a push in (`known_of`), actions out.

    Args:
        views: V.
        joints: J.
        chunk: c.
        hidden: width.
    """

    def __init__(self, views: int, joints: int, chunk: int, hidden: int = 384) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(11 * views + 6 * joints - 4, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(hidden, hidden), nn.GELU(),
            nn.Linear(hidden, chunk * joints), nn.Unflatten(1, (chunk, joints)),
        )  # fmt: skip

    def forward(self, known: Float[Tensor, "n k"]) -> Float[Tensor, "n c J"]:
        """Return actions relative to the joints now, in their deviations."""
        found: Tensor = self.net(known)
        return found


@torch.no_grad()
def known_of(
    pointer: Pointer,
    here: Float[Tensor, "n J"],
    before: Float[Tensor, "n J"],
    now: Float[Tensor, "n V3"],
    begun: Float[Tensor, "n V4"],
) -> Float[Tensor, "n k"]:
    """Return what a pusher is told; the last J numbers are the joints' change.

    Args:
        pointer: trained.
        here: joints now, z-scored.
        before: joints at the look before.
        now: where the thing shows, and how hot it is there (`seen`).
        begun: where thing and place showed when the attempt began (`begun`).
    """
    views = now.shape[1] // 3
    at, (thing, place) = now[:, : 2 * views], begun.chunk(2, 1)
    over, over_thing, over_place = (pointer.over(each) for each in (at, thing, place))
    ways = (over - here, over_place - here, over_place - over, over_place - over_thing)
    return torch.cat(
        [here, now, begun, 3 * (place - at), 3 * (place - thing), *(way[:, :-1] for way in ways), 3 * (here - before)],
        1,
    )


@torch.no_grad()
def seen(pointer: Pointer, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"]) -> Float[Tensor, "n V3"]:
    """Return where things show in the views, -1 … 1, and how hot they are there, in `HOT`."""
    at, heat = pointer.look(frames, thing)
    return torch.cat([at, heat / HOT], 1)


def begun(
    pointer: Pointer, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"], place: Int[ndarray, " n"]
) -> Float[Tensor, "n V4"]:
    """Return where things and their places show in the views when an attempt begins."""
    size = 2 * frames.shape[1]
    return torch.cat([seen(pointer, frames, each)[:, :size] for each in (thing, place)], 1)


def beyond(spots: Float[Tensor, "n V4"]) -> Float[Tensor, "n V4"]:
    """Return where things and places show (`begun`), each place moved on by `SHORT`, away from its thing."""
    thing, place = spots.chunk(2, 1)
    way = (place - thing).view(len(thing), -1, 2)
    return torch.cat([thing, place + SHORT * (way / way.norm(dim=2, keepdim=True).clamp_min(1e-6)).flatten(1)], 1)


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
    cell: float
    """size of a cell of the pointer's maps, in its coordinates"""


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
    cell = 2 / (cells(corpus.stores[0].image_size, GRID) - 1)
    return Pushes(rows, before, last[each], torch.cat(found), torch.cat(starts)[torch.from_numpy(each)], cell)


def teach_rest(pointer: Pointer, pushes: Pushes, config: FitConfig, seed: int = 0) -> None:
    """Teach a pointer, in place, what lies where it was pushed."""
    size = pushes.begun.shape[1] // 2
    last, episode = np.unique(pushes.last, return_inverse=True)
    end = np.array([np.flatnonzero(episode == e)[-1] for e in range(len(last))])[episode]
    start = np.array([np.flatnonzero(episode == e)[0] for e in range(len(last))])[episode]
    thing, heat = pushes.now[:, :size], pushes.now[:, size:]
    clear = (heat >= SEEN * heat[start]).all(1)
    clear &= clear[end]  # or nobody knows where it was left
    ended = clear & torch.from_numpy(pushes.last - pushes.rows < LEFT)
    train_rest(pointer.rest, thing, pushes.begun[:, size:], clear, thing[end], ended, pushes.cell, config, seed)


def train_pusher(
    pusher: Pusher,
    known: Float[Tensor, "n k"],
    away: Float[Tensor, "n c J"],
    config: FitConfig,
    batch: int = 512,
    noise: float = 0.02,
    seed: int = 0,
) -> None:
    """Train a pusher in place on what the recordings did next.

    Args:
        pusher: untrained.
        known: what is known in each frame (`known_of`).
        away: actions from each frame on, relative to the joints, in their deviations.
        config: of the fit.
        batch: frames in a step.
        noise: on all that is told.
        seed: of the draws.
    """
    joints = away.shape[2]

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = torch.randint(len(known), (batch,), generator=g)
        blurred = known[some] + noise * torch.randn(batch, known.shape[1], generator=g)
        blurred[torch.rand(batch, generator=g) < UNTOLD, -joints:] = 0
        return F.smooth_l1_loss(pusher(blurred), away[some], beta=0.1)

    fit(pusher, loss, config, "Train the pusher")
    pusher.eval()
