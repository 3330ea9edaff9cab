"""What a request is worth at each landmark, given the desk as it lies now: what the product graph multiplies with.

Three numbers a landmark, all in probabilities or nats:

- *satisfied*: the probability that a clause is done there. A cube on its way over the bin looks like one in it, so a thing counts as
  done where it is so from here to the episode's end and has been so for `SETTLED` control steps (or the episode ends here).
- *price*: what must not happen (what the sentence says to avoid) and what nobody asked for (another cube in a bin).
- *rho*: whether the landmark's desk is this one: the same things, the named ones and the bins in the same places. A landmark keeps the
  desk of its own episode, and a plan over other desks shows System 1 pictures that cannot come true.

The seer also says which frames a latent takes for each other that are not alike (`seen_graph`, `Potentials.joins`).

The seer's answers for all landmarks are computed once and kept in ``RUN/language/landmarks.safetensors``.

Legend: N landmarks, O objects, P places, T things (objects, then places), V views, m clauses.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.data.store import Store
from jepaflow.subgoals.chains import following
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.landmarks import Landmarks
from jepaflow.subgoals.language.automaton import avoidance
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.grounding import Language, folder_of
from jepaflow.subgoals.language.request import Request
from jepaflow.subgoals.language.seeing import Seer

SETTLED = 20
"""control steps that something must have been done for: what is let go of comes to rest, and the hand goes away"""
MOST = 6.0
"""nats: what no one asked for, or another desk, costs at most at one landmark; a plan with faults is better than none"""
DENIED = 4.0
"""model steps that a nat of disagreement about what lies where costs: one thing denied costs about a whole plan"""
HIGHEST = 60.0
"""model steps that taking one frame for another costs at most"""
APART = 1.5
"""cells of the seer's grid by which a thing may lie elsewhere"""
SMALLEST = 1e-3
BATCH = 256
KIND = "jepaflow landmarks seen 2"
NAMES = ("chance", "moved", "presence", "centre")


@dataclass(frozen=True, eq=False)
class Desks:
    """How desks look to the seer."""

    presence: Float[ndarray, "n T"]
    """probability of each thing's being there, before anything was done"""
    centre: Float[ndarray, "n T V 2"]
    """where each thing lies in each view, cells"""

    @classmethod
    def of(cls, seer: Seer, start: Float[Tensor, "n V C G G"]) -> "Desks":
        """Look at start frames."""
        return cls(seer.presence(start), seer.centres(start))

    def take(self, rows: Int[ndarray, " m"]) -> "Desks":
        """Return some of them."""
        return Desks(self.presence[rows], self.centre[rows])

    def unlike(self, other: "Desks", where: Float[ndarray, " T"]) -> Float[ndarray, " n"]:
        """Return how unlike other desks (one, or as many) these are, nats (0 or more).

        Args:
            other: the other desks.
            where: how much it counts that a thing lies elsewhere, 0 or 1.
        """
        p, q = self.presence, other.presence
        away = np.square((self.centre - other.centre) / APART).sum(3).mean(2)
        return np.asarray(disagreement(p, q) + 0.5 * (where * p * q * away).sum(1))


def disagreement(p: Float[ndarray, "n k"], q: Float[ndarray, "#n k"]) -> Float[ndarray, " n"]:
    """Return -log of the chance that k things are so in both, given the probability of each in one and the other; nats."""
    return np.asarray(-np.log(np.clip(p * q + (1 - p) * (1 - q), SMALLEST, 1)).sum(1))


@dataclass(frozen=True, eq=False)
class Potentials:
    """What the seer says of all landmarks."""

    seen: Float[ndarray, "N O P"]
    """of each object's lying in each place, by the frame alone"""
    chance: Float[ndarray, "N O P"]
    """the same, settled (`settled`)"""
    moved: Float[ndarray, "N O"]
    """of each object's not being where it was when the episode began"""
    desks: Desks
    """of each landmark's episode, when it began"""

    def joins(self, now: Float[ndarray, "O P"]) -> Float[ndarray, " N"]:
        """Return what it costs to take each landmark for a desk where things lie so, model steps."""
        n = len(self.seen)
        return np.minimum(DENIED * disagreement(self.seen.reshape(n, -1), now.reshape(1, -1)), HIGHEST)


