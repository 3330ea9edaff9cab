"""Figures in words: one way to write a number and its interval, for the verdict, the report and the console."""

import math
from collections.abc import Mapping

from jepaflow.diagnosis.resample import Estimate


def number(value: float, digits: int = 2) -> str:
    """A figure for people, with a true minus sign; a dash where there is none."""
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def plain(value: float) -> str:
    """A figure of unknown size for people: three digits that say something, ``0.0042``, ``0.64``, ``31.2``, ``1,204``."""
    size = abs(value)
    if not math.isfinite(value):
        return "–"
    if size >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    digits = 0 if size >= 100 else 1 if size >= 10 else 2
    if 0 < size < 0.095:
        digits = min(6, 1 - math.floor(math.log10(size)))
    return number(value, digits)


def among(values: Mapping[str, float]) -> str:
    """Floors or ceilings in a line: ``copy last 0.00, shuffled actions −0.13``; a dash for none."""
    return ", ".join(f"{key.replace('_', ' ')} {plain(value)}" for key, value in values.items()) or "–"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """``[0.31, 0.50]``, or that there is none."""
    if not math.isfinite(estimate.low):
        return "no interval"
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def show(estimate: Estimate, digits: int = 2) -> str:
    """``0.42 [0.31, 0.50]``; the value alone where there is no interval."""
    value = number(estimate.value, digits)
    return f"{value} {interval(estimate, digits)}" if math.isfinite(estimate.low) else value
