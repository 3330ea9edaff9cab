"""The Reacher's picture against an exact reference: distance to each capsule, 8 x 8 samples a pixel."""

import math

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.reacher import ReacherEnv
from jepaflow.sims.reacher_drawing import (
    ARM_COLOUR,
    FINGER_COLOUR,
    FLOOR,
    HAND_COLOUR,
    ROOT,
    ROOT_RADIUS,
    TILE,
    TILE_SIZE,
    VIEW,
    ReacherPainter,
    finger_places,
)
from jepaflow.sims.reacher_model import RADIUS, joints

SAMPLES = 8


def reference(size: int, pose: tuple[float, float]) -> np.ndarray:
    """The picture, (S, S, 3) float."""
    axis = (np.arange(size * SAMPLES) + 0.5) * (2.0 * VIEW / (size * SAMPLES))
    x, y = np.meshgrid(axis, axis)
    odd = (np.floor(x / TILE_SIZE) + np.floor(y / TILE_SIZE)) % 2 == 0
    points = np.stack([x - VIEW, VIEW - y], -1)

    def shrink(picture: np.ndarray) -> np.ndarray:
        return picture.reshape(size, SAMPLES, size, SAMPLES, -1).mean((1, 3))

    picture = shrink(np.where(odd[..., None], TILE, FLOOR))
    base, elbow, tip, finger = joints(*pose)
    for a, b, radius, colour in (
        (base, elbow, RADIUS, ARM_COLOUR),
        (base, base, ROOT_RADIUS, ROOT),
        (elbow, tip, RADIUS, HAND_COLOUR),
        (finger, finger, RADIUS, FINGER_COLOUR),
    ):
        line = b - a
        share = np.clip(((points - a) @ line) / max(float(line @ line), 1e-12), 0.0, 1.0)
        inside = np.hypot(*np.moveaxis(points - (a + share[..., None] * line), -1, 0)) < radius
        picture += shrink(inside[..., None].astype(float)) * (colour - picture)
    return picture


@pytest.mark.parametrize(("size", "pose"), [(64, (0.0, 0.0)), (64, (0.7, 2.7)), (96, (-2.3, -1.1)), (224, (0.7, 2.7))])
def test_the_picture_is_the_exact_one_to_the_eye(size: int, pose: tuple[float, float]) -> None:
    error = np.abs(ReacherPainter(size).draw(pose) - reference(size, pose))
    contrast = float((HAND_COLOUR - FLOOR).max())
    assert error.max() < 0.25 * contrast  # at the round ends of something two pixels wide
    assert error.mean() < 0.004 * contrast


def test_the_picture_shows_no_target_and_render_does() -> None:
    env = ReacherEnv(render_mode="rgb_array", randomise=False)
    env.reset(seed=0)
    before = env.observation()["pixels"]
    env.set_goal(np.array([1.0, 1.0, 0.0, 0.0]))
    assert np.array_equal(env.observation()["pixels"], before)
    shown = env.render()
    assert shown is not None and not np.array_equal(shown, before)
    assert ReacherEnv().render() is None


def test_poses_are_told_apart_at_64_px_well_below_the_threshold() -> None:
    painter, rng = ReacherPainter(64), np.random.default_rng(0)
    for _ in range(20):
        shoulder, wrist = rng.uniform(-2.5, 2.5, 2).tolist()
        one = painter.draw((shoulder, wrist)).astype(int)
        for other in ((shoulder + 0.02, wrist), (shoulder, wrist + 0.02)):
            assert np.abs(painter.draw(other).astype(int) - one).sum() > 100


def test_the_finger_is_where_the_places_say() -> None:
    poses = np.array([[[0.3, -1.0, 0.0, 0.0], [-2.0, 2.0, 0.0, 0.0]]])
    shares = finger_places(poses)
    assert shares.shape == (1, 2, 2)
    for pose, (x, y) in zip(poses[0], shares[0]):
        picture = ReacherPainter(224).draw((pose[0], pose[1]))
        assert picture[int(y * 224), int(x * 224)].tolist() == FINGER_COLOUR.tolist()


def test_angles_turn_counterclockwise_as_seen() -> None:
    picture = ReacherPainter(224).draw((math.pi / 2, 0.0))
    assert picture[112 - 25, 112].tolist() == ARM_COLOUR.tolist()  # .06 m up is above the middle


@pytest.mark.parametrize("size", [8, 9, 64, 224])
def test_pictures_of_every_size(size: int) -> None:
    picture = ReacherEnv(image_size=size).reset(seed=0)[0]["pixels"]
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_a_picture_too_small_to_show_anything_is_refused() -> None:
    with pytest.raises(JepaflowError, match="at least 8"):
        ReacherEnv(image_size=7)