def seen_graph(graph: Graph, known: Potentials, landmarks: Landmarks, chains: bool, objects: int) -> Graph:
    """Return the graph in which it costs something to pass between frames that the seer tells apart.

    A latent need not hold what colour a cube has, so landmarks of different desks may look alike to it, and be joined. One nat of
    disagreement about the desk costs a model step, about what lies where `DENIED`: a walk must not bring things about by taking one frame
    for another.

    Args:
        graph: of landmarks.
        known: what the seer says of them.
        landmarks: its nodes.
        chains: whether edges lead along episodes (`chains`): then what comes before the target was taken for the source.
        objects: O, which come first among the things.
    """
    source, target = graph.source, graph.indices
    if chains:
        after = following(landmarks)
        before = np.arange(len(landmarks))
        before[after[after >= 0]] = np.flatnonzero(after >= 0)
        target = before[target]
    where = (np.arange(known.desks.presence.shape[1]) >= objects).astype(float)
    nats = known.desks.take(source).unlike(known.desks.take(target), where)
    if chains:
        n = len(known.seen)
        nats += DENIED * disagreement(known.seen.reshape(n, -1)[source], known.seen.reshape(n, -1)[target])
    other = (landmarks.episode[source] != landmarks.episode[target]) | (
        landmarks.store[source] != landmarks.store[target]
    )
    return replace(graph, cost=graph.cost + np.minimum(nats, HIGHEST) * other)


@dataclass(frozen=True, eq=False)
class Wish:
    """A request, grounded: what the product graph takes."""

    request: Request
    satisfied: Float[ndarray, "N m"]
    price: Float[ndarray, " N"]
    rho: Float[ndarray, " N"]


def ground(
    seer: Seer, known: Potentials, request: Request, desk: Desks, now: Float[ndarray, "O P"], wanted: bool = True
) -> Wish:
    """Ground a request at all landmarks.

    Args:
        seer: the run's.
        known: what it says of the landmarks.
        request: understood (`understanding.understand`).
        desk: one desk, as it was before anything was done.
        now: what it says of the present frame: what is so already may stay so.
        wanted: whether to charge for what nobody asked for.

    Raises:
        JepaflowError: the seer does not know a thing that is named.
    """
    asked = [seer.clause(known.chance, clause) for clause in request.must]
    satisfied = np.stack(asked, 1) if asked else np.zeros((len(known.chance), 0))
    unlike = np.minimum(known.desks.unlike(desk, _named(seer, request, now)), MOST)
    forbidden = [np.clip(_happens(seer, known, one, now), 0, 1 - np.exp(-2 * MOST)) for one in request.avoid]
    price = avoidance(forbidden, len(satisfied))
    price += unlike
    if wanted:
        price += np.minimum(avoidance([_unasked(seer, known.chance, request, now)], len(satisfied)), MOST)
    return Wish(request, np.clip(satisfied, SMALLEST, 1), price, -unlike)


def _named(seer: Seer, request: Request, now: Float[ndarray, "O P"]) -> Float[ndarray, " T"]:
    """Whose place counts: all places', and the objects' that must still be moved."""
    counts = np.zeros(len(seer.things()))
    counts[len(seer.objects) :] = 1
    for clause in request.must:
        if float(seer.clause(now[None], clause)[0]) < 0.5:
            counts[seer.rows(clause.object)] = 1
    return counts


def _happens(
    seer: Seer, known: Potentials, avoided: Clause | Thing, now: Float[ndarray, "O P"]
) -> Float[ndarray, " N"]:
    """Probability that what is to be avoided happens at each landmark: a clause is true, an object is moved, a place is filled."""
    if isinstance(avoided, Clause):
        before = float(seer.clause(now[None], avoided)[0])
        return seer.clause(known.chance, avoided) * (before < 0.5)
    rows = seer.rows(avoided)
    if rows:
        return np.asarray(1 - np.prod(1 - known.moved[:, rows], axis=1))
    columns = seer.columns(avoided)
    if not columns:
        raise JepaflowError(f"I have not learned to see {avoided}, so I cannot keep away from it.")
    fresh = known.chance[:, :, columns] * (now[:, columns] < 0.5)
    return np.asarray(1 - np.prod(1 - fresh.reshape(len(fresh), -1), axis=1))


def _unasked(
    seer: Seer, chance: Float[ndarray, "N O P"], request: Request, now: Float[ndarray, "O P"]
) -> Float[ndarray, " N"]:
    """Probability of something in a place where it is neither now nor asked for."""
    free = now >= 0.5
    for clause in request.must:
        if clause.where is not None:
            free[np.ix_(seer.rows(clause.object), seer.columns(clause.where))] = True
    return np.asarray(np.clip(1 - np.prod(1 - chance * ~free, axis=(1, 2)), 0, 1 - np.exp(-2 * MOST)))


