"""Every world of the catalogue: the protocol, the names, where things lie in the picture, Gymnasium's contract."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.registry import World, WorldEntry, WorldOptions, action_bounds, find_world, world_names

ARMS = [name for name in world_names() if "/" in name]
OTHERS = ["maze", "maze_slow", "push_t", "reacher", "two_room"]
RAY = WorldOptions(renderer="ray")


def make(name: str, size: int = 16) -> tuple[WorldEntry, World]:
    """Return a world's entry and the world, without OpenGL."""
    entry = find_world(name)
    return entry, entry.make(size, RAY if entry.optional else None)


def moved_pixels(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the centre of the pixels (x, y) that differ, as shares of the side."""
    rows, columns = np.nonzero(np.abs(before.astype(int) - after).sum(-1) > 30)
    assert len(rows) > 10
    return (np.array([columns.mean(), rows.mean()]) + 0.5) / len(before)


def test_all_worlds_are_there() -> None:
    tasks = ("lift", "pick_place", "place", "push", "reach", "sort", "stack")
    assert world_names() == sorted([*(f"{arm}/{task}" for arm in ("koch", "so101") for task in tasks), *OTHERS])
    with pytest.raises(JepaflowError, match=r"no environment 'so102/reach'. Choose one of: koch/lift, .*two_room"):
        find_world("so102/reach")


@pytest.mark.parametrize("name", world_names())
def test_a_world_keeps_the_protocol(name: str) -> None:
    entry, world = make(name)
    assert isinstance(world, World)
    observation, _ = world.reset(seed=3)
    for key in ("pixels", *world.cameras[1:]):
        assert observation[key].shape == (16, 16, 3)
        assert observation[key].dtype == np.uint8
    assert observation["state"].shape == (len(entry.proprio_names),)
    assert observation["state"].dtype == np.float32
    assert world.task
    low, high = action_bounds(world)
    still = world.still_action()
    assert still.shape == low.shape == (len(entry.action_names),)
    assert (low <= still).all()
    assert (still <= high).all()
    state = world.get_state()
    assert state.dtype == np.float32
    assert state.shape == (len(world.state_names),)
    assert len(set(world.state_names)) == len(state)
    assert entry.state_unit and entry.action_unit
    assert len(entry.proprio_names) == len(set(entry.proprio_names))


@pytest.mark.parametrize("name", world_names())
def test_states_and_goals_are_taken_back(name: str) -> None:
    _, world = make(name)
    world.reset(seed=1)
    first, rng = world.get_state(), np.random.default_rng(0)
    for _ in range(12):
        world.advance(rng.uniform(*action_bounds(world)).astype(np.float32))
    later = world.get_state()
    assert not np.array_equal(first, later)
    world.set_state(first)
    assert np.array_equal(world.get_state(), first)
    world.set_goal(later)
    far = world.distance()
    world.set_state(later)
    world.set_goal(later)
    assert world.distance() <= far
    assert world.distance() == pytest.approx(0.0, abs=1e-6)
    assert world.is_success() or name == "reacher"  # there a goal asks for rest too


@pytest.mark.parametrize("name", world_names())
def test_behaviours_can_be_mixed_and_act_inside_the_box(name: str) -> None:
    entry, world = make(name)
    assert next(iter(entry.behaviours)) == "expert"
    assert set(entry.mix) <= set(entry.behaviours)
    assert sum(entry.mix.values()) == pytest.approx(1.0)
    assert 1 <= entry.steps[0] <= entry.steps[1]
    low, high = action_bounds(world)
    for maker in entry.behaviours.values():
        world.reset(seed=2)
        behaviour = maker(world, np.random.default_rng(2))
        for _ in range(3):
            action = behaviour.act()
            assert action.shape == low.shape
            assert ((low <= action) & (action <= high)).all()
            world.advance(action)


@pytest.mark.parametrize("name", OTHERS)
def test_worlds_without_choices_refuse_them(name: str) -> None:
    entry = find_world(name)
    for options in (RAY, WorldOptions(vary=("all",)), WorldOptions(fix=("light.level=1",))):
        with pytest.raises(JepaflowError, match="no cameras, factors or models"):
            entry.make(16, options)
    assert entry.make(16, WorldOptions()).image_size == 16


def test_a_bound_entry_remembers_the_choices() -> None:
    entry = find_world("so101/lift").bound(WorldOptions(("wrist",), "ray", fix=("object.color=blue",)))
    world = entry.make(16)
    assert world.cameras == ("wrist",)
    assert "blue" in world.task


@pytest.mark.parametrize("name", [name for name in ARMS if not name.endswith("reach")])
def test_a_cubes_place_is_where_the_picture_shows_it(name: str) -> None:
    """The pixels that change when the cube is taken away are centred on the place that is computed."""
    entry, world = make(name, 128)
    assert isinstance(world, ArmEnv)
    for seed in range(2):
        seen, _ = world.reset(seed=seed)
        expected = entry.place(world.get_state())
        world.desk.park_cube(0)
        mujoco.mj_forward(world.desk.model, world.desk.data)
        found = moved_pixels(world.observation()["pixels"], seen["pixels"])
        assert np.abs(found - expected).max() < 0.02, (found, expected)
        assert ((expected > 0.05) & (expected < 0.95)).all()


@pytest.mark.parametrize("name", ["so101/reach", "koch/reach"])
def test_the_fingertips_place_is_where_the_ball_is_seen_once_it_is_touched(name: str) -> None:
    entry, world = make(name, 128)
    assert isinstance(world, ArmEnv)
    world.reset(seed=1)
    expert = entry.behaviours["expert"](world, np.random.default_rng(1))
    while not getattr(expert, "done", False):
        world.advance(expert.act())
    assert world.is_success()
    tip = entry.place(world.get_state())
    world.desk.put_arm(np.array([1.5, *world.arm.home[1:]]))  # out of the picture's middle
    mujoco.mj_forward(world.desk.model, world.desk.data)
    with_ball = world.observation()["pixels"]
    world.desk.put("marker", None)
    mujoco.mj_forward(world.desk.model, world.desk.data)
    rows, columns = np.nonzero(np.abs(with_ball.astype(int) - world.observation()["pixels"]).sum(-1) > 30)
    top = rows < rows.min() + 6  # the ball; its stand is below
    ball = (np.array([columns[top].mean(), rows[top].mean()]) + 0.5) / 128
    assert np.abs(ball - tip).max() < 0.05


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space")  # joint targets are degrees, on purpose
@pytest.mark.parametrize(
    ("key", "made"),
    [
        ("jepaflow/TwoRoom-v0", {}),
        ("jepaflow/Maze-v0", {}),
        ("jepaflow/PushT-v0", {}),
        ("jepaflow/Reacher-v0", {}),
        *(
            (f"jepaflow/{arm}{task}-v0", {"renderer": "ray"})
            for arm in ("SO101", "Koch")
            for task in ("Reach", "Push", "Lift", "PickPlace", "Sort", "Stack")
        ),
    ],
)
def test_gymnasium_makes_and_accepts_every_registered_world(key: str, made: dict) -> None:
    env = gymnasium.make(key, image_size=16, **made)
    assert isinstance(env.unwrapped, World)
    check_env(env.unwrapped, skip_render_check=True)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert np.array_equal(info["state"], env.unwrapped.get_state())
    env.close()
