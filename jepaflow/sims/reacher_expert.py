"""The Reacher's expert: computed torque to random poses, mixed with random torques that are held.

An episode is a chain of legs. *seek*: go to a fresh pose with drawn stiffness, plus Ornstein-Uhlenbeck noise on the motor
signals, and stay a moment. *sweep*: uniform random signals, each held for some steps, as a planner's blocks are.
Everything is drawn from the generator that the caller gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher import ReacherEnv


@dataclass(frozen=True)
class ReacherExpertConfig:
    """How the expert behaves."""

    sweep: float = 0.35
    """Share of legs of random torques; 0 = always seek."""
    noise: tuple[float, float] = (0.0, 0.5)
    """Range of the noise's standard deviation (motor signal), drawn per leg."""
    noise_steps: float = 5.0
    """Time constant of the noise in control steps."""
    stiffness: tuple[float, float] = (4.0, 12.0)
    """Range of the closed loop's natural frequency (rad/s; critically damped), drawn per leg."""
    seek_steps: int = 100
    """Control steps after which a seek leg ends without success: the try counter."""
    stay_steps: tuple[int, int] = (0, 15)
    """Range of how long it stays at a pose that it has reached."""
    sweep_steps: tuple[int, int] = (15, 60)
    hold_steps: tuple[int, int] = (1, 15)
    """Range of how long random signals are held, in control steps."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be drawn from."""
        if not 0.0 <= self.sweep <= 1.0:
            raise JepaflowError(f"the expert's sweep share is {self.sweep:g}. Give a number from 0 to 1.")
        if self.noise_steps < 1.0 or min(self.sweep_steps[0], self.hold_steps[0], self.seek_steps) < 1:
            raise JepaflowError("the expert's step counts must be at least 1. Raise the one that is not.")
        if not 0.0 < self.stiffness[0] <= self.stiffness[1] <= 25.0:
            raise JepaflowError("the expert's stiffness range must lie in 0..25 rad/s. Give 0 < low <= high <= 25.")
        for name in ("noise", "stay_steps", "sweep_steps", "hold_steps"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise JepaflowError(f"the expert's {name} range is {low:g}..{high:g}. Give 0 <= low <= high.")


class ReacherExpert:
    """Acts in one Reacher environment without end.

    Args:
        env: the environment; the expert reads its state and moves its target.
        rng: the only source of randomness.
        config: behaviour.
    """

    def __init__(self, env: ReacherEnv, rng: np.random.Generator, config: ReacherExpertConfig | None = None) -> None:
        self.env, self.rng, self.config = env, rng, config or ReacherExpertConfig()
        self._noise = np.zeros(2)
        self._held, self._hold_left, self._leg_left = np.zeros(2), 0, 0
        self._begin_leg()

    def act(self) -> Float32[np.ndarray, " 2"]:
        """Return the next motor signals, in [-1, 1]^2."""
        if not self._sweeping and self.env.is_success():
            self._leg_left = min(self._leg_left, self._stay)
        if self._leg_left <= 0:
            self._begin_leg()
        self._leg_left -= 1
        if self._sweeping:
            wish = self._sweep()
        else:
            wish = pursue(self.env, self._stiffness) + self._next_noise()
        action: Float32[np.ndarray, " 2"] = np.clip(wish, -1.0, 1.0).astype(np.float32)
        return action

    def _begin_leg(self) -> None:
        config, rng = self.config, self.rng
        self.env.new_target(rng)
        self._sweeping = bool(rng.random() < config.sweep)
        self._deviation = float(rng.uniform(*config.noise))
        self._stiffness = float(rng.uniform(*config.stiffness))
        self._stay = int(rng.integers(config.stay_steps[0], config.stay_steps[1] + 1))
        steps = int(rng.integers(config.sweep_steps[0], config.sweep_steps[1] + 1))
        self._leg_left, self._hold_left = (steps if self._sweeping else config.seek_steps), 0

    def _next_noise(self) -> Float[np.ndarray, " 2"]:
        keep = 1.0 - 1.0 / self.config.noise_steps
        kick = self._deviation * math.sqrt(1.0 - keep * keep)
        self._noise = keep * self._noise + kick * self.rng.standard_normal(2)
        return self._noise

    def _sweep(self) -> Float[np.ndarray, " 2"]:
        if self._hold_left <= 0:
            low, high = self.config.hold_steps
            self._held, self._hold_left = self.rng.uniform(-1.0, 1.0, 2), int(self.rng.integers(low, high + 1))
        self._hold_left -= 1
        return self._held


def pursue(env: ReacherEnv, stiffness: float) -> Float[np.ndarray, " 2"]:
    """Return the motor signals (not clipped) that bring the arm to its target, critically damped at `stiffness` rad/s."""
    velocity = np.array(env.state[2:])
    wish = stiffness**2 * env.error() - 2.0 * stiffness * velocity
    return env.physics.signals_for(env.state, wish)