def settled(chance: Float[ndarray, "N O P"], landmarks: Landmarks, wait: int = SETTLED) -> Float[ndarray, "N O P"]:
    """Return the least probability from `wait` control steps before each landmark to the last of its episode's.

    The last landmark of an episode need not wait: a recording ends when all is done.
    """
    order = np.lexsort((landmarks.step, landmarks.episode, landmarks.store))
    same = (np.diff(landmarks.store[order]) == 0) & (np.diff(landmarks.episode[order]) == 0)
    found = chance.copy()
    for rows in np.split(order, np.flatnonzero(~same) + 1):
        lasting = np.minimum.accumulate(chance[rows][::-1])[::-1]  # never falls as the episode goes on
        step: Int[ndarray, " n"] = landmarks.step[rows]
        since = np.searchsorted(step, step - wait)
        since[step < wait] = 0
        found[rows] = lasting[since]
        found[rows[-1:]] = lasting[-1:]
    return found


def known_potentials(run: Path, language: Language, landmarks: Landmarks, stores: Sequence[Store] | None) -> Potentials:
    """Return what the seer says of all landmarks: from the run's folder, or looked at now and kept there.

    Args:
        run: its folder.
        language: fitted.
        landmarks: the run's.
        stores: the run's, in its order; None where they are not at hand.

    Raises:
        JepaflowError: nothing fitting was kept, and the stores are not at hand.
    """
    seer, path = language.seer, folder_of(run) / "landmarks.safetensors"
    digest = _digest(seer, landmarks)
    kept = _read(path, digest)
    if kept is None:
        if stores is None:
            raise JepaflowError(
                f"{path} does not hold what the landmarks of {run} look like, and the frames are not at hand. Say where the "
                "stores lie with --stores."
            )
        kept = _look(language, stores, landmarks)
        with atomic_path(path) as temporary:
            save_file({name: torch.from_numpy(kept[name]).float().contiguous() for name in NAMES}, temporary, digest)
    chance = settled(kept["chance"], landmarks)
    return Potentials(kept["chance"], chance, kept["moved"], Desks(kept["presence"], kept["centre"]))


def _look(language: Language, stores: Sequence[Store], landmarks: Landmarks) -> dict[str, ndarray]:
    """Ask the seer about every landmark's frame, beside the first of its episode."""
    seer, n = language.seer, len(landmarks)
    o, p = len(seer.objects), len(seer.places)
    shapes = {"chance": (o, p), "moved": (o,), "presence": (o + p,), "centre": (o + p, seer.views, 2)}
    found = {name: np.zeros((n, *shape)) for name, shape in shapes.items()}
    with progress("Look at the landmarks", n) as advance:
        for number, store in enumerate(stores):
            mine = np.flatnonzero(landmarks.store == number)
            for some in np.array_split(mine, max(1, len(mine) // BATCH)):
                starts, back = np.unique(store.ep_offset[landmarks.episode[some]], return_inverse=True)
                if not len(some):
                    continue
                begin = seer.maps(store.pixels(starts, language.cameras))
                desks, first = Desks.of(seer, begin), begin[torch.from_numpy(back)]
                now = seer.maps(store.pixels(landmarks.row[some], language.cameras))
                found["chance"][some] = seer.probabilities(first, now)
                found["moved"][some] = seer.moved(first, now)
                found["presence"][some], found["centre"][some] = desks.presence[back], desks.centre[back]
                advance(len(some))
    return found


def _digest(seer: Seer, landmarks: Landmarks) -> dict[str, str]:
    """What the kept answers depend on, as the file's metadata."""
    digest = hashlib.sha256(KIND.encode())
    for _, value in sorted(seer.state_dict().items()):
        digest.update(value.contiguous().numpy().tobytes())
    for name in ("store", "episode", "step", "row"):
        digest.update(np.ascontiguousarray(getattr(landmarks, name), np.int64).tobytes())
    return {"about": digest.hexdigest()[:16]}


def _read(path: Path, digest: dict[str, str]) -> dict[str, ndarray] | None:
    """Return what was kept; None where it is missing, damaged or about others."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            if file.metadata() != digest:
                return None
        return {name: value.numpy().astype(np.float64) for name, value in load_file(path).items()}
    except (OSError, SafetensorError):
        return None
