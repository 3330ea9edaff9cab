"""The pointer: where the hand closes on a thing, and where it opens over a place, read from frames.

Recordings do not say where a red cube lies, but their sentences name it and their hands go there: the joints at the moment
the gripper closes are its place, in the arm's own coordinates. So each thing has a heat map over each view, one smooth function
for all turns the maps' centres of both views into joints, and both are learned from that moment alone. A heat map moves with what
it sees; a few hundred grasps suffice to place a cube, where a free network needs thousands.

A search for one coloured speck has no slope to follow, so a heat map begins where the hue is the one that the thing's name says, as a
small and as a large thing, and learns the rest.

The wrist's roll has several right answers: what is square is gripped alike after a quarter turn. A regression would answer their mean,
which lands the jaws on an edge. So a patch of pixels around the centre says the roll's phase within a quarter turn, and of the rolls
that fit, the one nearest to the usual is taken. The image shows the thing's turn against the table: when the jaws point down, roll plus or
minus the shoulder's pan, and the recordings say which (held-out grasps of `place`: 4.5 degrees in the median, against 7.7 for the
roll alone; seen once). The other joints follow from centre and roll, since the jaws' middle lies beside the roll's axis.

Of several things of one name the hottest that lies in no place is meant (its centre in the first view says where to look in the
others), so that what was put away is left alone, and the next one is next: `loose`.

What is reached is touched where it is: one more smooth function says the joints that were commanded then (`touching`). What is pushed
onto something lies there or does not (`resting`).
First everything is learned together, then, with the heat maps as they are, the small functions to their end: they cost nothing.

Legend: n frames, V views, S side, C colours, G cells along a side, T things (objects, then places), J joints, P side of a patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.lessons import Part, holds_of, longest, middle_of
from jepaflow.subgoals.language.resting import Rest
from jepaflow.subgoals.language.spots import COLD, SHARP, WINDOW, bent, hottest, middle
from jepaflow.subgoals.language.touching import Smooth, Touch
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.worldmodel.colours import BITS, cells, colour_maps, shares_table

EVERY = 8
"""control steps between the frames learned from"""
FEWEST = 10
"""grasps"""
GRID = 32
"""G at most"""
SIZES = (3, 9)
"""cells: small and large things"""
HUE = 0.9
"""cosine between hues from which on they are the same"""
AWAY = 4
"""cells from a place's centre within which things lie in it"""
VIVID = 0.2
"""saturation of a colour that has a hue"""
PATCH = 12
"""P, pixels of a picture of 64 pixels"""
PAN, ROLL = 0, -2
"""joints: the first turns the whole arm, and the last but one the jaws (SO-100, SO-101, Koch), in degrees"""
TURNS = 4
"""turns of the jaws in a whole one after which a box is gripped alike"""
BLUR = 0.03
"""noise on patches in training"""
LARGE, MORE = 128, 2
"""frames in a step of the small functions, and steps of theirs for each step of all"""
NEAR = 0.1
"""deviations of a joint from which on an error counts plainly instead of squared"""
SURE = 0.3
"""length of a phase's vector below which nothing is known of it"""


