"""How good "within h model steps" is: area under the ROC curve, calibration error, reliability curve; and the pairs to ask.

Pairs of one episode alone would flatter: there, near in time is near in place. So half of the pairs join different
episodes, half of those among the nearest latents, where a wall fools a model that only sees likeness.

Legend: n pairs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.training.corpus import hindsight
from jepaflow.training.head_metrics import auc
from jepaflow.training.latents import Latents

BINS = 10
DRAWS = 200
POOL = 0.05
"""share of the rows, the nearest latents of other episodes, that a hard pair is drawn from: far enough to lie behind a wall"""
KINDS = ("same", "other", "near")


@dataclass(frozen=True, eq=False)
class ReachPairs:
    """Pairs of rows, and what kind each is (index in `KINDS`): of one episode, of two, of two but near in latent."""

    a: Int[ndarray, " n"]
    b: Int[ndarray, " n"]
    kind: Int[ndarray, " n"]

    def take(self, keep: ndarray) -> "ReachPairs":
        """Return some of them."""
        return ReachPairs(self.a[keep], self.b[keep], self.kind[keep])


def reach_pairs(latents: Latents, count: int, reach: int, rng: np.random.Generator, pool: float = POOL) -> ReachPairs:
    """Draw pairs: half of one episode up to ``reach`` control steps apart, a quarter of two, a quarter of two and near.

    Args:
        latents: episodes, at least two.
        count: n.
        reach: largest distance in control steps within an episode.
        rng: draws.
        pool: near means: among this share of the rows, the nearest latents of other episodes.
    """
    half, quarter = count - 2 * (count // 4), count // 4
    a, offset = hindsight(latents.corpus, half, np.arange(1, reach + 1), 0, rng)
    one, other = rng.integers(0, len(latents.corpus), (2, 2 * quarter))
    some = np.sort(rng.choice(len(latents.corpus), min(len(latents.corpus), 20_000), replace=False))
    z = latents.z[torch.from_numpy(some)]
    size = z.square().sum(1)
    for begin in range(quarter, 2 * quarter, 512):
        rows = one[begin : begin + 512]
        gap = size - 2 * latents.z[torch.from_numpy(rows)] @ z.mT
        same = latents.corpus.episode[rows][:, None] == latents.corpus.episode[some][None]
        gap[torch.from_numpy(same)] = torch.inf
        near = gap.topk(max(1, round(pool * len(some))), largest=False).indices.numpy()
        other[begin : begin + 512] = some[near[np.arange(len(rows)), rng.integers(0, near.shape[1], len(rows))]]
    kind = np.repeat(np.arange(3), [half, quarter, quarter])
    pairs = ReachPairs(np.concatenate([a, one]), np.concatenate([a + offset, other]), kind)
    episode = latents.corpus.episode
    return pairs.take((kind == 0) | (episode[pairs.a] != episode[pairs.b]))


def expected_calibration_error(p: Float[ndarray, " n"], label: Float[ndarray, " n"], bins: int = BINS) -> float:
    """Return the mean distance between what is said and what is true, over bins of equal width (Naeini 2015)."""
    said, true, share = reliability(p, label, bins)
    return float((share * np.abs(said - true)).sum())


def reliability(
    p: Float[ndarray, " n"], label: Float[ndarray, " n"], bins: int = BINS
) -> tuple[Float[ndarray, " k"], Float[ndarray, " k"], Float[ndarray, " k"]]:
    """Return the reliability curve: in each bin that is not empty, the mean of what is said, of what is true, its share."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    full = count > 0
    said, true = (np.bincount(place, v, minlength=bins)[full] / count[full] for v in (p, np.asarray(label, float)))
    return said, true, count[full] / max(1, len(p))


def auc_row(
    name: str,
    said: Float[ndarray, " n"],
    latent: Float[ndarray, " n"],
    label: Float[ndarray, " n"],
    episodes: Int[ndarray, " n"],
    note: str,
) -> Row:
    """Return the area under the ROC curve.

    Args:
        name: the row's.
        said: the head's P(within h).
        latent: the floor's score, the nearer the larger.
        label: 1 where truly within reach.
        episodes: of each pair's first row, for the interval.
        note: what h and the truth are.
    """
    columns = np.stack([said, latent, label], 1)
    low, high = _interval(episodes, columns, lambda c: auc(c[:, 0], c[:, 2]))
    floors = {"latent": auc(latent, label), "chance": 0.5}
    words = f"{note}; {label.mean():.2f} of the pairs are within reach"
    return Row(name, auc(said, label), low, high, len(said), 1, "area", floors, {}, words)


def ece_row(
    name: str,
    said: Float[ndarray, " n"],
    label: Float[ndarray, " n"],
    floors: dict[str, Float[ndarray, " n"]],
    episodes: Int[ndarray, " n"],
    note: str,
) -> Row:
    """Return the calibration error, the reliability curve in the note; ``floors`` are other probabilities of the same pairs."""
    columns = np.stack([said, label], 1)
    low, high = _interval(episodes, columns, lambda c: expected_calibration_error(c[:, 0], c[:, 1]))
    curve = ", ".join(f"{a:.2f}:{b:.2f}" for a, b, _ in zip(*reliability(said, label), strict=True))
    others = {key: expected_calibration_error(p, label) for key, p in floors.items()}
    value, words = expected_calibration_error(said, label), f"{note}; said:true {curve}"
    low = min(
        low, value
    )  # a resample is noisier than the sample, and noise counts as error: its interval may lie above
    return Row(name, value, low, high, len(said), 1, "probability", others, {}, words)


def _interval(episodes: ndarray, columns: ndarray, statistic: Callable[[ndarray], float]) -> tuple[float, float]:
    """Bootstrap over whole episodes."""
    numbers = np.unique(episodes).astype(np.float64)
    members = {int(e): np.flatnonzero(episodes == e) for e in numbers}
    return bootstrap(
        numbers, lambda drawn: statistic(columns[np.concatenate([members[int(e)] for e in drawn])]), draws=DRAWS
    )
