"""The state is the whole world: seeds repeat, a state set elsewhere goes on bit by bit, pictures included."""

import itertools

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.desk import Desk
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig
from jepaflow.sims.arms.tasks import TASKS

CAMERAS = ("laptop", "phone", "wrist")
WORLDS = [("so101", "pick_place"), ("so101", "sort"), ("so101", "reach"), ("koch", "lift")]


def make(arm: str, task: str, renderer: str = "ray", size: int = 24) -> ArmEnv:
    """A world in which everything differs from episode to episode, obstacles and distractors included."""
    fix = {"distractors": 2} | ({"obstacle": "both"} if "obstacle" not in TASKS[task].lacks else {})
    return ArmEnv(arm, task, size, CAMERAS, renderer, vary=("all",), fix=fix)


def act(env: ArmEnv, seed: int, steps: int) -> tuple[list[np.ndarray], list[np.ndarray], list[dict[str, np.ndarray]]]:
    """Let the noisy expert act from a seed; return the states, the actions and the observations before each."""
    seen, info = env.reset(seed=seed)
    expert = ArmExpert(env, np.random.default_rng(seed), ArmExpertConfig(noise=0.01))
    states, actions, pictures = [info["state"]], [], [seen]
    for _ in range(steps):
        actions.append(expert.act())
        seen, _, _, _, info = env.step(actions[-1])
        states.append(info["state"])
        pictures.append(seen)
    return states, actions, pictures


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    """Whether two observations are equal, bit by bit."""
    return one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(("arm", "task"), WORLDS)
def test_a_seeded_episode_repeats(arm: str, task: str) -> None:
    first, _, seen = act(make(arm, task), 5, 25)
    second, _, again = act(make(arm, task), 5, 25)
    other, _, _ = act(make(arm, task), 6, 1)
    assert np.array_equal(first, second)
    assert all(itertools.starmap(same, zip(seen, again, strict=True)))
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("renderer", ["auto", "ray"])
@pytest.mark.parametrize(("arm", "task"), WORLDS)
def test_a_state_goes_on_elsewhere_bit_by_bit(arm: str, task: str, renderer: str) -> None:
    env = make(arm, task, renderer)
    states, actions, seen = act(env, 3, 45)
    for start in (0, 27):
        elsewhere = make(arm, task, renderer)
        elsewhere.reset(seed=11)
        for _ in range(5):
            elsewhere.advance(elsewhere.action_space.sample())
        begun, info = elsewhere.reset(options={"state": states[start]})
        assert np.array_equal(info["state"], states[start])
        assert same(begun, seen[start])
        for t in range(start, 45):
            now, *_ = elsewhere.step(actions[t])
            assert np.array_equal(elsewhere.get_state(), states[t + 1]), f"step {t + 1}"
            assert same(now, seen[t + 1]), f"picture {t + 1}"


def test_what_looks_different_weighs_and_falls_like_it_looks() -> None:
    big, small = ArmEnv(task="lift", image_size=8), ArmEnv(task="lift", image_size=8, fix={"object.size": 0.7})
    big.reset(seed=1)
    small.reset(seed=2)

    def mass(desk: Desk) -> float:
        return float(desk.model.body_mass[desk.cube_bodies[0]])

    assert mass(small.desk) == pytest.approx(0.343 * mass(big.desk))
    small.set_state(big.get_state())
    assert mass(small.desk) == mass(big.desk)
    assert np.array_equal(small.desk.model.body_inertia, big.desk.model.body_inertia)
    assert np.array_equal(small.desk.model.dof_invweight0, big.desk.model.dof_invweight0)


def test_the_state_is_named_and_in_float32() -> None:
    env = ArmEnv(image_size=8)
    state = env.get_state()
    assert state.dtype == np.float32 and state.shape == (len(env.state_names),)
    assert len(set(env.state_names)) == len(env.state_names)
    told = dict(zip(env.state_names, state.tolist(), strict=True))
    assert [told[f"tcp_{axis}"] for axis in "xyz"] == pytest.approx(env.desk.tcp().tolist(), abs=1e-6)
    assert [told[f"cube0_{axis}"] for axis in "xyz"] == pytest.approx(env.desk.cube(0).tolist(), abs=1e-6)
    assert told["gripper_opening"] == pytest.approx(env.proprio()[5] / 100, abs=1e-5)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full(1, np.nan), None])
def test_a_wrong_state_is_refused(wrong: np.ndarray | None) -> None:
    env = ArmEnv(image_size=8)
    before = env.get_state()
    state = np.full(before.shape, np.nan) if wrong is None else wrong
    with pytest.raises(JepaflowError, match=r"a state of so101/pick_place is .* finite numbers"):
        env.set_state(state)
    assert np.array_equal(env.get_state(), before)
