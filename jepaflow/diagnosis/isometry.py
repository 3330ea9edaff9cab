"""Are frames whose latents lie close also close in the world? Rank correlation of latent and state distances.

A planner that minimises a latent distance is right as far as that distance orders states as the world does. Two questions,
because the answers differ: among *near* pairs (each frame with its nearest in the state, in other episodes or in its own)
distances must be finely ordered to finish a job; among *all* pairs, to begin it.

Design decisions:

- Spearman, not Pearson: only the order matters to a planner, and no unit has to be fitted.
- Nearness is by the state, never by the latent, which would choose the pairs that flatter it.
- The bootstrap draws episodes and weights every pair by how often both of its episodes were drawn; ranks are taken anew in
  every resample (`weighted_spearman`). Pairs of two copies of one episode are left out: their distances are zero by copying.
- *Order* asks the same of each frame by itself: does the latent order its nearest as the state does? A mean over frames, it does
  not care how densely episodes fill a place, while pooled near pairs do: whatever tells dense places from sparse ones, pixels
  above all, orders them well. It is what a planner needs that compares candidates with one goal.
- Floors on the same pairs: distance of down-sampled pixels, of an untrained encoder, and difference in time. A latent that only
  knows the time in the episode orders near pairs of its own episode well.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from jepaflow.common.results import Row
from jepaflow.diagnosis.as_row import as_row
from jepaflow.diagnosis.frames import Frames
from jepaflow.diagnosis.resample import Estimate, draw_weights, episode_means, percentiles

NEIGHBOURS = 10
PAIRS = 20_000
PAIR_KINDS = {
    "near": f"each frame with its {NEIGHBOURS} nearest in the state among other episodes",
    "order": f"of each frame with its {NEIGHBOURS} nearest in the state among other episodes, mean over frames",
    "near_within": f"each frame with its {NEIGHBOURS} nearest in the state in its own episode",
    "all": f"up to {PAIRS:,} random pairs of frames",
}


@dataclass(frozen=True)
class Agreement:
    """How well latent distances order state distances.

    Attributes:
        what: the thing whose place is meant; "" for all together.
        pairs: ``near``, ``order``, ``near_within`` or ``all``.
        estimate: Spearman's correlation; NaN where one of both does not vary.
        floors: the same of other distances: ``pixels``, ``untrained``, ``time``.
    """

    what: str
    pairs: str
    estimate: Estimate
    floors: dict[str, float]


@dataclass(frozen=True)
class Isometry:
    """All agreements, and a sample of pairs to draw: distances in the state and, relative to their median, in the latent."""

    of: tuple[Agreement, ...]
    words: str
    unit: str
    state_distance: Float[ndarray, " P"]
    latent_distance: Float[ndarray, " P"]

    def get(self, pairs: str, what: str = "") -> Agreement:
        """One agreement.

        Raises:
            KeyError: when it was not measured.
        """
        for one in self.of:
            if (one.what, one.pairs) == (what, pairs):
                return one
        raise KeyError(f"{what}/{pairs}")

    def rows(self, name: str) -> list[Row]:
        """``<name>/isometry_<pairs>`` of all things together, then ``…/<thing>``."""
        rows = []
        for one in self.of:
            note = f"Spearman of latent distance and distance between the {self.words}; {PAIR_KINDS[one.pairs]}"
            title = f"{name}/isometry_{one.pairs}" + (f"/{one.what}" if one.what else "")
            note += (f"; {one.what} alone" if one.what else "") + "; 95 % interval over episodes"
            rows += as_row(title, one.estimate, "Spearman", note, one.floors, {"isometric": 1.0})
        return rows


def measure_isometry(frames: Frames, draws: int = 500, seed: int = 0) -> Isometry | None:
    """Compare distances of latents and of the state; None without a told state or with fewer than two episodes.

    Args:
        frames: held-out frames.
        draws: resamples of the episodes.
        seed: of the random pairs and the resampling.
    """
    told = frames.told
    if told is None or len(np.unique(frames.episode)) < 2:
        return None
    rng = np.random.default_rng(seed)
    weights = _episode_weights(frames.episode, draws, rng)
    random = random_pairs(len(frames.z), PAIRS, rng)
    found = []
    for what, state in told.parts().items():
        near = near_pairs(state, frames.episode, NEIGHBOURS, within=False)
        sets = {"near": near, "all": random}
        if not what:
            sets["near_within"] = near_pairs(state, frames.episode, NEIGHBOURS, within=True)
        found += [_agreement(frames, what, kind, state, pairs, weights) for kind, pairs in sets.items()]
        found.append(_order(frames, what, state, draws, seed))
    apart = distances(frames.z, random)
    middle = float(np.median(apart)) or 1.0
    return Isometry(tuple(found), told.words, told.unit, distances(told.together, random), apart / middle)


def _episode_weights(episode: ndarray, draws: int, rng: np.random.Generator) -> Float[ndarray, "R n"]:
    """How often each frame's episode is drawn."""
    names, where = np.unique(episode, return_inverse=True)
    return draw_weights(rng, len(names), draws)[:, where]


def _agreement(
    frames: Frames, what: str, kind: str, state: ndarray, pairs: Int[ndarray, "P 2"], weights: Float[ndarray, "R n"]
) -> Agreement:
    if len(pairs) < 3:
        nothing = Estimate(float("nan"), float("nan"), float("nan"), len(pairs), 0)
        return Agreement(what, kind, nothing, {})
    truth, own = distances(state, pairs), distances(frames.z, pairs)
    first, second = pairs.T
    same = frames.episode[first] == frames.episode[second]
    sample = weighted_spearman(truth, own, (np.where(same, w[first], w[first] * w[second]) for w in weights))
    low, high = percentiles(np.array(sample))
    floors = {name: spearman(truth, distances(x, pairs)) for name, x in frames.representations().items()}
    floors["time"] = spearman(truth, np.abs(frames.step[first] - frames.step[second]).astype(np.float64))
    episodes = len(np.unique(frames.episode[pairs]))
    return Agreement(what, kind, Estimate(spearman(truth, own), low, high, len(pairs), episodes), floors)


