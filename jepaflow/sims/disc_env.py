"""A disc's world as a Gymnasium environment: what Two-Room and the maze have in common.

One `step` is one control step (10 Hz in the datasets that `jepaflow collect` writes). The positions are rounded to
float32 after every step, so a dataset row holds the exact state: setting it and replaying the actions gives bit-equal
trajectories. The simulator state begins with `[agent x, agent y, target x, target y]` in px. The observation's picture
never shows the target.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import WORLD, Arena, Point, Rect, move, penetration, random_free_point
from jepaflow.sims.disc_drawing import DiscPainter

STATE_TOLERANCE = 1e-3
"""px by which a given state may reach into a wall (rounding), beyond which it is refused."""


def float32(point: Point) -> Point:
    """Round a point to float32."""
    return float(np.float32(point[0])), float(np.float32(point[1]))


class DiscEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A disc that goes to targets.

    Args:
        config: the world.
        image_size: side of the observation's picture in px.
        randomise: draw start and target anywhere free at each reset; else the canonical pair.
        render_mode: "rgb_array" or None. `render()` draws the target too: it is for people, never for a model.

    Raises:
        JepaflowError: an action or state of the wrong shape, a state inside a wall.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own signature)

    fps = 10.0
    """Control steps per second in recorded datasets."""
    cameras: tuple[str, ...] = ("top",)
    state_names: tuple[str, ...] = ("agent_x", "agent_y", "target_x", "target_y")
    task = "Go to the target."
    title: str
    """What error messages call the world."""
    canonical: tuple[Point, Point]
    """Start and target of a world that draws neither."""

    def __init__(self, config: Arena, image_size: int, randomise: bool, render_mode: str | None) -> None:
        self.config = config
        self.image_size, self.randomise, self.render_mode = image_size, randomise, render_mode
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space: gymnasium.spaces.Space[Any] = gymnasium.spaces.Dict(
            {
                "pixels": gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), np.uint8),
                "state": gymnasium.spaces.Box(0.0, WORLD, (2,), np.float32),
            }
        )
        self.painter = DiscPainter(config, image_size)
        self.walls: tuple[Rect, ...] = config.walls()
        """What is always solid, but for the outer wall."""
        self.agent, self.target = self.canonical

    @abstractmethod
    def waypoint(self) -> Point:
        """Return the point to head for now on the way to the target: the expert's whole knowledge of the map."""

    def solid(self) -> tuple[Rect, ...]:
        """Return what is solid now beside the walls."""
        return ()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start anew; `options={"state": array}` starts from a given simulator state."""
        super().reset(seed=seed)
        if options and "state" in options:
            self.set_state(options["state"])
        elif self.randomise:
            self.agent = float32(random_free_point(self.config, self.np_random))
            self.new_target(self.np_random)
        else:
            self.agent, self.target = self.canonical
        return self.observation(), self.info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move by `speed * action` px (components clipped to [-1, 1]); reward 1 and terminated at the target."""
        self.advance(action)
        arrived = self.is_success()
        return self.observation(), float(arrived), arrived, False, self.info()

    def advance(self, action: np.ndarray) -> None:
        """Do `step`'s physics without drawing: what a floor or an expert needs."""
        if np.shape(action) != (2,):
            raise JepaflowError(f"a {self.title} action has shape (2,), this one {np.shape(action)}. Give [dx, dy].")
        dx, dy = float(action[0]), float(action[1])
        if not (np.isfinite(dx) and np.isfinite(dy)):
            raise JepaflowError(f"the action {[dx, dy]} is not finite. Give numbers in [-1, 1].")
        speed = self.config.speed
        delta = (speed * min(max(dx, -1.0), 1.0), speed * min(max(dy, -1.0), 1.0))
        self.agent = float32(move(self.config, self.walls + self.solid(), self.agent, delta))

    def still_action(self) -> Float32[np.ndarray, " 2"]:
        """Return the action that does nothing."""
        return np.zeros(2, dtype=np.float32)

    def distance(self) -> float:
        """Return the distance (px) between the agent and the target, as the crow flies."""
        return float(np.hypot(self.agent[0] - self.target[0], self.agent[1] - self.target[1]))

    def is_success(self) -> bool:
        """Return whether the agent stands nearer to the target than the success distance."""
        return self.distance() < self.config.success_distance

    def get_state(self) -> Float32[np.ndarray, " d"]:
        """Return the whole simulator state, float32, as `state_names` names it."""
        return np.array([*self.agent, *self.target], dtype=np.float32)

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a state that `get_state` returned, perhaps in another session."""
        values, size = np.asarray(state, dtype=np.float64), len(self.state_names)
        if values.shape != (size,) or not np.isfinite(values).all():
            raise JepaflowError(
                f"a {self.title} state is {size} finite numbers, {', '.join(self.state_names)}; not {values.tolist()}."
                " Give a state that get_state returned."
            )
        agent, target = (float(values[0]), float(values[1])), (float(values[2]), float(values[3]))
        if penetration(self.config, agent, self._solid_in(values)) > STATE_TOLERANCE:
            raise JepaflowError(f"the state puts the agent at {agent}, inside a wall. Give a state of this very world.")
        self.agent, self.target = agent, target

    def _solid_in(self, state: Float[np.ndarray, " d"]) -> tuple[Rect, ...]:
        """Return what is solid, beside the walls, in a state about to be set."""
        return ()

    def set_goal(self, state: np.ndarray) -> None:
        """Make the agent's place in another simulator state (d,) the target: the protocol's goal."""
        self.target = float32((float(state[0]), float(state[1])))

    def new_target(self, rng: np.random.Generator) -> None:
        """Draw a target anywhere free that is not reached already."""
        while True:
            self.target = float32(random_free_point(self.config, rng))
            if not self.is_success():
                return

    def observation(self) -> dict[str, np.ndarray]:
        """Return the picture (S, S, 3) uint8 without the target, and the agent's xy (2,) float32 in px."""
        picture = self.painter.draw(self.agent, shut=self.solid())
        return {"pixels": picture, "state": np.array(self.agent, dtype=np.float32)}

    def info(self) -> dict[str, Any]:
        """Return the full simulator state, the distance to the target and whether it is reached."""
        return {"state": self.get_state(), "distance": self.distance(), "success": self.is_success()}

    def render(self) -> UInt8[np.ndarray, "S S 3"] | None:
        """Return the picture with the target drawn, or None without a render mode."""
        return self.painter.draw(self.agent, self.target, self.solid()) if self.render_mode == "rgb_array" else None
