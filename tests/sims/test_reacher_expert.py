"""The Reacher's expert: it arrives, it covers, it follows from the seed, its data replays."""

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher import ReacherEnv
from jepaflow.sims.reacher_expert import ReacherExpert, ReacherExpertConfig, pursue


def episode(seed: int, steps: int, config: ReacherExpertConfig | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the states (steps, 4) and actions (steps, 2) of the expert."""
    env = ReacherEnv(image_size=8)
    env.reset(seed=seed)
    expert = ReacherExpert(env, np.random.default_rng(seed), config)
    states, actions = [], []
    for _ in range(steps):
        actions.append(expert.act())
        states.append(env.get_state())
        env.advance(actions[-1])
    return np.stack(states), np.stack(actions)


def test_pursuing_a_target_reaches_it() -> None:
    solved = 0
    for seed in range(25):
        env = ReacherEnv(image_size=8)
        env.reset(seed=seed)
        for _ in range(120):
            env.advance(pursue(env, 10.0))
            if env.is_success():
                solved += 1
                break
    assert solved == 25


def test_actions_lie_in_the_box_and_follow_from_the_seed() -> None:
    states, actions = episode(5, 150)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    again = episode(5, 150)
    assert np.array_equal(states, again[0]) and np.array_equal(actions, again[1])
    assert not np.array_equal(actions, episode(6, 150)[1])


def test_the_data_covers_the_joints_and_replays_exactly() -> None:
    env, all_states, replayed = ReacherEnv(image_size=8), [], 0
    for seed in range(12):
        states, actions = episode(seed, 200)
        all_states.append(states)
        env.set_state(states[60])
        env.set_goal(states[85])
        for action in actions[60:85]:
            env.advance(action)
        replayed += env.is_success() and np.array_equal(env.get_state(), states[85])
    assert replayed == 12
    table = np.concatenate(all_states)
    for joint, reach in ((0, np.pi), (1, 2.79)):
        assert np.histogram(table[:, joint], 6, (-reach, reach))[0].min() > 100
    moved = np.abs(table[25:, 1] - table[:-25, 1])
    assert (moved > 0.1).mean() > 0.6


def test_a_quiet_seeker_meets_target_after_target() -> None:
    config = ReacherExpertConfig(sweep=0.0, noise=(0.0, 0.0), stay_steps=(0, 0))
    env = ReacherEnv(image_size=8)
    env.reset(seed=0)
    expert = ReacherExpert(env, np.random.default_rng(0), config)
    met, targets = 0, set()
    for _ in range(500):
        env.advance(expert.act())
        targets.add(env.target)
        met += env.is_success()
    assert met >= 6
    assert len(targets) >= 6


def test_sweeping_alone_holds_its_signals() -> None:
    actions = episode(0, 40, ReacherExpertConfig(sweep=1.0, hold_steps=(4, 4), sweep_steps=(20, 20)))[1]
    assert np.array_equal(actions[::4].repeat(4, axis=0), actions)


@pytest.mark.parametrize(
    "settings",
    [
        {"sweep": 1.5},
        {"noise": (0.5, 0.1)},
        {"noise_steps": 0.0},
        {"hold_steps": (0, 3)},
        {"stiffness": (0.0, 5.0)},
        {"stiffness": (5.0, 50.0)},
        {"stay_steps": (-1, 5)},
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError, match="expert"):
        ReacherExpertConfig(**settings)
