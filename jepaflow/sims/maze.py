"""A maze of rooms as a Gymnasium environment: goals are several doors away, by more than one route, and doors shut.

The simulator state is `[agent x, agent y, target x, target y]` in px, then for each door 1 where it is shut, else 0. A
shut door is drawn and as solid as a wall. `reset` leaves all doors open; a door is shut by `shut`, by a state, or by
`reset(options={"shut": [...]})`: after a plan was made, or in recordings by the behaviour `doors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import Point, Rect, penetration
from jepaflow.sims.disc_env import STATE_TOLERANCE, DiscEnv
from jepaflow.sims.expert import ExpertConfig, NoisyExpert
from jepaflow.sims.geodesic import Geodesic
from jepaflow.sims.maze_geometry import MazeConfig

EXPERT = ExpertConfig(wander=0.3, noise=(0.05, 0.5), pace=(0.6, 1.0), seek_steps=300)
"""At the standard speed; a slower maze's legs last longer."""
CHANGED = 2
"""Doors that are shut at most at a time in recordings whose doors change."""


@lru_cache(maxsize=256)
def geodesic(config: MazeConfig, shut: frozenset[int] = frozenset()) -> Geodesic:
    """Return the shortest ways of a maze with some doors shut."""
    return Geodesic(config, tuple(config.leaf(door) for door in sorted(shut)))


class MazeEnv(DiscEnv):
    """The maze.

    Args:
        image_size: side of the observation's picture in px.
        config: the maze; 4 x 4 rooms by default.
        randomise: draw start and target anywhere free at each reset; else from the first room to the last.
        render_mode: "rgb_array" or None. `render()` draws the target too: it is for people, never for a model.

    Raises:
        JepaflowError: an action or state of the wrong shape, a state inside a wall or a shut door, no such door.
    """

    title = "maze"
    config: MazeConfig

    def __init__(
        self,
        image_size: int = 64,
        config: MazeConfig | None = None,
        randomise: bool = True,
        render_mode: str | None = None,
    ) -> None:
        maze = config or MazeConfig()
        self.canonical = maze.centre(0), maze.centre(maze.rooms**2 - 1)
        self.state_names = (*DiscEnv.state_names, *(f"door_{one}_{other}_shut" for one, other in maze.doors))
        self.shut_doors: frozenset[int] = frozenset()
        self._solid: tuple[Rect, ...] = ()
        self._ahead: tuple[Any, ...] = ()
        super().__init__(maze, image_size, randomise, render_mode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start anew with all doors open but those in `options={"shut": [...]}`; or from `options={"state": array}`."""
        self.shut_doors, self._solid = frozenset(), ()
        super().reset(seed=seed, options=options)
        if options and "shut" in options:
            self.shut(options["shut"])
        return self.observation(), self.info()

    def shut(self, doors: Iterable[int]) -> None:
        """Shut exactly these doors (their numbers in `config.doors`) and open all others; at any time.

        Raises:
            JepaflowError: there is no such door, or the agent stands in it.
        """
        chosen = frozenset(int(door) for door in doors)
        solid = self._leaves(chosen)
        if penetration(self.config, self.agent, solid) > STATE_TOLERANCE:
            raise JepaflowError(f"the agent stands in a door that is to be shut, at {self.agent}. Move it first.")
        self.shut_doors, self._solid = chosen, solid

    def in_the_way(self, door: int) -> bool:
        """Return whether the agent stands in a doorway, so that its door cannot be shut."""
        return penetration(self.config, self.agent, self._leaves(frozenset({door}))) > STATE_TOLERANCE

    def solid(self) -> tuple[Rect, ...]:
        """Return the shut doors."""
        return self._solid

    def _leaves(self, doors: frozenset[int]) -> tuple[Rect, ...]:
        if wrong := [door for door in doors if not 0 <= door < len(self.config.doors)]:
            raise JepaflowError(f"there is no door {wrong[0]}; the maze has 0 to {len(self.config.doors) - 1}.")
        return tuple(self.config.leaf(door) for door in sorted(doors))

    def get_state(self) -> Float32[np.ndarray, " d"]:
        """Return the whole simulator state, float32, as `state_names` names it."""
        shut = [float(door in self.shut_doors) for door in range(len(self.config.doors))]
        return np.array([*self.agent, *self.target, *shut], dtype=np.float32)

    def set_state(self, state: np.ndarray) -> None:
        """Put the simulator into a state that `get_state` returned, perhaps in another session."""
        super().set_state(state)
        self.shut_doors = _shut_in(state)
        self._solid = self._leaves(self.shut_doors)

    def _solid_in(self, state: Float[np.ndarray, " d"]) -> tuple[Rect, ...]:
        return self._leaves(_shut_in(state))

    def ways(self) -> Geodesic:
        """Return the shortest ways past the doors that are shut now."""
        return geodesic(self.config, self.shut_doors)

    def waypoint(self) -> Point:
        """Return the next corner on the shortest way to the target, or the target once it is seen."""
        ways, known = self.ways(), (self.shut_doors, self.target)
        if self._ahead[:2] != known:
            self._ahead = (*known, ways.towards(self.target))
        return ways.next_point(self.agent, self.target, self._ahead[2])


def _shut_in(state: np.ndarray) -> frozenset[int]:
    return frozenset(np.flatnonzero(np.asarray(state)[4:] > 0.5).tolist())


class MazeExpert(NoisyExpert):
    """Walks the shortest way to targets, with noise, and sometimes wanders."""

    def __init__(self, env: MazeEnv, rng: np.random.Generator) -> None:
        slower = MazeConfig().speed / env.config.speed
        super().__init__(env, rng, replace(EXPERT, seek_steps=round(slower * EXPERT.seek_steps)))


class ChangingDoors(MazeExpert):
    """The expert in a maze whose doors change at every leg: pictures with shut doors, and both sides of a change."""

    def __init__(self, env: MazeEnv, rng: np.random.Generator) -> None:
        self.maze = env
        super().__init__(env, rng)

    def _begin_leg(self) -> None:
        drawn = self.maze.config.draw_shut(self.rng, int(self.rng.integers(0, CHANGED + 1)))
        self.maze.shut(door for door in drawn if not self.maze.in_the_way(door))
        super()._begin_leg()


class Wanderer(NoisyExpert):
    """Random play: uniform actions, each held for some steps."""

    def __init__(self, env: MazeEnv, rng: np.random.Generator) -> None:
        super().__init__(env, rng, ExpertConfig(wander=1.0))
