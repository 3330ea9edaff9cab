"""Feature statistics as LeRobot v3.0 stores them, per episode and pooled.

Numeric columns are summarised over time; images per channel on a 0..1 scale from a sub-sample of frames (LeRobot's
rule: n^0.75 frames, at least 100, at most 10,000, thinned to about 150 pixels), because exact image statistics would
cost a second pass over every pixel. Per-episode quantiles are exact; pooled quantiles are the count-weighted mean of
the episodes' quantiles, as LeRobot aggregates them, so that appending never re-reads old episodes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
Stats = dict[str, np.ndarray]


def numeric_stats(values: np.ndarray) -> Stats:
    """Summarise one numeric feature of one episode.

    Args:
        values: array ``(T, ...)``; every statistic has shape ``(n,)`` with n the number of values per row.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    result = {"min": flat.min(0), "max": flat.max(0), "mean": flat.mean(0), "std": flat.std(0)}
    result |= dict(zip(QUANTILES, np.quantile(flat, list(QUANTILES.values()), axis=0)))
    return {**result, "count": np.array([len(flat)], dtype=np.int64)}


def sampled_frames(length: int) -> set[int]:
    """Frame numbers of an episode of ``length`` frames that enter its image statistics."""
    wanted = max(min(length, 100), min(int(length**0.75), 10_000))
    return set(np.round(np.linspace(0, length - 1, wanted)).astype(int).tolist())


def thin(frame: np.ndarray) -> np.ndarray:
    """Drop pixels of a frame ``(H, W, 3)`` so that the longer side is about 150; small frames stay whole."""
    longer = max(frame.shape[:2])
    step = longer // 150 if longer >= 300 else 1
    return frame[::step, ::step]


class ImageStats:
    """Per-channel statistics, shape ``(3, 1, 1)``, of uint8 frames on a 0..1 scale, taken in one by one.

    256-bin histograms lose nothing on 8-bit pixels, so the quantiles are exact for the pixels given.
    """

    def __init__(self) -> None:
        self._histogram = np.zeros((3, 256), dtype=np.int64)
        self._count = 0

    def add(self, frame: np.ndarray) -> None:
        """Take in one uint8 frame ``(h, w, 3)``."""
        for channel in range(3):
            self._histogram[channel] += np.bincount(frame[..., channel].ravel(), minlength=256)
        self._count += 1

    def result(self) -> Stats:
        """The statistics of the frames so far, at least one."""
        histogram, levels = self._histogram, np.arange(256) / 255.0
        total = histogram.sum(1)
        mean = histogram @ levels / total
        values = {
            "min": levels[(histogram > 0).argmax(1)],
            "max": levels[255 - (histogram[:, ::-1] > 0).argmax(1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(histogram @ levels**2 / total - mean**2, 0)),
        }
        below = np.cumsum(histogram, axis=1)
        for name, quantile in QUANTILES.items():
            values[name] = levels[(below >= quantile * total[:, None]).argmax(1)]
        shaped = {name: value.reshape(3, 1, 1) for name, value in values.items()}
        return {**shaped, "count": np.array([self._count], dtype=np.int64)}


def pool_stats(parts: Sequence[Mapping[str, np.ndarray]]) -> Stats:
    """Join the statistics of one feature over episodes; quantiles are kept only where every part has them."""
    count = np.array([float(np.asarray(part["count"]).ravel()[0]) for part in parts])
    names = [name for name in parts[0] if name != "count" and all(name in part for part in parts)]
    stacked = {name: np.stack([np.asarray(part[name], dtype=np.float64) for part in parts]) for name in names}
    weight = (count / count.sum()).reshape(-1, *[1] * (stacked["mean"].ndim - 1))
    mean = (weight * stacked["mean"]).sum(0)
    result = {
        "min": stacked["min"].min(0),
        "max": stacked["max"].max(0),
        "mean": mean,
        "std": np.sqrt((weight * (stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)).sum(0)),
    }
    result |= {name: (weight * stacked[name]).sum(0) for name in names if name in QUANTILES}
    return {**result, "count": np.array([int(count.sum())], dtype=np.int64)}
