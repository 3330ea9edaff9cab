"""The Reacher as a Gymnasium environment: a planar two-link arm must take a given pair of joint angles.

The arm is dm_control's (see `reacher_model`), the task stable-worldmodel's `qpos_match`: success is every joint within
`threshold` of its target, whatever the velocities. One `step` is one control step of .02 s. Two departures: the
shoulder's error is taken modulo a turn (a picture does not show turns), and the state is rounded to float32 after every
step, so that a dataset row holds the exact state. The observation's picture never shows the target.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher_drawing import ReacherPainter
from jepaflow.sims.reacher_model import (
    FASTEST,
    HALF_TURN,
    OVERSHOOT,
    WRIST_LIMIT,
    ReacherConfig,
    ReacherPhysics,
    ReacherState,
    rounded,
)

CANONICAL_START = ReacherState(0.0, 0.0, 0.0, 0.0)
CANONICAL_TARGET = (float(np.float32(math.pi / 2)), float(np.float32(math.pi / 4)))


class ReacherEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """The arm.

    Args:
        image_size: side of the observation's picture in px.
        config: threshold and step; stable-worldmodel's by default.
        randomise: draw start and target at each reset; else the stretched arm and a canonical target.
        render_mode: "rgb_array" or None. `render()` draws the arm at the target too: it is for people.

    Raises:
        JepaflowError: an action or state of the wrong shape, a state that the arm cannot be in.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (Gymnasium's own signature)

    cameras: tuple[str, ...] = ("top",)
    camera = cameras[0]
    fps = 50.0
    """Control steps per second (of the default configuration)."""
    state_names: tuple[str, ...] = ReacherState._fields
    proprio_names: tuple[str, ...] = ReacherState._fields
    action_names: tuple[str, ...] = ("shoulder", "wrist")

    def __init__(
        self,
        image_size: int = 64,
        config: ReacherConfig | None = None,
        randomise: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.config = config or ReacherConfig()
        self.fps = 1.0 / (self.config.timestep * self.config.substeps)
        self.image_size, self.randomise, self.render_mode = image_size, randomise, render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        most = np.array([HALF_TURN, WRIST_LIMIT + OVERSHOOT, FASTEST, FASTEST], np.float32)
        self.observation_space: gymnasium.spaces.Space[Any] = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
                "state": gymnasium.spaces.Box(-most, most, dtype=np.float32),
            }
        )
        self._painter = ReacherPainter(image_size)
        self.physics = ReacherPhysics(self.config)
        self.state, self.target = CANONICAL_START, CANONICAL_TARGET

    @property
    def task(self) -> str:
        """The instruction."""
        return "Move the arm to the target pose."

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start anew; `options={"state": array (4,)}` starts from a given simulator state."""
        super().reset(seed=seed)
        if options and "state" in options:
            self.set_state(options["state"])
        elif self.randomise:
            self.state = ReacherState(*self.random_pose(self.np_random), 0.0, 0.0)
            self.new_target(self.np_random)
        else:
            self.state, self.target = CANONICAL_START, CANONICAL_TARGET
        return self.observation(), self.info()

    def random_pose(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw joint angles as dm_control does: any shoulder, any wrist within its limits."""
        state = rounded((rng.uniform(-math.pi, math.pi), rng.uniform(-WRIST_LIMIT, WRIST_LIMIT), 0.0, 0.0))
        return state.shoulder, state.wrist

    def new_target(self, rng: np.random.Generator) -> None:
        """Draw a target that is not reached already."""
        while True:
            self.target = self.random_pose(rng)
            if not self.is_success():
                return

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Apply the motor signals (clipped to [-1, 1]; 1 is .05 N m); reward 1 and terminated at the target."""
        self.advance(action)
        arrived = self.is_success()
        return self.observation(), float(arrived), arrived, False, self.info()

    def advance(self, action: np.ndarray) -> None:
        """Do `step`'s physics without drawing."""
        if np.shape(action) != (2,):
            raise JepaflowError(
                f"a Reacher action has shape (2,), this one {np.shape(action)}. Give [shoulder, wrist] signals."
            )
        one, two = float(action[0]), float(action[1])
        if not (math.isfinite(one) and math.isfinite(two)):
            raise JepaflowError(f"the action {[one, two]} is not finite. Give numbers in [-1, 1].")
        self.state = self.physics.step(self.state, (min(max(one, -1.0), 1.0), min(max(two, -1.0), 1.0)))

    def still_action(self) -> Float32[np.ndarray, " 2"]:
        """Return no torque."""
        return np.zeros(2, dtype=np.float32)

    def error(self) -> Float[np.ndarray, " 2"]:
        """Return target - pose per joint (rad), the shoulder's the short way round."""
        turn = math.remainder(self.target[0] - self.state.shoulder, 2.0 * math.pi)
        return np.array([turn, self.target[1] - self.state.wrist])

    def distance(self) -> float:
        """Return the larger of the joints' distances (rad) to the target."""
        return float(np.abs(self.error()).max())

    def is_success(self) -> bool:
        """Return whether every joint is nearer to its target than the threshold."""
        return self.distance() < self.config.threshold

    def get_state(self) -> Float[np.ndarray, " 4"]:
        """Return the whole simulator state, float32."""
        return np.array(self.state, dtype=np.float32)

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a state that `get_state` returned, perhaps in another session; the target stays."""
        self.state = self._checked(state)

    def set_goal(self, state: np.ndarray) -> None:
        """Make the joint angles of another simulator state (4,) the target."""
        goal = self._checked(state)
        self.target = goal.shoulder, goal.wrist

    def _checked(self, state: np.ndarray) -> ReacherState:
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (4,) or not np.isfinite(values).all():
            raise JepaflowError(
                f"a Reacher state is four finite numbers, {', '.join(self.state_names)}; not {values.tolist()}."
                " Give a state that get_state returned."
            )
        if abs(values[1]) > WRIST_LIMIT + OVERSHOOT or np.abs(values[2:]).max() > FASTEST:
            raise JepaflowError(
                f"the arm cannot be in the state {values.tolist()}: its wrist turns {WRIST_LIMIT:.2f} rad each way. "
                "Give a state of this very world."
            )
        return rounded(tuple(values.tolist()))

    def observation(self) -> dict[str, np.ndarray]:
        """Return the picture (S, S, 3) uint8 without the target, and joint angles and velocities (4,) float32."""
        return {"pixels": self._painter.draw(self.state[:2]), "state": self.get_state()}

    def info(self) -> dict[str, Any]:
        """Return the full simulator state, the distance to the target and whether it is reached."""
        return {"state": self.get_state(), "distance": self.distance(), "success": self.is_success()}

    def render(self) -> UInt8[np.ndarray, "S S 3"] | None:
        """Return the picture with the target's arm drawn, or None without a render mode."""
        return self._painter.draw(self.state[:2], self.target) if self.render_mode == "rgb_array" else None
