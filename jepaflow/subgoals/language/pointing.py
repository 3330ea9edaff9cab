"""The pointer: where the hand closes on a thing, and where it opens over a place, read from frames.

Recordings do not say where a red cube lies, but their sentences name it and their hands go there: the joints at the moment
the gripper closes are its place, in the arm's own coordinates. So each thing has a heat map over each view, one smooth function
for all turns the maps' centres of both views into joints, and both are learned from that moment alone. A heat map moves with what
it sees; a few hundred grasps suffice to place a cube, where a free network needs thousands.

A search for one coloured speck has no slope to follow, so a heat map begins where the hue is the one that the thing's name says, as a
small and as a large thing, and learns the rest (seen once on `place`, held-out grasps, median error of the shoulder's pan, which
spreads by 14°: 8.6° from nothing, 2.3° begun so).

Legend: n frames, V views, S side, C colours, G cells along a side, T things (objects, then places), J joints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.lessons import Part, grasp_of, middle_of
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.worldmodel.colours import cells, colour_maps, shares_table

EVERY = 8
"""control steps between the frames learned from"""
FEWEST = 10
"""grasps"""
GRID = 32
"""G at most"""
SHARP = 2.0
"""what heat is multiplied by before it becomes a distribution"""
SIZES = (3, 9)
"""cells: small and large things"""
HUE = 0.9
"""cosine between hues from which on they are the same"""
VIVID = 0.2
"""saturation of a colour that has a hue"""


class Pointer(nn.Module):
    """Frames in, joints out.

    Args:
        things: T.
        views: V.
        joints: J.
        colours: C.
        hidden: channels.
    """

    codebook: Tensor
    prior: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, things: int, views: int, joints: int, colours: int, hidden: int = 24) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {
            "things": things, "views": views, "joints": joints, "colours": colours, "hidden": hidden
        }  # fmt: skip
        self.heat = nn.Sequential(
            nn.Conv2d(colours, hidden, 3, padding=1), nn.GELU(),
            nn.Conv2d(hidden, hidden, 5, padding=2), nn.GELU(),
            nn.Conv2d(hidden, things, 3, padding=1),
        )  # fmt: skip
        self.reach = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * views, 48), nn.Tanh(), nn.Linear(48, joints)) for _ in range(2)
        )
        self.straight = nn.ModuleList(nn.Linear(2 * views, joints) for _ in range(2))
        self.blob = nn.Parameter(torch.tensor([[8.0, 0.0]] * things))
        self.register_buffer("prior", torch.zeros(things, colours))
        self.register_buffer("codebook", torch.full((colours, 3), 9.0))
        self.register_buffer("mean", torch.zeros(joints))
        self.register_buffer("std", torch.ones(joints))

    @torch.no_grad()
    def begin(self, codebook: Float[Tensor, "C 3"], colours: Sequence[Sequence[float] | None]) -> None:
        """Take a codebook, and what the names of the things' colours mean (RGB, 0 … 1; None: nothing known)."""
        self.codebook.copy_(codebook)
        for row, colour in enumerate(colours):
            if colour is None:
                continue
            mine = torch.tensor(colour, dtype=torch.float32)
            vivid = (codebook.amax(1) - codebook.amin(1)) * (codebook < 2).all(1)
            away = F.normalize(codebook - codebook.amin(1, keepdim=True)) @ F.normalize(mine - mine.min(), dim=0)
            self.prior[row] = ((away - HUE) / (1 - HUE)).clamp_min(0) * (vivid > VIVID)
        nn.init.zeros_(self.heat[-1].weight)  # type: ignore[arg-type]

    @torch.no_grad()
    def maps(self, frames: UInt8[ndarray, "n V S S 3"]) -> Float[Tensor, "n V C G G"]:
        """Return how much of each colour lies in each cell."""
        table = shares_table(self.codebook)
        grid = cells(frames.shape[2], GRID)
        some = np.array_split(frames, max(1, len(frames) // 64))
        return torch.cat([colour_maps(torch.from_numpy(np.ascontiguousarray(one)), table, grid) for one in some])

    def centres(self, maps: Float[Tensor, "n V C G G"]) -> tuple[Float[Tensor, "n T V2"], Float[Tensor, "n T V"]]:
        """Return where each thing is in each view (-1 … 1), and how much of its heat is in one place (0 … 1)."""
        n, views = maps.shape[:2]
        flat = maps.flatten(0, 1)
        named = torch.einsum("nchw,tc->nthw", flat.square(), self.prior)
        small, large = (F.avg_pool2d(named, size, 1, size // 2) for size in SIZES)
        heat = self.heat(flat) + self.blob[:, 0, None, None] * small + self.blob[:, 1, None, None] * large
        heat = (SHARP * heat).flatten(2).softmax(2).unflatten(2, maps.shape[-2:])
        cell = torch.linspace(-1, 1, maps.shape[-1])
        at = torch.stack([(heat.sum(3) * cell).sum(2), (heat.sum(2) * cell).sum(2)], -1)
        sharp = F.avg_pool2d(heat, 3, 1, 1, count_include_pad=True).flatten(2).amax(2) * 9
        things = at.shape[1]
        return at.view(n, views, things, 2).transpose(1, 2).flatten(2), sharp.view(n, views, things).transpose(1, 2)

    def joints(self, centres: Float[Tensor, "n V2"], places: bool) -> Float[Tensor, "n J"]:
        """Return z-scored joints of the hand that closes on what is there, or opens over it."""
        kind = int(places)
        found: Tensor = self.straight[kind](centres) + self.reach[kind](centres)
        return found


@dataclass(frozen=True, eq=False)
class Grasps:
    """Frames from before a hand closed on one thing and opened over another."""

    maps: Float[Tensor, "n V C G G"]
    thing: Int[ndarray, " n"]
    place: Int[ndarray, " n"]
    """numbers among the things"""
    closed: Float[Tensor, "n J"]
    """joints when the hand closed, dataset units"""
    opened: Float[Tensor, "n J"]
    grasp: Int[ndarray, " n"]
    """number of the grasp that each frame belongs to"""


@torch.no_grad()
def grasps_of(pointer: Pointer, corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part]) -> Grasps:
    """Collect frames from before grasps, every few control steps, the first of each part among them.

    Raises:
        JepaflowError: the recordings have no joints, or hardly any grasp is found.
    """
    if corpus.proprio is None:
        raise JepaflowError("Pointing needs observation.state: it says where the hand was. Train with --proprio.")
    proprio = corpus.proprio
    middle = middle_of(proprio[:, -1])
    rows: list[ndarray] = []
    mine: list[Part] = []
    hands: list[tuple[int, int]] = []
    for part in parts:
        held = grasp_of(proprio[part.first : part.last + 1, -1], middle)
        if held is not None:
            rows.append(np.arange(part.first, part.first + held[0], EVERY))
            mine.append(part)
            hands.append((part.first + held[0], part.first + held[1]))
    if len(mine) < FEWEST:
        raise JepaflowError(
            f"{len(mine)} grasps were found in the recordings that did their sentence, and {FEWEST} are needed. Record more."
        )
    grasp = np.repeat(np.arange(len(mine)), [len(some) for some in rows])
    maps = torch.cat([pointer.maps(corpus.frames(some, cameras)) for some in rows])
    closed, opened = (torch.from_numpy(proprio[list(when)][grasp]) for when in zip(*hands, strict=True))
    thing, place = (np.array([getattr(one, name) for one in mine])[grasp] for name in ("thing", "place"))
    return Grasps(maps, thing, place, closed, opened, grasp)


def train_pointer(
    grasps: Grasps, pointer: Pointer, steps: int = 600, batch: int = 48, lr: float = 6e-3, seed: int = 0
) -> None:
    """Train a pointer on frames before grasps, in place."""
    both = torch.cat([grasps.closed, grasps.opened])
    pointer.mean.copy_(both.mean(0))
    pointer.std.copy_(both.std(0).clamp_min(1e-3))
    wanted = [(values - pointer.mean) / pointer.std for values in (grasps.closed, grasps.opened)]
    thing, place = torch.from_numpy(grasps.thing), torch.from_numpy(grasps.place)

    def loss(step: int) -> Tensor:
        some = torch.from_numpy(np.random.default_rng([seed, step]).integers(0, len(thing), batch))
        at, _ = pointer.centres(grasps.maps[some])
        each = torch.arange(len(some))
        error = torch.zeros(())
        for kind, named in enumerate((thing, place)):
            found = pointer.joints(at[each, named[some]], bool(kind))
            error = error + F.smooth_l1_loss(found, wanted[kind][some], beta=0.3)
        return error

    fit(pointer, loss, FitConfig(steps, lr, 0.01), "Learn to point")
    pointer.eval()
