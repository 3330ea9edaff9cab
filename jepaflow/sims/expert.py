"""A disc's noisy expert: goes to targets through the doors, sometimes wanders, so that the data covers what plans try.

A world model trained on clean demonstrations forecasts badly under a planner's own actions
(`feasibility`: skill@5 falls from .96 to .75), so an episode is a chain of legs of two kinds:

- *seek*: walk to a fresh target, direction plus Ornstein-Uhlenbeck noise, at a random pace;
- *wander*: uniform random actions from the whole action box, each held for a few steps, as a planner's blocks are.

Everything is drawn from the generator that the caller gives: same generator state, same episode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc_env import DiscEnv

ARRIVED = 4.0
"""px from the target at which a seek leg ends: well inside the success distance, so that arrivals are in the data."""


@dataclass(frozen=True)
class ExpertConfig:
    """How the expert behaves."""

    wander: float = 0.35
    """Share of legs that wander; 0 = always seek, 1 = a random policy."""
    noise: tuple[float, float] = (0.05, 0.5)
    """Range of the noise's standard deviation (action units), drawn per leg."""
    noise_steps: float = 4.0
    """Time constant of the Ornstein-Uhlenbeck noise in control steps."""
    pace: tuple[float, float] = (0.5, 1.0)
    """Range of the seeking speed as a share of the fastest, drawn per leg."""
    wander_steps: tuple[int, int] = (8, 30)
    """Range of a wandering leg's length in control steps."""
    seek_steps: int = 120
    """A seeking leg's largest length in control steps: noise could keep a target out of reach for ever."""
    hold_steps: tuple[int, int] = (1, 8)
    """Range of how long a wandering action is held, in control steps."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be drawn from."""
        if not 0.0 <= self.wander <= 1.0:
            raise JepaflowError(f"the expert's wander share is {self.wander:g}. Give a number from 0 to 1.")
        if self.noise_steps < 1.0 or min(self.wander_steps[0], self.hold_steps[0], self.seek_steps) < 1:
            raise JepaflowError(
                "the expert's step counts must be at least 1. Raise noise_steps, wander_steps, seek_steps or hold_steps."
            )
        for name in ("noise", "pace", "wander_steps", "hold_steps"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise JepaflowError(
                    f"the expert's {name} range is {low:g}..{high:g}. Give low <= high, both not negative."
                )


class NoisyExpert:
    """Acts in one disc world (Two-Room, the maze) without end, drawing a new target whenever a leg is over.

    Args:
        env: the environment; the expert reads its state and moves its target.
        rng: the only source of randomness.
        config: behaviour.
    """

    def __init__(self, env: DiscEnv, rng: np.random.Generator, config: ExpertConfig | None = None) -> None:
        self.env, self.rng, self.config = env, rng, config or ExpertConfig()
        self._noise = np.zeros(2)
        self._held, self._hold_left = np.zeros(2), 0
        self._begin_leg()

    def act(self) -> Float32[np.ndarray, " 2"]:
        """Return the next action, in the action box [-1, 1]^2."""
        if self._leg_left <= 0 or (not self._wandering and self.env.distance() < ARRIVED):
            self._begin_leg()
        self._leg_left -= 1
        wish = self._wander() if self._wandering else self._seek()
        action: Float32[np.ndarray, " 2"] = np.clip(wish, -1.0, 1.0).astype(np.float32)
        return action

    def _begin_leg(self) -> None:
        config, rng = self.config, self.rng
        self.env.new_target(rng)
        self._wandering = bool(rng.random() < config.wander)
        self._deviation = float(rng.uniform(*config.noise))
        self._pace = float(rng.uniform(*config.pace))
        self._leg_left = (
            int(rng.integers(config.wander_steps[0], config.wander_steps[1] + 1))
            if self._wandering
            else config.seek_steps
        )

    def _seek(self) -> np.ndarray:
        env = self.env
        x, y = env.waypoint()
        dx, dy = (x - env.agent[0]) / env.config.speed, (y - env.agent[1]) / env.config.speed
        length = math.hypot(dx, dy)
        shrink = min(1.0, self._pace / max(length, 1e-9))  # no faster than the pace, no further than the waypoint
        keep = 1.0 - 1.0 / self.config.noise_steps
        kick = self._deviation * math.sqrt(1.0 - keep * keep)
        self._noise = keep * self._noise + kick * self.rng.standard_normal(2)
        return np.array([dx * shrink, dy * shrink]) + self._noise

    def _wander(self) -> np.ndarray:
        if self._hold_left <= 0:
            low, high = self.config.hold_steps
            self._held, self._hold_left = self.rng.uniform(-1.0, 1.0, 2), int(self.rng.integers(low, high + 1))
        self._hold_left -= 1
        return self._held
