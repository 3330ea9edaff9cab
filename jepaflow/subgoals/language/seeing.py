"""The seer: whether "this thing lies in that place" is true in a frame, learned from sentences with their start and final frames.

Design decisions:
- It looks at the frames themselves, as soft maps of the data's own colours (k-means) on a coarse grid. The world model's
  latent need not hold a cube's colour, since no colour changes how an arm moves; measured on `so101/place`, a linear
  probe reads the bins' colours from it and the cubes' hardly above chance.
- "The cube is in the bin" is a product of two things: where the cube is now, and which cells are the bin's at the start. Each is
  learned by its own small network, so a pair that was never named together needs nothing new. (One score for each pair of a joint
  embedding falls to chance there.) What is reached is in the robot's hand: a place whose cells are those of now, since it moves.
- Sigmoid contrastive loss (Zhai 2023) over all named pairs: a final frame against the clauses of its sentence and against all others
  of the same desk, the start and the first quarter of an episode against all of them. Held-out pairs are left out
  of the loss altogether, also as negatives.
- A thing that is there is not always named: P(there) = P(named | frame) / P(named | there) (Elkan and Noto 2008).

Legend: n frames, V views, C colours of the codebook, G cells along a side, O objects, P places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.clause import HAND, Clause, Thing

SHARP = 0.01
"""squared distance of colours (channels 0 … 1) at which a map falls to 1/e"""
SMALLEST = 1e-4


class Seer(nn.Module):
    """Maps of colours in, probabilities out.

    Args:
        objects, places: the things that sentences name.
        views: V.
        colours: C.
        grid: G.
        hidden: channels of the networks.
    """

    codebook: Tensor
    platt: Tensor
    named: Tensor
    absent: Tensor

    def __init__(
        self,
        objects: Sequence[Thing],
        places: Sequence[Thing],
        views: int,
        colours: int = 12,
        grid: int = 16,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if not objects or not places:
            raise JepaflowError("No sentence of the dataset puts a thing in a place. Give one whose tasks say so.")
        self.objects, self.places = tuple(objects), tuple(places)
        self.sizes: dict[str, Any] = {"views": views, "colours": colours, "grid": grid, "hidden": hidden}
        self.views, self.grid = views, grid
        self.where = _network(2 * colours, hidden, len(objects), 3)
        self.area = _network(colours, hidden, len(places), 5)
        self.thing = _network(colours, hidden, len(objects) + len(places), 5)
        self.nowhere = nn.Parameter(torch.zeros(len(objects)))
        self.weight = nn.Parameter(torch.zeros(views))
        self.bias = nn.Parameter(torch.tensor(-1.0))
        self.register_buffer("codebook", torch.zeros(colours, 3))
        self.register_buffer("platt", torch.tensor([1.0, 0.0]))
        self.register_buffer("named", torch.ones(len(objects) + len(places)))
        self.register_buffer("absent", torch.full((len(objects) + len(places),), 0.5))

    @torch.no_grad()
    def maps(self, frames: UInt8[ndarray, "n V S S 3"]) -> Float[Tensor, "n V C G G"]:
        """Return how much of each colour lies in each cell."""
        found = []
        for some in np.array_split(frames, max(1, len(frames) // 64)):
            n, views, side = some.shape[:3]
            pixels = torch.from_numpy(np.ascontiguousarray(some)).float().reshape(-1, 3) / 255
            share = (-torch.cdist(pixels, self.codebook).square() / SHARP).softmax(1)
            image = share.reshape(n * views, side, side, -1).permute(0, 3, 1, 2)
            found.append(F.adaptive_avg_pool2d(image, self.grid).sqrt().reshape(n, views, -1, self.grid, self.grid))
        return torch.cat(found)

    def forward(self, start: Float[Tensor, "n V C G G"], now: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n O P"]:
        """Return logits, before calibration, of each object in each place."""
        n = len(start)
        start, now = start.flatten(0, 1), now.flatten(0, 1)
        here = self._here(start, now)[..., :-1]
        inside = self.area(start).flatten(2).sigmoid()
        if HAND in self.places:
            moves = torch.tensor([place == HAND for place in self.places])[None, :, None]
            inside = torch.where(moves, self.area(now).flatten(2).sigmoid(), inside)
        chance = torch.einsum("nok,npk->nop", here, inside).clamp(SMALLEST, 1 - SMALLEST)
        views = torch.logit(chance).reshape(n, self.views, *chance.shape[1:])
        return (views * self.weight.exp()[None, :, None, None]).mean(1) + self.bias

    def _here(self, start: Float[Tensor, "nV C G G"], now: Float[Tensor, "nV C G G"]) -> Float[Tensor, "nV O cells"]:
        """Where each object is now: a distribution over cells, and nowhere (the last)."""
        here = self.where(torch.cat([now, now - start], 1)).flatten(2)
        nowhere = self.nowhere[None, :, None].expand(len(here), -1, 1)
        return torch.cat([here, nowhere], 2).softmax(-1)

    @torch.no_grad()
    def probabilities(
        self, start: Float[Tensor, "n V C G G"], now: Float[Tensor, "n V C G G"]
    ) -> Float[ndarray, "n O P"]:
        """Return calibrated probabilities."""
        logits = self(start, now) * self.platt[0] + self.platt[1]
        return np.asarray(logits.sigmoid().double().numpy())

    def naming(self, start: Float[Tensor, "n V C G G"]) -> Float[Tensor, "n T"]:
        """Return logits of each thing (objects, then places) being named: where it shows best, mean over views."""
        best = self.thing(start.flatten(0, 1)).flatten(2).amax(-1)
        logits: Tensor = best.reshape(len(start), self.views, -1).mean(1)
        return logits

    @torch.no_grad()
    def presence(self, start: Float[Tensor, "n V C G G"]) -> Float[ndarray, "n T"]:
        """Return the probability of each thing (objects, then places) being there."""
        return np.asarray((self.naming(start).sigmoid() / self.named).clamp(0, 1).double().numpy())

    def things(self) -> tuple[Thing, ...]:
        """Objects, then places."""
        return (*self.objects, *self.places)

    def there(self, start: Float[Tensor, "V C G G"]) -> tuple[Thing, ...]:
        """Return what is on the desk of one start frame, as `Request.missing` and `parse` want it."""
        return self.named_by(self.presence(start[None])[0] >= self.absent.double().numpy())

    def named_by(self, there: Bool[ndarray, " T"]) -> tuple[Thing, ...]:
        """Return the things that are there, each once; the hand is not on the desk."""
        each = zip(self.things(), there, strict=True)
        return tuple(dict.fromkeys(thing for thing, is_there in each if is_there and thing != HAND))

    def rows(self, said: Thing) -> list[int]:
        """Which objects a name may mean."""
        return [i for i, thing in enumerate(self.objects) if _fits(said, thing)]

    def columns(self, said: Thing) -> list[int]:
        """Which places a name may mean."""
        return [i for i, thing in enumerate(self.places) if _fits(said, thing)]

    @torch.no_grad()
    def centres(self, frames: Float[Tensor, "n V C G G"]) -> Float[ndarray, "n T V 2"]:
        """Return where each thing shows in each view: mean row and column of the cells that made it be seen, as `naming` is."""
        found = self.thing(frames.flatten(0, 1))
        share = found.flatten(2).softmax(2).reshape(len(frames), self.views, -1, self.grid, self.grid)
        cell = torch.arange(self.grid).to(share)
        middle = torch.stack([(share.sum(4) * cell).sum(3), (share.sum(3) * cell).sum(3)], -1)
        return np.asarray(middle.transpose(1, 2).double().numpy())

    @torch.no_grad()
    def moved(self, start: Float[Tensor, "n V C G G"], now: Float[Tensor, "n V C G G"]) -> Float[ndarray, "n O"]:
        """Return how much of each object is no longer in the cells, or beside those, where it was; least over views.

        A measure, no calibrated probability: nobody told the seer where things are.
        """
        before, after = (
            self._here(start.flatten(0, 1), start.flatten(0, 1)),
            self._here(start.flatten(0, 1), now.flatten(0, 1)),
        )
        cells = before[..., :-1].reshape(len(before), -1, self.grid, self.grid)
        near = torch.cat([F.max_pool2d(cells, 3, 1, 1).flatten(2), before[..., -1:]], 2)
        gone = (1 - torch.minimum(near, after).sum(-1)).clamp(0, 1)
        return np.asarray(gone.reshape(len(start), self.views, -1).amin(1).double().numpy())

    def clause(self, chance: Float[ndarray, "n O P"], clause: Clause) -> Float[ndarray, " n"]:
        """Return the probability of a clause; a thing without a colour is any of its kind.

        Raises:
            JepaflowError: no sentence of the dataset named such a thing in such a place.
        """
        rows, columns = self.rows(clause.object), [] if clause.where is None else self.columns(clause.where)
        if not rows or not columns:
            known = ", ".join(str(thing) for thing in dict.fromkeys(self.things()) if thing != HAND)
            raise JepaflowError(f'I have not learned to see "{clause}". I know {known}, and one in the other.')
        picked = chance[:, rows][:, :, columns].reshape(len(chance), -1)
        return np.asarray(1 - np.prod(1 - picked, axis=1))


def _fits(said: Thing, thing: Thing) -> bool:
    return said.kind == thing.kind and said.colour in ("", thing.colour)


def _network(inputs: int, hidden: int, outputs: int, size: int) -> nn.Sequential:
    """Convolutions that see a neighbourhood and do not know where it is."""
    return nn.Sequential(
        nn.Dropout2d(0.1),
        nn.Conv2d(inputs, hidden, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(hidden, hidden, size, padding=size // 2),
        nn.GELU(),
        nn.Conv2d(hidden, outputs, 1),
    )


def fit_codebook(seer: Seer, frames: UInt8[ndarray, "n V S S 3"], seed: int = 0) -> None:
    """Choose the codebook among the frames' colours, in place; vivid ones count more, since they tell things apart."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(seed)
    pixels = frames.reshape(-1, 3)
    pixels = pixels[rng.integers(0, len(pixels), min(len(pixels), 200_000))] / 255.0
    vivid = 0.02 + pixels.max(1) - pixels.min(1)
    colours = min(len(seer.codebook), len(np.unique(pixels, axis=0)))
    found = KMeans(colours, n_init=1, random_state=seed).fit(pixels, sample_weight=vivid).cluster_centers_
    # Fewer colours than asked for: far-away ones that no pixel has fill the book.
    seer.codebook.fill_(9.0)
    seer.codebook[:colours].copy_(torch.from_numpy(found))
