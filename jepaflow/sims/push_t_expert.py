"""Push-T's experts: one that pushes the T where it should go, and the data collector that mixes it with play.

`Pusher` chooses a push (see `push_t_route`), walks round the block to it, pushes, and looks again: closed loop, so
slips and noise cost time and not the goal. `PushTExpert` is what datasets are made with. It chains legs of three kinds,
because a world model needs data of what planners try, not only of what succeeds:

- *seek*: bring the T to a goal pose (random, sometimes the canonical one), with Ornstein-Uhlenbeck noise;
- *push*: long pushes at random contacts;
- *wander*: actions held for a few steps, towards random places around the block.

Everything is drawn from the generator that the caller gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t import CANONICAL_GOAL, PushTEnv
from jepaflow.sims.push_t_geometry import Pose, centre, contacts, to_window
from jepaflow.sims.push_t_route import LENGTHS, Push, find_way, make_push, pose_error, score_pushes

COAST = 0.0368
"""Seconds: share of its velocity that the critically damped controller still travels in a control step."""
GAIN = 0.264
"""Share of the target's offset that it travels in a control step from rest: 1 - 2 / e."""
TRAVEL_PRICE = 0.06
"""px of pose error that a px of travel must be worth, so that a far face is not walked to for nothing."""
PLACED = 8.0
"""Pose error (px) at which the T counts as placed: well inside the success rule."""
PUSH_STEPS, WALK_STEPS = 14, 30
"""Control steps after which a push or a walk is given up and thought over."""


