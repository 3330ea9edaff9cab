"""The disc among the walls: what may never happen, and what a person expects."""

import math

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.disc import move, penetration, random_free_point
from jepaflow.sims.two_room_geometry import TwoRoomConfig, waypoint

CONFIG = TwoRoomConfig()
WALLS = CONFIG.walls()
WORLDS = [
    CONFIG,
    TwoRoomConfig(doors=(49.0, 112.0, 175.0)),
    TwoRoomConfig(radius=13.0, speed=10.5),
    TwoRoomConfig(speed=1.75),
    TwoRoomConfig(doors=(40.0, 60.0)),  # two doors that overlap are one wide door
]


@pytest.mark.parametrize(
    "sizes",
    [
        {"doors": ()},
        {"radius": 0.0},
        {"speed": -1.0},
        {"success_distance": 0.0},
        {"door_half_width": 7.0},
        {"doors": (20.0,)},
        {"wall_x": 30.0},
    ],
)
def test_a_world_that_cannot_be_walked_is_refused(sizes: dict) -> None:
    with pytest.raises(JepaflowError):
        TwoRoomConfig(**sizes)


def test_the_walls_leave_exactly_the_doors_open() -> None:
    assert WALLS == ((107.0, 0.0, 117.0, 35.0), (107.0, 63.0, 117.0, 224.0))
    assert TwoRoomConfig(doors=(40.0, 60.0)).walls() == ((107.0, 0.0, 117.0, 26.0), (107.0, 74.0, 117.0, 224.0))


def test_penetration_is_the_depth_of_the_overlap() -> None:
    assert penetration(CONFIG, (60.0, 112.0)) == 0.0
    assert penetration(CONFIG, (100.0, 112.0)) == 0.0  # touching
    assert penetration(CONFIG, (101.0, 112.0)) == pytest.approx(1.0)
    assert penetration(CONFIG, (19.0, 112.0)) == pytest.approx(2.0)
    assert penetration(CONFIG, (112.0, 112.0)) == pytest.approx(12.0)  # wall centre: half thickness + radius
    corner = (107.0 - 7.0 * math.sqrt(0.5), 63.0 - 7.0 * math.sqrt(0.5))
    assert penetration(CONFIG, corner) == pytest.approx(0.0, abs=1e-9)


def test_no_move_is_no_move() -> None:
    for point in [(60.0, 112.0), (100.0, 112.0), (112.0, 49.0), (21.0, 21.0)]:
        assert move(CONFIG, WALLS, point, (0.0, 0.0)) == point


@pytest.mark.parametrize("config", WORLDS)
def test_it_is_never_inside_a_wall_and_changes_rooms_only_through_a_door(config: TwoRoomConfig) -> None:
    rng, walls = np.random.default_rng(0), config.walls()
    reach = config.wall_thickness / 2 + config.radius
    crossings = 0
    for _ in range(40):
        point = random_free_point(config, rng)
        for _ in range(60):
            wish = config.speed * rng.uniform(-1.0, 1.0, 2)
            after = move(config, walls, point, (float(wish[0]), float(wish[1])))
            assert penetration(config, after) < 1e-6
            assert math.dist(point, after) < math.hypot(*wish) + config.radius  # no jump to the other side
            if abs(after[0] - config.wall_x) < config.wall_thickness / 2:
                assert any(abs(after[1] - door) < config.door_half_width for door in config.doors)
            crossings += (point[0] < config.wall_x) != (after[0] < config.wall_x)
            if (point[0] < config.wall_x) != (after[0] < config.wall_x):
                assert abs(point[0] - config.wall_x) < reach
            point = after
    assert crossings > 0 or config.speed < 2.0


@pytest.mark.parametrize("length", [5.0, 50.0, 500.0])
def test_no_speed_tunnels_through_the_wall(length: float) -> None:
    assert move(CONFIG, WALLS, (60.0, 150.0), (length, 0.0))[0] == pytest.approx(min(60.0 + length, 100.0))


def test_it_slides_along_a_wall() -> None:
    x, y = move(CONFIG, WALLS, (100.0, 150.0), (5.0, 3.0))
    assert (x, y) == pytest.approx((100.0, 153.0))
    assert move(CONFIG, WALLS, (203.0, 100.0), (5.0, -4.0)) == pytest.approx((203.0, 96.0))


def test_it_rolls_round_the_door_corner_into_the_doorway() -> None:
    point = (100.0, 60.0)  # too low to pass straight, but the corner guides it
    for _ in range(12):
        point = move(CONFIG, WALLS, point, (5.0, 0.0))
    assert point[0] > 124.0


def test_straight_through_the_door_costs_nothing() -> None:
    point = (90.0, 49.0)
    for _ in range(8):
        point = move(CONFIG, WALLS, point, (5.0, 0.0))
    assert point == pytest.approx((130.0, 49.0))


def test_the_way_through_the_door_leads_from_anywhere_to_anywhere() -> None:
    rng = np.random.default_rng(1)
    for config in WORLDS:
        walls = config.walls()
        for _ in range(15):
            here, target = random_free_point(config, rng), random_free_point(config, rng)
            for _ in range(int(600 / config.speed)):
                x, y = waypoint(config, here, target)
                length = max(math.dist(here, (x, y)), 1e-9)
                shrink = min(1.0, config.speed / length)
                here = move(config, walls, here, ((x - here[0]) * shrink, (y - here[1]) * shrink))
            assert math.dist(here, target) < 1.0
