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
TRIES = 20
"""Draws of clutter until none of it touches anything."""


def dress(world: ArmEnv, states: Float[np.ndarray, "k n"]) -> Float32[np.ndarray, "k n"]:
    """Return states of one trial as they look with the world's fixed factors.

    Args:
        world: an arm with the factors fixed; its own state becomes one of these where clutter is asked for.
        states: simulator states of this world, the start first. All get the same clutter, drawn from the start; fewer things
            than asked for where the desk is too full.

    Raises:
        JepaflowError: a fixed factor changes more than the look, or is a colour that others depend on; a state is not this
            world's.
    """
    fixed, layout = world.factors.fixed, world.rules.layout
    for name in fixed:
        if name not in OF_LOOK:
            raise JepaflowError(
                f"{name} changes more than the look of a state that is given. Fix only: {', '.join(OF_LOOK)}."
            )
        if name in ("object.color", "bin.color") and max(layout.cubes, layout.bins) > 1:
            raise JepaflowError(
                f"{world.rules.name} has several cubes or bins, and what is asked for hangs on their colours: {name} cannot be changed in "
                "a state that is given. Fix another factor."
            )
    new = np.array(states, dtype=np.float32)
    if new.shape[1:] != (len(world.state_names),):
        raise JepaflowError(
            f"a state of {world.arm.name}/{world.rules.name} is {len(world.state_names)} numbers, these are {new.shape[1:]}. Give states "
            "that get_state returned in this very world."
        )
    at = {name: i for i, name in enumerate(world.state_names)}
    numbers = factor_look(world.desk, fixed)
    for factor, what in (("object.color", "cube0"), ("bin.color", "bin0")):
        if factor in fixed:
            numbers |= dict(zip([f"{what}_{part}" for part in ("red", "green", "blue")], PALETTE[fixed[factor]]))
    if "distractors" in fixed:
        _clutter(world, new)
    for name, number in numbers.items():
        new[:, at[name]] = number
    return new


def _clutter(world: ArmEnv, states: Float32[np.ndarray, "k n"]) -> None:
    """Put the same distractors into all states: clear of what lies in any, of the hand and of its straight way."""
    desk, rng = world.desk, np.random.default_rng(zlib.crc32(states[0].tobytes()))
    keep, hands = [], []
    for state in states:
        world.set_state(state)
        keep += [desk.cube(i)[:2].copy() for i in range(desk.layout.cubes)]
        hands.append(desk.tcp()[:2].copy())
    for one, other in zip(hands, hands[1:] or hands):
        keep += [one + share * (other - one) for share in np.linspace(0, 1, 7)]
    if desk.layout.marker:
        keep.append(desk.place("marker")[:2].copy())
    bodies = [int(desk.model.body(f"distractor{i}").mocapid[0]) for i in range(DISTRACTORS)]
    places, turns = (world.state_names.index(f"mocap_{what}_0") for what in ("pos", "quat"))
    for _ in range(TRIES):
        world.set_state(states[0])
        clutter(desk, world.factors.fixed["distractors"], list(keep), rng)
        for body in bodies:
            states[:, places + 3 * body : places + 3 * body + 3] = desk.data.mocap_pos[body]
            states[:, turns + 4 * body : turns + 4 * body + 4] = desk.data.mocap_quat[body]
        if not any(_touched(world, state) for state in states):
            return  # the arm's elbow is not on the hand's straight way, and may have been


def _touched(world: ArmEnv, state: np.ndarray) -> bool:
    """Return whether a distractor touches anything but the table in a state."""
    world.set_state(state)
    desk = world.desk
    mine = [desk.model.body(f"distractor{i}").id for i in range(DISTRACTORS)]
    pairs = desk.data.contact.geom[: desk.data.ncon]
    ours = np.isin(desk.model.geom_bodyid[pairs], mine).any(1)
    return bool((ours & ~(pairs == desk.model.geom("table").id).any(1)).any())
