"""Lazy graphs: the same edges as an eager one, asked for once; searches against Dijkstra; a flow that arrives."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.lazy import LazyGraph
from jepaflow.subgoals.lazy_flow import LazyConfig, LazyFlow, train_lazy
from jepaflow.subgoals.lazy_rooms import lazy_rooms
from jepaflow.subgoals.lazy_search import a_star, greedy
from jepaflow.subgoals.rooms import RoomsConfig
from jepaflow.subgoals.shortest import distances

ROOMS = RoomsConfig(300, 2, 2, door=0.1, step=10.0)


def untold(**changes: int) -> NeuralFlow:
    return NeuralFlow(
        FlowConfig(**({"features": 2, "horizon": 1, "surroundings": 0, "ahead": 0} | changes), hint="none")
    )


def test_lazy_neighbours_equal_the_eager_graph() -> None:
    whole, (lazy, room) = lazy_rooms(ROOMS)[0].eager(), lazy_rooms(ROOMS)
    assert set(room.tolist()) == {0, 1, 2, 3}
    some = np.array([7, 3, 299, 7])
    target, cost = lazy.rows(some)
    assert lazy.evaluated == 3 * lazy.candidates
    for node, to, price in zip(some, target, cost, strict=True):
        edges = slice(whole.indptr[node], whole.indptr[node + 1])
        known = to[to >= 0]
        assert np.array_equal(np.sort(known), whole.indices[edges])
        assert price[to >= 0][known.argsort()] == pytest.approx(whole.cost[edges])
    lazy.rows(some)
    assert lazy.evaluated == 3 * lazy.candidates
    lazy.forget()
    assert lazy.evaluated == 0


def test_edges_are_those_of_every_pair_by_brute_force() -> None:
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    gap = np.linalg.norm(features[:, None] - features[None], axis=-1)
    allowed = np.random.default_rng(1).random((40, 40)) < 0.5
    lazy = LazyGraph(features, lambda p: (allowed[p[:, 0], p[:, 1]], 1 + gap[p[:, 0], p[:, 1]]), 10, 4)
    target, _ = lazy.rows(np.arange(40))
    for node in range(40):
        near = [other for other in gap[node].argsort() if other != node][:10]
        assert [int(t) for t in target[node] if t >= 0] == [other for other in near if allowed[node, other]][:4]


def test_what_cannot_be_is_refused() -> None:
    lazy, _ = lazy_rooms(ROOMS)
    with pytest.raises(JepaflowError, match="none of the 300"):
        lazy.rows(np.array([300]))
    with pytest.raises(JepaflowError, match="two nodes"):
        LazyGraph(np.zeros((1, 2), np.float32), lazy.ask)
    with pytest.raises(JepaflowError, match="surroundings=0"):
        LazyFlow(untold(ahead=1), lazy, LazyConfig())
    with pytest.raises(JepaflowError, match="beta, unit"):
        LazyConfig(beta=0.0)


def test_a_star_finds_the_cheapest_way_and_greedy_may_not() -> None:
    lazy, _ = lazy_rooms(ROOMS)
    whole = lazy.eager()
    cost = distances(whole, np.arange(15))
    reached = 0
    for goal in range(10, 15):
        for start in (50, 150, 250):

            def straight(nodes: np.ndarray, goal: int = goal) -> np.ndarray:
                return 10.0 * np.linalg.norm(lazy.features[nodes] - lazy.features[goal], axis=1).astype(np.float64)

            lazy.forget()
            walk = a_star(lazy, start, goal, straight)
            asked = lazy.evaluated
            assert walk is not None and walk[0] == start and walk[-1] == goal
            total = sum(whole.cost[whole.edge_ids(np.array([a]), np.array([b]))[0]] for a, b in zip(walk, walk[1:]))
            assert total == pytest.approx(cost[goal, start], rel=1e-5)
            assert asked < 300 * lazy.candidates
            reached += greedy(lazy, start, goal, straight, 15) is not None
    assert 0 < reached < 15
    assert greedy(lazy, 3, 3, straight, 0) == [3]


def test_a_trained_flow_arrives_where_an_untrained_one_is_lost() -> None:
    lazy, _ = lazy_rooms(ROOMS)
    cost = distances(lazy.eager(), np.arange(10))
    lazy.forget()
    torch.manual_seed(0)
    flow = LazyFlow(
        untold(fourier=8, hidden=64), lazy, LazyConfig(rate=10.0, coarse=200, steps=200, pairs=256, lr=1e-2)
    )
    rng, start, goal, bound = np.random.default_rng(0), np.arange(100, 200), np.arange(100) % 10, np.full(100, 40)

    def arrived() -> np.ndarray:
        walks = flow.sample(start, goal, bound, rng)
        return walks.nodes[np.arange(100), walks.lengths] == goal

    untrained = arrived().mean()
    asked = train_lazy(flow)
    assert 200 * lazy.candidates <= asked <= 500 * lazy.candidates
    assert arrived().mean() > max(0.8, untrained)
    far = cost[goal, start] > 3
    ratio = flow.ask(start, goal)[far] / cost[goal, start][far]
    assert np.median(np.abs(ratio - 1)) < 0.2
    assert abs(np.median(flow.balance(start, goal))) < 2.0
    assert flow.typical == pytest.approx(np.median(lazy.eager().cost), rel=0.2)
    assert flow.sample(start[:1], start[:1], bound[:1], rng).as_lists() == [[100]]