def _order(frames: Frames, what: str, state: Float[ndarray, "n q"], draws: int, seed: int) -> Agreement:
    """Mean over frames of the rank correlation among the nearest of other episodes."""
    gaps = all_distances(state)
    gaps[frames.episode[:, None] == frames.episode[None]] = np.inf
    k = min(NEIGHBOURS, int(np.isfinite(gaps).sum(1).min()))
    nearest = np.argsort(gaps, axis=1, kind="stable")[:, :k]
    frame = np.arange(len(state))[:, None]
    truth = gaps[frame, nearest]
    own = rank_correlations(truth, all_distances(frames.z)[frame, nearest])
    others = {name: all_distances(x)[frame, nearest] for name, x in frames.representations().items()}
    others["time"] = np.abs(frames.step[frame] - frames.step[nearest]).astype(np.float64)
    floors = {}
    for name, x in others.items():
        each = rank_correlations(truth, x)
        floors[name] = float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")
    return Agreement(what, "order", episode_means(own[:, None], frames.episode, draws, seed)[0], floors)


def rank_correlations(a: Float[ndarray, "n k"], b: Float[ndarray, "n k"]) -> Float[ndarray, " n"]:
    """Spearman's correlation of each row; NaN where one of both is constant or has fewer than three numbers."""
    if a.shape[1] < 3:
        return np.full(len(a), np.nan)
    x, y = (rankdata(values, axis=1) for values in (a, b))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    found: ndarray = np.divide((x * y).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 0)
    return found


def distances(x: Float[ndarray, "n d"], pairs: Int[ndarray, "P 2"]) -> Float[ndarray, " P"]:
    """Euclidean distance of each pair of rows."""
    gaps: ndarray = np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1).astype(np.float64)
    return gaps


def all_distances(x: Float[ndarray, "n d"]) -> Float[ndarray, "n n"]:
    """Euclidean distances of all rows to all rows; of what is equal up to rounding they may be 1e-7 of the size."""
    x = x.astype(np.float64) - x.mean(0)
    square = (x**2).sum(1)
    found: ndarray = np.sqrt(np.maximum(square[:, None] + square[None] - 2 * x @ x.T, 0.0))
    return found


def random_pairs(n: int, count: int, rng: np.random.Generator) -> Int[ndarray, "P 2"]:
    """All unordered pairs of ``n`` frames if there are at most ``count``, else ``count`` random ones."""
    if n * (n - 1) // 2 <= count:
        return np.stack(np.triu_indices(n, 1), 1)
    first = rng.integers(0, n, count)
    return np.stack([first, (first + rng.integers(1, n, count)) % n], 1)


def near_pairs(state: Float[ndarray, "n q"], episode: Int[ndarray, " n"], k: int, within: bool) -> Int[ndarray, "P 2"]:
    """Each frame with its ``k`` nearest in the state: in its own episode (``within``) or in the others; each pair once."""
    gaps = all_distances(state)
    allowed = (episode[:, None] == episode[None]) == within
    np.fill_diagonal(allowed, False)
    gaps[~allowed] = np.inf
    k = min(k, len(state) - 1)
    nearest = np.argpartition(gaps, k - 1, axis=1)[:, :k] if k else np.zeros((len(state), 0), np.int64)
    first = np.repeat(np.arange(len(state)), k)
    pairs = np.stack([first, nearest.reshape(-1)], 1)
    pairs = pairs[np.isfinite(gaps[pairs[:, 0], pairs[:, 1]])]
    return np.unique(np.sort(pairs, 1), axis=0)


def spearman(a: Float[ndarray, " P"], b: Float[ndarray, " P"]) -> float:
    """Spearman's rank correlation, ties at their middle rank; NaN where one of both is constant."""
    return weighted_spearman(a, b, np.ones((1, len(a))))[0]


def weighted_spearman(
    a: Float[ndarray, " P"], b: Float[ndarray, " P"], weights: Iterable[Float[ndarray, " P"]]
) -> list[float]:
    """The same of samples in which each pair occurs as often as its weight says; one figure for each set of weights."""
    x, y = (np.unique(values, return_inverse=True)[1] for values in (a, b))  # sorted once, not in every resample
    return [_rank_correlation(x, y, weight) for weight in weights]


def _rank_correlation(a: Int[ndarray, " P"], b: Int[ndarray, " P"], weight: Float[ndarray, " P"]) -> float:
    total = weight.sum()
    if not total > 0:
        return float("nan")
    x, y = (_middle_ranks(group, weight) for group in (a, b))
    x, y = x - (weight @ x) / total, y - (weight @ y) / total
    scale = np.sqrt((weight @ x**2) * (weight @ y**2))
    return float((weight * x) @ y / scale) if scale > 0 else float("nan")


def _middle_ranks(group: Int[ndarray, " P"], weight: Float[ndarray, " P"]) -> Float[ndarray, " P"]:
    """Ranks of values numbered in their order, each ``weight`` times; equal values share the middle of their ranks."""
    size = np.bincount(group, weight)
    ranks: ndarray = (np.cumsum(size) - size / 2)[group]
    return ranks
