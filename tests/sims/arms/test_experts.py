"""The arms' experts: they do the task, they end, and what is not for the task keeps to the rules of the desk."""

from collections import Counter

import mujoco
import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig, Noise, Scripted
from jepaflow.sims.arms.play import Babble, Play

CONFIG = ArmExpertConfig()
NOISY = ArmExpertConfig(noise=0.01)
SPOILT = ArmExpertConfig(noise=0.01, spoil=0.5)
PRESSED = -0.004
"""m: how far below the table the point between the fingertips may be; the tips are rounder than that."""


def world(task: str, **fix: str) -> ArmEnv:
    """Return an SO-101 that draws nothing."""
    return ArmEnv("so101", task, 8, fix=fix, renderer="ray")


def finish(env: ArmEnv, expert: ArmExpert) -> int:
    """Act until the expert ends, then hold still for half a second; return the steps."""
    steps = 0
    while not expert.done and steps < 2 * env.rules.steps:
        env.advance(expert.act())
        steps += 1
    for _ in range(15):
        env.advance(env.still_action())
    return steps


def run(env: ArmEnv, seed: int, config: ArmExpertConfig) -> tuple[bool, ArmExpert, int]:
    """Run one episode; return whether the task is done at its end, the expert, and the steps."""
    env.reset(seed=seed)
    expert = ArmExpert(env, np.random.default_rng(seed), config)
    steps = finish(env, expert)
    return env.is_success(), expert, steps


@pytest.mark.parametrize(
    ("task", "config", "seeds"),
    [
        ("reach", CONFIG, (0, 1, 28, 35)),  # the last two: high up, where the gripper cannot point down
        ("reach", NOISY, (2, 3)),
        ("push", NOISY, (1,)),
        ("lift", CONFIG, (0, 1)),
        ("lift", SPOILT, (2, 3)),
        ("pick_place", CONFIG, (0, 1)),
        ("pick_place", SPOILT, (2, 3)),
        ("sort", NOISY, (4,)),
        ("stack", NOISY, (0, 5)),
    ],
)
def test_an_expert_does_its_task_and_ends(task: str, config: ArmExpertConfig, seeds: tuple[int, ...]) -> None:
    env = world(task)
    for seed in seeds:
        success, expert, steps = run(env, seed, config)
        assert success, seed
        assert expert.done
        assert 1 <= expert.tries <= config.tries
        assert steps < 2 * env.rules.steps


@pytest.mark.parametrize("obstacle", ["wall", "post", "both"])
def test_a_cube_is_carried_past_what_stands_in_the_way(obstacle: str) -> None:
    env = world("pick_place", obstacle=obstacle)
    model, data = env.desk.model, env.desk.data
    standing = {model.body(name).id for name in ("wall", "post") if env.desk.is_there(name)}
    assert standing
    for seed in (5,):
        env.reset(seed=seed)
        expert = ArmExpert(env, np.random.default_rng(seed), CONFIG)
        touching = 0
        while not expert.done:
            env.advance(expert.act())
            pairs = model.geom_bodyid[data.contact.geom[: data.ncon]]
            touching += any(int(body) in standing for pair in pairs for body in pair)
        assert env.is_success(), seed
        assert touching <= 9, seed  # 0.3 s: grazed, never pushed


@pytest.mark.parametrize("task", ["reach", "push", "lift", "pick_place", "stack"])
def test_an_expert_ends_even_where_nothing_can_succeed(task: str) -> None:
    """The cube lies out of reach: every attempt is in vain, and they are counted."""
    env = world(task)
    env.reset(seed=0)
    if task == "reach":
        env.desk.put("marker", (0.6, 0.0, 0.3))
    for i in range(env.rules.layout.cubes):
        env.desk.put_cube(i, 0.60, 0.1 * i - 0.1)
    mujoco.mj_forward(env.desk.model, env.desk.data)
    expert = ArmExpert(env, np.random.default_rng(0), ArmExpertConfig(tries=2))
    for _ in range(3000):
        expert.act()
        if expert.done:
            break
    assert expert.done
    assert expert.tries <= 2
    still = expert.act()
    assert np.array_equal(still, expert.act())
    assert not env.is_success()


