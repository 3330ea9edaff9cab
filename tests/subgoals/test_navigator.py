"""Navigates a made world: plans round a wall, notices what does not work, takes another way, counts what it took."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.failures import Failure, PenaltyConfig, failure, penalised
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.navigator import Navigator, NavigatorConfig
from jepaflow.subgoals.planners import DijkstraPlanner, ExactPlanner, GFlowNetPlanner, distinct
from jepaflow.subgoals.walker import AimConfig
from jepaflow.subgoals.walks import Walks, walks_of

from .test_build import PLAIN, Wall


class Ring(Wall):
    """Knows a plane without walls: one unit is one model step."""

    def log_probabilities(self, a, b, i, j):
        steps = (a[i] - b[j]).norm(dim=1).clamp(max=10.0)
        return (-2.0 * (torch.arange(11.0)[None] - steps[:, None]).square()).log_softmax(-1)


def ring() -> tuple[Graph, torch.Tensor]:
    """Return landmarks on the rim of a square, side 12, each joined with those at most 1.5 beside it: two ways round."""
    side = np.arange(-6.0, 6.0)
    rim = [[x, -6.0] for x in side] + [[6.0, y] for y in side] + [[-x, 6.0] for x in side] + [[-6.0, -y] for y in side]
    places = np.array(rim)
    n = len(places)
    one = np.arange(n)
    source, target = np.concatenate([one, one]), np.concatenate([(one + 1) % n, (one - 1) % n])
    return Graph.from_edges(source, target, np.ones(2 * n), places), torch.from_numpy(places).float()


CONFIG = NavigatorConfig(
    build=replace(PLAIN, within=2), aim=AimConfig(within=2, tau=0.5, ahead=3, arrived=0.6), patience=3, count=4
)
START, GOAL = torch.tensor([[-6.0, -1.0]]), torch.tensor([[6.0, 0.0]])


def walked(navigator: Navigator, shut: float | None, blocks: int = 60) -> tuple[list[torch.Tensor], bool]:
    """Walk one unit a block towards what is aimed at; below y = ``shut`` nobody passes x = 0."""
    z, path = START.clone(), []
    navigator.begin(z, GOAL)
    before = z.clone()
    for _ in range(blocks):
        stalled = ((z - before).norm(dim=1) < 0.1).numpy() & (len(path) > 0)
        before = z.clone()
        aimed = navigator.look(z, stalled)
        away = aimed - z
        new = z + away / away.norm(dim=1, keepdim=True).clamp_min(1.0)
        if shut is None or not (z[0, 0] * new[0, 0] <= 0 and new[0, 1] < shut):
            z = new
        path.append(z)
        if float((z - GOAL).norm()) < 0.5:
            return path, True
    return path, False


@pytest.mark.parametrize("planner", [DijkstraPlanner(), ExactPlanner(40, 1.0)])
def test_where_nothing_is_shut_one_plan_arrives(planner) -> None:
    navigator = Navigator(*ring(), planner, Ring(), CONFIG)
    path, arrived = walked(navigator, None)
    assert arrived and len(path) < 30
    assert navigator.counts.plans == 1 and navigator.counts.replans == 0 and navigator.counts.wasted == 0
    assert all(0 <= node < navigator.graph.nodes for node in navigator.plans[0][0].nodes)


def test_a_way_that_fails_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    navigator = Navigator(*ring(), DijkstraPlanner(), Ring(), CONFIG)
    path, arrived = walked(navigator, 0.0)
    assert arrived
    assert 1 <= navigator.counts.replans <= 6 and navigator.counts.wasted >= 2
    first, last = navigator.plans[0][0], navigator.plans[0][-1]
    assert min(float(p[0, 1]) for p in path) < -5.5  # it went there first
    y = navigator.graph.features[:, 1]
    assert y[first.nodes].min() == -6.0 and y[last.nodes].max() == 6.0


def test_without_replanning_the_same_way_is_walked_for_ever() -> None:
    navigator = Navigator(*ring(), DijkstraPlanner(), Ring(), replace(CONFIG, replan=False))
    _, arrived = walked(navigator, 0.0)
    assert not arrived
    assert navigator.counts.plans == 1 and len(navigator.plans[0]) == 1


def test_surprise_shortens_the_wait() -> None:
    waited = []
    for error in (0.0, 9.0):
        navigator = Navigator(*ring(), DijkstraPlanner(), Ring(), replace(CONFIG, patience=6), surprising=1.0)
        navigator.begin(START, GOAL)
        for block in range(12):  # noqa: B007
            navigator.look(START, np.zeros(1, bool), np.array([error]))
            if navigator.counts.replans:
                break
        waited.append(block)
        assert (navigator.counts.surprises > 0) == (error > 1.0)
    assert waited[1] < waited[0]


def test_what_is_out_of_reach_is_aimed_at_straight() -> None:
    graph, marks = ring()
    far = torch.tensor([[500.0, 500.0]])
    cut = Graph.from_edges(np.array([0]), np.array([1]), np.ones(1), graph.features)
    navigator = Navigator(cut, marks, ExactPlanner(3), Ring(), CONFIG)
    navigator.begin(START, far)
    assert navigator.plans[0][0].nodes == []
    assert navigator.look(START).tolist() == far.tolist()


def test_penalties_lie_on_the_ways_that_cross_and_nowhere_else() -> None:
    """A line 0 … 9, start at 2, goal beyond 9: what led from 2 to 4 failed."""
    one = np.arange(9)
    line = Graph.from_edges(
        np.concatenate([one, one + 1, [10, 9]]),
        np.concatenate([one + 1, one, [2, 11]]),
        np.ones(20),
        np.arange(12.0)[:, None],
    )
    config = PenaltyConfig(first=5.0, factor=3.0, grows=0.0, beyond=1.0, before=3.0)
    found = failure(line, 4, [], config)
    # The start is one step before 2: 3 is two steps from it, and one from where it wanted to go.
    assert np.flatnonzero(found.beyond).tolist() == [3, 4, 5]
    assert np.flatnonzero(found.before).tolist() == [0, 1, 2]
    dear = penalised(line, [found], np.array([True]))
    changed = np.flatnonzero(dear.cost != line.cost)
    pairs = set(zip(line.source[changed].tolist(), line.indices[changed].tolist(), strict=True))
    assert pairs == {(2, 3)}
    assert (dear.cost[changed] == 6.0).all() and (dear.log_ref == line.log_ref).all()
    again = failure(line, 4, [found], config)
    assert again.by == 15.0
    assert failure(line, 9, [found], config).by == 5.0  # another way


def test_a_start_before_a_failure_pays_too() -> None:
    graph = Graph.from_edges(np.array([0, 1, 2, 2]), np.array([1, 3, 0, 1]), np.ones(4), np.zeros((4, 1)))
    failed = Failure(np.array([True, False]), np.array([False, True, False]), 7.0)
    for standing, cost in ((True, 8.0), (False, 1.0)):
        found = penalised(graph, [failed], np.array([standing]))
        assert found.cost[found.edge_ids(np.array([2]), np.array([1]))[0]] == cost
        assert found.cost[found.edge_ids(np.array([0]), np.array([1]))[0]] == 8.0


def test_distinct_walks_come_once_and_the_likeliest_first() -> None:
    graph, _ = ring()
    flows = solve(graph, np.array([24]), 30, 0.5)
    walks, log_p = distinct(flows, 2, 6, np.random.default_rng(0))
    assert len({tuple(walk) for walk in walks.as_lists()}) == len(walks) <= 6
    assert (np.diff(log_p) <= 0).all()
    assert np.allclose(log_p, flows.log_prob(walks, np.zeros(len(walks), np.int64)))
    nothing, _ = distinct(solve(graph, np.array([24]), 3, 0.5), 2, 6, np.random.default_rng(0))
    assert len(nothing) == 0


def test_the_network_plans_on_a_graph_it_has_never_seen() -> None:
    graph, _ = ring()
    model = NeuralFlow(FlowConfig(2, 40, hidden=8, depth=1)).eval()
    walks = GFlowNetPlanner(model, 1.0).plan(graph, 0, 5, 3, np.random.default_rng(0))
    assert len(walks) >= 1
    assert all(walk[0] == 0 and walk[-1] == 5 for walk in walks.as_lists())


class Both:
    """Proposes the long way first, then the short one."""

    def plan(self, graph: Graph, start: int, goal: int, count: int, rng: np.random.Generator) -> Walks:
        short = DijkstraPlanner().plan(graph, start, goal, 1, rng).as_lists()[0]
        known = graph.without([(short[k], short[k + 1]) for k in range(3, 5)])
        return walks_of([DijkstraPlanner().plan(known, start, goal, 1, rng).as_lists()[0], short])


def test_imagination_chooses_among_plans_and_cost_where_there_is_none() -> None:
    class Foreseen:
        def cost(self, z, rows, to_go, aim):
            assert rows.shape[0] == to_go.shape[0] == 2 and (to_go[:, -1] == 0).all()
            return torch.tensor([1.0, 2.0])

    by_cost = Navigator(*ring(), Both(), Ring(), CONFIG)
    by_cost.begin(START, GOAL)
    foreseen = Navigator(*ring(), Both(), Ring(), CONFIG, Foreseen())
    foreseen.begin(START, GOAL)
    short, long = by_cost.plans[0][0], foreseen.plans[0][0]
    assert short.cost < long.cost and np.isnan(short.imagined) and long.imagined == 1.0


@pytest.mark.parametrize("settings", [{"count": 0}, {"patience": 0}, {"stalls": 0}, {"most": 0}, {"seed": -1}])
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        NavigatorConfig(**settings)
    with pytest.raises(JepaflowError):
        PenaltyConfig(first=0.0)
