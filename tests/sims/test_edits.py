"""Impossible events: they do what their names say, in real MuJoCo, and leave the world as it was."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.edits import FALL, JUMP, MOVED, ArmEdits
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.collect import CollectConfig, record_episode
from jepaflow.sims.edits import JUMP as DISC_JUMP
from jepaflow.sims.edits import DiscEdits, make_editor
from jepaflow.sims.reacher import ReacherEnv
from jepaflow.sims.registry import World, WorldOptions, find_world

BLOCK = 5


@cache
def arm() -> tuple[ArmEnv, np.ndarray, np.ndarray]:
    """A world and an expert's episode in it: states and actions."""
    entry = find_world("so101/pick_place").bound(WorldOptions(renderer="ray"))
    world = entry.make(32)
    assert isinstance(world, ArmEnv)
    config = CollectConfig("so101/pick_place", mix={"expert": 1.0}, image_size=32)
    rows = record_episode(entry, world, config, 0, look=False).rows
    return world, rows["observation.environment_state"], rows["action"]


def columns(world: ArmEnv, *names: str) -> list[int]:
    return [list(world.state_names).index(f"cube0_{name}") for name in names]


def replay(world: World, actions: np.ndarray) -> np.ndarray:
    """States after each action."""
    states = []
    for action in actions:
        world.advance(action)
        states.append(world.get_state())
    return np.stack(states)


def editor_of(world: ArmEnv) -> ArmEdits:
    editor = make_editor(world, "so101/pick_place")
    assert isinstance(editor, ArmEdits)
    return editor


def chance(kind: str) -> int:
    world, states, actions = arm()
    return int(np.flatnonzero(editor_of(world).chances(kind, states, actions, BLOCK))[-1])


def model_of(world: ArmEnv) -> dict[str, np.ndarray]:
    """Everything of the MuJoCo model that is an array, and the forces from outside."""
    model: Any = world.desk.model
    names = [name for name in dir(model) if not name.startswith("_") and isinstance(getattr(model, name), np.ndarray)]
    return {**{name: getattr(model, name).copy() for name in names}, "forces": world.desk.data.xfrc_applied.copy()}


@pytest.mark.parametrize("kind", sorted(ArmEdits.kinds))
def test_an_edit_leaves_state_model_and_future_as_they_were(kind: str) -> None:
    world, states, actions = arm()
    editor, rng = editor_of(world), np.random.default_rng(0)
    start = len(states) // 2
    world.set_state(states[start])
    before = model_of(world)
    with editor.edited(kind, rng) as possible:
        assert possible
        replay(world, actions[start : start + BLOCK])
    assert np.array_equal(world.get_state(), states[start])
    for name, value in model_of(world).items():
        assert np.array_equal(value, before[name]), name
    ahead = replay(world, actions[start : start + 2 * BLOCK])
    assert np.array_equal(ahead, states[start + 1 : start + 1 + len(ahead)])


def test_an_edit_is_undone_even_when_the_replay_fails() -> None:
    world, states, _ = arm()
    world.set_state(states[3])
    before = model_of(world)
    with pytest.raises(JepaflowError), editor_of(world).edited("ghost", np.random.default_rng(0)):
        world.advance(np.zeros(2))
    assert np.array_equal(world.get_state(), states[3])
    assert all(np.array_equal(value, before[name]) for name, value in model_of(world).items())


def test_a_teleported_cube_lies_far_away_and_stays_there() -> None:
    world, states, _ = arm()
    world.set_state(states[0])
    at = columns(world, "x", "y", "z")
    for seed in range(5):
        with editor_of(world).edited("teleport", np.random.default_rng(seed)) as possible:
            assert possible
            landed = world.get_state()[at]
            rest = replay(world, np.repeat(world.still_action()[None], 8, 0))[:, at]
        assert np.linalg.norm(landed[:2] - states[0][at][:2]) >= JUMP - 1e-6
        assert np.abs(rest - landed).max() < 0.001


