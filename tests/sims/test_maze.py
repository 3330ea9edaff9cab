"""The maze: walls and doors, exact states, shut doors, the shortest way, and who walks it."""

import math
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import jepaflow.sims  # noqa: F401  (registers the environment)
from jepaflow.cli import convert
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.sims.collect import CollectConfig, collect
from jepaflow.sims.disc import penetration, random_free_point
from jepaflow.sims.geodesic import Geodesic
from jepaflow.sims.maze import MazeEnv, MazeExpert, geodesic
from jepaflow.sims.maze_geometry import MazeConfig
from jepaflow.sims.registry import find_world
from jepaflow.sims.two_room_geometry import TwoRoomConfig

CONFIG = MazeConfig()


def walled(agent: tuple[float, float], shut: tuple[int, ...] = ()) -> MazeEnv:
    """Return a maze with the agent somewhere and doors shut."""
    env = MazeEnv(image_size=64)
    env.reset(seed=0)
    env.agent = agent
    env.shut(shut)
    return env


def test_gymnasium_accepts_it() -> None:
    check_env(gymnasium.make("jepaflow/Maze-v0", image_size=32, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"doors": ()}, "cannot be reached"),
        ({"rooms": 0}, "of 0 rooms"),
        ({"rooms": 8, "doors": ()}, "too little"),
        ({"doors": ((0, 5),)}, "0-5 joins no two"),
        ({"doors": ((3, 4),)}, "3-4 joins no two"),
        ({"doors": ((0, 1), (0, 1))}, "twice"),
        ({"door_half_width": 7.0}, "too narrow"),
        ({"speed": 0.0}, "above 0"),
    ],
)
def test_a_maze_that_cannot_be_walked_is_refused(sizes: dict, said: str) -> None:
    with pytest.raises(JepaflowError, match=said):
        MazeConfig(**sizes)


def test_one_room_is_a_maze_without_walls() -> None:
    config = MazeConfig(rooms=1, doors=())
    assert config.walls() == ()
    assert Geodesic(config).distance(np.array([[20.0, 20.0]]), np.array([[20.0, 50.0]])) == pytest.approx(30.0)


def test_every_goal_has_a_second_route_and_some_are_far() -> None:
    assert CONFIG.bridges() == []
    ways = [CONFIG.doors_between(a, b) for a in range(16) for b in range(a)]
    assert max(ways) == 8
    assert sum(w >= 5 for w in ways) == 42


def test_routes_lead_through_neighbouring_rooms_and_past_shut_doors() -> None:
    for shut in (frozenset(), frozenset({0}), frozenset({0, 5})):
        way = CONFIG.route(0, 15, shut)
        assert way is not None
        assert not shut & set(way)
        at = 0
        for door in way:
            one, other = CONFIG.doors[door]
            assert at in (one, other)
            at = one + other - at
        assert at == 15
    assert CONFIG.route(3, 3) == []
    assert CONFIG.route(0, 15, frozenset({0, 1})) is None
    places = np.array([CONFIG.centre(room) for room in (0, 0, 1, 2, 7)])  # from 2 to 7 through room 3
    assert [CONFIG.doors[door] for door in CONFIG.doors_on(places)] == [(0, 1), (1, 2), (2, 3), (3, 7)]


def test_a_door_between_rooms_is_free_in_the_middle_of_the_wall_and_nothing_else_is() -> None:
    for one in range(16):
        for other in (one + 1, one + 4):
            if other > 15 or (other == one + 1 and other % 4 == 0):
                continue
            (x, y), (u, v) = CONFIG.centre(one), CONFIG.centre(other)
            middle = (x + u) / 2, (y + v) / 2
            assert (penetration(CONFIG, middle) == 0.0) == ((one, other) in CONFIG.doors)


def test_rooms_are_numbered_where_their_centres_lie() -> None:
    assert [CONFIG.room(CONFIG.centre(room)) for room in range(16)] == list(range(16))


def test_it_is_never_inside_a_wall_and_changes_rooms_only_through_open_doors() -> None:
    rng, seen = np.random.default_rng(0), set()
    for shut in ((), (0, 7)):
        env = walled(CONFIG.centre(5), shut)
        for _ in range(1500):
            before = CONFIG.room(env.agent)
            env.advance(rng.uniform(-1.0, 1.0, 2))
            after = CONFIG.room(env.agent)
            assert penetration(CONFIG, env.agent, env.solid()) < 1e-4
            if before != after:
                door = (min(before, after), max(before, after))
                assert door in CONFIG.doors
                assert CONFIG.doors.index(door) not in shut
                seen.add(door)
    assert len(seen) > 2


