"""The product graph against brute force: every landmark walk, read in plain words, weighed by hand."""

import numpy as np
import pytest
from numpy import ndarray
from scipy.special import logsumexp

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.flow_models import TableFlow
from jepaflow.subgoals.gflownet import GFlowNetConfig, train
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.language.automaton import Automaton, avoidance
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.product import ProductGraph, product
from jepaflow.subgoals.language.request import Request, parse
from jepaflow.subgoals.planners import DijkstraPlanner, ExactPlanner
from jepaflow.subgoals.towards import towards
from jepaflow.subgoals.verify import learned, tv_enumerated
from jepaflow.subgoals.walks import Walks, walks_of
from tests.subgoals.language.test_automaton import LASTING, PASSING
from tests.subgoals.test_exact import scrambled
from tests.subgoals.test_graph import diamond, no_edges

ZERO = np.array([0])
NONE = np.zeros((1, 0), bool)


def all_walks(graph: Graph, start: int, edges: int) -> list[list[int]]:
    """Every walk of at most so many edges, wherever it ends."""
    found, going = [], [[start]]
    while going:
        walk = going.pop()
        found.append(walk)
        if len(walk) <= edges:
            nodes = graph.indices[graph.indptr[walk[-1]] : graph.indptr[walk[-1] + 1]]
            going += [[*walk, int(node)] for node in nodes]
    return found


def count_times(walk: list[int], satisfied: ndarray, automaton: Automaton) -> list[int] | None:
    """When each clause becomes done along a walk of clauses that pass; None where one never does."""
    when: dict[int, int] = {}
    for _ in automaton.clauses:
        for j in range(len(automaton.clauses)):
            first = [when.get(i, 99) for i, k in automaton.order if k == j]
            times = [t for t, node in enumerate(walk) if satisfied[node, j] >= 0.5 and all(w < t for w in first)]
            if times:
                when[j] = times[0]
    return [when[j] for j in range(len(automaton.clauses))] if len(when) == len(automaton.clauses) else None


def by_hand(
    graph: Graph,
    automaton: Automaton,
    satisfied: ndarray,
    start: int,
    edges: int,
    beta: float,
    avoid: ndarray,
    rho: ndarray,
) -> tuple[Walks, ndarray]:
    """All walks that do what was asked, and their log weights."""
    walks, weights = [], []
    for walk in all_walks(graph, start, edges):
        when = count_times(walk, satisfied, automaton)
        if when is None or not np.isfinite(avoid[walk[1:]]).all() or not np.isfinite(rho[walk[-1]]):
            continue
        ids = graph.edge_ids(np.array(walk[:-1], int), np.array(walk[1:], int))
        paid = sum(-np.log(satisfied[walk[t], j]) for j, t in enumerate(when) if t > 0)
        weight = (graph.log_ref[ids] - beta * graph.cost[ids]).sum() - avoid[walk[1:]].sum() - paid + rho[walk[-1]]
        walks.append(walk)
        weights.append(weight)
    return walks_of(walks), np.array(weights)


def test_nothing_to_do_at_a_lonely_node() -> None:
    made = product(no_edges(1), Automaton(()), NONE, ZERO, 1.0, rho=np.array([-3.0]))
    assert made.graph.nodes == 2 and made.graph.edges == 1 and made.goal == 1
    flows = made.flows(0)
    np.testing.assert_allclose(made.log_z(flows)[made.begin(0)], -3.0)
    drawn = flows.sample(ZERO, ZERO, np.random.default_rng(0))
    assert drawn.as_lists() == [[0, 1]] and made.project(drawn).as_lists() == [[0]]
    assert made.cheapest(0).as_lists() == [[0]]
    assert made.lift(walks_of([[], [0]])).as_lists() == [[], [0, 1]]


def test_what_is_done_at_the_start_needs_no_walk() -> None:
    made = product(no_edges(1), Automaton(PASSING[:1]), np.ones((1, 1), bool), ZERO, 2.0)
    assert made.graph.nodes == 2 and made.done(Walks(np.array([[0, 1, -1]]))).tolist() == [[[True], [False], [False]]]
    np.testing.assert_allclose(made.log_z(made.flows(0))[0], 0.0, atol=1e-12)


