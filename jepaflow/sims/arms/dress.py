"""Recorded states in another look: the lamp dimmed, the camera pushed, clutter on the desk, and nothing else changed.

A simulator state holds how its desk looks, so a trial that was drawn once can be run in any look without drawing it
again: where things lie, how the arm stands and how it moves stay, bit by bit. States of one trial are dressed together,
since clutter that stands at the start must stand at the goal, and in the way of neither.
"""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Float, Float32

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.desk import DISTRACTORS
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.sims.arms.look import factor_look
from jepaflow.sims.arms.tasks import clutter

OF_LOOK = (
    "object.color",
    "bin.color",
    "light.level",
    "light.place",
    "table.color",
    "camera.laptop",
    "camera.phone",
    "distractors",
)
"""Factors of variation that change how a desk looks, and not where its things lie or what they weigh."""


def dress(world: ArmEnv, states: Float[np.ndarray, "k n"]) -> Float32[np.ndarray, "k n"]:
    """Return states of one trial as they look with the world's fixed factors.

    Args:
        world: an arm with the factors fixed; its own state becomes one of these.
        states: simulator states of this world, the start first. All get the same clutter, drawn from the start.

    Raises:
        JepaflowError: a fixed factor changes more than the look; a state is not this world's.
    """
    fixed = world.factors.fixed
    for name in fixed:
        if name not in OF_LOOK:
            raise JepaflowError(
                f"{name} changes more than the look of a state that is given. Fix only: {', '.join(OF_LOOK)}."
            )
    new = np.array(states, dtype=np.float32)
    at = {name: i for i, name in enumerate(world.state_names)}
    for name, number in (factor_look(world.desk, fixed) | _coloured(world, new[0])).items():
        new[:, at[name]] = number
    if "distractors" in fixed:
        _clutter(world, new)
    return new


def _coloured(world: ArmEnv, state: np.ndarray) -> dict[str, float]:
    """Return the numbers of the fixed colours: of the first cube and all that are coloured like it, of the first bin."""
    fixed = world.factors.fixed
    found: dict[str, float] = {}
    told = dict(zip(world.state_names, state.tolist(), strict=True))
    for factor, what, count in (
        ("object.color", "cube", world.rules.layout.cubes),
        ("bin.color", "bin", world.rules.layout.bins),
    ):
        if factor not in fixed:
            continue
        now = [tuple(told[f"{what}{i}_{part}"] for part in ("red", "green", "blue")) for i in range(count)]
        for i in (i for i in range(count) if now[i] == now[0] and (what == "cube" or i == 0)):
            found |= dict(zip([f"{what}{i}_{part}" for part in ("red", "green", "blue")], PALETTE[fixed[factor]]))
    return found


def _clutter(world: ArmEnv, states: np.ndarray) -> None:
    """Put the same distractors into all states: clear of what lies in any, of the hand and of its straight way."""
    desk = world.desk
    taken, hands = [], []
    for state in states:
        world.set_state(state)
        taken += [desk.cube(i)[:2].copy() for i in range(desk.layout.cubes)]
        hands.append(desk.tcp()[:2].copy())
    world.set_state(states[0])
    for one, other in zip(hands, hands[1:] or hands):
        taken += [one + share * (other - one) for share in np.linspace(0, 1, 7)]
    if desk.layout.marker:
        taken.append(desk.place("marker")[:2].copy())
    clutter(desk, world.factors.fixed["distractors"], taken, np.random.default_rng(zlib.crc32(states[0].tobytes())))
    bodies = [int(desk.model.body(f"distractor{i}").mocapid[0]) for i in range(DISTRACTORS)]
    first = world.state_names.index("mocap_pos_0")
    turns = world.state_names.index("mocap_quat_0")
    for body in bodies:
        states[:, first + 3 * body : first + 3 * body + 3] = desk.data.mocap_pos[body]
        states[:, turns + 4 * body : turns + 4 * body + 4] = desk.data.mocap_quat[body]
