"""The arm worlds as Gymnasium environments in LeRobot's units: spaces, stillness, goals, wrong arguments, free places."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.arm import MOTORS
from jepaflow.sims.arms.env import ARMS, ArmEnv
from jepaflow.sims.arms.tasks import TASKS

THINGS = ("cube", "bin", "wall", "post", "distractor")


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space")  # LeRobot's units are neither
@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("arm", list(ARMS))
def test_gymnasium_accepts_it(arm: str, task: str) -> None:
    name = f"jepaflow/{'SO101' if arm == 'so101' else 'Koch'}{task.title().replace('_', '')}-v0"
    env = gymnasium.make(name, image_size=16, render_mode="rgb_array")
    inner = env.unwrapped
    assert isinstance(inner, ArmEnv) and inner.arm.name == arm and inner.rules.name == task
    check_env(inner)
    picture = inner.render()
    assert picture is not None and picture.shape == (16, 32, 3)
    env.close()


@pytest.mark.parametrize("arm", list(ARMS.values()), ids=list(ARMS))
def test_lerobots_units(arm: object) -> None:
    assert arm in ARMS.values()
    kind = next(one for one in ARMS.values() if one is arm)
    rng = np.random.default_rng(0)
    radians = rng.uniform(-1.5, 1.5, (50, 6))
    np.testing.assert_allclose(kind.to_radians(kind.to_lerobot(radians)), radians, atol=1e-12)
    values = kind.to_lerobot(radians)
    np.testing.assert_allclose(values[:, :5], np.rad2deg(radians[:, :5]))
    ends = np.zeros((2, 6))
    ends[:, 5] = kind.closed, kind.opened
    np.testing.assert_allclose(kind.to_lerobot(ends)[:, 5], [0.0, 100.0], atol=1e-9)
    assert kind.to_lerobot(np.float32(ends)).dtype == np.float64


def test_the_action_space_is_the_motors_ranges() -> None:
    env = ArmEnv(image_size=8)
    assert env.action_names == tuple(f"{motor}.pos" for motor in MOTORS) == env.proprio_names
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    np.testing.assert_allclose(space.low, [-110.0, -100.0, -96.83, -95.0, -157.21, 0.0], atol=0.01)
    np.testing.assert_allclose(space.high, [110.0, 100.0, 96.83, 95.0, 162.79, 100.0], atol=0.01)


def test_targets_are_reached_and_the_still_action_holds() -> None:
    env = ArmEnv(task="reach", image_size=8)
    env.reset(seed=0)
    wish = np.array([20.0, -50.0, 40.0, 60.0, -30.0, 75.0], np.float32)
    for _ in range(40):
        env.advance(wish)
    np.testing.assert_allclose(env.proprio(), wish, atol=0.3)
    np.testing.assert_allclose(env.still_action(), wish, atol=1e-4)
    rest = env.proprio()
    for _ in range(30):
        env.advance(env.still_action())
    np.testing.assert_allclose(env.proprio(), rest, atol=0.02)


def test_a_target_beyond_the_range_is_clipped() -> None:
    one, two = ArmEnv(task="reach", image_size=8), ArmEnv(task="reach", image_size=8)
    for env, action in ((one, np.full(6, 1e4, np.float32)), (two, two.high)):
        env.reset(seed=0)
        env.advance(action)
    assert np.array_equal(one.get_state(), two.get_state())


def test_a_step_tells_what_happened() -> None:
    env = ArmEnv(image_size=32, cameras=("wrist", "laptop"))
    seen, info = env.reset(seed=2)
    assert set(seen) == {"pixels", "laptop", "state"}
    assert env.observation_space.contains(seen)
    assert env.camera == "wrist" and "bin" in info["task"]
    seen, reward, terminated, truncated, info = env.step(env.still_action())
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["distance"] > 0.05 and not info["success"]
    env.set_goal(info["state"])
    assert env.is_success() and env.distance() < 1e-6
    env.reset(seed=2)
    assert not env.is_success(), "a new episode has no goal state"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"arm": "so102"}, "there is no arm 'so102'. Choose one of: so101, koch."),
        ({"task": "fly"}, "there is no task 'fly'. Choose one of: reach"),
        ({"cameras": ("top",)}, "there are no such cameras"),
        ({"cameras": ()}, "there are no such cameras"),
        ({"renderer": "vulkan"}, "there is no renderer 'vulkan'. Choose one of: auto, gl, ray."),
        ({"image_size": 4}, "a picture of 4 px cannot be drawn"),
        ({"image_size": 5000}, "a picture of 5000 px cannot be drawn"),
    ],
)
def test_wrong_arguments_are_said(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(JepaflowError) as caught:
        ArmEnv(**options).observation()  # type: ignore[arg-type]
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("action", [np.zeros(5), np.zeros((1, 6)), np.array([0, 0, np.nan, 0, 0, 0])])
def test_wrong_actions_are_said(action: np.ndarray) -> None:
    with pytest.raises(JepaflowError, match=r"shape|not finite"):
        ArmEnv(image_size=8).advance(action)


def overlaps(env: ArmEnv) -> list[str]:
    """Name the pairs of things on the desk that touch or stand in each other; the table and the arm's own do not count."""
    desk = env.desk
    names = {index: desk.model.body(index).name for index in range(desk.model.nbody)}
    things = {index for index, name in names.items() if name.rstrip("0123456789") in THINGS}
    pairs = {tuple(sorted(pair)) for pair in desk.model.geom_bodyid[desk.data.contact.geom[: desk.data.ncon]].tolist()}
    return [f"{names[a]}-{names[b]}" for a, b in pairs if a != 0 and (a in things or b in things)]


