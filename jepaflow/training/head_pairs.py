"""What the heads are fitted to and judged on: hindsight pairs of one episode, and pairs of two episodes as negatives."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from jepaflow.training.corpus import Corpus, hindsight
from jepaflow.training.latents import Latents


@dataclass(frozen=True)
class GoalPairs:
    """Rows, goal rows some whole model steps later, and what was executed in between."""

    row: Int[Tensor, " B"]
    goal: Int[Tensor, " B"]
    steps: Int[Tensor, " B"]
    """model steps from row to goal"""
    actions: Float[Tensor, "B N K A"]
    """the plan from the row on; blocks beyond the goal are what came next, not what is wanted"""
    start: Float[Tensor, "B A"] | None
    """the action executed before the row"""


def goal_pairs(
    corpus: Corpus,
    count: int,
    steps: Int[ndarray, " s"],
    sizes: tuple[int, int],
    start: bool,
    rng: np.random.Generator,
) -> GoalPairs:
    """Draw pairs for inverse dynamics.

    Args:
        corpus: episodes.
        count: B.
        steps: allowed model steps to the goal, sorted; those that no episode has are never drawn.
        sizes: K and N, control steps in a block and blocks in a plan.
        start: also give the action executed before each row (which an episode's first row does not have).
        rng: draws.
    """
    block, horizon = sizes
    row, offset = hindsight(corpus, count, steps * block, int(start), rng)
    plan = corpus.plans(row, horizon * block).reshape(count, horizon, block, -1)
    return GoalPairs(
        torch.from_numpy(row),
        torch.from_numpy(row + offset),
        torch.from_numpy(offset // block),
        torch.from_numpy(plan),
        torch.from_numpy(corpus.actions[row - 1]) if start else None,
    )


@dataclass(frozen=True)
class DistancePairs:
    """Pairs of rows and the model steps between them."""

    a: Int[ndarray, " B"]
    b: Int[ndarray, " B"]
    steps: Float[ndarray, " B"]
    """at most the cap"""
    same: Int[ndarray, " B"]
    """1 for a pair of one episode, 0 for a pair of two"""


def distance_pairs(
    corpus: Corpus, count: int, cap: int, block: int, negatives: float, rng: np.random.Generator
) -> DistancePairs:
    """Draw pairs for the temporal distance.

    A share ``negatives`` joins rows of two different episodes and counts as at the cap; with a single episode there are
    none. Pairs of one episode are drawn uniformly up to a quarter beyond the cap, so that the cap is seen there too.
    """
    offsets = np.arange(0, cap * block + cap * block // 4 + 1)
    a, offset = hindsight(corpus, count, offsets, 0, rng)
    b, steps, same = a + offset, np.minimum(offset / block, cap), np.ones(count, np.int64)
    if len(corpus.length) > 1:
        other = rng.random(count) < negatives
        drawn = rng.integers(0, len(corpus), count)
        other &= corpus.episode[drawn] != corpus.episode[a]
        b, steps, same = np.where(other, drawn, b), np.where(other, float(cap), steps), np.where(other, 0, same)
    return DistancePairs(a, b, steps.astype(np.float32), same)


def halves(latents: Latents, share: float, rng: np.random.Generator) -> tuple[Latents, Latents]:
    """Set a share of the episodes aside (at least one); a single episode serves as both.

    Returns:
        what to fit on, and what to calibrate on.
    """
    count = len(latents.corpus.length)
    if count < 2:
        return latents, latents
    order = rng.permutation(count)
    aside = min(max(round(share * count), 1), count - 1)
    return latents.take(np.sort(order[aside:])), latents.take(np.sort(order[:aside]))
