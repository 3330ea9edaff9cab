"""The worlds by name: what `--env` accepts, and what every world offers beyond Gymnasium's five methods.

A world is registered with a function that makes it and with its behaviours: named ways of acting in it, which `collect`
mixes. `collect`, `view` and the evaluation protocol need nothing else, so a new world is one entry here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np

from jepaflow.common.errors import JepaflowError


@runtime_checkable
class World(Protocol):
    """A simulator whose whole state can be read and set; one action is one control step."""

    fps: float
    cameras: tuple[str, ...]
    """Names in a dataset; the observation has the first under "pixels", the others under their names."""
    state_names: tuple[str, ...]
    image_size: int
    action_space: gymnasium.spaces.Space[Any]

    @property
    def task(self) -> str:
        """Return what a person would ask for in this episode."""
        ...

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode."""
        ...

    def advance(self, action: np.ndarray) -> None:
        """Do one control step without drawing."""
        ...

    def observation(self) -> dict[str, np.ndarray]:
        """Return the pictures (S, S, 3) uint8 and the robot's own state (P,) float32 under "state"."""
        ...

    def still_action(self) -> np.ndarray:
        """Return the action that does nothing."""
        ...

    def get_state(self) -> np.ndarray:
        """Return the whole simulator state, float32."""
        ...

    def set_state(self, state: np.ndarray) -> None:
        """Restore a state."""
        ...

    def set_goal(self, state: np.ndarray) -> None:
        """Make the places in another state the goal."""
        ...

    def distance(self) -> float:
        """Return how far the goal is."""
        ...

    def is_success(self) -> bool:
        """Return whether the goal is reached."""
        ...


@runtime_checkable
class Behaviour(Protocol):
    """A way of acting that reads the simulator's state. It may have `done` and `phase` (see `arms.expert`)."""

    def act(self) -> np.ndarray:
        """Return the next action."""
        ...


@dataclass(frozen=True)
class WorldOptions:
    """What may be chosen about the arm worlds; the others have no choice."""

    cameras: tuple[str, ...] = ("laptop", "phone")
    """Cameras to record, the first is the primary one: laptop, phone, wrist."""
    renderer: str = "auto"
    """gl (OpenGL), ray (no GL library), or auto: gl where it works."""
    vary: tuple[str, ...] = ()
    """Factors of variation to draw at each reset: all, object, light, camera.phone, ..."""
    fix: tuple[str, ...] = ()
    """Factors with a given value: object.color=blue light.level=0.3 ... (obstacle=wall: pick_place only)"""
    arm_mjcf: Path | None = None
    """A meshed model of the arm, in MuJoCo Menagerie's layout, instead of the built-in one."""

    def fixed(self) -> dict[str, str]:
        """Return the fixed factors by name.

        Raises:
            JepaflowError: one is not name=value, or is there twice.
        """
        pairs = [word.partition("=") for word in self.fix]
        if bad := [name for name, sign, _ in pairs if not sign]:
            raise JepaflowError(f"'{bad[0]}' fixes nothing. Write it as name=value, e.g. object.color=blue.")
        names = [name for name, _, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise JepaflowError(f"{twice[0]} is fixed twice. Give it one value.")
        return {name: value for name, _, value in pairs}


Maker = Callable[[Any, np.random.Generator], Behaviour]


@dataclass(frozen=True)
class WorldEntry:
    """How to make a world and act in it, and the names of what a dataset of it holds."""

    build: Callable[[int, WorldOptions], World]
    behaviours: Mapping[str, Maker]
    """Ways of acting by name; the first is the expert."""
    mix: Mapping[str, float]
    """Share of each behaviour in a collection."""
    proprio_names: tuple[str, ...]
    action_names: tuple[str, ...]
    state_unit: str
    action_unit: str
    place: Callable[[np.ndarray], np.ndarray]
    """Where simulator states (..., d) lie in the picture of the world's standard first camera: (..., 2), shares of its side."""
    steps: tuple[int, int] = (60, 100)
    """Range of an episode's length in control steps, for behaviours without an end."""
    longest: int = 200
    """Control steps after which a behaviour with an end is cut off."""
    optional: bool = False
    """Whether the world has the choices of `WorldOptions`."""
    proprio_unit: str = field(default="")
    events: Callable[[Any], Callable[[str], int]] | None = None
    """Makes an episode's watch: what happened in a frame, given the behaviour's phase, as an index of `event_labels`."""
    event_labels: tuple[str, ...] = ()
    codec: str = "libx264"
    """How a dataset's pictures are written: libx264rgb (without loss) where a small coloured thing is all that matters."""

    def make(self, image_size: int, options: WorldOptions | None = None) -> World:
        """Make the world.

        Raises:
            JepaflowError: the world has no choices and some were made, or a choice is impossible.
        """
        if options is not None and options != WorldOptions() and not self.optional:
            raise JepaflowError("this world has no cameras, factors or models to choose. Leave those options out.")
        return self.build(image_size, options or WorldOptions())

    def bound(self, options: WorldOptions) -> WorldEntry:
        """Return the entry of the same world with these choices made, so that `make(size)` needs no more words."""
        build = self.build
        return replace(self, build=lambda image_size, _: build(image_size, options))


def find_world(name: str) -> WorldEntry:
    """Return the entry of a world.

    Raises:
        JepaflowError: there is no world of that name.
    """
    from jepaflow.sims.catalogue import WORLDS

    if name not in WORLDS:
        raise JepaflowError(f"there is no environment '{name}'. Choose one of: {', '.join(sorted(WORLDS))}.")
    return WORLDS[name]


def world_names() -> list[str]:
    """Return the names of all worlds."""
    from jepaflow.sims.catalogue import WORLDS

    return sorted(WORLDS)


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
