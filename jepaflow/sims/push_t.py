"""Push-T as a Gymnasium environment: a disc pushes a T-shaped block to a goal pose.

Sizes, controller, start distribution and success rule are stable-worldmodel's PushT-v1 (see `push_t_geometry`,
`push_t_physics`); one `step` is one control step of 0.1 s. Departures, each for a reason: the walls stop the agent (an
option), a start in which things overlap is drawn again (upstream lets the physics throw them apart), and the state has
three more numbers, the block's velocities, which make a replay exact. The state is rounded to float32 after every step.

The goal is a simulator state: the agent's and the block's four coordinates and the block's angle count, as upstream.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t_drawing import PushTPainter
from jepaflow.sims.push_t_geometry import WINDOW, Pose, PushTConfig, angle_difference, distance_to_block, outline
from jepaflow.sims.push_t_physics import PushTState, control_step, possible, rounded

CANONICAL_START = PushTState(256.0, 400.0, 400.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
CANONICAL_GOAL = rounded((256.0, 400.0, 256.0, 256.0, math.pi / 4, 0.0, 0.0, 0.0, 0.0, 0.0))
AGENT_RANGE, BLOCK_RANGE = (50.0, 450.0), (100.0, 400.0)
"""Where starts are drawn, px, both axes."""
PROPRIO = (0, 1, 5, 6)
"""Which of the state's numbers the robot itself can feel: its place and velocity."""
FAR = 1e5
"""A bound (px, px/s) for an agent that no wall stops."""
STATE_TOLERANCE = 1e-3
"""px by which a given state may put the agent into a wall (rounding)."""


class PushTEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """The T and the disc.

    Args:
        image_size: side of the observation's picture in px.
        config: the world's sizes; stable-worldmodel's by default.
        randomise: draw start and goal at each reset; else the canonical start and the canonical goal (256, 256, 45 deg).
        render_mode: "rgb_array" or None. `render()` draws the goal's T too: it is for people.

    Raises:
        JepaflowError: sizes that make no sense, an action or state of the wrong shape, a state outside the walls.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own signature)

    fps = 10.0
    """Control steps per second."""
    cameras: tuple[str, ...] = ("top",)
    camera = cameras[0]
    state_names: tuple[str, ...] = PushTState._fields
    proprio_names: tuple[str, ...] = tuple(PushTState._fields[i] for i in PROPRIO)
    action_names: tuple[str, ...] = ("x", "y")

    def __init__(
        self,
        image_size: int = 64,
        config: PushTConfig | None = None,
        randomise: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.config = config or PushTConfig()
        self.image_size, self.randomise, self.render_mode = image_size, randomise, render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space: gymnasium.spaces.Space[Any] = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
                "state": gymnasium.spaces.Box(-FAR, FAR, (len(PROPRIO),), np.float32),
            }
        )
        self._painter = PushTPainter(self.config, image_size)
        self.state, self.goal = CANONICAL_START, CANONICAL_GOAL

    @property
    def task(self) -> str:
        """The instruction."""
        return "Push the T to the goal pose."

    @property
    def block(self) -> Pose:
        """The block's reference point and angle."""
        return self.state.block_x, self.state.block_y, self.state.block_angle

    @property
    def agent(self) -> tuple[float, float]:
        """The disc's centre."""
        return self.state.agent_x, self.state.agent_y

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start anew; `options={"state": array (10,)}` starts from a given simulator state."""
        super().reset(seed=seed)
        if options and "state" in options:
            self.set_state(options["state"])
        elif self.randomise:
            self.state = self.random_state(self.np_random)
            self.goal = self.random_state(self.np_random)
        else:
            self.state, self.goal = CANONICAL_START, CANONICAL_GOAL
        return self.observation(), self.info()

    def random_state(self, rng: np.random.Generator) -> PushTState:
        """Draw a state at rest: places uniform in their ranges, any angle, nothing overlapping."""
        config = self.config
        while True:
            agent, block = rng.uniform(*AGENT_RANGE, 2), rng.uniform(*BLOCK_RANGE, 2)
            values = (*agent, *block, rng.uniform(-2.0 * math.pi, 2.0 * math.pi), 0.0, 0.0, 0.0, 0.0, 0.0)
            state = rounded(values)
            pose = state.block_x, state.block_y, state.block_angle
            corners = outline(config, pose)
            clear = distance_to_block(config, pose, agent[None])[0] > config.agent_radius
            if clear and corners.min() > config.low and corners.max() < config.high:
                return state

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Drive the agent towards `agent + 100 * action` for 0.1 s; reward 1 and terminated at the goal."""
        self.advance(action)
        arrived = self.is_success()
        return self.observation(), float(arrived), arrived, False, self.info()

    def advance(self, action: np.ndarray) -> None:
        """Do `step`'s physics without drawing."""
        if np.shape(action) != (2,):
            raise JepaflowError(f"a Push-T action has shape (2,), this one {np.shape(action)}. Give [x, y].")
        x, y = float(action[0]), float(action[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise JepaflowError(f"the action {[x, y]} is not finite. Give numbers in [-1, 1].")
        self.state = control_step(self.config, self.state, (min(max(x, -1.0), 1.0), min(max(y, -1.0), 1.0)))

    def still_action(self) -> Float32[np.ndarray, " 2"]:
        """Return the action whose target is where the agent is."""
        return np.zeros(2, dtype=np.float32)

    def distance(self) -> float:
        """Return the Euclidean distance (px) between the four positions and the goal's."""
        return math.dist(self.state[:4], self.goal[:4])

    def is_success(self) -> bool:
        """Return whether positions and angle are nearer to the goal's than the success rule asks."""
        turned = abs(angle_difference(self.state.block_angle, self.goal.block_angle))
        return self.distance() < self.config.success_distance and turned < self.config.success_angle

    def get_state(self) -> Float[np.ndarray, " 10"]:
        """Return the whole simulator state, float32."""
        return np.array(self.state, dtype=np.float32)

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a state that `get_state` returned, perhaps in another session; the goal stays."""
        new = self._checked(state)
        config, room = self.config, self.config.agent_radius - STATE_TOLERANCE
        in_reach = all(config.low + room <= value <= config.high - room for value in new[:2])
        if not possible(new) or (config.contain_agent and not in_reach):
            raise JepaflowError(
                f"the state puts the agent at {new[:2]} and the block at {new[2:4]}, outside the walls. "
                "Give a state of this very world."
            )
        self.state = new

    def set_goal(self, state: np.ndarray) -> None:
        """Make another simulator state the goal: its places and angle (the first five numbers) count."""
        self.goal = self._checked(state)

    def _checked(self, state: np.ndarray) -> PushTState:
        values = np.asarray(state, dtype=np.float64)
        if values.shape != (len(self.state_names),) or not np.isfinite(values).all():
            raise JepaflowError(
                f"a Push-T state is ten finite numbers, {', '.join(self.state_names)}; not {values.tolist()}."
                " Give a state that get_state returned."
            )
        return rounded(tuple(values.tolist()))

    def observation(self) -> dict[str, np.ndarray]:
        """Return the picture (S, S, 3) uint8 and the agent's place and velocity (4,) float32 in px and px/s."""
        goal = self._goal_pose() if self.config.draw_goal else None
        own = np.array([self.state[i] for i in PROPRIO], dtype=np.float32)
        return {"pixels": self._painter.draw(self.agent, self.block, goal), "state": own}

    def _goal_pose(self) -> Pose:
        return self.goal.block_x, self.goal.block_y, self.goal.block_angle

    def info(self) -> dict[str, Any]:
        """Return the full simulator state, the distance to the goal and whether it is reached."""
        return {"state": self.get_state(), "distance": self.distance(), "success": self.is_success()}

    def render(self) -> UInt8[np.ndarray, "S S 3"] | None:
        """Return the picture with the goal's T drawn, or None without a render mode."""
        if self.render_mode != "rgb_array":
            return None
        return self._painter.draw(self.agent, self.block, self._goal_pose())


def places(states: Float[np.ndarray, "... 10"]) -> Float[np.ndarray, "... 2"]:
    """Return where the blocks of simulator states lie in the picture, as shares of its side: their reference points."""
    shares: Float[np.ndarray, "... 2"] = states[..., 2:4] / WINDOW
    return shares
