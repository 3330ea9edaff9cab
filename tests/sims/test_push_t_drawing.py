"""Push-T's picture against an exact reference: point in polygon, 8 x 8 samples a pixel."""

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t import PushTEnv
from jepaflow.sims.push_t_drawing import AGENT, BLOCK, FLOOR, GOAL, PushTPainter
from jepaflow.sims.push_t_geometry import PushTConfig, outline
from tests.sims.test_push_t_geometry import crossings

CONFIG = PushTConfig()
SAMPLES = 8


def reference(size: int, agent: tuple[float, float], pose: tuple[float, float, float]) -> np.ndarray:
    """The picture of block and agent on an endless white floor, (S, S, 3) float."""
    axis = (np.arange(size * SAMPLES) + 0.5) * (512.0 / (size * SAMPLES))
    points = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)

    def share(inside: np.ndarray) -> np.ndarray:
        return inside.reshape(size, SAMPLES, size, SAMPLES).mean((1, 3))[..., None]

    tee = share(crossings(points, outline(CONFIG, pose)))
    disc = share(np.hypot(*(points - np.array(agent)).T) < CONFIG.agent_radius)
    picture = FLOOR + tee * (BLOCK - FLOOR)
    return picture + disc * (AGENT - picture)


@pytest.mark.parametrize(
    ("size", "pose"),
    [
        (64, (250.0, 200.0, 0.0)),
        (64, (243.3, 251.7, 0.4)),
        (64, (300.0, 280.2, np.pi / 4)),
        (96, (200.0, 250.0, 3.9)),
        (224, (243.3, 251.7, 0.4)),
    ],
)
def test_the_picture_is_the_exact_one_to_the_eye(size: int, pose: tuple[float, float, float]) -> None:
    agent = (80.3, 390.9)
    picture = PushTPainter(CONFIG, size).draw(agent, pose).astype(float)
    edge = 2 * size // 64 + 1
    error = np.abs(picture - reference(size, agent, pose))[edge:-edge, edge:-edge]
    contrast = float((FLOOR - BLOCK).max())
    assert error.max() < 0.25 * contrast  # at corners, where two ramps are multiplied
    wrong = error.max(-1)
    assert wrong[wrong > 2.0].size < 0.6 * np.count_nonzero(reference(size, agent, pose).min(-1) < 254.0)
    assert error.mean() < 0.004 * contrast


def test_the_block_is_solid_where_its_bars_meet() -> None:
    for angle in np.linspace(0.0, 6.0, 23):
        pose = (250.0, 250.0, float(angle))
        picture = PushTPainter(CONFIG, 128).draw((40.0, 40.0), pose)
        seam = CONFIG.scale * np.stack([np.linspace(-0.3, 0.3, 9), np.ones(9)], 1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        columns, rows = ((seam @ turn.T + 250.0) * 128 / 512).astype(int).T
        assert np.abs(picture[rows, columns].astype(float) - BLOCK).max() <= 1.0


def test_the_agent_covers_the_block_and_the_block_the_ghost() -> None:
    painter, pose = PushTPainter(CONFIG, 64), (256.0, 200.0, 0.0)
    assert painter.draw((256.0, 260.0), pose, pose)[32, 32].tolist() == AGENT.tolist()
    assert painter.draw((50.0, 50.0), pose, pose)[32, 32].tolist() == BLOCK.tolist()
    assert painter.draw((50.0, 50.0), (100.0, 400.0, 0.0), pose)[32, 32].tolist() == GOAL.tolist()


def test_the_goal_is_in_the_observation_only_when_asked_for() -> None:
    def look(draw_goal: bool, goal_x: float) -> np.ndarray:
        env = PushTEnv(config=PushTConfig(draw_goal=draw_goal), randomise=False)
        env.reset(seed=0)
        goal = env.get_state()
        goal[2] = goal_x
        env.set_goal(goal)
        return env.observation()["pixels"]

    assert np.array_equal(look(False, 200.0), look(False, 300.0))
    assert not np.array_equal(look(True, 200.0), look(True, 300.0))
    shown = PushTEnv(render_mode="rgb_array")
    shown.reset(seed=0)
    rendered = shown.render()
    assert rendered is not None and not np.array_equal(rendered, shown.observation()["pixels"])
    assert PushTEnv().render() is None


def test_a_tenth_of_a_px_and_a_degree_are_visible_at_64_px() -> None:
    painter = PushTPainter(CONFIG, 64)
    one = painter.draw((100.0, 100.0), (256.0, 256.0, 0.5))
    assert not np.array_equal(one, painter.draw((100.5, 100.0), (256.0, 256.0, 0.5)))
    assert not np.array_equal(one, painter.draw((100.0, 100.0), (256.4, 256.0, 0.5)))
    assert not np.array_equal(one, painter.draw((100.0, 100.0), (256.0, 256.0, 0.5 + np.pi / 180)))


def test_walls_are_drawn_at_the_edge_and_things_outside_do_no_harm() -> None:
    picture = PushTPainter(CONFIG, 512).draw((-300.0, 900.0), (-400.0, 256.0, 0.0))
    assert (picture[256, 4:6] == 211).all() and (picture[256, 8:503] == 255).all()
    assert (picture[256, 505:507] == 211).all()


@pytest.mark.parametrize("size", [8, 9, 64, 224])
def test_pictures_of_every_size(size: int) -> None:
    picture = PushTEnv(image_size=size).reset(seed=0)[0]["pixels"]
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_a_picture_too_small_to_show_anything_is_refused() -> None:
    with pytest.raises(JepaflowError, match="at least 8"):
        PushTEnv(image_size=7)