def test_a_cube_without_gravity_hangs_where_it_would_fall() -> None:
    world, states, actions = arm()
    (z,) = columns(world, "z")
    start = chance("float")
    normal = states[start : start + 3 * BLOCK, z]
    world.set_state(states[start])
    with editor_of(world).edited("float", np.random.default_rng(0)):
        floating = replay(world, actions[start : start + 3 * BLOCK])[:, z]
    assert normal[0] - normal.min() >= FALL
    assert floating.min() > normal[0] - 0.01


def test_a_cube_that_nothing_stops_falls_through_bin_and_table() -> None:
    world, states, actions = arm()
    (z,) = columns(world, "z")
    start = chance("pass")
    world.set_state(states[start])
    with editor_of(world).edited("pass", np.random.default_rng(0)):
        sinking = replay(world, actions[start : start + 4 * BLOCK])[:, z]
    assert states[start:, z].min() > 0.005
    assert sinking[-1] < -0.1


def test_jaws_go_through_a_ghost_which_stays_where_it_lies() -> None:
    world, states, actions = arm()
    at = columns(world, "x", "y", "z")
    start = chance("ghost")
    span = slice(start, start + 2 * BLOCK)
    world.set_state(states[start])
    with editor_of(world).edited("ghost", np.random.default_rng(0)):
        ghost = replay(world, actions[span])[:, at]
    assert np.linalg.norm(states[start : start + 2 * BLOCK + 1, at] - states[start, at], axis=1).max() >= MOVED
    assert np.linalg.norm(ghost - states[start, at], axis=1).max() < 0.002


def test_what_is_seen_of_a_cube() -> None:
    world, states, _ = arm()
    editor = editor_of(world)
    world.set_state(states[0])
    assert editor.seen(world.observation()) > 0.8  # at 32 px an outline's edge is a good part of it
    with editor.edited("vanish_seen", np.random.default_rng(0)):
        assert editor.seen(world.observation()) == 0.0
    before = world.observation()["pixels"]
    with editor.edited("colour", np.random.default_rng(0)):
        assert editor.seen(world.observation()) > 0.8
        assert not np.array_equal(world.observation()["pixels"], before)
    assert np.array_equal(world.observation()["pixels"], before)


def test_the_disc_goes_through_the_wall_only_while_it_is_allowed_to() -> None:
    entry = find_world("two_room")
    world = entry.make(32)
    editor = make_editor(world, "two_room")
    assert isinstance(editor, DiscEdits)
    world.reset(options={"state": np.array([90.0, 150.0, 20.0, 20.0])})
    push = np.tile(np.array([1.0, 0.0], np.float32), (10, 1))
    start = world.get_state()
    blocked = np.concatenate([start[None], replay(world, push)])[:-1]
    assert blocked[-1, 0] < 112
    able = editor.chances("pass", blocked, push, BLOCK)
    assert able.any() and not able[-BLOCK:].any()
    world.set_state(start)
    with editor.edited("pass", np.random.default_rng(0)):
        assert replay(world, push)[-1, 0] > 120
    assert np.array_equal(world.get_state(), start)
    assert np.array_equal(replay(world, push)[:-1], blocked[1:])


@pytest.mark.parametrize("kind", sorted(DiscEdits.kinds))
def test_an_edit_of_the_disc_leaves_no_trace(kind: str) -> None:
    world = find_world("two_room").make(32)
    world.reset(seed=1)
    editor, state, picture = make_editor(world, "two_room"), world.get_state(), world.observation()["pixels"]
    with editor.edited(kind, np.random.default_rng(0)) as possible:
        assert possible and editor.seen(world.observation()) == 1.0
        edited = world.observation()["pixels"]
        if kind == "teleport":
            assert np.hypot(*(world.get_state()[:2] - state[:2])) >= DISC_JUMP - 1e-3
    assert np.array_equal(edited, picture) == (kind == "pass")  # taking the walls away shows only in what follows
    assert np.array_equal(world.get_state(), state)
    assert np.array_equal(world.observation()["pixels"], picture)


def test_worlds_without_impossible_events_are_refused() -> None:
    with pytest.raises(JepaflowError, match="no impossible events"):
        make_editor(ReacherEnv(image_size=16), "reacher")
    with pytest.raises(JepaflowError, match="task with a cube"):
        make_editor(ArmEnv("so101", "reach", 16), "so101/reach")