@pytest.mark.parametrize("task", list(TASKS))
def test_distractors_touch_nothing(task: str) -> None:
    env = ArmEnv(task=task, image_size=8, fix={"distractors": 3}, vary=("object",))
    desk = env.desk
    for seed in range(40):
        env.reset(seed=seed)
        assert not [pair for pair in overlaps(env) if "distractor" in pair], f"seed {seed}"
        there = [f"distractor{i}" for i in range(3) if desk.is_there(f"distractor{i}")]
        assert there, f"seed {seed}"
        for name in there:
            spot = desk.place(name)[:2]
            for cube in range(env.scene.cubes):
                assert np.hypot(*(spot - desk.cube(cube)[:2])) > desk.cube_half(cube) + 0.01, f"seed {seed}"
            for i in range(env.rules.layout.bins):
                away = np.abs(spot - desk.place(f"bin{i}")[:2])
                assert (away > env.arm.workplace.bin_half + 0.01).any(), f"seed {seed}"
            if env.rules.layout.marker == "disc":
                assert np.hypot(*(spot - desk.place("marker")[:2])) > 0.03, f"seed {seed}"


@pytest.mark.parametrize("obstacle", ["wall", "post", "both"])
@pytest.mark.parametrize("task", [task for task in TASKS if "obstacle" not in TASKS[task].lacks])
def test_obstacles_stand_in_no_thing(task: str, obstacle: str) -> None:
    env = ArmEnv(task=task, image_size=8, fix={"obstacle": obstacle, "distractors": 3}, vary=("object",))
    for seed in range(25):
        env.reset(seed=seed)
        there = {name for name in ("wall", "post") if env.desk.is_there(name)}
        assert there == ({"wall", "post"} if obstacle == "both" else {obstacle})
        touching = [pair.split("-") for pair in overlaps(env)]
        things = [pair for pair in touching if all(name.rstrip("0123456789") in THINGS for name in pair)]
        assert not things, f"seed {seed}"


def test_a_restored_state_brings_its_colours_and_sentence() -> None:
    first = ArmEnv("so101", "pick_place", 16, fix={"object.color": "purple", "bin.color": "white"})
    first.reset(seed=4)
    second = ArmEnv("so101", "pick_place", 16)
    second.reset(seed=1, options={"state": first.get_state()})
    assert (second.scene.colours, second.scene.bins) == (["purple"], ["white"])
    assert "purple" in second.task and "white" in second.task


def test_absent_cubes_are_counted_and_not_drawn() -> None:
    env = ArmEnv("koch", "sort", 96)
    while env.scene.cubes == 4:
        env.reset()
    parked = [i for i in range(4) if env.desk.is_parked(i)]
    assert len(parked) == 4 - env.scene.cubes > 0
    before = env.observation()
    for i in parked:
        env.desk.put_cube(i, -2.0, 3.0)
    env.desk.update()
    after = env.observation()
    assert all(np.array_equal(before[key], after[key]) for key in ("pixels", "phone"))


def test_unseeded_resets_differ() -> None:
    states = [ArmEnv("so101", "lift", 16).reset()[1]["state"] for _ in range(2)]
    assert not np.array_equal(*states)
