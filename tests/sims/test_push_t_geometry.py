"""The T: areas and centres by hand, distances against brute force, contacts on the outline, pushes as predicted."""

import math

import numpy as np
import pymunk
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.push_t import PushTEnv
from jepaflow.sims.push_t_expert import Pusher
from jepaflow.sims.push_t_geometry import (
    BARS,
    OUTLINE,
    PushTConfig,
    angle_difference,
    centre,
    contacts,
    distance_to_block,
    outline,
    to_block,
    to_window,
)
from jepaflow.sims.push_t_physics import rounded
from jepaflow.sims.push_t_route import find_way, make_push, predict

CONFIG = PushTConfig()


def crossings(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Point in polygon by counting the edges that a ray to the right crosses."""
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
        if y0 == y1:
            continue
        across = (points[:, 1] >= min(y0, y1)) & (points[:, 1] < max(y0, y1))
        inside ^= across & (points[:, 0] < x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0))
    return inside


def test_the_t_is_two_bars_of_120_by_30_and_30_by_90() -> None:
    sizes = [((r - x) * CONFIG.scale, (b - y) * CONFIG.scale) for x, y, r, b in BARS]
    assert sizes == [(120.0, 30.0), (30.0, 90.0)]
    corners = CONFIG.scale * np.array(OUTLINE)
    x, y = corners.T
    shoelace = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    assert shoelace == pytest.approx(120 * 30 + 30 * 90)


def test_the_centre_of_gravity_is_the_mean_of_the_bars_centres() -> None:
    # by hand: the bars' centres are (0, 15) and (0, 75), their plain mean is (0, 45)
    assert centre(CONFIG, (0.0, 0.0, 0.0)) == pytest.approx([0.0, 45.0])
    assert centre(CONFIG, (100.0, 200.0, math.pi / 2)) == pytest.approx([55.0, 200.0])


def test_the_moment_is_upstreams() -> None:
    top_bar = [(-60, 30), (60, 30), (60, 0), (-60, 0)]
    assert CONFIG.moment == pytest.approx(2 * pymunk.moment_for_poly(1.0, top_bar)) == pytest.approx(3000.0)


def test_the_distance_is_the_distance_to_the_outline_outside_and_negative_inside() -> None:
    rng, pose = np.random.default_rng(0), (250.0, 240.0, 0.7)
    corners = outline(CONFIG, pose)
    points = rng.uniform(120.0, 400.0, (4000, 2))
    away = distance_to_block(CONFIG, pose, points)
    along = np.linspace(0.0, 1.0, 400)[:, None]
    rim = np.concatenate([a + along * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0))])
    brute = np.sqrt(((points[:, None] - rim[None]) ** 2).sum(-1).min(1))
    inside = crossings(points, corners)
    assert inside.sum() > 100
    assert np.array_equal(inside, away < 0.0)
    np.testing.assert_allclose(away[~inside], brute[~inside], atol=0.1)
    assert (-away[inside] <= brute[inside] + 1e-6).all()


def test_the_two_frames_are_inverse() -> None:
    points, pose = np.random.default_rng(0).normal(size=(5, 2)) * 50, (30.0, -7.0, 2.0)
    np.testing.assert_allclose(to_block(pose, to_window(pose, points)), points, atol=1e-12)


@pytest.mark.parametrize(("one", "other", "result"), [(0.1, 6.2, 0.183185), (6.2, 0.1, -0.183185), (3.0, 1.0, 2.0)])
def test_angles_are_compared_modulo_a_turn(one: float, other: float, result: float) -> None:
    assert angle_difference(one, other) == pytest.approx(result, abs=1e-6)


def test_contacts_lie_on_the_outline_and_their_normals_point_out() -> None:
    places, normals = contacts(CONFIG)
    assert len(places) > 20
    still = (0.0, 0.0, 0.0)
    np.testing.assert_allclose(distance_to_block(CONFIG, still, places), 0.0, atol=1e-9)
    radius = CONFIG.agent_radius
    np.testing.assert_allclose(distance_to_block(CONFIG, still, places + radius * normals), radius, atol=1e-9)
    assert len({(round(x), round(y)) for x, y in normals}) == 4


@pytest.mark.parametrize("contact", [0, 5, 11, 14, 18, 22])
def test_a_push_does_what_the_closed_form_says(contact: int) -> None:
    env = PushTEnv(image_size=8)
    env.state = rounded((60.0, 60.0, 256.0, 256.0, 0.4 + contact, 0.0, 0.0, 0.0, 0.0, 0.0))
    expected = predict(CONFIG, env.block, contact, 15.0)
    pusher = Pusher(env, np.random.default_rng(0))
    pusher.begin(make_push(CONFIG, env.block, np.array(env.agent), contact, 15.0))
    while not pusher.idle:
        env.advance(pusher.follow())
    assert math.dist(env.block[:2], expected[:2]) < 4.0
    assert abs(angle_difference(env.block[2], expected[2])) < 0.05
    assert math.dist(env.block[:2], (256.0, 256.0)) + 55 * abs(angle_difference(env.block[2], 0.4 + contact)) > 7.0


def test_ways_keep_clear_of_the_block_and_the_walls() -> None:
    rng, found = np.random.default_rng(0), 0
    env = PushTEnv(image_size=8)
    for seed in range(40):
        env.reset(seed=seed)
        end = rng.uniform(25.0, 485.0, 2)
        if distance_to_block(CONFIG, env.block, end[None])[0] < 20.0:
            continue
        way = find_way(CONFIG, env.block, np.array(env.agent), end)
        if way is None:
            continue
        found += 1
        assert np.array_equal(way[-1], end)
        legs = np.array([env.agent, *way])
        first = 1 if len(way) > 1 and distance_to_block(CONFIG, env.block, legs[:1])[0] < 18.0 else 0
        for a, b in zip(legs[first:], legs[first + 1 :]):
            assert (distance_to_block(CONFIG, env.block, np.linspace(a, b, 50)) > CONFIG.agent_radius).all()
        assert (legs >= CONFIG.low + CONFIG.agent_radius - 1e-3).all()
    assert found > 25


def test_a_place_in_the_wall_has_no_way() -> None:
    assert find_way(CONFIG, (256.0, 256.0, 0.0), np.array([60.0, 60.0]), np.array([5.0, 60.0])) is None


@pytest.mark.parametrize(
    "sizes",
    [
        {"scale": 0.0},
        {"scale": 90.0},
        {"agent_radius": -1.0},
        {"k_p": 0.0},
        {"k_v": -1.0},
        {"dt": math.nan},
        {"substeps": 0},
        {"wall": 200.0},
        {"success_distance": 0.0},
        {"success_angle": 0.0},
    ],
)
def test_a_world_that_makes_no_sense_is_refused(sizes: dict) -> None:
    with pytest.raises(JepaflowError, match=r"Push-T|does not fit"):
        PushTConfig(**sizes)
