"""Two-Room as an environment: Gymnasium's contract, exact states, and the picture."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import jepaflow.sims  # noqa: F401  (registers the environment)
from jepaflow.common.errors import JepaflowError
from jepaflow.sims.two_room import TwoRoomEnv
from jepaflow.sims.two_room_geometry import TwoRoomConfig


def test_gymnasium_accepts_it() -> None:
    env = gymnasium.make("jepaflow/TwoRoom-v0", image_size=32, render_mode="rgb_array")
    check_env(env.unwrapped)


def test_the_canonical_pair() -> None:
    env = TwoRoomEnv(randomise=False)
    env.reset(seed=0)
    assert env.get_state().tolist() == [60.0, 112.0, 164.0, 112.0]
    _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    assert env.agent == (65.0, 112.0)
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["distance"] == pytest.approx(99.0)


@pytest.mark.parametrize(("offset", "arrived"), [(15.99, True), (16.0, False), (16.01, False)])
def test_success_is_nearer_than_16_px(offset: float, arrived: bool) -> None:
    env = TwoRoomEnv()
    env.reset(options={"state": np.array([40.0, 150.0, 40.0, 150.0 - offset])})
    assert env.is_success() is arrived
    _, reward, terminated, _, _ = env.step(np.zeros(2))
    assert (reward, terminated) == (float(arrived), arrived)


def test_actions_are_clipped_to_the_box() -> None:
    env = TwoRoomEnv(randomise=False)
    env.reset(seed=0)
    env.advance(np.array([100.0, -100.0]))
    assert env.agent == (65.0, 107.0)


def test_the_same_seed_gives_the_same_episode() -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (50, 2))

    def episode(seed: int) -> list[list[float]]:
        env = TwoRoomEnv(image_size=16)
        env.reset(seed=seed)
        return [env.step(action)[4]["state"].tolist() for action in actions]

    assert episode(3) == episode(3)
    assert episode(3) != episode(4)


def test_a_state_set_again_gives_the_same_pixels_and_the_same_future_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    first, second = TwoRoomEnv(image_size=32), TwoRoomEnv(image_size=32)
    first.reset(seed=1)
    for _ in range(200):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        second.set_state(first.get_state())
        assert np.array_equal(first.observation()["pixels"], second.observation()["pixels"])
        first.step(action)
        second.step(action)
        assert np.array_equal(first.get_state(), second.get_state())


@pytest.mark.parametrize(
    "state", [[1.0, 2.0], [np.nan, 60.0, 60.0, 60.0], [112.0, 150.0, 60.0, 60.0], [0.0, 0.0, 60.0, 60.0]]
)
def test_a_state_that_cannot_be_is_refused(state: list[float]) -> None:
    with pytest.raises(JepaflowError):
        TwoRoomEnv().set_state(np.array(state))


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((1, 2)), np.array([np.nan, 0.0])])
def test_an_action_that_cannot_be_is_refused(action: np.ndarray) -> None:
    env = TwoRoomEnv()
    env.reset(seed=0)
    with pytest.raises(JepaflowError):
        env.step(action)


@pytest.mark.parametrize("size", [8, 9, 64, 224])
def test_pictures_of_every_size(size: int) -> None:
    env = TwoRoomEnv(image_size=size)
    picture = env.reset(seed=0)[0]["pixels"]
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_a_picture_too_small_to_show_anything_is_refused() -> None:
    with pytest.raises(JepaflowError):
        TwoRoomEnv(image_size=7)


def test_the_picture_shows_the_agent_where_it_is_and_never_the_target() -> None:
    env = TwoRoomEnv(image_size=224)
    env.set_state(np.array([60.25, 112.5, 160.0, 160.0]))
    picture = env.observation()["pixels"].astype(float)
    red = (255.0 - picture[..., 1]) * (picture[..., 0] > 200)  # weight: how far from the white floor
    ys, xs = np.mgrid[:224, :224] + 0.5
    assert (red * xs).sum() / red.sum() == pytest.approx(60.25, abs=0.05)
    assert (red * ys).sum() / red.sum() == pytest.approx(112.5, abs=0.05)
    assert red.sum() / 225.0 == pytest.approx(np.pi * 49.0, rel=0.02)
    env.set_goal(np.array([30.0, 30.0]))
    assert np.array_equal(env.observation()["pixels"], picture.astype(np.uint8))
    seen = TwoRoomEnv(image_size=224, render_mode="rgb_array")
    seen.set_state(np.array([60.25, 112.5, 160.0, 160.0]))
    rendered = seen.render()
    assert rendered is not None
    assert not np.array_equal(rendered, picture.astype(np.uint8))


def test_a_thirtieth_of_a_pixel_is_visible_at_64_px() -> None:
    """Anti-aliasing: motion far below a pixel changes the picture, so a small picture still tells positions apart."""
    env = TwoRoomEnv(image_size=64)
    pictures = []
    for x in (60.0, 60.1):
        env.set_state(np.array([x, 112.0, 160.0, 160.0]))
        pictures.append(env.observation()["pixels"])
    assert not np.array_equal(*pictures)


def test_door_and_walls_are_drawn_where_they_are() -> None:
    picture = TwoRoomEnv(image_size=224, config=TwoRoomConfig(doors=(100.0,))).reset(seed=0)[0]["pixels"]
    column = picture[:, 112].sum(-1)
    assert set(np.flatnonzero(column > 600)) == set(range(86, 114))
    row = picture[180].sum(-1)
    dark = {int(x) for x in np.flatnonzero(row < 200)}
    assert dark == set(range(14)) | set(range(107, 117)) | set(range(210, 224))
