"""What does the model hold for alike? The nearest latents of other episodes, as pictures and as a distance in the world.

Neighbours come from *other* episodes: in its own the nearest frame is the one before, whatever the latent. How far apart the two
scenes really are is told by the store's state. Floors: a random frame of another episode, the frame nearest in down-sampled
pixels, the nearest of an untrained encoder; the ceiling is the nearest that any frame of another episode is, for other
episodes never show the very same scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from jepaflow.common.results import Row
from jepaflow.data.store import Store
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.frames import Frames
from jepaflow.diagnosis.isometry import all_distances
from jepaflow.diagnosis.resample import Estimate, episode_means

QUERIES, SHOWN = 6, 4


@dataclass(frozen=True)
class Closeness:
    """Mean distance in the state from a frame to its nearest latent of another episode.

    Attributes:
        what: the thing whose place is meant; "" for all together.
        unit: of the distance.
        estimate: the mean over all frames.
        floors: ``random``, ``pixels``, ``untrained``.
        ceilings: ``nearest_in_state``.
    """

    what: str
    unit: str
    estimate: Estimate
    floors: dict[str, float]
    ceilings: dict[str, float]


@dataclass(frozen=True)
class Example:
    """One frame and its nearest: ``nearest`` by latent, then the one nearest in pixels.

    Attributes:
        pictures: query, the nearest latents, the nearest in pixels; all cameras.
        episode: of each picture.
        seconds: of each picture, since its episode's start.
        relative: latent distance to the query; 1: as the median of all pairs of two episodes.
        apart: thing to distance from the query's place, in the state's unit; empty without a told state.
    """

    pictures: UInt8[ndarray, "m V S S 3"]
    episode: Int[ndarray, " m"]
    seconds: Float[ndarray, " m"]
    relative: Float[ndarray, " m"]
    apart: dict[str, Float[ndarray, " m"]]


@dataclass(frozen=True)
class Neighbours:
    """Figures over all frames, and a few examples to look at."""

    distances: tuple[Closeness, ...]
    examples: tuple[Example, ...]
    words: str
    unit: str

    def rows(self, name: str) -> list[Row]:
        """``<name>/neighbours`` of all things together, then ``…/<thing>``."""
        rows = []
        for one in self.distances:
            whose = one.what or self.words
            note = (
                f"mean distance in the world ({whose}) from a held-out frame to the one of another episode whose latent is nearest; "
                "smaller is better; floors: a random one, the nearest in 16 px pixels, of an untrained encoder; "
                "ceiling: the nearest that there is; 95 % interval over episodes"
            )
            title = f"{name}/neighbours" + (f"/{one.what}" if one.what else "")
            rows += as_row(title, one.estimate, one.unit, note, one.floors, one.ceilings)
        return rows


def find_neighbours(
    frames: Frames, store: Store, cameras: Sequence[str], draws: int = 1000, seed: int = 0
) -> Neighbours | None:
    """Look for the nearest frame of another episode, of every frame; None with fewer than two episodes.

    Args:
        frames: held-out frames.
        store: where their pictures lie.
        cameras: to show.
        draws: resamples of the episodes.
        seed: of the resampling.
    """
    if len(np.unique(frames.episode)) < 2:
        return None
    foreign = frames.episode[:, None] != frames.episode[None]
    gaps = np.where(foreign, all_distances(frames.z), np.inf)
    found = {name: _nearest(x, foreign) for name, x in frames.representations().items()}
    found["own"] = gaps.argmin(1)
    told = frames.told
    figures = [] if told is None else [
        _closeness(what, told.unit, state, found, foreign, frames.episode, draws, seed)
        for what, state in told.parts().items()
    ]  # fmt: skip
    middle = float(np.median(gaps[foreign])) or 1.0
    examples = [
        _example(frames, store, cameras, int(query), gaps[query] / middle, int(found["pixels"][query]))
        for query in choose_queries(frames.episode, frames.when, QUERIES)
    ]
    return Neighbours(tuple(figures), tuple(examples), told.words if told else "", told.unit if told else "")


def _nearest(x: Float[ndarray, "n d"], foreign: ndarray) -> Int[ndarray, " n"]:
    nearest: ndarray = np.where(foreign, all_distances(x), np.inf).argmin(1)
    return nearest


def _closeness(
    what: str,
    unit: str,
    state: ndarray,
    found: dict[str, ndarray],
    foreign: ndarray,
    episode: ndarray,
    draws: int,
    seed: int,
) -> Closeness:
    apart = np.where(foreign, all_distances(state), np.nan)
    frame = np.arange(len(state))
    values = {name: apart[frame, nearest] for name, nearest in found.items()}
    own = episode_means(values.pop("own")[:, None], episode, draws, seed)[0]
    floors = {"random": float(np.nanmean(apart, axis=1).mean()), **{k: float(v.mean()) for k, v in values.items()}}
    return Closeness(what, unit, own, floors, {"nearest_in_state": float(np.nanmin(apart, axis=1).mean())})


def choose_queries(episode: Int[ndarray, " n"], when: Float[ndarray, " n"], count: int) -> Int[ndarray, " m"]:
    """Frames spread over time, each of another episode as far as there are that many; chosen by no figure."""
    names = np.unique(episode)
    picked = names[np.linspace(0, len(names) - 1, count).round().astype(int)]
    chosen = []
    for number, name in enumerate(picked):
        own = np.flatnonzero(episode == name)
        chosen.append(own[np.abs(when[own] - (number + 0.5) / count).argmin()])
    return np.array(list(dict.fromkeys(chosen)), np.int64)  # few frames may be chosen twice


def _example(
    frames: Frames, store: Store, cameras: Sequence[str], query: int, relative: ndarray, by_pixels: int
) -> Example:
    known = int(np.isfinite(relative).sum())
    rows = np.array([query, *np.argsort(relative, kind="stable")[: min(SHOWN, known)], by_pixels])
    told = frames.told
    apart = {} if told is None else {
        thing: np.linalg.norm(state[rows] - state[query], axis=1) for thing, state in told.things.items()
    }  # fmt: skip
    gap = relative[rows]
    gap[0] = 0.0
    return Example(
        pictures=store.pixels(frames.row[rows], tuple(cameras)),
        episode=frames.episode[rows],
        seconds=(frames.row[rows] - store.ep_offset[frames.episode[rows]]) / store.fps,
        relative=gap,
        apart=apart,
    )
