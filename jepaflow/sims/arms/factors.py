"""Factors of variation: what may differ between episodes, by name; each is drawn, or fixed to a value, or left standard.

`vary` names factors to be drawn ("camera" means all that begin with it, "all" means all); `fix` gives values. A fixed
factor is never drawn. Where things lie and how the arm stands are drawn unless they are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.desk import DISTRACTORS, LIGHT_LEVEL, TABLE

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "blue": (0.10, 0.20, 0.85),
    "green": (0.10, 0.60, 0.20),
    "purple": (0.50, 0.15, 0.60),
    "white": (0.93, 0.93, 0.93),
}
OBSTACLES = ("none", "wall", "post", "both")

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True)
class Factor:
    """One thing that may differ: what it is, its standard value (None: the task decides), how it is drawn."""

    what: str
    standard: Any
    draw: Draw
    check: Callable[[Any], Any]
    """Turns a user's value into one that the task understands; raises ValueError."""


def _numbers(value: Any, size: int, low: float, high: float) -> tuple[float, ...]:
    """Return the numbers in a value; none if it is not `size` numbers from low to high."""
    words = value.split(",") if isinstance(value, str) else value if isinstance(value, Iterable) else [value]
    try:
        numbers = tuple(float(word) for word in words)
    except (ValueError, TypeError):
        return ()
    return numbers if len(numbers) == size and all(low <= number <= high for number in numbers) else ()


def _number(low: float, high: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        for number in _numbers(value, 1, low, high):
            return number
        raise ValueError(f"a number from {low:g} to {high:g}")

    return check


def _count(high: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        for number in _numbers(value, 1, 0.0, float(high)):
            if number == int(number):
                return int(number)
        raise ValueError(f"a whole number from 0 to {high}")

    return check


def _choice(words: Sequence[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return str(value)

    return check


def _vector(size: int, low: float, high: float) -> Callable[[Any], tuple[float, ...]]:
    def check(value: Any) -> tuple[float, ...]:
        if numbers := _numbers(value, size, low, high):
            return numbers
        raise ValueError(f"{size} numbers from {low:g} to {high:g}, separated by commas")

    return check


def _shift(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(rng.uniform(-0.03, 0.03, 3))


FACTORS: dict[str, Factor] = {
    "object.color": Factor(
        "colour of the (first) cube", None, lambda rng: str(rng.choice(list(PALETTE))), _choice(list(PALETTE))
    ),
    "object.size": Factor(
        "side of a cube, as a share of the standard", 1.0, lambda rng: float(rng.uniform(0.8, 1.15)), _number(0.6, 1.3)
    ),
    "object.place": Factor("x,y of the (first) cube, m", None, lambda rng: None, _vector(2, -0.4, 0.4)),
    "object.yaw": Factor("yaw of the (first) cube, degrees", None, lambda rng: None, _number(-180.0, 180.0)),
    "bin.color": Factor(
        "colour of the (first) bin", None, lambda rng: str(rng.choice(list(PALETTE))), _choice(list(PALETTE))
    ),
    "light.level": Factor(
        "brightness of the lamp", LIGHT_LEVEL, lambda rng: rng.uniform(0.25, 0.75), _number(0.0, 1.0)
    ),
    "light.place": Factor(
        "where the lamp hangs, degrees around the desk",
        math.degrees(math.atan2(0.2, 0.3)),
        lambda rng: rng.uniform(-180.0, 180.0),
        _number(-180.0, 180.0),
    ),
    "table.color": Factor(
        "colour of the table, red,green,blue",
        TABLE,
        lambda rng: tuple(np.clip(np.array(TABLE) + rng.uniform(-0.2, 0.15, 3), 0, 1)),
        _vector(3, 0.0, 1.0),
    ),
    "camera.laptop": Factor("shift of the laptop's camera, x,y,z in m", (0.0, 0.0, 0.0), _shift, _vector(3, -0.2, 0.2)),
    "camera.phone": Factor("shift of the phone's camera, x,y,z in m", (0.0, 0.0, 0.0), _shift, _vector(3, -0.2, 0.2)),
    "distractors": Factor(
        "number of things that have no part in the task",
        0,
        lambda rng: int(rng.integers(0, DISTRACTORS + 1)),
        _count(DISTRACTORS),
    ),
    "obstacle": Factor(
        "what stands between start and goal", "none", lambda rng: str(rng.choice(OBSTACLES)), _choice(OBSTACLES)
    ),
    "arm.pose": Factor("spread of the arm's first pose, rad", 0.03, lambda rng: 0.03, _number(0.0, 0.15)),
}


def nearest_colour(colour: Sequence[float] | np.ndarray) -> str:
    """Return the name of the palette's colour nearest to (red, green, blue)."""
    return min(PALETTE, key=lambda name: float(np.abs(np.subtract(PALETTE[name], colour)).sum()))


class Factors:
    """Which factors are drawn and which are fixed.

    Args:
        vary: names or beginnings of names ("camera", "all").
        fix: values by name; text is accepted ("0.03", "0.2,-0.05").

    Raises:
        JepaflowError: an unknown name, or a value that the factor cannot have.
    """

    def __init__(self, vary: Sequence[str] = (), fix: Mapping[str, Any] | None = None) -> None:
        self.fixed: dict[str, Any] = {}
        for name, value in (fix or {}).items():
            if name not in FACTORS:
                raise JepaflowError(f"there is no factor '{name}' to fix. Choose among: {', '.join(FACTORS)}.")
            try:
                self.fixed[name] = FACTORS[name].check(value)
            except ValueError as error:
                raise JepaflowError(f"{name} cannot be '{value}'. Give {error}.") from error
        self.varied: set[str] = set()
        for word in vary:
            found = {name for name in FACTORS if word == "all" or name == word or name.startswith(f"{word}.")}
            if not found:
                raise JepaflowError(f"there is no factor '{word}' to vary. Choose among: all, {', '.join(FACTORS)}.")
            self.varied |= found
        self.varied -= set(self.fixed)

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Return a value for every factor; None where the task decides."""
        values = {}
        for name, factor in FACTORS.items():
            if name in self.fixed:
                values[name] = self.fixed[name]
            else:
                values[name] = factor.draw(rng) if name in self.varied else factor.standard
        return values
