"""Push-T as an environment: Gymnasium's contract, exact replay, the success rule, what pushing can and cannot do."""

import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t import CANONICAL_GOAL, CANONICAL_START, PushTEnv, places
from jepaflow.sims.push_t_geometry import PushTConfig, distance_to_block, outline
from jepaflow.sims.push_t_physics import PushTState, control_step, rounded

REST = PushTState(100.0, 100.0, 256.0, 256.0, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0)


def made(**changes: float) -> PushTState:
    return rounded(REST._replace(**changes))


def test_gymnasium_accepts_it() -> None:
    check_env(PushTEnv(image_size=16), skip_render_check=True)


def test_the_canonical_pair() -> None:
    env = PushTEnv(randomise=False)
    env.reset(seed=0)
    assert env.state == CANONICAL_START
    assert env.goal == CANONICAL_GOAL
    assert env.distance() == pytest.approx(math.hypot(144.0, 156.0))


def test_the_controller_is_the_pd_rule() -> None:
    """By hand: v += (100 * (target - x) - 20 v) * .01, x += v * .01, ten times."""
    env = PushTEnv()
    env.state = made(agent_vx=30.0)
    env.advance(np.array([0.5, -0.2]))
    x, v = np.array([100.0, 100.0]), np.array([30.0, 0.0])
    target = x + np.array([50.0, -20.0])
    for _ in range(10):
        v = v + (100.0 * (target - x) - 20.0 * v) * 0.01
        x = x + v * 0.01
    np.testing.assert_allclose(env.get_state()[[0, 1, 5, 6]], [*x, *v], rtol=1e-5)


def test_rest_stays_at_rest() -> None:
    env = PushTEnv()
    for seed in range(20):
        env.reset(seed=seed)
        before = env.get_state()
        for _ in range(5):
            env.advance(env.still_action())
        assert np.array_equal(env.get_state(), before)


def test_a_push_moves_the_block_and_it_stops_at_once_when_the_push_ends() -> None:
    env = PushTEnv()
    env.state = made(agent_x=160.0, agent_y=290.0, block_angle=0.0)
    while env.state.block_x == 256.0:
        env.advance(np.array([0.5, 0.0]))
    assert env.state.block_x > 256.0
    env.advance(np.array([-1.0, 0.0]))
    env.advance(np.array([-1.0, 0.0]))
    before = env.block
    for _ in range(3):
        env.advance(env.still_action())
    assert env.block == before


def test_a_mirrored_push_gives_the_mirrored_motion() -> None:
    """Left and right are the same, to rounding: nothing in the world prefers a side."""
    config = PushTConfig(contain_agent=False)
    one = rounded((200.0, 200.0, 256.0, 256.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0))
    other = rounded((-200.0 + 511.0, 200.0, -256.0 + 511.0, 256.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0))
    moved = False
    for _ in range(8):
        one, other = control_step(config, one, (0.6, 0.4)), control_step(config, other, (-0.6, 0.4))
        moved |= one.block_x != 256.0
        assert one.block_x == pytest.approx(511.0 - other.block_x, abs=0.01)
        assert one.block_y == pytest.approx(other.block_y, abs=0.01)
        assert math.cos(one.block_angle + other.block_angle) == pytest.approx(1.0, abs=1e-6)
    assert moved


def test_the_walls_contain_the_agent_and_the_block_comes_back_from_them() -> None:
    config, rng = PushTConfig(), np.random.default_rng(0)
    env = PushTEnv(image_size=8)
    low, high = config.low + config.agent_radius, config.high - config.agent_radius
    for seed in range(6):
        env.reset(seed=seed)
        for t in range(60):
            aim = np.array(env.block[:2]) - np.array(env.agent) + rng.normal(0.0, 20.0, 2)
            env.advance(np.clip(aim / max(np.abs(aim).max(), 1.0), -1.0, 1.0) if t % 5 else rng.uniform(-1, 1, 2))
            assert low - 1e-3 <= min(env.agent) and max(env.agent) <= high + 1e-3
            env.set_state(env.get_state())  # whatever the press, its states are states of this world
        clear = env.state._replace(agent_x=-500.0, agent_y=-500.0)
        loose = PushTConfig(contain_agent=False)
        for _ in range(40):
            clear = control_step(loose, clear, (0.0, 0.0))
        corners = outline(config, clear[2:5])
        assert corners.min() > config.low - 1.0 and corners.max() < config.high + 1.0


def test_without_containment_the_agent_leaves_as_upstream() -> None:
    env = PushTEnv(config=PushTConfig(contain_agent=False))
    env.state = made(agent_x=30.0)
    for _ in range(5):
        env.advance(np.array([-1.0, 0.0]))
    assert env.state.agent_x < -30.0
    env.set_state(env.get_state())