def test_a_shut_door_holds_and_an_open_one_does_not() -> None:
    for shut, room in ((), 1), ((0,), 0):
        env = walled(CONFIG.centre(0), shut)
        for _ in range(15):
            env.advance(np.array([1.0, 0.0]))
        assert CONFIG.room(env.agent) == room


def test_a_door_is_not_shut_on_the_agent() -> None:
    env = walled(CONFIG.centre(0))
    env.agent = (CONFIG.centre(0)[0] + 27.0, CONFIG.centre(0)[1])
    assert env.in_the_way(0)
    with pytest.raises(JepaflowError, match="stands in a door"):
        env.shut([0])
    with pytest.raises(JepaflowError, match="no door 99"):
        env.shut([99])


def test_states_keep_the_doors_and_give_the_same_future_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    first, second = walled(CONFIG.centre(9), (3, 8)), MazeEnv(image_size=64)
    for step in range(150):
        if step == 100:
            first.shut([3])
        second.set_state(first.get_state())
        assert second.shut_doors == first.shut_doors
        assert np.array_equal(first.observation()["pixels"], second.observation()["pixels"])
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        first.step(action)
        second.step(action)
        assert np.array_equal(first.get_state(), second.get_state())
    assert first.state_names[4] == "door_0_1_shut"
    assert len(first.state_names) == len(first.get_state())


@pytest.mark.parametrize("place", [(4.0, 60.0), (58.0, 58.0)])
def test_a_state_that_cannot_be_is_refused(place: tuple[float, float]) -> None:
    state = MazeEnv(image_size=8).get_state()
    state[:2] = place
    with pytest.raises(JepaflowError, match="inside a wall"):
        MazeEnv(image_size=8).set_state(state)
    with pytest.raises(JepaflowError, match="22 finite numbers"):
        MazeEnv(image_size=8).set_state(state[:4])


def test_a_shut_door_is_seen_and_reset_opens_it() -> None:
    env = walled(CONFIG.centre(0), (5,))
    shut = env.observation()["pixels"].astype(int)
    env.shut([])
    rows, columns = np.nonzero(np.abs(env.observation()["pixels"] - shut).sum(-1) > 60)
    left, top, right, bottom = (side * 64 / 224 for side in CONFIG.leaf(5))
    assert left - 1 <= columns.min() <= columns.max() <= right
    assert top - 1 <= rows.min() <= rows.max() <= bottom
    env.shut([5])
    env.reset(seed=1)
    assert env.shut_doors == frozenset()
    env.reset(seed=1, options={"shut": [2]})
    assert env.shut_doors == {2}


def test_the_shortest_way_agrees_with_a_fine_grid() -> None:
    """Dijkstra over free cells of 2 px, 16 directions, is the reference."""
    rng = np.random.default_rng(0)
    shut = frozenset({1})
    reference = Grid(CONFIG, tuple(CONFIG.leaf(door) for door in shut))
    points = np.array([random_free_point(CONFIG, rng) for _ in range(16)])
    own = geodesic(CONFIG, shut).distance(points[:8], points[8:])
    true = np.array([reference.distance(a, b) for a, b in zip(points[:8], points[8:])])
    assert np.abs(own - true).max() < 0.05 * true.max()
    assert (own >= np.hypot(*(points[:8] - points[8:]).T) - 1e-9).all()


def test_the_shortest_way_of_two_room_leads_through_the_door() -> None:
    config = TwoRoomConfig()
    found = Geodesic(config).distance(
        np.array([[90.0, 190.0], [90.0, 190.0]]), np.array([[134.0, 190.0], [60.0, 190.0]])
    )
    assert found[0] == pytest.approx(2 * math.hypot(8.5, 190.0 - 54.5) + 27.0, abs=3.0)
    assert found[1] == pytest.approx(30.0)