def test_what_cannot_be_done_is_named() -> None:
    graph, never = diamond(), np.zeros((5, 1), bool)
    with pytest.raises(JepaflowError, match='No landmark satisfies "reach the red ball"'):
        product(graph, Automaton(PASSING[:1]), never, ZERO, 1.0)
    alone = never.copy()
    alone[4] = True
    with pytest.raises(JepaflowError, match='No walk from landmark 0 does "reach the red ball"'):
        product(graph, Automaton(PASSING[:1]), alone, ZERO, 1.0)
    apart = np.array([[True, False], [False, True], *[[False, False]] * 3])
    with pytest.raises(JepaflowError, match=r"No landmark holds .* and .* at the end"):
        product(graph, Automaton(LASTING[:2]), apart, ZERO, 1.0)
    behind = np.array([[False, True], [False, False], [False, False], [True, False], [False, False]])
    with pytest.raises(JepaflowError, match="reach the blue ball"):
        product(graph, Automaton(PASSING[:2], ((0, 1),)), behind, np.array([1]), 1.0)
    shut = np.array([0, np.inf, np.inf, 0, 0])
    with pytest.raises(JepaflowError, match="avoided"):
        product(graph, Automaton(PASSING[:1]), behind[:, :1], ZERO, 1.0, avoid=shut)


def test_wrong_arguments_are_refused() -> None:
    graph, one, all_ = diamond(), Automaton(PASSING[:1]), np.ones((5, 1), bool)
    for wrong in (
        {"satisfied": all_[:4]},
        {"satisfied": np.full((5, 1), 1.5)},
        {"beta": 0.0},
        {"beta": np.inf},
        {"avoid": np.full(5, -1.0)},
        {"rho": np.full(5, np.inf)},
        {"starts": np.zeros(0, int)},
        {"starts": np.array([9])},
    ):
        with pytest.raises(JepaflowError):
            product(**{"graph": graph, "automaton": one, "satisfied": all_, "starts": ZERO, "beta": 1.0, **wrong})
    made = product(graph, one, all_, np.array([3]), 1.0)
    with pytest.raises(JepaflowError, match="not built from landmark 0"):
        made.begin(0)


