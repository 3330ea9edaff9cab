"""Touching: the joints that bring the hand to what is reached, from many looks on the way.

What is to be touched may be half hidden by the arm when one looks for the first time, and the pointer's centre is then some
millimetres off. So every look says where the thing is *and how far off that may be*, and the answers are averaged, the surer ones
counting more. How sure a look is depends on where the thing shows, how hot it is there, and how the arm stands; it is learned from
recordings as the scale of a Laplace distribution of the joints' errors (Kendall and Gal 2017). Where the thing is must not depend on
how the arm stands: in recordings the arm stands where it is going. The hand believes to have touched the thing when it is where the looks
say, and they are as sure as recordings' last looks.

Legend: n looks, V views, J joints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor, nn

from jepaflow.common.console import progress
from jepaflow.subgoals.language.lessons import Part
from jepaflow.subgoals.language.spots import HOT
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit

EVERY = 5
"""control steps between the looks learned from"""
BATCH = 256
"""looks in a step, and frames looked at together"""
LEAST, MOST = -6.0, 4.0
"""log scale of the errors, in the joints' deviations"""
SHARPER = 2.0
"""power of one over the scale that a look counts with: looks err alike, so that their mean errs more than the surest"""
USUAL = 0.95
"""share of the recordings' last looks that are surer than the usual doubt"""
FADES = 0.6
"""weight of a look beside that of the next one: what is hidden at first shows when the arm has moved, and things may be moved"""
BLUR = 0.02
"""noise on the joints in training"""


class Smooth(nn.Module):
    """A line and a little more."""

    def __init__(self, inputs: int, outputs: int, hidden: int = 48) -> None:
        super().__init__()
        self.line = nn.Linear(inputs, outputs)
        self.bend = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))

    def forward(self, x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        """Add them."""
        found: Tensor = self.line(x) + self.bend(x)
        return found


class Touch(nn.Module):
    """Centres in, joints that touch what is there out.

    Args:
        views: V.
        joints: J.
    """

    usual: Tensor

    def __init__(self, views: int, joints: int) -> None:
        super().__init__()
        self.register_buffer("usual", torch.tensor(MOST))
        """doubt that nearly all recordings' last looks are below: who is surer has touched the thing"""
        self.where = Smooth(2 * views, joints, 128)
        self.unsure = nn.Sequential(nn.Linear(3 * views + joints, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, at: Float[Tensor, "n V2"]) -> Float[Tensor, "n J"]:
        """Return z-scored joints."""
        found: Tensor = self.where(at)
        return found

    def doubt(
        self, at: Float[Tensor, "n V2"], heat: Float[Tensor, "n V"], here: Float[Tensor, "n J"]
    ) -> Float[Tensor, " n"]:
        """Return the logarithm of how far off `forward` may be.

        Args:
            at, heat: where the thing shows, and how hot it is there (`Pointer.spots`).
            here: z-scored joints now.
        """
        found: Tensor = self.unsure(torch.cat([at, heat / HOT, here], 1))[:, 0]
        return found.clamp(LEAST, MOST)


@dataclass(frozen=True, eq=False)
class Reaches:
    """Looks on the way to what was reached."""

    at: Float[Tensor, "n V2"]
    heat: Float[Tensor, "n V"]
    here: Float[Tensor, "n J"]
    """z-scored joints of the look"""
    goal: Float[Tensor, "n J"]
    """z-scored joints that were commanded in the end"""
    last: Bool[Tensor, " n"]
    """whether it is the last look of its recording"""


Spots = Callable[[UInt8[ndarray, "m V S S 3"], Int[ndarray, " m"]], tuple[Tensor, Tensor]]


def reaches_of(
    spots: Spots,
    standard: Callable[[Float[ndarray, "m J"]], Tensor],
    corpus: Corpus,
    cameras: tuple[str, ...],
    parts: Sequence[Part],
) -> Reaches | None:
    """Look at all that was reached, on the whole way; None where nothing was.

    Args:
        spots: where things show in frames, and how hot they are.
        standard: z-scores joints.
        corpus: recordings with joints.
        cameras: V of them.
        parts: what was done there.
    """
    mine = [part for part in parts if part.verb == "reach"]
    if not mine or corpus.proprio is None:
        return None
    looks = [np.arange(part.first, part.last + 1, EVERY) for part in mine]
    rows, each = np.concatenate(looks), np.repeat(np.arange(len(mine)), [len(some) for some in looks])
    thing, last = (np.array([getattr(part, name) for part in mine])[each] for name in ("thing", "last"))
    found = []
    with progress("Look at what was reached", len(rows)) as advance:
        for some in np.array_split(np.arange(len(rows)), max(1, len(rows) // BATCH)):
            found.append(spots(corpus.frames(rows[some], cameras), thing[some]))
            advance(len(some))
    at, heat = (torch.cat(parts) for parts in zip(*found, strict=True))
    here, goal = standard(corpus.proprio[rows]), standard(corpus.actions[last])
    return Reaches(at, heat, here, goal, torch.from_numpy(last - rows < EVERY))


def train_touch(touch: Touch, reaches: Reaches, config: FitConfig, seed: int = 0) -> None:
    """Learn in place where the hand goes and how far off that is: the likelihood of Laplace distributions."""

    def loss(step: int) -> Tensor:
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = torch.randint(len(reaches.at), (BATCH,), generator=g)
        at, here = reaches.at[some], reaches.here[some]
        here = here + BLUR * torch.randn(here.shape, generator=g)
        scale = touch.doubt(at, reaches.heat[some], here)
        away = (touch(at) - reaches.goal[some]).abs()
        likely: Tensor = (away.mean(1) * (-scale).exp() + scale).mean()
        return likely

    fit(touch, loss, config, "Learn to touch")
    touch.eval()
    with torch.no_grad():
        doubt = touch.doubt(reaches.at, reaches.heat, reaches.here)[reaches.last]
    touch.usual.copy_(torch.quantile(doubt, USUAL))


class Looks:
    """The average over looks of what E hands reach for.

    Args:
        size: E.
        joints: J.
    """

    def __init__(self, size: int, joints: int) -> None:
        self.sum, self.weight = torch.zeros(size, joints), torch.zeros(size, 1)
        self.doubt = torch.full((size,), MOST)
        """mean of the late looks' doubts"""

    def begin(self, rows: Int[ndarray, " n"]) -> None:
        """Forget what was seen: something else is reached for."""
        self.sum[rows], self.weight[rows], self.doubt[rows] = 0, 0, MOST

    @torch.no_grad()
    def see(
        self,
        touch: Touch,
        rows: Int[ndarray, " n"],
        at: Float[Tensor, "n V2"],
        heat: Float[Tensor, "n V"],
        here: Float[Tensor, "n J"],
    ) -> Float[Tensor, "n J"]:
        """Take one more look in, and return z-scored joints that touch the thing."""
        doubt = touch.doubt(at, heat, here)
        weight = (-SHARPER * doubt).exp()[:, None]
        first = self.weight[rows, 0] == 0
        self.doubt[rows] = torch.where(first, doubt, FADES * self.doubt[rows] + (1 - FADES) * doubt)
        self.sum[rows] = FADES * self.sum[rows] + weight * touch(at)
        self.weight[rows] = FADES * self.weight[rows] + weight
        found: Tensor = self.sum[rows] / self.weight[rows]
        return found