def test_a_way_that_is_cut_off_is_infinite() -> None:
    shut = frozenset({0, 1})  # room 0 has two doors
    ways = geodesic(CONFIG, shut)
    assert np.isinf(ways.distance(np.array([CONFIG.centre(0)]), np.array([CONFIG.centre(10)])))[0]
    assert ways.next_point(CONFIG.centre(0), CONFIG.centre(10), ways.towards(CONFIG.centre(10))) == CONFIG.centre(10)


@pytest.mark.parametrize("shut", [(), (0,)])
def test_a_quiet_walker_needs_little_more_than_the_shortest_way(shut: tuple[int, ...]) -> None:
    env = walled(CONFIG.centre(0), shut)
    for room in (15, 6, 3):
        env.target = CONFIG.centre(room)
        length = env.ways().distance(np.array([env.agent]), np.array([env.target]))[0]
        steps = 0
        while env.distance() > 4.0:
            x, y = env.waypoint()
            dx, dy = x - env.agent[0], y - env.agent[1]
            env.advance(np.array([dx, dy]) / max(math.hypot(dx, dy), CONFIG.speed))
            steps += 1
            assert steps < 1.25 * length / CONFIG.speed + 5


def test_behaviours_walk_change_doors_and_wander() -> None:
    entry = find_world("maze")
    rooms, doors = {}, {}
    for name, make in entry.behaviours.items():
        env = MazeEnv(image_size=8)
        env.reset(seed=4)
        actor, been, seen = make(env, np.random.default_rng(4)), set(), set()
        for _ in range(150):
            env.advance(actor.act())
            been.add(CONFIG.room(env.agent))
            seen.add(env.shut_doors)
        rooms[name], doors[name] = been, seen
    assert len(rooms["expert"]) > 3
    assert doors["expert"] == doors["play"] == {frozenset()}
    assert len(doors["doors"]) > 1


def test_the_expert_follows_from_its_seed() -> None:
    def walk(seed: int) -> list[float]:
        env = MazeEnv(image_size=8)
        env.reset(seed=seed)
        actor = MazeExpert(env, np.random.default_rng(seed))
        for _ in range(60):
            env.advance(actor.act())
        return env.get_state().tolist()

    assert walk(1) == walk(1) != walk(2)


class Grid:
    """Shortest ways over free cells, slow and plain."""

    def __init__(self, config: MazeConfig, solid: tuple, cell: float = 2.0) -> None:
        from scipy.sparse import csr_array

        side, self.cell = int(224 / cell), cell
        xs = (np.arange(side) + 0.5) * cell
        free = np.array([[penetration(config, (x, y), solid) == 0.0 for x in xs] for y in xs])
        number = np.full(free.shape, -1)
        number[free] = np.arange(free.sum())
        rows, columns, costs = [], [], []
        for dy, dx in [(0, 1), (1, 0), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)]:
            a = number[max(0, -dy) : side - max(0, dy), max(0, -dx) : side - max(0, dx)]
            b = number[max(0, dy) : side + min(0, dy) or side, max(0, dx) : side + min(0, dx) or side]
            both = (a >= 0) & (b >= 0)
            rows.append(a[both])
            columns.append(b[both])
            costs.append(np.full(both.sum(), cell * math.hypot(dx, dy)))
        shape = (int(free.sum()),) * 2
        self.graph = csr_array((np.concatenate(costs), (np.concatenate(rows), np.concatenate(columns))), shape)
        self.places = np.stack(np.meshgrid(xs, xs), -1)[free]

    def distance(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return the length of the shortest way between the cells nearest to two points."""
        from scipy.sparse.csgraph import dijkstra

        one, other = (int(np.hypot(*(self.places - p).T).argmin()) for p in (a, b))
        return float(dijkstra(self.graph, directed=False, indices=one)[other])


def test_a_recording_holds_the_very_pictures(tmp_path: Path) -> None:
    """A codec that dulls a small red disc makes a model take the simulator's own pictures for strange ones."""
    collect(tmp_path / "maze", CollectConfig("maze", 2, steps=(12, 12), image_size=64))
    assert convert.run(convert.Args(str(tmp_path / "maze"), tmp_path / "maze.h5", image_size=64)) == 0
    store, env = Store(tmp_path / "maze.h5"), MazeEnv(image_size=64)
    rows = np.arange(24)
    for state, picture in zip(store.read("state", rows), store.pixels(rows, store.cameras)[:, 0]):
        env.set_state(state)
        assert np.array_equal(env.observation()["pixels"], picture)
