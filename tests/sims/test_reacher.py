"""The Reacher: its dynamics against equations written out by hand, exact replay, the success rule, error sentences."""

import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher import CANONICAL_TARGET, ReacherEnv
from jepaflow.sims.reacher_model import WRIST_LIMIT, ReacherConfig, ReacherPhysics, ReacherState, joints, rounded


def capsule(length: float) -> tuple[float, float]:
    """Mass and transverse inertia (about its middle) of a capsule of radius .01 m and density 1000."""
    r, rho = 0.01, 1000.0
    body, cap = rho * math.pi * r**2 * length, rho * 2.0 / 3.0 * math.pi * r**3
    ends = 2.0 * (83.0 / 320.0 * cap * r**2 + cap * (length / 2.0 + 3.0 * r / 8.0) ** 2)
    return body + 2.0 * cap, body * (r**2 / 4.0 + length**2 / 12.0) + ends


def by_hand(state: ReacherState, action: np.ndarray) -> np.ndarray:
    """One .02 s step of the two-link equations, implicit in the damping: (shoulder, wrist, their velocities)."""
    (m1, i1), (m2, i2), link = capsule(0.12), capsule(0.10), 0.12
    m3 = 1000.0 * 4.0 / 3.0 * math.pi * 0.01**3
    hand = i2 + m2 * 0.05**2 + 0.4 * m3 * 0.01**2 + m3 * 0.12**2
    lever = link * (m2 * 0.05 + m3 * 0.12)
    q, v = np.array(state[:2]), np.array(state[2:])
    couple = hand + lever * math.cos(q[1])
    mass = np.array(
        [[i1 + m1 * 0.06**2 + (m2 + m3) * link**2 + hand + 2.0 * lever * math.cos(q[1]), couple], [couple, hand]]
    )
    coriolis = lever * math.sin(q[1]) * np.array([-2.0 * v[0] * v[1] - v[1] ** 2, v[0] ** 2])
    force = 0.05 * action - coriolis - 0.01 * v
    v = v + 0.02 * np.linalg.solve(mass + 0.02 * 0.01 * np.eye(2), force)
    return np.concatenate([q + 0.02 * v, v])


def test_a_step_obeys_the_two_link_equations() -> None:
    physics, rng = ReacherPhysics(ReacherConfig()), np.random.default_rng(0)
    for _ in range(50):
        values = (rng.uniform(-2.5, 2.5), rng.uniform(-2.0, 2.0), *rng.uniform(-5.0, 5.0, 2))
        state, action = rounded(values), rng.uniform(-1.0, 1.0, 2)
        after = physics.step(state, (float(action[0]), float(action[1])))
        np.testing.assert_allclose(after, by_hand(state, action), rtol=1e-5, atol=1e-6)


def test_inverse_dynamics_gives_the_acceleration_that_was_asked_for() -> None:
    physics = ReacherPhysics(ReacherConfig(timestep=1e-4))
    state = rounded((0.5, -1.2, 1.0, -2.0))
    signals = physics.signals_for(state, np.array([3.0, -4.0]))
    after = physics.step(state, (float(signals[0]), float(signals[1])))
    gained = (np.array(after[2:]) - np.array(state[2:])) / 1e-4
    np.testing.assert_allclose(gained, [3.0, -4.0], rtol=0.03)


def test_gymnasium_accepts_it() -> None:
    check_env(ReacherEnv(image_size=16), skip_render_check=True)


def test_the_canonical_pair() -> None:
    env = ReacherEnv(randomise=False)
    env.reset(seed=0)
    assert env.state == (0.0, 0.0, 0.0, 0.0)
    assert env.target == CANONICAL_TARGET
    assert env.distance() == pytest.approx(math.pi / 2)


def test_rest_stays_at_rest_and_motion_dies_out() -> None:
    env = ReacherEnv()
    env.reset(seed=0)
    before = env.get_state()
    env.advance(env.still_action())
    np.testing.assert_allclose(env.get_state(), before, atol=1e-6)
    env.set_state(np.array([0.0, 0.5, 5.0, -5.0]))
    for _ in range(150):
        env.advance(env.still_action())
    assert np.abs(env.get_state()[2:]).max() < 0.01


def test_a_mirrored_arm_moves_mirrored() -> None:
    physics, rng = ReacherPhysics(ReacherConfig()), np.random.default_rng(0)
    one = rounded((1.0, 0.5, 2.0, -1.0))
    other = ReacherState(*(-value for value in one))
    for _ in range(100):
        a, b = rng.uniform(-1.0, 1.0, 2).tolist()
        one, other = physics.step(one, (a, b)), physics.step(other, (-a, -b))
        np.testing.assert_allclose(np.negative(one), other, rtol=1e-4, atol=1e-4)


def test_the_wrist_stops_at_its_limit_and_the_shoulder_goes_round() -> None:
    env = ReacherEnv()
    env.set_state(np.zeros(4))
    shoulders = []
    for _ in range(200):
        env.advance(np.array([1.0, 1.0]))
        shoulders.append(env.state.shoulder)
        assert abs(env.state.wrist) < WRIST_LIMIT + 0.3
        assert abs(env.state.shoulder) <= np.float32(math.pi)
        env.set_state(env.get_state())
    assert env.state.wrist > WRIST_LIMIT - 0.1
    assert np.count_nonzero(np.abs(np.diff(shoulders)) > math.pi) >= 2


