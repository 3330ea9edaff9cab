"""Push-T's experts: the pusher solves the task, the collector covers it, everything follows from the seed."""

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t import CANONICAL_GOAL, PushTEnv
from jepaflow.sims.push_t_expert import Pusher, PushTExpert, PushTExpertConfig


def episode(seed: int, steps: int, config: PushTExpertConfig | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the states (steps, 10) and actions (steps, 2) of the collector."""
    env = PushTEnv(image_size=8)
    env.reset(seed=seed)
    expert = PushTExpert(env, np.random.default_rng(seed), config)
    states, actions = [], []
    for _ in range(steps):
        actions.append(expert.act())
        states.append(env.get_state())
        env.advance(actions[-1])
    return np.stack(states), np.stack(actions)


def test_the_pusher_reaches_the_canonical_goal() -> None:
    solved = 0
    for seed in range(20):
        env = PushTEnv(image_size=8)
        env.reset(seed=seed)
        env.set_goal(np.array(CANONICAL_GOAL))
        pusher = Pusher(env, np.random.default_rng(seed))
        for _ in range(250):
            env.advance(pusher.toward((256.0, 256.0, np.pi / 4), (256.0, 400.0)))
            if env.is_success():
                solved += 1
                break
    assert solved >= 19


def test_actions_lie_in_the_box_and_follow_from_the_seed() -> None:
    states, actions = episode(5, 80)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    again = episode(5, 80)
    assert np.array_equal(states, again[0]) and np.array_equal(actions, again[1])
    assert not np.array_equal(actions, episode(6, 80)[1])


def test_the_data_moves_the_block_and_replays_exactly() -> None:
    moved, replayed = [], 0
    env = PushTEnv(image_size=8)
    for seed in range(8):
        states, actions = episode(seed, 100)
        shift = np.hypot(*(states[25:, 2:4] - states[:-25, 2:4]).T)
        turn = np.abs(np.angle(np.exp(1j * (states[25:, 4] - states[:-25, 4]))))
        moved.append(((shift > 20.0) | (turn > np.pi / 9)).mean())
        env.set_state(states[40])
        env.set_goal(states[65])
        for action in actions[40:65]:
            env.advance(action)
        replayed += env.is_success() and np.array_equal(env.get_state(), states[65])
    assert np.mean(moved) > 0.6
    assert replayed == 8


def test_wandering_alone_stays_near_the_block_and_pushing_alone_moves_it() -> None:
    wander = PushTExpertConfig(seek=0.0, wander=1.0, noise=(0.0, 0.0))
    states, actions = episode(0, 120, wander)
    assert np.median(np.hypot(*(states[20:, :2] - states[20:, 2:4]).T)) < 150.0
    assert (np.diff(actions, axis=0) == 0.0).all(1).mean() > 0.2
    push = PushTExpertConfig(seek=0.0, wander=0.0)
    steps = [np.abs(np.diff(episode(seed, 80, push)[0][:, 2:4], axis=0)).max(1).mean() for seed in range(4)]
    assert np.mean(steps) > 1.0


def test_a_seek_leg_ends_when_its_tries_are_over() -> None:
    config = PushTExpertConfig(seek=1.0, wander=0.0, seek_steps=5, canonical=0.0)
    env = PushTEnv(image_size=8)
    env.reset(seed=0)
    expert = PushTExpert(env, np.random.default_rng(0), config)
    goals = set()
    for _ in range(30):
        env.advance(expert.act())
        goals.add(expert._goal)
    assert len(goals) >= 6


@pytest.mark.parametrize(
    "settings",
    [
        {"seek": 0.8, "wander": 0.3},
        {"wander": -0.1},
        {"canonical": 1.5},
        {"noise": (0.5, 0.1)},
        {"noise_steps": 0.0},
        {"hold_steps": (0, 3)},
        {"pace": (0.0, 1.0)},
        {"seek_steps": 0},
        {"reach": 0.0},
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError, match="expert"):
        PushTExpertConfig(**settings)
