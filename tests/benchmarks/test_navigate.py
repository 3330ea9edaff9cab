"""The navigation benchmark's own arithmetic: steps until arrival, the shortest way, which door is shut and when."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.navigate import SHUT_AT, Args, Blocked, Watched, crossed, rows_of, shortest
from benchmarks.navigating import middle_door, random_block
from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.run import ReplayPolicy, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.maze import MazeEnv
from jepaflow.sims.registry import find_world


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


def test_steps_are_counted_until_the_world_first_says_success() -> None:
    world, entry = MazeEnv(8), find_world("maze")
    start, away = world.config.centre(0), world.config.success_distance
    goals = np.stack([state(world, 0)] * 4)
    goals[:, 0] = start[0] + away + np.array([3.5, 11.5, 15.5, 40.0])  # at 4 px a step: after 1, 3, 4 steps, never
    trials = replace(trials_of(world, [(0, 1)] * 4), goals=goals)
    watched = Watched(ReplayPolicy(np.tile([1.0, 0.0], (4, 4, 1))))
    outcome = run_trials(entry, 8, watched, trials.starts, trials.goals, 4, "watch")
    assert outcome.ever.tolist() == [True, True, True, False]
    assert watched.executed(4).tolist() == [1, 3, 4, 4]


def test_the_middle_door_is_never_the_first() -> None:
    world = MazeEnv(8)
    doors, centre = world.config.doors, world.config.centre
    one, two, three = (np.array([centre(room) for room in rooms]) for rooms in ([0, 1], [0, 1, 2], [0, 1, 2, 3, 7]))
    assert middle_door(world, one[0], one[1:1], one[-1]) == -1
    assert middle_door(world, two[0], two[1:-1], two[-1]) == doors.index((1, 2))
    assert middle_door(world, three[0], three[1:-1], three[-1]) == doors.index((2, 3))
    leaf = world.config.leaf(doors.index((1, 2)))
    within = np.array([(leaf[0] + leaf[2]) / 2, (leaf[1] + leaf[3]) / 2])
    assert middle_door(world, two[0], two[1:-1], within + 2.0) == -1


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


def test_a_door_waits_for_who_stands_in_it() -> None:
    world = MazeEnv(8)
    one, other = world.config.centre(0), world.config.centre(1)
    world.set_state(state(world, 0))
    policy = Blocked(ReplayPolicy(np.zeros((1, 0, 2))), np.array([world.config.doors.index((0, 1))]))
    policy.begin([world], np.zeros((1, 4)))
    world.agent = ((one[0] + other[0]) / 2, one[1])
    policy.act(SHUT_AT, [world])
    assert not world.shut_doors
    world.agent = other
    policy.act(SHUT_AT + 1, [world])
    assert world.shut_doors == {world.config.doors.index((0, 1))}


def test_rows_are_means_over_seeds_with_intervals_over_starts() -> None:
    ever = np.array([[[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]])
    rows = rows_of("x", {"": ever, "_executed": 10 * ever}, {"still": 0.0}, {}, "note")
    assert [row.name for row in rows] == ["x", "x_executed"]
    assert rows[0].value == pytest.approx(5 / 6) and rows[0].n == 3 and rows[0].seeds == 2
    assert rows[0].low <= rows[0].value <= rows[0].high and rows[0].floors == {"still": 0.0}


def test_rows_of_several_runs_say_each_and_their_intervals_know_that_runs_differ() -> None:
    apart = np.concatenate([np.zeros((1, 1, 50)), np.ones((2, 1, 50))])
    row = rows_of("x", {"": apart}, {}, {}, "note")[0]
    assert row.name == "x/seeds" and row.value == pytest.approx(2 / 3) and (row.seeds, row.n) == (3, 50)
    assert (row.low, row.high) == (0.0, 1.0) and "0, 1, 1" in row.note
    low, high = crossed(np.tile(np.repeat([0.0, 1.0], 50), (3, 1)))  # equal runs: as of one
    assert low == pytest.approx(0.5 - 0.098, abs=0.02) and high == pytest.approx(0.5 + 0.098, abs=0.02)


def test_an_empty_request_is_refused() -> None:
    for wrong in ({"seeds": 0}, {"trials": 0}, {"runs": ()}):
        with pytest.raises(JepaflowError):
            Args(**{"runs": (Path("runs/x"),), **wrong})


def test_a_random_block_stays_in_the_box_and_near_the_last_targets() -> None:
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 9.0])
    last = np.tile([0.9, 4.0], (4000, 1))
    free = random_block(np.random.default_rng(0), ActionSpace.from_bounds(low, high), last, 5)
    assert free.min(0) == pytest.approx([-1, 0], abs=0.01) and free.max(0) == pytest.approx([1, 9], abs=0.01)
    change = torch.tensor([0.1, 0.1])
    near = random_block(np.random.default_rng(0), ActionSpace.from_bounds(low, high, change=change), last, 5)
    assert near[:, 0].max() == 1.0 and near[:, 1].std() == pytest.approx(0.5, rel=0.05)
    limited = ActionSpace.from_bounds(low, high, change=change, rate=change)
    assert np.abs(random_block(np.random.default_rng(0), limited, last, 5) - last).max() <= 0.1 + 1e-6