def test_the_same_seed_gives_the_same_episode() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 2))

    def episode(seed: int) -> list[list[float]]:
        env = ReacherEnv(image_size=8)
        env.reset(seed=seed)
        return [env.step(action)[4]["state"].tolist() for action in actions]

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


def test_a_state_set_again_gives_the_same_pixels_and_the_same_future_bit_for_bit() -> None:
    first, second, fresh = (ReacherEnv(image_size=24) for _ in range(3))
    first.reset(seed=1)
    rng, at_limit = np.random.default_rng(0), 0
    start, actions = first.get_state(), []
    for t in range(250):
        action = np.array([rng.uniform(-1, 1), math.copysign(1.0, math.sin(t / 25))], np.float32)
        actions.append(action)
        second.set_state(first.get_state())
        assert np.array_equal(first.observation()["pixels"], second.observation()["pixels"])
        first.step(action)
        second.step(action)
        at_limit += abs(first.state.wrist) > WRIST_LIMIT
        assert np.array_equal(first.get_state(), second.get_state())
    assert at_limit > 20  # where the solver works
    fresh.set_state(start)
    for action in actions:
        fresh.advance(action)
    assert np.array_equal(fresh.get_state(), first.get_state())


@pytest.mark.parametrize(
    ("offset", "threshold", "arrived"),
    [
        ((0.0499, -0.0499), 0.05, True),
        ((0.0501, 0.0), 0.05, False),
        ((0.0, -0.0501), 0.05, False),
        ((0.0, 0.0501), 0.1, True),
        ((0.0999, 0.0999), 0.1, True),
        ((0.0, 0.1001), 0.1, False),
        ((2 * math.pi, 0.0), 0.05, True),
    ],
)
def test_success_is_every_joint_within_the_threshold(
    offset: tuple[float, float], threshold: float, arrived: bool
) -> None:
    env = ReacherEnv(config=ReacherConfig(threshold=threshold))
    env.set_state(np.array([0.5, 0.5, 0.0, 0.0]))
    env.set_goal(np.array([0.5 + offset[0], 0.5 + offset[1], 3.0, -3.0]))
    assert env.is_success() is arrived
    _, reward, terminated, _, _ = env.step(env.still_action())
    assert (reward, terminated) == (float(arrived), arrived)


def test_the_threshold_is_the_one_since_march_2026() -> None:
    assert ReacherConfig().threshold == 0.05


def test_the_shoulders_error_is_the_short_way_round() -> None:
    env = ReacherEnv()
    env.set_state(np.array([3.1, 0.0, 0.0, 0.0]))
    env.set_goal(np.array([-3.1, 0.0, 0.0, 0.0]))
    np.testing.assert_allclose(env.error(), [2 * math.pi - 6.2, 0.0], atol=1e-6)
    assert env.distance() == pytest.approx(2 * math.pi - 6.2, abs=1e-6)


@pytest.mark.parametrize("angle", [math.pi, -math.pi, 3.2, -9.5, 3.1415927, 100.0])
def test_a_state_is_a_fixed_point_of_setting_it(angle: float) -> None:
    env = ReacherEnv()
    env.set_state(np.array([angle, 0.0, 0.0, 0.0]))
    state = env.get_state()
    env.set_state(state)
    assert np.array_equal(env.get_state(), state)
    assert math.cos(state[0] - angle) == pytest.approx(1.0, abs=1e-6)


def test_starts_and_targets_cover_the_joints() -> None:
    env = ReacherEnv(image_size=8)
    poses = []
    for seed in range(200):
        env.reset(seed=seed)
        assert env.state[2:] == (0.0, 0.0)
        assert not env.is_success()
        poses.append(env.state[:2])
    table = np.array(poses)
    assert np.histogram(table[:, 0], 4, (-math.pi, math.pi))[0].min() > 25
    assert np.histogram(table[:, 1], 4, (-WRIST_LIMIT, WRIST_LIMIT))[0].min() > 25


def test_the_world_says_what_its_numbers_are() -> None:
    env = ReacherEnv()
    assert env.state_names == env.proprio_names == ("shoulder", "wrist", "shoulder_velocity", "wrist_velocity")
    assert (env.fps, env.cameras, env.camera) == (50.0, ("top",), "top")
    assert ReacherEnv(config=ReacherConfig(substeps=2)).fps == 25.0
    np.testing.assert_allclose(
        joints(math.pi / 2, -math.pi / 2), [[0, 0], [0, 0.12], [0.1, 0.12], [0.12, 0.12]], atol=1e-12
    )


@pytest.mark.parametrize("state", [[1.0, 2.0], [0.0, 0.0, math.nan, 0.0], [0.0, 4.0, 0.0, 0.0], [0.0, 0.0, 1e4, 0.0]])
def test_a_state_that_cannot_be_is_refused(state: list[float]) -> None:
    with pytest.raises(JepaflowError, match="Give a state"):
        ReacherEnv().set_state(np.array(state))


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((1, 2)), np.array([math.inf, 0.0])])
def test_an_action_that_cannot_be_is_refused(action: np.ndarray) -> None:
    with pytest.raises(JepaflowError, match="Give"):
        ReacherEnv().step(action)


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.0}, {"threshold": math.nan}, {"timestep": 0.2}, {"timestep": 0.0}, {"substeps": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError, match="Reacher"):
        ReacherConfig(**settings)
