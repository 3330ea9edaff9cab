"""Train and validation by *episode*: windows of one episode overlap, so a split over windows leaks."""

from dataclasses import dataclass

import numpy as np

from jepaflow.common.errors import JepaflowError


@dataclass(frozen=True)
class Split:
    """Episode numbers of a store, sorted."""

    train: tuple[int, ...]
    val: tuple[int, ...]


def split_episodes(episodes: int, val_fraction: float = 0.1, seed: int = 0, limit: int | None = None) -> Split:
    """Draw the validation episodes; the rest train.

    Args:
        episodes: number of episodes.
        val_fraction: share that validates; at least one episode does when there are two or more.
        seed: of the draw.
        limit: keep at most this many training episodes (nested: a smaller limit keeps a subset).

    Raises:
        JepaflowError: when there is no episode to train on.
    """
    if not 0 <= val_fraction < 1:
        raise JepaflowError(f"The validation share is {val_fraction}; it must be at least 0 and below 1.")
    order = np.random.default_rng(seed).permutation(episodes)
    val = round(episodes * val_fraction)
    if val_fraction > 0 and episodes > 1:
        val = min(max(val, 1), episodes - 1)
    train = order[val:] if limit is None else order[val : val + limit]
    if len(train) == 0:
        raise JepaflowError(
            f"No episode is left to train on ({episodes} in all, {val} for validation). Record more episodes."
        )
    return Split(tuple(sorted(int(e) for e in train)), tuple(sorted(int(e) for e in order[:val])))