def test_the_same_seed_gives_the_same_episode() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (20, 2))

    def episode(seed: int) -> list[list[float]]:
        env = PushTEnv(image_size=16)
        env.reset(seed=seed)
        return [env.step(action)[4]["state"].tolist() for action in actions]

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


def test_a_state_set_again_gives_the_same_pixels_and_the_same_future_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    first, second = PushTEnv(image_size=32), PushTEnv(image_size=32)
    first.reset(seed=1)
    touched = 0
    for _ in range(150):
        aim = np.array(first.block[:2]) - np.array(first.agent) + rng.normal(0.0, 60.0, 2)
        action = np.clip(aim / 100.0, -1.0, 1.0).astype(np.float32)
        second.set_state(first.get_state())
        assert np.array_equal(first.observation()["pixels"], second.observation()["pixels"])
        first.step(action)
        second.step(action)
        touched += any(first.state[7:])
        assert np.array_equal(first.get_state(), second.get_state())
    assert touched > 30


def test_starts_are_where_they_should_be_and_nothing_overlaps() -> None:
    env = PushTEnv(image_size=8)
    states = []
    for seed in range(100):
        env.reset(seed=seed)
        states.append(env.get_state())
        assert distance_to_block(env.config, env.block, np.array([env.agent]))[0] > env.config.agent_radius
    table = np.array(states)
    assert 50.0 <= table[:, :2].min() < 80.0 and 420.0 < table[:, :2].max() <= 450.0
    assert 100.0 <= table[:, 2:4].min() < 130.0 and 370.0 < table[:, 2:4].max() <= 400.0
    assert np.histogram(table[:, 4], 4, (0.0, 2 * math.pi))[0].min() > 10
    assert (table[:, 5:] == 0.0).all()


@pytest.mark.parametrize(
    ("offset", "turn", "arrived"),
    [
        ((19.9, 0.0, 0.0, 0.0), 0.0, True),
        ((20.0, 0.0, 0.0, 0.0), 0.0, False),
        ((0.0, 0.0, 0.0, -19.9), 0.0, True),
        ((0.0, 0.0, 0.0, -20.1), 0.0, False),
        ((9.9, 9.9, 9.9, 9.9), 0.0, True),
        ((10.1, 10.0, 10.0, 10.0), 0.0, False),
        ((0.0, 0.0, 0.0, 0.0), math.pi / 9 - 1e-3, True),
        ((0.0, 0.0, 0.0, 0.0), math.pi / 9 + 1e-3, False),
        ((0.0, 0.0, 0.0, 0.0), -math.pi / 9 + 1e-3, True),
        ((0.0, 0.0, 0.0, 0.0), 2 * math.pi - 0.1, True),
    ],
)
def test_success_is_20_px_together_and_20_degrees(offset: tuple[float, ...], turn: float, arrived: bool) -> None:
    env = PushTEnv()
    env.set_state(np.array(REST))
    goal = np.array(REST)
    goal[:4] += offset
    goal[4] += turn
    env.set_goal(goal)
    assert env.distance() == pytest.approx(math.hypot(*offset))
    assert env.is_success() is arrived
    _, reward, terminated, _, _ = env.step(env.still_action())
    assert (reward, terminated) == (float(arrived), arrived)


def test_velocities_do_not_count_for_success() -> None:
    env = PushTEnv()
    env.set_state(np.array(REST))
    env.set_goal(np.array(made(agent_vx=300.0, block_turn=2.0)))
    assert env.is_success()


@pytest.mark.parametrize(
    "state",
    [[1.0, 2.0], [*REST[:9], math.nan], [*made(agent_x=2.0)], [*made(block_x=-200.0)], [*made(agent_y=700.0)]],
)
def test_a_state_that_cannot_be_is_refused(state: list[float]) -> None:
    with pytest.raises(JepaflowError, match="Give a state"):
        PushTEnv().set_state(np.array(state))


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((1, 2)), np.array([math.nan, 0.0])])
def test_an_action_that_cannot_be_is_refused(action: np.ndarray) -> None:
    env = PushTEnv()
    with pytest.raises(JepaflowError, match="Give"):
        env.step(action)


def test_the_world_says_what_its_numbers_are() -> None:
    env = PushTEnv()
    assert env.state_names[:7] == (
        "agent_x", "agent_y", "block_x", "block_y", "block_angle", "agent_vx", "agent_vy",
    )  # fmt: skip
    assert len(env.state_names) == len(env.get_state()) == 10
    observation = env.reset(seed=0)[0]
    assert [env.get_state()[env.state_names.index(name)] for name in env.proprio_names] == pytest.approx(
        observation["state"]
    )
    assert (env.fps, env.cameras, env.camera) == (10.0, ("top",), "top")
    np.testing.assert_allclose(places(np.array([REST]))[0], [0.5, 0.5])


def test_an_angle_just_below_zero_stays_below_a_turn() -> None:
    assert 0.0 <= made(block_angle=-1e-9).block_angle < 2 * math.pi