CASES = {
    "none": ((), ()),
    "one": (PASSING[:1], ()),
    "both": (PASSING[:2], ()),
    "in turn": (PASSING[:2], ((0, 1),)),
    "three, one last": (PASSING[:3], ((0, 2), (1, 2))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("beta", [0.3, 2.0])
@pytest.mark.parametrize("soft", [False, True])
def test_every_walk_weighs_what_it_does_by_hand(case: str, beta: float, soft: bool) -> None:
    clauses, order = CASES[case]
    automaton, edges = Automaton(clauses, order), 6
    for seed in range(3):
        graph, rng = scrambled(7, seed), np.random.default_rng(seed)
        chance = rng.random((7, len(clauses)))
        chance[rng.integers(7, size=len(clauses)), np.arange(len(clauses))] = 0.9
        satisfied = chance if soft else chance >= 0.6
        avoid = np.where(rng.random(7) < 0.2, np.inf, rng.exponential(0.5, 7) * (rng.random(7) < 0.5))
        rho = np.where(rng.random(7) < 0.2, -np.inf, rng.normal(size=7))
        walks, weights = by_hand(graph, automaton, satisfied.astype(float), 0, edges, beta, avoid, rho)
        try:
            made = product(graph, automaton, satisfied, ZERO, beta, avoid, rho)
        except JepaflowError:
            assert not len(walks)
            continue
        agrees_with(made, walks, weights, edges)


def agrees_with(made: ProductGraph, walks: Walks, weights: ndarray, edges: int) -> None:
    """Log Z, every probability, and samples."""
    flows, start = made.flows(edges), made.begin(0)
    log_z = logsumexp(weights) if len(walks) else -np.inf
    np.testing.assert_allclose(made.log_z(flows)[start], log_z, atol=1e-9)
    if not len(walks):
        return
    lifted, goal = made.lift(walks), np.zeros(len(walks), int)
    assert (lifted.lengths == walks.lengths + 1).all()
    assert made.project(lifted).as_lists() == walks.as_lists()
    exact, ours = np.exp(weights - log_z), np.exp(flows.log_prob(lifted, goal))
    assert 0.5 * np.abs(exact - ours).sum() < 1e-9
    np.testing.assert_allclose(ours.sum(), 1, atol=1e-9)
    drawn = made.project(flows.sample(np.full(200, start), np.zeros(200, int), np.random.default_rng(0)))
    allowed = {tuple(walk) for walk in walks.as_lists()}
    assert {tuple(walk) for walk in drawn.as_lists()} <= allowed


@pytest.mark.parametrize("seed", range(6))
def test_walks_to_what_lasts_weigh_what_they_do_by_hand(seed: int) -> None:
    """Two clauses in turn: the second must not come true until the first has, and both hold at the end."""
    graph, rng = scrambled(7, seed), np.random.default_rng(seed)
    satisfied = rng.random((7, 2)) < 0.5
    satisfied[0], satisfied[6] = False, True
    kept, weights = [], []
    for walk in all_walks(graph, 0, 6):
        one, other = satisfied[walk].T
        done = int(one.argmax()) if one.any() else len(walk)
        rises = [t for t in range(1, len(walk)) if other[t] and not other[t - 1]]
        if one.any() and rises and min(rises) > done and one[-1] and other[-1]:
            ids = graph.edge_ids(np.array(walk[:-1], int), np.array(walk[1:], int))
            kept.append(walk)
            weights.append((graph.log_ref[ids] - graph.cost[ids]).sum())
    if not kept:
        with pytest.raises(JepaflowError):
            product(graph, Automaton(LASTING[:2], ((0, 1),)), satisfied, ZERO, 1.0)
    else:
        made = product(graph, Automaton(LASTING[:2], ((0, 1),)), satisfied, ZERO, 1.0)
        agrees_with(made, walks_of(kept), np.array(weights), 6)


def test_every_planner_and_the_gflownet_work_on_a_product() -> None:
    graph, satisfied = scrambled(7, 1), np.zeros((7, 2), bool)
    satisfied[[2, 3], [0, 1]] = True
    made = product(graph, Automaton(PASSING[:2], ((0, 1),)), satisfied, ZERO, 1.0)
    goal, start, rng = np.array([made.goal]), made.begin(0), np.random.default_rng(0)
    for planner in (ExactPlanner(7), DijkstraPlanner()):
        for walk in made.project(planner.plan(made.graph, start, made.goal, 5, rng)).as_lists():
            assert walk.index(2) < len(walk) - 1 - walk[::-1].index(3) and walk[0] == 0
    model = TableFlow(made.graph.nodes, 7)
    config = GFlowNetConfig(steps=300, lr=0.3, goals=1, walks=64, explore=0.3)
    train(model, [towards(made.graph, goal)], config)
    ours = learned(model, made.graph, goal, 1.0)
    assert tv_enumerated(ours, made.flows(6), 0, start) < 1e-2
    np.testing.assert_allclose(made.log_z(ours)[start], made.log_z(made.flows(6))[start], atol=0.02)


def test_a_walk_that_does_not_do_it_cannot_be_lifted() -> None:
    satisfied = np.array([[False], [True], [False], [False], [False]])
    made = product(diamond(), Automaton(PASSING[:1]), satisfied, ZERO, 1.0)
    assert made.lift(walks_of([[0, 2, 3], [0, 1], [0, 1, 3], [0]])).lengths.tolist() == [-1, 2, 3, -1]


def test_the_red_cube_then_the_blue_one() -> None:
    """0 none, 1 red in, 2 blue in, 3 both in; everything leads everywhere."""
    source, target = np.nonzero(~np.eye(4, dtype=bool))
    graph = Graph.from_edges(source, target, np.ones(12), np.zeros((4, 2)))
    satisfied = np.array([[False, False], [True, False], [False, True], [True, True]])
    made = product(graph, Automaton(LASTING[:2], ((0, 1),)), satisfied, ZERO, 1.0)
    drawn = made.flows(6).sample(np.full(500, made.begin(0)), np.zeros(500, int), np.random.default_rng(0))
    for walk in made.project(drawn).as_lists():
        assert walk[-1] == 3 and 1 in walk and (2 not in walk or walk.index(1) < walk.index(2))
    assert made.cheapest(0).as_lists() == [[0, 1, 3]]
    either = product(graph, Automaton(LASTING[:2]), satisfied, ZERO, 1.0)
    assert either.cheapest(0).as_lists() == [[0, 3]]


def test_only_what_can_come_about_is_kept() -> None:
    satisfied = np.zeros((7, 4), bool)
    satisfied[[1, 2, 3, 4], [0, 1, 2, 3]] = True
    order = ((0, 1), (1, 2), (2, 3))
    made = product(scrambled(7, 1), Automaton(PASSING, order), satisfied, ZERO, 1.0)
    assert made.graph.nodes <= 5 * 7 + 1
    nobody = made.graph.hops(np.array([made.goal]))
    assert nobody[0, made.begin(0)] < 30
    reached = {made.begin(0)}
    for _ in range(made.graph.nodes):
        reached |= {int(made.graph.indices[e]) for e in range(made.graph.edges) if int(made.graph.source[e]) in reached}
    assert reached == set(range(made.graph.nodes))


@pytest.mark.parametrize("seed", [0, 1, 3, 5])
def test_the_colder_the_nearer_to_dijkstra(seed: int) -> None:
    graph, rng = scrambled(7, seed), np.random.default_rng(seed)
    automaton = Automaton(PASSING[:2], ((0, 1),))
    satisfied = np.zeros((7, 2), bool)
    satisfied[rng.integers(1, 7, 2), [0, 1]] = True
    zeros, cold = np.zeros(7), 300.0
    walks, _ = by_hand(graph, automaton, satisfied.astype(float), 0, 6, cold, zeros, zeros)
    costs = walks.cost(graph)
    made = product(graph, automaton, satisfied, ZERO, cold)
    np.testing.assert_allclose(made.cheapest(0).cost(graph), costs.min())
    drawn = made.project(made.flows(6).sample(np.full(50, made.begin(0)), np.zeros(50, int), rng))
    assert drawn.cost(graph).mean() < costs.min() + 0.02


def test_the_cheapest_walk_of_a_warm_product_is_the_landmarks_own() -> None:
    """Stopping at a dead end and elsewhere costs the same: nothing that was moved shows."""
    source, target = np.array([0, 0, 1]), np.array([1, 2, 0])
    graph = Graph.from_edges(source, target, np.array([1.0, 2.0, 1.0]), np.zeros((3, 2)))
    satisfied = np.array([[False], [True], [True]])
    made = product(graph, Automaton(PASSING[:1]), satisfied, ZERO, 0.1)
    assert made.cheapest(0).as_lists() == [[0, 1]]


DESK = (Thing("red", "cube"), Thing("blue", "cube"), Thing("blue", "bin"), Thing("white", "bin"))
PLACES = ("table", "blue", "white")


def desk_graph() -> tuple[Graph, list[tuple[str, str]]]:
    """Where the red and the blue cube lie; an edge moves one of them, from a bin back onto the table too."""
    nodes = [(red, blue) for red in PLACES for blue in PLACES]
    edges = [
        (i, j)
        for i, one in enumerate(nodes)
        for j, other in enumerate(nodes)
        if sum(a != b for a, b in zip(one, other, strict=True)) == 1
    ]
    source, target = np.array(edges).T
    return Graph.from_edges(source, target, np.ones(len(source)), np.zeros((9, 1))), nodes


def lies(nodes: list[tuple[str, str]], clause: Clause) -> ndarray:
    """Whether a put is true of each node."""
    assert clause.place is not None
    return np.array([node[clause.object.colour == "blue"] == clause.place.colour for node in nodes])


@pytest.mark.parametrize(
    ("sentence", "shortest"),
    [
        ("Put the red cube in the blue bin, then the blue one in the white bin.", [0, 3, 5]),
        ("Put the red cube in the blue bin after the blue cube.", [0, 1, 4]),
        ("Put the red cube in the blue bin, then put it in the white bin.", [0, 3, 6]),
        ("Put the red cube in the white bin, but never put the blue cube in the white bin.", [0, 6]),
    ],
)
def test_from_a_sentence_to_walks(sentence: str, shortest: list[int]) -> None:
    asked, (graph, nodes) = parse(sentence, things=DESK), desk_graph()
    assert isinstance(asked, Request)
    satisfied = np.stack([lies(nodes, clause) for clause in asked.must], 1)
    price = avoidance([lies(nodes, clause).astype(float) for clause in asked.avoid if isinstance(clause, Clause)], 9)
    made = product(graph, asked.automaton, satisfied, ZERO, 1.0, price)
    assert made.cheapest(0).as_lists() == [shortest]
    drawn = made.flows(8).sample(np.full(300, made.begin(0)), np.zeros(300, int), np.random.default_rng(0))
    walks = made.project(drawn).as_lists()
    assert len({tuple(walk) for walk in walks}) > 10
    for walk in walks:
        for i, j in asked.order:
            first, second = np.argmax(satisfied[walk, i]), np.argmax(satisfied[walk, j])
            assert satisfied[walk, i].any() and first < second
        assert satisfied[walk[-1], -1] and np.isfinite(price[walk]).all()
