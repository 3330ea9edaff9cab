"""Ours and a reference in turn, in one process: what disturbs the machine disturbs both, and a ratio survives it.

The value of a ratio is the median of the pairwise ones, `low` and `high` are their min and max. Growth is the slope of a
least-squares line through the logarithms of size and time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.limits import synchronise
from jepaflow.common.console import console
from jepaflow.common.results import Row

Measure = Callable[[], float]
"""Does a piece of work and returns its seconds."""


@dataclass(frozen=True)
class Pairs:
    """Seconds of the same work, pair by pair."""

    ours: tuple[float, ...]
    reference: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times as long the reference took, smallest first."""
        return sorted(b / a for a, b in zip(self.ours, self.reference, strict=True))

    @property
    def ours_median(self) -> float:
        """Seconds."""
        return float(np.median(self.ours))

    @property
    def reference_median(self) -> float:
        """Seconds."""
        return float(np.median(self.reference))


def timed(work: Callable[[], object], device: torch.device, times: int = 1) -> Measure:
    """Return a measure of some work, its mean over `times` calls in a row."""

    def measure() -> float:
        synchronise(device)
        begin = time.perf_counter()
        for _ in range(times):
            work()
        synchronise(device)
        return (time.perf_counter() - begin) / times

    return measure


def alternate(ours: Measure, reference: Measure, repeats: int) -> Pairs:
    """Run both in turn; who goes first alternates too, so that neither always finds the caches warm."""
    found = []
    for number in range(repeats):
        order = (ours, reference) if number % 2 == 0 else (reference, ours)
        first, second = (measure() for measure in order)
        found.append((first, second) if number % 2 == 0 else (second, first))
    a, b = zip(*found, strict=True)
    return Pairs(a, b)


def ratio_row(name: str, pairs: Pairs, note: str) -> Row:
    """The median ratio with its min and max; printed as well."""
    ratios = pairs.ratios
    row = Row(
        name,
        float(np.median(ratios)),
        ratios[0],
        ratios[-1],
        len(ratios),
        1,
        "ratio",
        note=f"{note}; low and high are the min and max of {len(ratios)} pairs",
    )
    return shown(row)


def value_row(name: str, values: Sequence[float], unit: str, note: str) -> Row:
    """The median of a value with its min and max; printed as well."""
    note = f"{note}; median, min and max of {len(values)}"
    return shown(Row(name, float(np.median(values)), min(values), max(values), len(values), 1, unit, note=note))


def shown(row: Row) -> Row:
    """Print a row and return it."""
    console.print(
        f"{row.name}: {row.value:.4g} ({row.low:.4g} – {row.high:.4g}) {row.unit}\n  {row.note}", markup=False
    )
    return row


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of seconds ~ size^exponent by least squares on logarithms."""
    x, y = np.log(np.asarray(sizes, float)), np.log(np.asarray(seconds, float))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


def growth_row(of: str, sizes: Sequence[float], measures: Sequence[Measure], repeats: int, note: str) -> Row:
    """How time grows with a size: all sizes in turn, several times.

    Args:
        of: what grows; the row is ``speed/scaling/<of>``.
        sizes: at least two different ones.
        measures: one each; called once before anything counts.
        repeats: rounds over all sizes.
        note: what was measured.
    """
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(repeats)]
    slopes = sorted(slope(sizes, one) for one in rounds)
    medians = np.median(np.array(rounds), 0)
    points = ", ".join(f"{size:g}: {1e3 * one:.3g}" for size, one in zip(sizes, medians, strict=True))
    note = (
        f"exponent of time over {of} (log-log least squares); {note}; ms at {points}; low and high: of {repeats} rounds"
    )
    return shown(
        Row(f"speed/scaling/{of}", slope(sizes, medians), slopes[0], slopes[-1], repeats, 1, "exponent", note=note)
    )
