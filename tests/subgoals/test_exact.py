"""The oracle against brute force, Dijkstra and chance."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chisquare

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.shortest import distances, k_shortest, shortest_walk
from jepaflow.subgoals.verify import every_walk
from jepaflow.subgoals.walks import walks_of
from tests.subgoals.test_graph import diamond, no_edges


def scrambled(nodes: int = 8, seed: int = 0) -> Graph:
    """A random directed graph: unequal degrees, one-way edges, data frequencies."""
    rng = np.random.default_rng(seed)
    source, target = np.nonzero((rng.random((nodes, nodes)) < 0.35) & ~np.eye(nodes, dtype=bool))
    cost = rng.uniform(0.2, 3, len(source))
    return Graph.from_edges(source, target, cost, rng.normal(size=(nodes, 2)), counts=rng.uniform(1, 5, len(source)))


def test_degenerate_graphs() -> None:
    rng, zero = np.random.default_rng(0), np.array([0])
    for nodes, horizon in ((1, 0), (1, 3), (3, 0), (3, 4)):
        flows = solve(no_edges(nodes), zero, horizon, 1.0)
        assert flows.log_z.tolist() == [[0.0] + [-np.inf] * (nodes - 1)]
        assert flows.sample(zero, zero, rng).as_lists() == [[0]]
        assert flows.log_prob(walks_of([[0]]), zero).tolist() == [0.0]
        assert flows.entropy()[0, 0] == 0 and flows.expected_cost()[0, 0] == 0
    unreachable = solve(no_edges(3), np.array([2]), 4, 1.0)
    assert unreachable.sample(zero, zero, rng).as_lists() == [[]]
    assert np.isnan(unreachable.entropy()[0, 0])
    assert solve(diamond(), np.zeros(0, np.int64), 3, 1.0).log_z.shape == (0, 5)
    assert len(solve(diamond(), zero, 3, 1.0).sample(zero[:0], zero[:0], rng)) == 0


def test_no_edges_left_means_being_there() -> None:
    flows = solve(diamond(), np.array([3]), 0, 1.0)
    assert flows.log_z.tolist() == [[-np.inf, -np.inf, -np.inf, 0.0, -np.inf]]
    assert np.isfinite(solve(diamond(), np.array([3]), 1, 1.0).log_z).tolist() == [[False, True, True, True, False]]


def test_wrong_questions_are_refused() -> None:
    graph, zero = diamond(), np.array([0])
    for goals, horizon, beta in ((np.array([9]), 1, 1.0), (zero, -1, 1.0), (zero, 1, -1.0), (zero, 1, np.inf)):
        with pytest.raises(JepaflowError):
            solve(graph, goals, horizon, beta)
    with pytest.raises(JepaflowError, match="start 7 is no node"):
        solve(graph, zero, 1, 1.0).sample(np.array([7]), zero, np.random.default_rng(0))


@pytest.mark.parametrize("beta", [0.0, 0.7, 4.0])
@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_every_quantity_is_what_enumeration_says(beta: float, horizon: int) -> None:
    graph = scrambled()
    goals = np.arange(graph.nodes)
    flows = solve(graph, goals, horizon, beta)
    cost, entropy = flows.expected_cost(), flows.entropy()
    for start in goals:
        for goal in goals:
            walks = every_walk(graph, int(start), int(goal), horizon)
            column = np.full(len(walks), goal)
            if not len(walks):
                assert flows.log_z[goal, start] == -np.inf
                continue
            weight = walks.total(graph, graph.log_ref) - beta * walks.cost(graph)
            log_z = logsumexp(weight)
            assert flows.log_z[goal, start] == pytest.approx(log_z, abs=1e-9)
            np.testing.assert_allclose(flows.log_prob(walks, column), weight - log_z, atol=1e-9)
            chance = np.exp(weight - log_z)
            assert cost[goal, start] == pytest.approx(chance @ walks.cost(graph), abs=1e-9)
            assert entropy[goal, start] == pytest.approx(-chance @ (weight - log_z), abs=1e-9)


def test_what_is_no_walk_to_the_goal_has_no_probability() -> None:
    flows = solve(diamond(), np.array([3]), 2, 1.0)
    walks = walks_of([[0, 1, 3], [0, 1], [1, 3], [3], []])
    chance = np.exp(flows.log_prob(walks, np.zeros(5, np.int64)))
    assert chance[0] > 0.5 and chance[1:].tolist() == [0.0, 1.0, 1.0, 0.0]
    with pytest.raises(JepaflowError, match="0 to 3"):
        flows.log_prob(walks_of([[0, 3]]), np.zeros(1, np.int64))


def test_samples_follow_the_distribution() -> None:
    graph = scrambled()
    flows = solve(graph, np.array([3, 6]), 5, 0.5)
    rng = np.random.default_rng(1)
    for column, start in ((0, 1), (1, 2)):
        walks = every_walk(graph, start, int(flows.goals[column]), 5)
        number = {tuple(walk): i for i, walk in enumerate(walks.as_lists())}
        drawn = flows.sample(np.full(20_000, start), np.full(20_000, column), rng)
        counts = np.bincount([number[tuple(walk)] for walk in drawn.as_lists()], minlength=len(walks))
        expected = np.exp(flows.log_prob(walks, np.full(len(walks), column))) * 20_000
        rare = expected < 5
        counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
        keep = expected > 0
        assert chisquare(counts[keep], expected[keep]).pvalue > 1e-3


def test_cold_is_dijkstra_and_hot_the_bridge() -> None:
    graph = make_rooms(RoomsConfig(48)).graph
    goals = np.arange(0, 48, 5)
    best = distances(graph, goals)
    cold = solve(graph, goals, 40, 200.0)
    np.testing.assert_allclose(-cold.log_z / 200, best, atol=0.2)
    np.testing.assert_allclose(cold.expected_cost(), best, atol=2e-3)
    bridge = solve(graph, goals, 3, 0.0)
    walk = np.zeros((48, 48))
    walk[graph.source, graph.indices] = np.exp(graph.log_ref)
    for row, goal in enumerate(goals):
        absorbing = walk.copy()
        absorbing[goal] = np.eye(48)[goal]
        np.testing.assert_allclose(np.exp(bridge.log_z[row]), np.linalg.matrix_power(absorbing, 3)[:, goal], atol=1e-12)


def test_a_penalised_edge_is_avoided() -> None:
    graph, goal = diamond(), np.array([3])
    through = [np.exp(solve(g, goal, 2, 1.0).log_policy(2)[0, 0]) for g in (graph, graph.penalised([(0, 1)], 5.0))]
    assert through[0] > 0.8 and through[1] < 0.1


def test_shortest_walks() -> None:
    graph = diamond()
    assert shortest_walk(graph, 0, 3).as_lists() == [[0, 1, 3]]
    assert shortest_walk(graph, 3, 0).as_lists() == [] and shortest_walk(graph, 2, 2).as_lists() == [[2]]
    assert k_shortest(graph, 0, 3, 5).as_lists() == [[0, 1, 3], [0, 2, 3]]
    assert k_shortest(graph, 4, 3, 5).as_lists() == [] and k_shortest(graph, 1, 1, 5).as_lists() == [[1]]
    assert distances(graph, np.array([3])).tolist() == [[2.0, 1.0, 2.0, 0.0, np.inf]]
    graph = scrambled(9, 3)
    for goal in range(1, 9):
        simple = [w for w in every_walk(graph, 0, goal, 8).as_lists() if len(set(w)) == len(w)]
        cost = np.sort(walks_of(simple).cost(graph))[:6]
        np.testing.assert_allclose(k_shortest(graph, 0, goal, 6).cost(graph), cost)
    with pytest.raises(JepaflowError, match="at least 1"):
        k_shortest(graph, 0, 1, 0)