@dataclass(frozen=True)
class PushTExpertConfig:
    """How the data collector behaves."""

    seek: float = 0.55
    """Share of legs that bring the T to a goal."""
    wander: float = 0.2
    """Share of legs that wander; the rest push at random."""
    canonical: float = 0.25
    """Share of seek legs that go to the canonical goal."""
    noise: tuple[float, float] = (0.0, 0.12)
    """Range of the noise's standard deviation (action units), drawn per leg."""
    noise_steps: float = 4.0
    """Time constant of the Ornstein-Uhlenbeck noise in control steps."""
    pace: tuple[float, float] = (12.0, 30.0)
    """Range of the speed (px per control step), drawn per leg."""
    seek_steps: int = 100
    """Control steps after which a seek leg ends without success: the try counter."""
    wander_steps: tuple[int, int] = (8, 25)
    hold_steps: tuple[int, int] = (1, 6)
    """Range of how long a wandering action is held, in control steps."""
    reach: float = 100.0
    """px around the block's centre in which a wandering agent picks its next place."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be drawn from."""
        if min(self.seek, self.wander, self.canonical) < 0.0 or self.seek + self.wander > 1.0 or self.canonical > 1.0:
            raise JepaflowError("the expert's shares seek, wander and canonical must be 0..1, seek + wander at most 1.")
        if self.noise_steps < 1.0 or min(self.wander_steps[0], self.hold_steps[0], self.seek_steps) < 1:
            raise JepaflowError("the expert's step counts must be at least 1. Raise the one that is not.")
        if self.pace[0] <= 0.0 or self.reach <= 0.0:
            raise JepaflowError("the expert's pace and reach must be above 0 px. Give positive numbers.")
        for name in ("noise", "pace", "wander_steps", "hold_steps"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise JepaflowError(f"the expert's {name} range is {low:g}..{high:g}. Give 0 <= low <= high.")


class Pusher:
    """Pushes the T of one environment to a goal, by looking at the simulator's state.

    Args:
        env: the environment.
        rng: draws among pushes that are as good.
        pace: px per control step while walking; pushes are half as fast.
    """

    def __init__(self, env: PushTEnv, rng: np.random.Generator, pace: float = 30.0) -> None:
        self.env, self.rng, self.pace = env, rng, pace
        self.begin(None)

    def begin(self, push: Push | None) -> None:
        """Take up a push, or (None) none: `idle` until the next one is chosen."""
        self._push, self._pushing = push, False
        self._left = 0 if push is None else WALK_STEPS

    @property
    def idle(self) -> bool:
        """Whether the push at hand is done or given up."""
        return self._left <= 0

    def toward(self, goal: Pose, agent_goal: tuple[float, float] | None = None) -> Float[np.ndarray, " 2"]:
        """Return the next action on the way to the block's goal pose, then the agent's goal place."""
        env = self.env
        if self.idle:
            if pose_error(env.config, env.block, goal) < PLACED:
                return self._go_home(agent_goal)
            self.begin(self._best(goal))
        return self.follow()

    def at_random(self) -> Float[np.ndarray, " 2"]:
        """Return the next action of a long push at a random contact."""
        tries = 8
        while self.idle and tries:
            tries -= 1
            contact = int(self.rng.integers(len(contacts(self.env.config)[0])))
            length = float(self.rng.uniform(20.0, 110.0))
            self.begin(make_push(self.env.config, self.env.block, np.array(self.env.agent), contact, length))
        return self.follow()

    def _best(self, goal: Pose) -> Push | None:
        """Return the push whose predicted error plus travel is least among those that can be reached."""
        env = self.env
        config, agent = env.config, np.array(env.agent)
        error = score_pushes(config, env.block, goal)
        best_length = error.argmin(1)
        travel = np.hypot(*(to_window(env.block, contacts(config)[0]) - agent).T)
        price = error.min(1) + TRAVEL_PRICE * travel + self.rng.uniform(0.0, 1.0, len(travel))
        for contact in np.argsort(price)[:12]:
            push = make_push(config, env.block, agent, int(contact), float(LENGTHS[best_length[contact]]))
            if push is not None:
                return push
        return None

    def follow(self) -> Float[np.ndarray, " 2"]:
        """Return the next action of the push at hand: on the way to the face, then along its normal."""
        self._left -= 1
        if self._push is None:  # nothing can be reached: the T lies in a corner; shove it from anywhere
            aim = centre(self.env.config, self.env.block) - np.array(self.env.agent)
            shove: Float[np.ndarray, " 2"] = aim / self.env.config.action_scale + self.rng.normal(0.0, 0.5, 2)
            return shove
        here = np.array(self.env.agent)
        way = self._push.way
        while len(way) > 1 and math.dist(here, way[0]) < 10.0:
            way.pop(0)
        if not self._pushing and len(way) == 1 and math.dist(here, way[0]) < 2.5:
            self._pushing, self._left = True, PUSH_STEPS
        if not self._pushing:
            return self._step_to(way[0], self.pace)
        if math.dist(here, self._push.end) < 1.5:
            self._left = 0
        return self._step_to(self._push.end, 0.5 * self.pace)

    def _go_home(self, agent_goal: tuple[float, float] | None) -> Float[np.ndarray, " 2"]:
        """Return the action that takes the agent to its own goal place, round the block."""
        env = self.env
        if agent_goal is None:
            return np.zeros(2)
        here, goal = np.array(env.agent), np.array(agent_goal)
        way = find_way(env.config, env.block, here, goal) or [goal]
        return self._step_to(way[0], self.pace)

    def _step_to(self, place: Float[np.ndarray, " 2"], pace: float) -> Float[np.ndarray, " 2"]:
        """Return the action that moves the agent towards `place` by at most `pace` px, whatever its velocity is."""
        state = self.env.state
        wish = place - np.array(self.env.agent)
        wish *= min(1.0, pace / max(float(np.hypot(*wish)), 1e-9))
        offset = (wish - COAST * np.array([state.agent_vx, state.agent_vy])) / GAIN
        action: Float[np.ndarray, " 2"] = np.clip(offset / self.env.config.action_scale, -1.0, 1.0)
        return action


class PushTExpert:
    """Acts in one Push-T environment without end: seeking, pushing, wandering.

    Args:
        env: the environment; only its state is read.
        rng: the only source of randomness.
        config: behaviour.
    """

    def __init__(self, env: PushTEnv, rng: np.random.Generator, config: PushTExpertConfig | None = None) -> None:
        self.env, self.rng, self.config = env, rng, config or PushTExpertConfig()
        self._pusher = Pusher(env, rng)
        self._noise = np.zeros(2)
        self._held, self._hold_left = np.zeros(2), 0
        self._begin_leg()

    def act(self) -> Float32[np.ndarray, " 2"]:
        """Return the next action, in the action box [-1, 1]^2."""
        placed = self._kind == "seek" and pose_error(self.env.config, self.env.block, self._goal) < PLACED
        if self._leg_left <= 0 or placed:
            self._begin_leg()
        self._leg_left -= 1
        if self._kind == "wander":
            wish = self._wander()
        else:
            wish = self._pusher.toward(self._goal) if self._kind == "seek" else self._pusher.at_random()
        keep = 1.0 - 1.0 / self.config.noise_steps
        kick = self._deviation * math.sqrt(1.0 - keep * keep)
        self._noise = keep * self._noise + kick * self.rng.standard_normal(2)
        action: Float32[np.ndarray, " 2"] = np.clip(wish + self._noise, -1.0, 1.0).astype(np.float32)
        return action

    def _begin_leg(self) -> None:
        config, rng = self.config, self.rng
        draw = rng.random()
        self._kind = "seek" if draw < config.seek else "wander" if draw < config.seek + config.wander else "push"
        self._deviation = float(rng.uniform(*config.noise))
        self._pusher.pace = float(rng.uniform(*config.pace))
        self._pusher.begin(None)
        goal = CANONICAL_GOAL if rng.random() < config.canonical else self.env.random_state(rng)
        self._goal: Pose = (goal.block_x, goal.block_y, goal.block_angle)
        self._hold_left = 0
        low, high = config.wander_steps
        steps = int(rng.integers(low, high + 1))
        self._leg_left = {"seek": config.seek_steps, "wander": steps, "push": 2 * steps}[self._kind]

    def _wander(self) -> Float[np.ndarray, " 2"]:
        config = self.config
        if self._hold_left <= 0:
            low, high = config.hold_steps
            self._hold_left = int(self.rng.integers(low, high + 1))
            place = centre(self.env.config, self.env.block) + self.rng.uniform(-config.reach, config.reach, 2)
            self._held = np.clip((place - np.array(self.env.agent)) / self.env.config.action_scale, -1.0, 1.0)
        self._hold_left -= 1
        return self._held
