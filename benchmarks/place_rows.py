"""The figures of a probe that reads places: R2, error in cm, and both where things move.

An object that mostly lies still is read well by a model that knows nothing of pushing, so imagined latents are also
judged where the thing *moves*: how far off is the reading there, beside saying that nothing moves, and which share of
the motion is foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row

MOVES = 0.01
"""m: displacement from which a thing has moved."""


@dataclass(frozen=True)
class Reading:
    """What a probe reads, and what is true; coordinates (x, y, z per thing), m."""

    read: Float[np.ndarray, "n Q"]
    true: Float[np.ndarray, "n Q"]
    episode: Int[np.ndarray, " n"]
    real: Float[np.ndarray, "n Q"] | None = None
    """Of imagined latents: what is read from the real one of that time."""
    before: Float[np.ndarray, "n Q"] | None = None
    """Of imagined latents: where the things were when the imagining began."""
    read_before: Float[np.ndarray, "n Q"] | None = None
    """What is read from the real latent of that time."""
    arm: Float[np.ndarray, "n Q"] | None = None
    """What the arm's pose alone tells of the places."""


def reading_rows(name: str, reading: Reading, fitted: str) -> list[Row]:
    """Return R2 and mean error (cm), and for imagined latents both where things move: error and share of the motion foreseen.

    R2 is pooled over coordinates: one that never varies (the height of a cube on a table) does not count.
    """
    true, episode, n = reading.true, reading.episode, len(reading.true)
    spread, off = np.square(true - true.mean(0)), np.square(reading.read - true)
    axes = [f"{1 - o / s:.2f}" if s > 1e-6 * n else "-" for o, s in zip(off.sum(0), spread.sum(0), strict=True)]
    sums = np.stack([off.sum(1), spread.sum(1)], 1)
    below: dict[str, float] = {}
    floors, ceilings = {"mean": _centimetres(true.mean(0) - true).mean()}, {}
    if reading.arm is not None:
        below["arm"] = 1.0 - np.square(reading.arm - true).sum() / spread.sum()
        floors["arm"] = _centimetres(reading.arm - true).mean()
    rows = [_row(f"{name}/r2", 1.0, -1.0, sums, episode, "R2", f"per coordinate {', '.join(axes)}; {fitted}", below)]
    if reading.before is not None and reading.real is not None:
        floors["stays"] = _centimetres(reading.before - true).mean()
        ceilings["real"] = _centimetres(reading.real - true).mean()
    error = _centimetres(reading.read - true).mean(1)
    sums, note = np.stack([error, np.ones(n)], 1), f"mean distance, median {np.median(error):.2f}; {fitted}"
    rows.append(_row(f"{name}/cm", 0.0, 1.0, sums, episode, "cm", note, floors, ceilings))
    return rows + _motion_rows(name, reading, fitted)


def _motion_rows(name: str, reading: Reading, fitted: str) -> list[Row]:
    """Return the rows of the things that move at least `MOVES` while they are imagined; none if none does."""
    if reading.before is None or reading.real is None or reading.read_before is None:
        return []
    moved, read, before, real, past = (
        part.reshape(-1, 3) for part in (reading.true, reading.read, reading.before, reading.real, reading.read_before)
    )
    which = np.linalg.norm(moved - before, axis=1) >= MOVES
    if not which.any():
        return []
    episode = np.repeat(reading.episode, len(moved) // len(reading.episode))[which]
    moved, read, before, real, past = (part[which] for part in (moved, read, before, real, past))
    change, note = moved - before, f"things that move at least {100 * MOVES:g} cm meanwhile; {fitted}"
    sums = np.stack([_centimetres(read - moved)[:, 0], np.ones(len(moved))], 1)
    floors = {"stays": _centimetres(before - moved).mean()}
    ceilings = {"real": _centimetres(real - moved).mean()}
    length = np.square(change).sum(1)
    along = np.stack([((read - past) * change).sum(1), length], 1)
    whole = float(((real - past) * change).sum() / length.sum())
    said = f"share of the motion that is foreseen (change of the reading along the true one); {note}"
    return [
        _row(f"{name}_moving/cm", 0.0, 1.0, sums, episode, "cm", f"mean distance; {note}", floors, ceilings),
        _row(f"{name}_moving/share", 0.0, 1.0, along, episode, "share", said, {"stays": 0.0}, {"real": whole}),
    ]


def _centimetres(off: Float[np.ndarray, "*n Q"]) -> Float[np.ndarray, "*n M"]:
    """Return the length of each thing's offset, cm."""
    return np.asarray(100.0 * np.linalg.norm(off.reshape(-1, off.shape[-1] // 3, 3), axis=-1))


def _row(
    name: str,
    base: float,
    sign: float,
    sums: Float[np.ndarray, "n 2"],
    episode: Int[np.ndarray, " n"],
    unit: str,
    note: str,
    floors: dict[str, float] | None = None,
    ceilings: dict[str, float] | None = None,
) -> Row:
    """Return base + sign x (sum of the first over sum of the second), its interval from resampled episodes."""
    which, position = np.unique(episode, return_inverse=True)
    totals = np.zeros((len(which), 2))
    np.add.at(totals, position, sums)

    def statistic(values: np.ndarray) -> float:
        return float(base + sign * values[:, 0].sum() / max(values[:, 1].sum(), 1e-12))

    low, high = bootstrap(totals, statistic)
    beside, above = ({key: float(value) for key, value in (known or {}).items()} for known in (floors, ceilings))
    said = f"{note}; interval over episodes"
    return Row(name, statistic(totals), low, high, len(sums), 1, unit, beside, above, said)