class Pointer(nn.Module):
    """Frames in, joints out.

    Args:
        things: T.
        objects: how many of them are objects; the others are places.
        views: V.
        joints: J.
        colours: C.
        hidden: channels.
    """

    codebook: Tensor
    prior: Tensor
    sense: Tensor
    least: Tensor
    holds: Tensor
    across: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, things: int, objects: int, views: int, joints: int, colours: int, hidden: int = 24) -> None:
        super().__init__()
        self.sizes: dict[str, Any] = {
            "things": things, "objects": objects, "views": views, "joints": joints, "colours": colours, "hidden": hidden
        }  # fmt: skip
        self.heat = nn.Sequential(
            nn.Conv2d(colours, hidden, 3, padding=1), nn.GELU(),
            nn.Conv2d(hidden, hidden, 5, padding=2), nn.GELU(),
            nn.Conv2d(hidden, things, 3, padding=1),
        )  # fmt: skip
        self.opens = Smooth(2 * views, joints)
        self.closes = Smooth(2 * views + 2, joints)
        self.usual = nn.Linear(2 * views, 1)
        self.phase = nn.Sequential(
            nn.Linear(views * (4 * PATCH**2 + 2), 128), nn.GELU(), nn.Dropout(0.3), nn.Linear(128, 2)
        )  # fmt: skip
        self.touches, self.rest = Touch(views, joints), Rest(views)
        self.blob = nn.Parameter(torch.tensor([[8.0, 0.0]] * things))
        self.register_buffer("prior", torch.zeros(things, colours))
        self.register_buffer("codebook", torch.full((colours, 3), 9.0))
        self.register_buffer("sense", torch.ones(()))
        self.register_buffer("least", torch.full((things,), -np.inf))
        self.register_buffer("holds", torch.arange(things) >= objects)
        """places that things lie in, not on: what is there does not lie about"""
        self.register_buffer("across", torch.zeros(6, 2 * (views - 1)))
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
    def scale(self, joints: Float[Tensor, "n J"]) -> None:
        """Take the joints' scale from some, in place."""
        self.mean.copy_(joints.mean(0))
        self.std.copy_(joints.std(0).clamp_min(1e-3))

    @torch.no_grad()
    def maps(self, frames: UInt8[ndarray, "n V S S 3"]) -> Float[Tensor, "n V C G G"]:
        """Return how much of each colour lies in each cell."""
        table = shares_table(self.codebook)
        grid = cells(frames.shape[2], GRID)
        some = np.array_split(frames, max(1, len(frames) // 64))
        return torch.cat([colour_maps(torch.from_numpy(np.ascontiguousarray(one)), table, grid) for one in some])

    def warm(self, maps: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n V T G G"]:
        """Return each thing's heat in each cell."""
        flat = maps.flatten(0, 1)
        named = torch.einsum("nchw,tc->nthw", flat.square(), self.prior)
        small, large = (F.avg_pool2d(named, size, 1, size // 2) for size in SIZES)
        found: Tensor = self.heat(flat) + self.blob[:, 0, None, None] * small + self.blob[:, 1, None, None] * large
        return found.view(*maps.shape[:2], self.sizes["things"], *maps.shape[-2:])

    @torch.no_grad()
    def loose(self, maps: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n V T G G"]:
        """Return the heat of objects that lie in no place, and of the places."""
        return self._loose(self.warm(maps))

    def _loose(self, heat: Float[Tensor, "n V T G G"]) -> Float[Tensor, "n V T G G"]:
        objects, grid = self.sizes["objects"], heat.shape[-1]
        # A place that no start frame's sentence named has no threshold: nobody knows whether it is there, so it hides nothing.
        there = (heat.flatten(3).amax(3).mean(1) >= self.least) & self.least.isfinite() & self.holds
        cell, found = torch.arange(grid), heat.clone()
        for place in range(objects, heat.shape[2]):
            middle = heat[:, :, place].flatten(2).argmax(2)
            near = [(cell - one[..., None]).abs() < AWAY for one in (middle // grid, middle % grid)]
            inside = near[0][..., :, None] & near[1][..., None, :] & there[:, None, place, None, None]
            found[:, :, :objects] = found[:, :, :objects].masked_fill(inside[:, :, None], COLD)
        return found

    @torch.no_grad()
    def peaks(self, maps: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n T"]:
        """Return how hot each thing is where it is hottest, mean over views; objects, where they lie in no place."""
        found: Tensor = self.loose(maps).flatten(3).amax(3).mean(1)
        return found

    def there(self, frames: UInt8[ndarray, "n V S S 3"], times: float = 1.0) -> Bool[ndarray, "n T"]:
        """Return which things are on desks, or so many times as hot as that takes; of objects, those that lie in no place."""
        return np.asarray((self.peaks(self.maps(frames)) >= times * self.least).numpy())

    def several(self, frames: UInt8[ndarray, "n V S S 3"]) -> Bool[ndarray, "n T"]:
        """Return of which objects more than one lies about: their heat peaks more than once in the first view.

        The threshold is that of `there`, which is a mean over views.
        """
        heat, (reach, _) = self.loose(self.maps(frames))[:, 0], WINDOW
        best = F.max_pool2d(heat, 2 * reach + 1, 1, reach)
        peaks = ((heat == best) & (heat >= self.least[:, None, None])).flatten(2).sum(2)
        peaks[:, self.sizes["objects"] :] = 0
        peaks[:, ~self.least.isfinite()] = 0
        return np.asarray((peaks > 1).numpy())

    @torch.no_grad()
    def one(self, maps: Float[Tensor, "n V C G G"], thing: Int[Tensor, " n"]) -> Float[Tensor, "n V2"]:
        """Return the centres of one object on each desk: of several the hottest that lies in no place, if one does."""
        each, views, grid = torch.arange(len(maps)), maps.shape[1], maps.shape[-1]
        every = self.warm(maps)
        loose = self._loose(every)
        some = loose.flatten(3).amax(3).mean(1)[each, thing] >= self.least[thing]
        heat = torch.where(some[:, None, None, None], loose[each, :, thing], every[each, :, thing])
        peak = heat[:, 0].flatten(1).argmax(1)
        at = [middle(heat[:, 0], torch.stack([peak // grid, peak % grid], 1), WINDOW[0])]
        others = (bent(at[0]) @ self.across).view(len(maps), views - 1, 2)
        for view in range(1, views):
            cell = ((others[:, view - 1] + 1) / 2 * (grid - 1)).round().long().clamp(0, grid - 1)
            at.append(middle(heat[:, view], cell, WINDOW[1]))
        return torch.cat(at, 1)

    @torch.no_grad()
    def spots(
        self, maps: Float[Tensor, "n V C G G"], thing: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n V2"], Float[Tensor, "n V"]]:
        """Return where each desk's thing is hottest, in each view for itself, and how hot it is there."""
        return hottest(self.warm(maps)[torch.arange(len(maps)), :, thing])

    def look(
        self, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"]
    ) -> tuple[Float[Tensor, "n V2"], Float[Tensor, "n V"]]:
        """Return the `spots` of frames."""
        return self.spots(self.maps(frames), torch.from_numpy(thing))

    @torch.no_grad()
    def objects_spots(self, maps: Float[Tensor, "n V C G G"]) -> tuple[Float[Tensor, "n O V2"], Float[Tensor, "n O V"]]:
        """Return the same of all objects."""
        heat = self.warm(maps)
        every = [hottest(heat[:, :, thing]) for thing in range(self.sizes["objects"])]
        at, hot = (torch.stack(each, 1) for each in zip(*every, strict=True))
        return at, hot

    def centres(self, maps: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n T V2"]:
        """Return where each thing is in each view: row and column, -1 … 1."""
        heat = self.warm(maps)
        heat = (SHARP * heat).flatten(3).softmax(3).view(heat.shape)
        cell = torch.linspace(-1, 1, maps.shape[-1])
        return torch.stack([(heat.sum(4) * cell).sum(3), (heat.sum(3) * cell).sum(3)], -1).transpose(1, 2).flatten(2)

    def patches(
        self, frames: UInt8[Tensor, "n V S S 3"], at: Float[Tensor, "n V2"], thing: Int[Tensor, " n"]
    ) -> Float[Tensor, "n k"]:
        """Return the pixels around centres, and how much each of them has the named hue."""
        n, views, side = frames.shape[:3]
        grid = cells(side, GRID)
        middle = at.view(n * views, 1, 1, 2).flip(3) * (grid - 1) / grid  # rows come first in a centre
        step = torch.linspace(1 - PATCH, PATCH - 1, PATCH) / 64
        window = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1) + middle
        pixels = frames.flatten(0, 1).permute(0, 3, 1, 2) / 255.0
        seen = F.grid_sample(pixels, window, padding_mode="border", align_corners=False)
        r, g, b = (seen * (2**BITS - 1e-3)).long().unbind(1)
        share = shares_table(self.codebook)[(r << 2 * BITS) + (g << BITS) + b].sqrt()
        own = torch.einsum("nvhwc,nc->nvhw", share.view(n, views, PATCH, PATCH, -1).square(), self.prior[thing])
        return torch.cat([seen.reshape(n, -1), own.reshape(n, -1)], 1)

    def turned(
        self, patches: Float[Tensor, "n k"], at: Float[Tensor, "n V2"], pan: Float[Tensor, " n"]
    ) -> Float[Tensor, "n 2"]:
        """Return the phase of the roll as a vector: cosine and sine, shorter where it is less sure.

        Args:
            patches: of `patches`.
            at: centres.
            pan: the shoulder's, degrees.
        """
        found = torch.view_as_complex(self.phase(torch.cat([patches, at], 1)))
        return torch.view_as_real(found * torch.polar(torch.ones_like(pan), torch.deg2rad(TURNS * self.sense * pan)))

    def opened(self, at: Float[Tensor, "n V2"]) -> Float[Tensor, "n J"]:
        """Return z-scored joints of the hand that opens over what is there."""
        found: Tensor = self.opens(at)
        return found

    def standard(self, joints: Float[ndarray, "n J"]) -> Float[Tensor, "n J"]:
        """Return joints in their deviations."""
        found: Tensor = (torch.from_numpy(joints).float() - self.mean) / self.std
        return found

    def closed(self, at: Float[Tensor, "n V2"], roll: Float[Tensor, " n"]) -> Float[Tensor, "n J"]:
        """Return z-scored joints of the hand that closes on what is there, given the wrist's roll in degrees."""
        by = torch.deg2rad(roll)
        found = self.closes(torch.cat([at, by.cos()[:, None], by.sin()[:, None]], 1))
        rolled = ((roll - self.mean[ROLL]) / self.std[ROLL])[:, None]
        return torch.cat([found[:, :ROLL], rolled, found[:, ROLL + 1 :]], 1)

    def over(self, at: Float[Tensor, "n V2"]) -> Float[Tensor, "n J"]:
        """Return z-scored joints of a hand that closes on what is there, turned as usual."""
        return self.closed(at, self.usual(at)[:, 0] * self.std[ROLL] + self.mean[ROLL])

    @torch.no_grad()
    def point(
        self, frames: UInt8[ndarray, "n V S S 3"], thing: Int[ndarray, " n"], place: Int[ndarray, " n"]
    ) -> Float[Tensor, "n J2"]:
        """Return z-scored joints of the hands that close on things, and of those that open over places.

        Args:
            frames: now.
            thing, place: numbers among the things.
        """
        each, one, other = torch.arange(len(frames)), torch.from_numpy(thing), torch.from_numpy(place)
        maps = self.maps(frames)
        centres, at = self.centres(maps), self.one(maps, one)
        pan, usual = ((self.over(at) * self.std + self.mean)[:, joint] for joint in (PAN, ROLL))
        phase = self.turned(self.patches(torch.from_numpy(frames), at, one), at, pan)
        apart = 360 / TURNS
        roll = torch.rad2deg(torch.atan2(phase[:, 1], phase[:, 0])) / TURNS
        roll = roll + apart * ((usual - roll) / apart).round()
        roll = torch.where(phase.norm(dim=1) > SURE, roll, usual)
        return torch.cat([self.closed(at, roll), self.opened(centres[each, other])], 1)


@dataclass(frozen=True, eq=False)
class Grasps:
    """Frames from before a hand closed on one thing and opened over another, or reached one."""

    frames: UInt8[Tensor, "n V S S 3"]
    maps: Float[Tensor, "n V C G G"]
    thing: Int[ndarray, " n"]
    place: Int[ndarray, " n"]
    """numbers among the things"""
    closed: Float[Tensor, "n J"]
    """joints when the hand closed, or that were commanded when it had reached the thing; dataset units"""
    opened: Float[Tensor, "n J"]
    grasp: Int[ndarray, " n"]
    """number of the grasp that each frame belongs to"""
    start: Bool[ndarray, " n"]
    """whether it belongs to the first clause of its episode"""
    reach: Bool[ndarray, " n"]
    """whether the thing was reached, and nothing was put anywhere"""

    def take(self, keep: Bool[ndarray, " n"]) -> "Grasps":
        """Return some of the frames."""
        rows = torch.from_numpy(keep)
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return Grasps(**{name: old[rows if isinstance(old, Tensor) else keep] for name, old in values.items()})


@torch.no_grad()
def grasps_of(pointer: Pointer, corpus: Corpus, cameras: tuple[str, ...], parts: Sequence[Part]) -> Grasps:
    """Collect frames from before grasps, every few control steps of the way's first half: later the hand covers what it reaches for.

    Raises:
        JepaflowError: the recordings have no joints, or hardly any grasp is found.
    """
    if corpus.proprio is None:
        raise JepaflowError("Pointing needs observation.state: it says where the hand was. Train with --proprio.")
    proprio = corpus.proprio
    middle = middle_of(proprio[:, -1])
    rows: list[ndarray] = []
    mine: list[Part] = []
    hands: list[tuple[ndarray, ndarray]] = []
    for part in parts:
        if part.verb == "reach":
            rows.append(np.arange(part.first, part.first + max(1, (part.last - part.first) // 2), EVERY))
            mine.append(part)
            hands.append((corpus.actions[part.last], proprio[part.last]))
        holds = holds_of(proprio[part.first : part.last + 1, -1], middle) if part.verb == "put" else []
        if not holds:
            continue
        shut, wide = longest(holds)
        begin = max((end for _, end in holds if end <= shut), default=0)
        rows.append(np.arange(part.first + begin, part.first + begin + max(1, (shut - begin) // 2), EVERY))
        mine.append(part)
        hands.append((proprio[part.first + shut], proprio[part.first + wide]))
    if len(mine) < FEWEST:
        raise JepaflowError(
            f"{len(mine)} grasps were found in the recordings that did their sentence, and {FEWEST} are needed. Record more."
        )
    start = np.repeat([one.first == one.start for one in mine], [len(some) for some in rows])
    grasp = np.repeat(np.arange(len(mine)), [len(some) for some in rows])
    frames = corpus.frames(np.concatenate(rows), cameras)
    closed, opened = (torch.from_numpy(np.stack(hand)[grasp]).float() for hand in zip(*hands, strict=True))
    thing, place = (np.array([getattr(one, name) for one in mine])[grasp] for name in ("thing", "place"))
    reach = np.array([one.verb == "reach" for one in mine])[grasp]
    return Grasps(torch.from_numpy(frames), pointer.maps(frames), thing, place, closed, opened, grasp, start, reach)


def train_pointer(
    grasps: Grasps, pointer: Pointer, steps: int = 600, batch: int = 48, lr: float = 6e-3, seed: int = 0
) -> None:
    """Train a pointer on frames before grasps, in place."""
    pointer.scale(torch.cat([grasps.closed, grasps.opened]))
    shut, wide = ((values - pointer.mean) / pointer.std for values in (grasps.closed, grasps.opened))
    thing, place, reach = (torch.from_numpy(each) for each in (grasps.thing, grasps.place, grasps.reach))

    def missed(centres: Float[Tensor, "b T V2"], some: Int[Tensor, " b"]) -> Tensor:
        each, touched = torch.arange(len(some)), reach[some]
        at, over = centres[each, thing[some]], centres[each, place[some]]
        held = pointer.closed(at, grasps.closed[some, ROLL])
        closed = F.smooth_l1_loss(torch.where(touched[:, None], pointer.touches(at), held), shut[some], beta=NEAR)
        opened = F.smooth_l1_loss(pointer.opened(over), wide[some], beta=NEAR, reduction="none").mean(1)
        usual = F.smooth_l1_loss(pointer.usual(at).squeeze(1), shut[some, ROLL], reduction="none")
        return closed + ((opened + usual) * ~touched).mean()

    def together(step: int) -> Tensor:
        some = torch.from_numpy(np.random.default_rng([seed, step]).integers(0, len(thing), batch))
        return missed(pointer.centres(grasps.maps[some]), some)

    fit(pointer.train(), together, FitConfig(steps, lr, 0.01), "Learn to point")
    with torch.no_grad():
        centres = torch.cat([pointer.centres(some) for some in torch.split(grasps.maps, 64)])

    def alone(step: int) -> Tensor:
        g = torch.Generator().manual_seed(seed * 1_000_003 + step)
        some = torch.randint(len(thing), (LARGE,), generator=g)
        return missed(centres[some], some)

    small = nn.ModuleList([pointer.opens, pointer.closes, pointer.touches, pointer.usual])
    fit(small, alone, FitConfig(MORE * steps, lr / 3, 0.01), "Learn the joints")
    at = centres[torch.arange(len(thing)), thing]
    if not (put := ~grasps.reach).any():
        pointer.eval()
        return
    _train_phase(grasps.take(put), pointer, at[torch.from_numpy(put)], steps, seed)
    pointer.eval()
    clear = at[torch.from_numpy(grasps.start & put)] if (grasps.start & put).any() else at
    pointer.across.copy_(torch.linalg.lstsq(bent(clear[:, :2]), clear[:, 2:]).solution)


def _train_phase(grasps: Grasps, pointer: Pointer, at: Float[Tensor, "n V2"], steps: int, seed: int) -> None:
    """Learn how things are turned, in place; which way the pan counts is what foretells held-out grasps better."""
    thing = torch.from_numpy(grasps.thing)
    pieces = zip(*(torch.split(each, 64) for each in (grasps.frames, at, thing)), strict=True)
    with torch.no_grad():
        patches = torch.cat([pointer.patches(*piece) for piece in pieces])
    phases = torch.deg2rad(TURNS * grasps.closed[:, ROLL])
    phases = torch.stack([phases.cos(), phases.sin()], 1)
    held_out = torch.from_numpy(grasps.grasp % 5 == 0)
    begin = {name: value.clone() for name, value in pointer.phase.state_dict().items()}

    def train(rows: Int[Tensor, " k"], sense: float, steps: int) -> None:
        def loss(step: int) -> Tensor:
            g = torch.Generator().manual_seed(seed * 1_000_003 + step)
            some = rows[torch.randint(len(rows), (LARGE,), generator=g)]
            blurred = patches[some] + BLUR * torch.randn(len(some), patches.shape[1], generator=g)
            return F.mse_loss(pointer.turned(blurred, at[some], grasps.closed[some, PAN]), phases[some])

        pointer.phase.load_state_dict(begin)
        pointer.sense.fill_(sense)
        fit(pointer.phase.train(), loss, FitConfig(steps, 2e-3, 0.05), "Learn how things are turned")

    errors = {}
    for sense in (1.0, -1.0):
        train((~held_out).nonzero()[:, 0], sense, steps)
        with torch.no_grad():
            said = pointer.turned(patches[held_out], at[held_out], grasps.closed[held_out, PAN])
        errors[sense] = float(F.mse_loss(said, phases[held_out]))
    train(torch.arange(len(at)), min(errors, key=lambda sense: errors[sense]), MORE * steps)
