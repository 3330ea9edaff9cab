"""Routes: rooms in order, loops cut; the exact sampler takes several where Yen keeps to one."""

import numpy as np
import pytest

from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.routes import entropy, route_of, routes
from jepaflow.subgoals.shortest import k_shortest
from jepaflow.subgoals.walks import walks_of


@pytest.mark.parametrize(
    "labels,route",
    [
        ([], ()),
        ([3], (3,)),
        ([0, 0, 1, 1, 2], (0, 1, 2)),
        ([0, 1, 0, 2], (0, 2)),
        ([0, 1, 2, 1, 3], (0, 1, 3)),
        ([0, 1, 0], (0,)),
    ],
)
def test_loops_are_cut(labels: list[int], route: tuple[int, ...]) -> None:
    assert route_of(labels) == route


def test_entropy_of_classes() -> None:
    assert entropy([]) == 0 and entropy([(0,)] * 5) == 0
    assert entropy([(0,), (1,)] * 5) == pytest.approx(np.log(2))


def test_samples_take_several_routes_and_yen_s_walks_few() -> None:
    rooms = make_rooms(RoomsConfig(72, 3, 3))
    graph = rooms.graph
    corner = {room: int(np.flatnonzero(rooms.room == room)[-1]) for room in (0, 8)}
    flows = solve(graph, np.array([corner[8]]), 20, 1.0)
    many = flows.sample(np.full(100, corner[0]), np.zeros(100, np.int64), np.random.default_rng(0))
    ours = set(routes(many, rooms.room))
    yen = set(routes(k_shortest(graph, corner[0], corner[8], 100), rooms.room))
    assert all(route[0] == 0 and route[-1] == 8 for route in ours | yen)
    assert len(ours) > len(yen)
    assert routes(walks_of([[], [corner[0]]]), rooms.room) == [(), (0,)]
