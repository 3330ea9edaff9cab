"""Scalers: z-score statistics of the training episodes, and the refusal of values that are not numbers."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store


def column_statistics(
    stores: list[Store], episodes: list[tuple[int, ...]], column: str
) -> tuple[Float[ndarray, " d"], Float[ndarray, " d"]]:
    """Mean and standard deviation of a column over the given episodes of each store.

    A dimension that hardly moves keeps a standard deviation of 1: dividing by almost zero would turn its smallest
    shift at test time into an explosion.

    Args:
        stores: the stores, all with this column.
        episodes: for each store, its training episodes.
        column: ``action`` or ``proprio``.

    Raises:
        JepaflowError: naming the file, episode and frame of the first NaN or infinity.
    """
    total, square, count = 0.0, 0.0, 0
    for store, chosen in zip(stores, episodes, strict=True):
        for episode in chosen:
            values = store.read(column, store.episode_rows(episode)).astype(np.float64)
            bad = ~np.isfinite(values).all(1)
            if bad.any():
                raise JepaflowError(
                    f"{store.path}: {column} is not finite in episode {store.source_episode(episode)}, frame {int(bad.argmax())}. "
                    "Run jepaflow doctor on the dataset and drop or mend that episode."
                )
            total, square, count = total + values.sum(0), square + (values * values).sum(0), count + len(values)
    mean = np.asarray(total) / count
    std = np.sqrt(np.maximum(np.asarray(square) / count - mean * mean, 0))
    return mean.astype(np.float32), _safe(mean, std)


def change_statistics(
    stores: list[Store], episodes: list[tuple[int, ...]], column: str
) -> tuple[Float[ndarray, " d"], Float[ndarray, " d"]]:
    """Mean and standard deviation of a column's change from row to row, inside the given episodes of each store.

    Args and the rule for what hardly moves: as `column_statistics`, which has refused what is not finite.
    """
    total, square, count = 0.0, 0.0, 0
    for store, chosen in zip(stores, episodes, strict=True):
        for episode in chosen:
            change = np.diff(store.read(column, store.episode_rows(episode)).astype(np.float64), axis=0)
            total, square, count = total + change.sum(0), square + (change * change).sum(0), count + len(change)
    mean = np.asarray(total) / max(1, count)
    std = np.sqrt(np.maximum(np.asarray(square) / max(1, count) - mean * mean, 0))
    return mean.astype(np.float32), _safe(mean, std)


def _safe(mean: ndarray, std: ndarray) -> Float[ndarray, " d"]:
    """Return the deviations as float32, with 1 for a dimension that hardly moves."""
    constant = std <= 1e-5 * np.maximum(np.abs(mean), 1)
    return np.where(constant, 1.0, std).astype(np.float32)
