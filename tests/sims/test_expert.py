"""The noisy expert: inside the box, from the seed alone, and both kinds of legs."""

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.expert import ExpertConfig, NoisyExpert
from jepaflow.sims.two_room import TwoRoomEnv


def run(config: ExpertConfig, seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the actions (steps, 2) and the states (steps, 4)."""
    env = TwoRoomEnv(image_size=8)
    env.reset(seed=seed)
    expert = NoisyExpert(env, np.random.default_rng(seed), config)
    actions, states = [], []
    for _ in range(steps):
        actions.append(expert.act())
        states.append(env.get_state())
        env.advance(actions[-1])
    return np.stack(actions), np.stack(states)


def test_actions_lie_in_the_box_and_follow_from_the_seed() -> None:
    actions, states = run(ExpertConfig(), 5, 200)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    again = run(ExpertConfig(), 5, 200)
    assert np.array_equal(actions, again[0])
    assert np.array_equal(states, again[1])
    assert not np.array_equal(actions, run(ExpertConfig(), 6, 200)[0])


def test_a_quiet_expert_reaches_its_targets_again_and_again() -> None:
    _, states = run(ExpertConfig(wander=0.0, noise=(0.0, 0.0), pace=(1.0, 1.0)), 0, 400)
    changes = np.flatnonzero((states[1:, 2:] != states[:-1, 2:]).any(1))
    assert len(changes) >= 8
    before = states[changes]  # the last row with the old target
    assert (np.hypot(before[:, 0] - before[:, 2], before[:, 1] - before[:, 3]) < 9.1).all()


def test_the_noisy_expert_visits_both_rooms_and_the_doorway() -> None:
    xs = np.concatenate([run(ExpertConfig(), seed, 100)[1][:, 0] for seed in range(20)])
    assert 0.3 < (xs < 112.0).mean() < 0.7
    assert (np.abs(xs - 112.0) < 12.0).mean() > 0.02


def test_wandering_alone_holds_its_actions() -> None:
    actions, _ = run(ExpertConfig(wander=1.0, hold_steps=(4, 4), wander_steps=(20, 20)), 0, 40)
    assert np.array_equal(actions[::4].repeat(4, axis=0), actions)
    assert len(np.unique(actions[:, 0])) == 10


@pytest.mark.parametrize(
    "settings",
    [
        {"wander": 1.5},
        {"wander": -0.1},
        {"noise": (0.5, 0.1)},
        {"noise_steps": 0.0},
        {"hold_steps": (0, 3)},
        {"pace": (-0.1, 1.0)},
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        ExpertConfig(**settings)
