"""Rewards of whole walks: automata against plain words and enumeration, novelty by hand, the chain against one walk at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.imagined import Imagination
from jepaflow.subgoals.imagined_chain import Chain
from jepaflow.subgoals.rewards import Automaton, Counted, Novelty, Product, avoid, before, surroundings
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.tasks import Tasks, far_pairs
from jepaflow.subgoals.verify import every_walk
from jepaflow.subgoals.walks import Walks, walks_of
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import PRESETS

N = 12


@pytest.fixture(scope="module")
def flows() -> Flows:
    return solve(make_rooms(RoomsConfig(N, neighbours=3, seed=0)).graph, np.array([11]), 6, 1.0)


def one_task(flows: Flows, *marked: list[int]) -> Tasks:
    marks = np.zeros((1, len(marked), N), bool)
    for kind, nodes in enumerate(marked):
        marks[0, kind, nodes] = True
    start = int(np.flatnonzero(flows.graph.hops(flows.goals)[0] == 3)[0])
    return Tasks(np.array([start]), np.array([0]), marks)


def test_automata_read_walks_as_words_do(flows: Flows) -> None:
    walks = walks_of([[0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3], [0, 3], [1, 2, 1, 2]])
    marks = np.zeros((5, 2, N), bool)
    marks[:, 0, 1] = marks[:, 1, 2] = True
    tasks = Tasks(walks.nodes[:, 0], np.zeros(5, np.int64), marks)
    assert before(10.0).log(walks, tasks) == pytest.approx([0, -10, -8, -10, 0])
    tasks = Tasks(tasks.start, tasks.goal, marks[:, :1])
    assert avoid(4.0).log(walks, tasks) == pytest.approx([-4, -4, -4, 0, -4])
    with pytest.raises(JepaflowError, match="lead to states"):
        Automaton(np.array([[0, 5]]), np.zeros(1))


@pytest.mark.parametrize(("automaton", "marked"), [(before(3.0), [[4, 7], [2, 9]]), (avoid(3.0), [[4, 7]])])
def test_the_product_is_the_enumerated_posterior(flows: Flows, automaton: Automaton, marked: list[list[int]]) -> None:
    tasks = one_task(flows, *marked)
    walks = every_walk(flows.graph, int(tasks.start[0]), 11, 6)
    rows = np.zeros(len(walks), np.int64)
    target = flows.log_prob(walks, rows) + automaton.log(walks, tasks.some(rows))
    product = Product(flows, automaton, tasks, 0)
    assert product.log_z == pytest.approx(np.logaddexp.reduce(target))
    assert np.exp(product.log_ends).sum() == pytest.approx(1)
    assert product.log_prob(walks) == pytest.approx(target - product.log_z)
    drawn = product.sample(4000, np.random.default_rng(0))
    share = (automaton.log(drawn, tasks.some(np.zeros(4000, np.int64))) == 0).mean()
    good = automaton.log_r == 0
    assert share == pytest.approx(np.exp(product.log_ends[good] - product.log_z).sum(), abs=0.03)


def test_novelty_is_the_greatest_share_of_inner_nodes() -> None:
    walks = walks_of([[0, 1, 2, 3, 9], [0, 4, 5, 6, 9], [0, 9]])
    marks = np.zeros((3, 2, N), bool)
    marks[:, 0, [0, 1, 2, 9]] = True
    marks[:, 1, [4]] = True
    tasks = Tasks(np.zeros(3, np.int64), np.zeros(3, np.int64), marks)
    assert Novelty(6.0).log(walks, tasks) == pytest.approx([-4, -2, 0])


def test_surroundings_are_the_nodes_and_where_edges_lead() -> None:
    graph = Graph.from_edges(np.array([0, 1, 2]), np.array([1, 2, 3]), np.ones(3), np.zeros((4, 1)))
    assert surroundings(graph, walks_of([[0, 1], [3]])).tolist() == [[True, True, True, False], [False] * 3 + [True]]


def test_what_is_known_is_not_asked_again(flows: Flows) -> None:
    tasks = one_task(flows, [4])
    counted = Counted(avoid(), tasks)
    walks = flows.sample(np.repeat(tasks.start, 50), np.zeros(50, np.int64), np.random.default_rng(0))
    first = counted.log(walks, np.zeros(50, np.int64))
    assert counted.evaluations == len({row.tobytes() for row in walks.nodes})
    known = counted.evaluations
    assert np.array_equal(counted.log(walks, np.zeros(50, np.int64)), first)
    assert counted.evaluations == known
    assert counted.log(Walks(walks.nodes[:0]), np.zeros(0, np.int64)).shape == (0,)


def test_far_pairs_are_far_and_differ(flows: Flows) -> None:
    start, goal = far_pairs(flows, 3, 2, 2, np.random.default_rng(0))
    hops = flows.graph.hops(flows.goals)[goal, start]
    assert ((hops >= 2) & (hops <= 4)).all() and len(set(start.tolist())) == 3
    with pytest.raises(JepaflowError, match="fewer tasks"):
        far_pairs(flows, 1000, 2, 2, np.random.default_rng(0))


@torch.no_grad()
def plain(chain: Chain, walk: list[int], most: int) -> float:
    """One walk, the whole history imagined anew every block."""
    own, at, waited = chain.imagination, 1, 0
    if len(walk) == 1:
        return 0.0
    start, done = chain.marks[walk[0]][None, None], torch.empty(1, 0, own.model.config.block, 2)
    seen = start
    for number in range(1, most + 1):
        aim = chain.marks[walk[at]][None]
        done = torch.cat([done, own.head.act(seen[:, -1], aim).clamp(-1, 1)[:, None]], 1)
        seen = torch.cat([start, own.model.rollout(start, done[:, :0], done)], 1)
        met = float(((seen[:, -1] - aim) / own.head.latent_scaler.std).square().mean().sqrt()) <= chain.threshold
        waited += 1
        if met and at == len(walk) - 1:
            return float(number)
        if (met or waited >= own.within) and at < len(walk) - 1:
            at, waited = at + 1, 0
    return float("inf")


def test_many_chains_are_imagined_as_one_is() -> None:
    torch.manual_seed(0)
    model = JEPA(replace(PRESETS["nano"], image_size=16)).eval()
    head = InverseDynamics(InverseConfig(model.config.latent_dim, 2, model.config.block, hidden=16, depth=1)).eval()
    imagination = Imagination(model, head, 2, torch.full((2,), -1.0), torch.ones(2))
    marks = torch.randn(6, model.config.latent_dim)
    walks = walks_of([[0, 1, 2, 3], [4, 5], [2], [3, 1, 0]])
    for threshold in (1.2, 1.35, 1.5):
        chain = Chain(imagination, marks, threshold, np.full((6, 6), 5.0))
        found = chain.blocks(walks, np.full(4, 7))
        assert found.tolist() == [plain(chain, row, 7) for row in walks.as_lists()]
    tasks = Tasks(walks.nodes[:, 0], np.zeros(4, np.int64), np.zeros((4, 0, 6), bool))
    assert chain.log(walks, tasks)[2] == 0
    assert ((chain.log(walks, tasks) <= 0) & (chain.log(walks, tasks) >= -chain.miss)).all()
