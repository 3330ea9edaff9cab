"""The worlds by name: what `--env` accepts, and what every world offers beyond Gymnasium's five methods.

A world is registered with a function that makes it and one that makes its scripted expert; `collect` and the
evaluation protocol need nothing else, so a new world is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.expert import NoisyExpert
from jepaflow.sims.two_room import TwoRoomEnv
from jepaflow.sims.two_room_geometry import WORLD


@runtime_checkable
class World(Protocol):
    """A simulator whose whole state can be read and set; one action is one control step."""

    fps: float
    camera: str
    task: str
    state_names: tuple[str, ...]
    image_size: int
    action_space: gymnasium.spaces.Space[Any]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]: ...
    def advance(self, action: np.ndarray) -> None: ...
    def observation(self) -> dict[str, np.ndarray]: ...
    def get_state(self) -> np.ndarray: ...
    def set_state(self, state: np.ndarray) -> None: ...
    def set_goal(self, state: np.ndarray) -> None: ...
    def distance(self) -> float: ...
    def is_success(self) -> bool: ...


@runtime_checkable
class Expert(Protocol):
    """A scripted policy that reads the simulator's state."""

    def act(self) -> np.ndarray: ...


@dataclass(frozen=True)
class WorldEntry:
    """How to make a world and its expert, and the names of what a dataset of it holds."""

    make: Callable[[int], World]
    expert: Callable[[Any, np.random.Generator], Expert]
    proprio_names: tuple[str, ...]
    action_names: tuple[str, ...]
    state_unit: str
    action_unit: str
    place: Callable[[np.ndarray], np.ndarray]
    """Where simulator states (..., d) lie in the picture: (..., 2), as shares of its side."""


WORLDS: dict[str, WorldEntry] = {
    "two_room": WorldEntry(
        make=lambda image_size: TwoRoomEnv(image_size=image_size),
        expert=lambda env, rng: NoisyExpert(env, rng),
        proprio_names=("agent_x", "agent_y"),
        action_names=("x", "y"),
        state_unit="px",
        action_unit="5 px per control step",
        place=lambda states: states[..., :2] / WORLD,
    ),
}


def find_world(name: str) -> WorldEntry:
    """Return the entry of a world.

    Raises:
        JepaflowError: there is no world of that name.
    """
    if name not in WORLDS:
        raise JepaflowError(f"there is no environment '{name}'. Choose one of: {', '.join(sorted(WORLDS))}.")
    return WORLDS[name]


def action_bounds(world: World) -> tuple[np.ndarray, np.ndarray]:
    """Return the action box's (low, high), each (A,) float32, in raw action units.

    Raises:
        JepaflowError: the world's actions are not a bounded box.
    """
    space = world.action_space
    if not isinstance(space, gymnasium.spaces.Box) or not np.isfinite([space.low, space.high]).all():
        raise JepaflowError(
            "planning needs a world whose actions are a bounded box. Give its action_space finite bounds."
        )
    return space.low.astype(np.float32), space.high.astype(np.float32)