def test_the_same_seed_acts_alike_and_noise_changes_what_is_sent() -> None:
    env = world("lift")

    def actions(config: ArmExpertConfig, seed: int) -> np.ndarray:
        env.reset(seed=0)
        expert = ArmExpert(env, np.random.default_rng(seed), config)
        sent = []
        for _ in range(30):
            sent.append(expert.act())
            env.advance(sent[-1])
        return np.stack(sent)

    noisy = actions(NOISY, 1)
    assert np.array_equal(noisy, actions(NOISY, 1))
    difference = np.radians(noisy - actions(CONFIG, 1))
    assert 0.003 < np.abs(difference[:, :5]).mean() < 0.03
    assert np.array_equal(noisy[:, 5], actions(CONFIG, 1)[:, 5])  # the gripper stays sure
    assert not np.array_equal(noisy, actions(NOISY, 2))
    slower = actions(ArmExpertConfig(pace=1.5), 1)
    assert np.abs(np.diff(slower, axis=0)).max() < np.abs(np.diff(actions(CONFIG, 1), axis=0)).max()


def test_the_noise_has_the_deviation_and_the_memory_that_it_is_said_to_have() -> None:
    noise = Noise(np.random.default_rng(0), 0.02, 15.0)
    values = np.stack([noise.next().copy() for _ in range(20_000)])
    assert values[:, :5].std(0) == pytest.approx(np.full(5, 0.02), rel=0.08)
    assert (values[:, 5] == 0.0).all()
    centred = values[:, 0] - values[:, 0].mean()
    assert (centred[15:] * centred[:-15]).mean() / centred.var() == pytest.approx((1 - 1 / 15) ** 15, abs=0.06)


@pytest.mark.parametrize(
    "settings", [{"noise": -0.1}, {"noise_steps": 0.5}, {"spoil": 1.2}, {"pace": 0.0}, {"tries": 0}]
)
def test_settings_that_cannot_be_acted_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError, match="an arm expert needs"):
        ArmExpertConfig(**settings)


@pytest.mark.parametrize("task", ["reach", "pick_place", "sort"])
@pytest.mark.parametrize("kind", [Play, Babble])
def test_play_and_babble_never_end_stay_in_the_box_and_spare_the_table(kind: type[Scripted], task: str) -> None:
    env = world(task)
    lowest, moved = [], 0.0
    for seed in range(2):
        env.reset(seed=seed)
        behaviour = kind(env, np.random.default_rng(seed), NOISY if kind is Play else None)
        before = env.get_state()[4:7] if env.rules.layout.cubes else np.zeros(3)
        for _ in range(250):
            action = behaviour.act()
            assert ((env.low <= action) & (action <= env.high)).all()
            env.advance(action)
            lowest.append(env.desk.tcp()[2])
        assert not behaviour.done
        after = env.get_state()[4:7] if env.rules.layout.cubes else np.ones(3)
        moved = max(moved, float(np.abs(after - before).max()))
    assert min(lowest) > PRESSED
    assert moved > 0.01 or task == "sort"  # something happens


def test_babble_draws_displacements_as_a_planner_does() -> None:
    """Linear inside a block of five steps, and brisk in some episodes, hesitant in others."""
    env = world("pick_place")
    spreads = []
    for seed in range(6):
        env.reset(seed=seed)
        babble = Babble(env, np.random.default_rng(seed))
        sent = np.stack([babble.act() for _ in range(80)])[35:]  # after the approach
        steps = np.diff(np.radians(sent[:, :5].astype(float)), axis=0)
        jumps = np.abs(np.diff(steps, axis=0)).max(1) > 1e-4
        at = np.flatnonzero(jumps)
        assert Counter((at - at[0]) % 5).most_common(1)[0][1] >= 0.8 * len(at)
        spreads.append(steps.std())
    assert max(spreads) > 2 * min(spreads)


def test_play_reaches_for_cubes_and_leaves_what_is_nobodys_task() -> None:
    env = world("pick_place")
    held, pushed = 0, 0
    for seed in range(4):
        env.reset(seed=seed)
        play = Play(env, np.random.default_rng(seed))
        start = env.desk.cube(0).copy()
        for _ in range(300):
            env.advance(play.act())
            held += env.desk.held(0)
        pushed += bool(np.linalg.norm(env.desk.cube(0) - start) > 0.01)
    assert held > 20
    assert pushed >= 3
