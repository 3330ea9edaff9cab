"""The navigation benchmark's own arithmetic: steps until arrival, the shortest way, which door is shut and when."""

import numpy as np
import pytest

from benchmarks.navigate import SHUT_AT, Args, Blocked, executed, rows_of, shortest
from benchmarks.navigating import middle_door
from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.run import ReplayPolicy
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.maze import MazeEnv


def state(world: MazeEnv, room: int) -> np.ndarray:
    return np.array([*world.config.centre(room), *world.config.centre(room), *[0.0] * len(world.config.doors)])


def trials_of(world: MazeEnv, pairs: list[tuple[int, int]]) -> Trials:
    one, other = (np.stack([state(world, pair[k]) for pair in pairs]) for k in (0, 1))
    n = len(pairs)
    return Trials("maze", 1, 4, one, other, np.zeros((n, 1, 2)), np.arange(n))


def test_the_shortest_way_is_in_control_steps_and_knows_the_shut_door() -> None:
    world = MazeEnv(8)
    trials = trials_of(world, [(0, 1)])
    pitch = world.config.side + world.config.wall_thickness
    door = world.config.doors.index((0, 1))
    steps = shortest(trials, None, world)
    assert steps[0] == pytest.approx((pitch - world.config.success_distance) / world.config.speed)
    assert shortest(trials, np.array([door]), world)[0] > 3 * steps[0]
    assert shortest(trials, np.array([-1]), world)[0] == steps[0]


def test_steps_are_counted_until_the_first_arrival() -> None:
    world = MazeEnv(8)
    trials = trials_of(world, [(0, 1), (0, 1)])
    states = np.repeat(trials.starts[:, None], 5, 1)
    states[0, 3] = trials.goals[0]
    outcome = Outcome(np.array([True, False]), np.zeros(2, bool), np.ones(2), states)
    assert executed(outcome, trials, 12.0).tolist() == [3, 4]


def test_the_middle_door_is_never_the_first() -> None:
    world = MazeEnv(8)
    doors, centre = world.config.doors, world.config.centre
    one, two, three = (np.array([centre(room) for room in rooms]) for rooms in ([0, 1], [0, 1, 2], [0, 1, 2, 3, 7]))
    assert middle_door(world, one[0], one[1:1], one[-1]) == -1
    assert middle_door(world, two[0], two[1:-1], two[-1]) == doors.index((1, 2))
    assert middle_door(world, three[0], three[1:-1], three[-1]) == doors.index((2, 3))


def test_the_door_is_shut_when_it_is_time() -> None:
    worlds = [MazeEnv(8), MazeEnv(8)]
    for world in worlds:
        world.set_state(state(world, 0))
    policy = Blocked(ReplayPolicy(np.zeros((2, 0, 2))), np.array([3, -1]))
    policy.begin(worlds, np.zeros((2, 4)))
    for step in range(SHUT_AT + 1):
        assert not worlds[0].shut_doors
        policy.act(step, worlds)
    assert worlds[0].shut_doors == {3} and not worlds[1].shut_doors


def test_rows_are_means_over_seeds_with_intervals_over_starts() -> None:
    ever = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    rows = rows_of("x", ever, 10 * ever, ever - 1, {"still": 0.0}, {}, "note")
    assert [row.name for row in rows] == ["x", "x_executed", "x_wasted"]
    assert rows[0].value == pytest.approx(5 / 6) and rows[0].n == 3 and rows[0].seeds == 2
    assert rows[0].low <= rows[0].value <= rows[0].high and rows[0].floors == {"still": 0.0}
    with pytest.raises(JepaflowError):
        Args(run="runs/x", seeds=0)  # type: ignore[arg-type]
