"""Violations of physics in a world: things that cannot happen, made to happen, and the world put back afterwards.

A world's *editor* knows which violations it can make, at which control steps of a recorded episode each would show, and
makes one inside a `with` block: whoever holds the block replays the recorded actions in the edited world and looks. On
leaving it everything is as before, the simulator's model included, so that one world serves thousands of edits.

Some edits change what is there (a cube jumps, vanishes, changes its colour): they are made in the very frame that shows
them. Others change the laws (no gravity, no contact): they are made one model step earlier, and the frame comes of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.edits import ArmEdits
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.disc import random_free_point
from jepaflow.sims.disc_env import DiscEnv
from jepaflow.sims.registry import World

JUMP = 40.0
"""px that the disc jumps at least: eight of its fastest control steps."""
INTO_WALL = 6.0
"""px by which the agent must get deeper than the wall let it."""
STRANGE = np.array([30.0, 80.0, 220.0])
"""the disc in another colour."""


@runtime_checkable
class Editor(Protocol):
    """What can be made impossible in a world."""

    kinds: Mapping[str, str]
    """Violations by name, each with what a person would see."""
    laws: frozenset[str]
    """Those that change the laws: made one model step before the first frame that may show them."""

    def begin(self, rng: np.random.Generator) -> None:
        """Choose what an episode's edits will be about; the world is in its first state."""
        ...

    def chances(
        self, kind: str, states: Float[np.ndarray, "T d"], actions: Float[np.ndarray, "T A"], block: int
    ) -> Bool[np.ndarray, " T"]:
        """Return the control steps at which a violation would show within a model step or two of `block` control steps."""
        ...

    def seen(self, shown: dict[str, np.ndarray]) -> float:
        """Return which share (0 … 1) of the thing that edits are about is in sight now; `shown` is the observation."""
        ...

    def edited(self, kind: str, rng: np.random.Generator) -> AbstractContextManager[bool]:
        """Edit the world as it stands; gives False where there is no room for it. Leaving puts everything back."""
        ...


def make_editor(world: World, name: str) -> Editor:
    """Return the editor of a world.

    Raises:
        JepaflowError: nothing can be made impossible there.
    """
    if isinstance(world, DiscEnv):
        return DiscEdits(world)
    if isinstance(world, ArmEnv) and world.rules.layout.cubes:
        return ArmEdits(world)
    raise JepaflowError(
        f"no impossible events are known for {name}. Choose two_room or an arm's task with a cube, e.g. so101/pick_place."
    )


class DiscEdits:
    """Violations in Two-Room and the maze: all are about the agent, which is never hidden.

    Args:
        world: the world to be edited.
    """

    kinds: Mapping[str, str] = {
        "teleport": f"the agent jumps at least {JUMP:g} px to a free place",
        "vanish_seen": "the agent vanishes in full view",
        "pass": "the agent goes through the wall where there is no door",
        "colour": "the agent changes its colour (no law of physics forbids it)",
    }
    laws = frozenset({"pass"})

    def __init__(self, world: DiscEnv) -> None:
        self.world = world

    def begin(self, rng: np.random.Generator) -> None:
        """There is but one agent."""

    def chances(
        self, kind: str, states: Float[np.ndarray, "T d"], actions: Float[np.ndarray, "T A"], block: int
    ) -> Bool[np.ndarray, " T"]:
        """Return where an edit would show: anywhere; walking through the wall where the wall holds the agent back."""
        if kind != "pass":
            return np.ones(len(states), dtype=bool)
        config, count = self.world.config, max(0, len(states) - block)
        free, able = states[:count, :2].astype(float), np.zeros(len(states), dtype=bool)
        for ahead in range(block):  # the way without walls but the outer one, from every step at once
            push = config.speed * np.clip(actions[ahead : ahead + count].astype(float), -1.0, 1.0)
            free = np.clip(free + push, config.free_low, config.free_high)
        able[:count] = np.linalg.norm(free - states[block : block + count, :2], axis=1) >= INTO_WALL
        return able

    def seen(self, shown: dict[str, np.ndarray]) -> float:
        """Nothing hides the agent."""
        return 1.0

    @contextmanager
    def edited(self, kind: str, rng: np.random.Generator) -> Iterator[bool]:
        """Edit the world as it stands."""
        world = self.world
        before, walls, colour = world.get_state(), world.walls, world.painter.agent_colour
        try:
            if kind == "teleport":
                world.agent = _far_from(world, rng)
            elif kind == "vanish_seen":
                world.painter.agent_colour = None
            elif kind == "colour":
                world.painter.agent_colour = STRANGE
            else:
                world.walls = ()
            yield True
        finally:
            world.walls, world.painter.agent_colour = walls, colour
            world.set_state(before)


def _far_from(world: DiscEnv, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a free place far from the agent."""
    while True:
        x, y = random_free_point(world.config, rng)
        if np.hypot(x - world.agent[0], y - world.agent[1]) >= JUMP:
            return float(np.float32(x)), float(np.float32(y))
