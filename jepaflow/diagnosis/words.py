"""Figures in words: one way to write a number and its interval, for the verdict, the report and the console."""

import math

from jepaflow.diagnosis.resample import Estimate


def number(value: float, digits: int = 2) -> str:
    """A figure for people, with a true minus sign; a dash where there is none."""
    return f"{value:.{digits}f}".replace("-", "−") if math.isfinite(value) else "–"


def interval(estimate: Estimate, digits: int = 2) -> str:
    """``[0.31, 0.50]``, or that there is none."""
    if not math.isfinite(estimate.low):
        return "no interval"
    return f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"


def show(estimate: Estimate, digits: int = 2) -> str:
    """``0.42 [0.31, 0.50]``; the value alone where there is no interval."""
    value = number(estimate.value, digits)
    return f"{value} {interval(estimate, digits)}" if math.isfinite(estimate.low) else value
