"""An estimate as a row of ``results/<topic>.json``."""

import math
from collections.abc import Mapping

from jepaflow.common.results import Row
from jepaflow.diagnosis.resample import Estimate


def as_row(
    name: str,
    estimate: Estimate,
    unit: str,
    note: str,
    floors: Mapping[str, float] | None = None,
    ceilings: Mapping[str, float] | None = None,
    seeds: int = 1,
) -> list[Row]:
    """One row, or none for a figure that does not exist (NaN); floors and ceilings that do not exist are left out.

    Where no interval exists (a single held-out episode) the bounds repeat the value and the note says so.
    """
    if not math.isfinite(estimate.value):
        return []
    bounded = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    low, high = (estimate.low, estimate.high) if bounded else (estimate.value, estimate.value)
    note = note if bounded else f"{note}; no interval: a single episode"
    return [Row(name, estimate.value, low, high, estimate.n, seeds, unit, _finite(floors), _finite(ceilings), note)]


def _finite(values: Mapping[str, float] | None) -> dict[str, float]:
    return {key: float(value) for key, value in (values or {}).items() if math.isfinite(value)}
