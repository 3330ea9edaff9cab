"""Requests grounded, planned, walked and believed: closed forms, brute force, and a plane in which a ball can be lost."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.landmarks import Landmarks
from jepaflow.subgoals.language.believing import Beliefs
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.commander import ALARM_REST, LINGER, Commander
from jepaflow.subgoals.language.grounding import parting
from jepaflow.subgoals.language.potentials import (
    DENIED,
    HIGHEST,
    Desks,
    Potentials,
    disagreement,
    ground,
    seen_graph,
    settled,
)
from jepaflow.subgoals.language.product import product
from jepaflow.subgoals.language.proposing import KINDS, ProductPlanner
from jepaflow.subgoals.language.request import Refusal, Request
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.subgoals.language.understanding import understand
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.verify import agree, learned
from tests.subgoals.test_navigator import CONFIG, Ring, ring

RED, BLUE = Thing("red", "cube"), Thing("blue", "cube")
LEFT, RIGHT = Thing("red", "bin"), Thing("white", "bin")
HERE = (RED, BLUE, LEFT, RIGHT)


def seer() -> Seer:
    return Seer([BLUE, RED], [LEFT, RIGHT], views=1, colours=3, grid=4, hidden=4).eval()


def marks(store: list[int], episode: list[int], step: list[int]) -> Landmarks:
    numbers = [np.array(each, np.int64) for each in (store, episode, step, range(len(step)))]
    return Landmarks(torch.zeros(len(step), 2), *numbers, ("a.h5",))


# Potentials -----------------------------------------------------------------------------------------------------------


def test_settled_is_the_least_of_what_follows_and_of_the_wait_before() -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat([0, 1, 2], [7, 1, 6])
    step = np.concatenate([np.arange(7) * 10, [30], np.sort(rng.choice(60, 6, replace=False))])
    order = rng.permutation(len(step))
    known = marks([0] * len(step), episode[order].tolist(), step[order].tolist())
    chance = rng.random((len(step), 2, 2))
    found = settled(chance, known, wait=20)
    for i in range(len(step)):
        mine = known.episode == known.episode[i]
        if known.step[i] == known.step[mine].max():
            expected = chance[i]
        else:
            begin = min(known.step[mine][known.step[mine] >= known.step[i] - 20], default=0)
            expected = chance[mine & (known.step >= (begin if known.step[i] >= 20 else 0))].min(0)
        np.testing.assert_allclose(found[i], expected)


def test_disagreement_in_closed_form() -> None:
    p, q = np.array([[1.0, 0.5]]), np.array([[1.0, 0.5]])
    assert disagreement(p, q)[0] == pytest.approx(np.log(2))
    assert disagreement(np.array([[1.0]]), np.array([[0.0]]))[0] == pytest.approx(np.log(1000))
    assert disagreement(np.zeros((3, 0)), np.zeros((1, 0))).tolist() == [0, 0, 0]


def test_desks_with_other_things_or_bins_elsewhere_are_unlike() -> None:
    sure = np.array([[1.0, 0.0, 1.0, 1.0]])
    centre = np.zeros((1, 4, 1, 2))
    one, moved = Desks(sure, centre), Desks(sure, centre + [[[[0, 0]], [[0, 0]], [[3, 0]], [[0, 0]]]])
    counts = np.array([0.0, 0, 1, 1])
    assert one.unlike(one, counts)[0] == pytest.approx(0)
    assert moved.unlike(one, counts)[0] == pytest.approx(0.5 * (3 / 1.5) ** 2)
    assert moved.unlike(one, np.zeros(4))[0] == pytest.approx(0)
    assert Desks(1 - sure, centre).unlike(one, counts)[0] == pytest.approx(4 * np.log(1000))


def test_what_no_one_asked_for_and_what_is_to_be_avoided_cost() -> None:
    chance = np.full((3, 2, 2), 0.0)
    chance[1, 1, 0] = 1.0  # red in the red bin: asked for
    chance[2] = [[0.0, 1.0], [1.0, 0.0]]  # and blue in the white one
    desks = Desks(np.ones((3, 4)), np.zeros((3, 4, 1, 2)))
    known = Potentials(chance, chance, np.zeros((3, 2)), desks)
    request = Request((Clause("put", RED, LEFT),))
    wish = ground(seer(), known, request, desks.take(np.array([0])), np.zeros((2, 2)))
    assert wish.satisfied[:, 0].tolist() == pytest.approx([1e-3, 1, 1])
    assert wish.price.tolist() == pytest.approx([0, 0, 6.0])
    so_already = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert ground(seer(), known, request, desks.take(np.array([0])), so_already).price.tolist() == pytest.approx(
        [0, 0, 0]
    )
    careful = replace(request, avoid=(Clause("put", BLUE, RIGHT),))
    assert ground(seer(), known, careful, desks.take(np.array([0])), np.zeros((2, 2))).price[2] > 10
    touchy = replace(request, avoid=(BLUE,))
    moved = replace(known, moved=np.array([[0.0, 0], [1, 0], [0, 0]]))
    assert ground(seer(), moved, touchy, desks.take(np.array([0])), np.zeros((2, 2))).price[1] > 10
    with pytest.raises(JepaflowError, match="learned to see the post"):
        ground(seer(), known, replace(request, avoid=(Thing("", "post"),)), desks.take(np.array([0])), np.zeros((2, 2)))


def test_the_graph_charges_for_taking_one_desk_for_another() -> None:
    from jepaflow.subgoals.graph import Graph

    known_marks = marks([0] * 4, [0, 0, 1, 1], [0, 10, 0, 10])
    # 0 -> 1 along the episode; 0 -> 3: what comes before 3, that is 2, was taken for 0.
    graph = Graph.from_edges(np.array([0, 0, 2]), np.array([1, 3, 3]), np.ones(3), np.zeros((4, 2)))
    seen = np.zeros((4, 1, 1))
    seen[2] = 1.0
    desks = Desks(np.ones((4, 2)), np.zeros((4, 2, 1, 2)))
    dear = seen_graph(graph, Potentials(seen, seen, np.zeros((4, 1)), desks), known_marks, True, 1)
    assert dear.cost.tolist() == pytest.approx([1, 1 + min(HIGHEST, DENIED * np.log(1000)), 1])
    same = seen_graph(graph, Potentials(seen * 0, seen, np.zeros((4, 1)), desks), known_marks, True, 1)
    assert same.cost.tolist() == pytest.approx([1, 1, 1])


def test_two_heaps_are_parted_and_one_is_not() -> None:
    rng = np.random.default_rng(0)
    heaps = np.concatenate([rng.normal(-4, 0.5, 30), rng.normal(3, 0.5, 90)])
    assert -2.5 < parting(heaps) < 1.5
    assert parting(np.full(9, 2.0)) < 2.0 and parting(np.array([0.5])) < 0.5


# Understanding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("", "You said nothing"),
        ("make coffee", "coffee"),
        ("put the purple cube in the red bin", "no purple cube"),
        ("put the cube in the red bin", "Say which"),
        ("lift the red cube", "I have not learned to"),
        ("put the red cube in the red bin without touching the post", "no post"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence_that_says_what_is_there(sentence: str, why: str) -> None:
    found = understand(sentence, None, seer(), HERE)
    assert isinstance(found, Refusal)
    assert why in str(found) and "I see the red cube" in str(found) and "\n" not in str(found)


def test_sorting_is_one_clause_for_each_colour_that_has_a_bin() -> None:
    found = understand("sort the cubes by colour", None, seer(), HERE)
    assert isinstance(found, Request) and found.must == (Clause("put", RED, LEFT),)
    assert isinstance(understand("sort the cubes by colour", None, seer(), (BLUE, LEFT)), Refusal)


def test_a_sentence_goes_on_from_the_one_before() -> None:
    before = understand("put the red cube in the white bin", None, seer(), HERE)
    assert isinstance(before, Request)
    found = understand("now the blue one", None, seer(), HERE, before)
    assert isinstance(found, Request) and found.must == (Clause("put", BLUE, RIGHT),)


# Proposing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_walk_does_what_was_asked_in_order(kind) -> None:
    rooms, rng = make_rooms(RoomsConfig(48, 2, 2, seed=1)), np.random.default_rng(0)
    request = Request((Clause("put", RED, LEFT), Clause("put", BLUE, LEFT)), ((0, 1),))
    half = rooms.graph.features[:, 0] > np.median(rooms.graph.features[:, 0])
    high = rooms.graph.features[:, 1] > np.median(rooms.graph.features[:, 1])
    satisfied = np.stack([half, half & high], 1).astype(float) * 0.9
    start = int(np.flatnonzero(~half)[0])
    made = product(rooms.graph, request.automaton, satisfied, np.array([start]), 2.0)
    flow = NeuralFlow(FlowConfig(rooms.graph.features.shape[1], 24, hidden=8, depth=1)).eval()
    planner = ProductPlanner(kind, 24, flow)
    found = planner.propose(made, start, 4, rng)
    assert 1 <= len(found) <= 4 and planner.stood_in == 0
    for walk in found:
        assert walk.nodes[0] == start and len(walk.to_go) == len(walk.nodes) == len(walk.done)
        first = [next(i for i, done in enumerate(walk.done) if j in done) for j in (0, 1)]
        assert first[0] <= first[1]
        assert satisfied[walk.nodes[-1]].min() > 0.5
        assert (np.diff(walk.to_go) < 0).all() and walk.to_go[-1] == 0
    if kind == "gflownet":
        flows = planner.flows(made, start)
        begin = made.begin(start)
        close = agree(flows, made.flows(flows.horizon - 1))
        assert close.mass[0, begin] == pytest.approx(1, abs=1e-6) and close.kl[0, begin] < 0.5
        short = ProductPlanner(kind, 24, NeuralFlow(FlowConfig(rooms.graph.features.shape[1], 1, hidden=8, depth=1)))
        assert short.propose(made, start, 2, rng) and short.stood_in == 1


def test_the_gflownet_needs_its_flow() -> None:
    with pytest.raises(JepaflowError, match="needs the run's flow"):
        ProductPlanner("gflownet")


def test_learned_flows_of_a_product_do_not_see_the_flags() -> None:
    rooms = make_rooms(RoomsConfig(24, 2, 2, seed=0))
    width = rooms.graph.features.shape[1]
    model = NeuralFlow(FlowConfig(width, 12, hidden=8, depth=1)).eval()
    torch.nn.init.normal_(model.net[-1].weight)
    request = Request((Clause("put", RED, LEFT),))
    satisfied = (rooms.graph.features[:, :1] > 0.3).astype(float)
    made = product(rooms.graph, request.automaton, satisfied, np.arange(24), 2.0)
    flipped = replace(
        made.graph, features=np.concatenate([made.graph.features[:, :width], 1 - made.graph.features[:, width:]], 1)
    )
    planner = ProductPlanner("gflownet", 12, model)
    assert planner.flow is not None
    one, other = (learned(planner.flow, graph, np.array([made.goal]), 2.0).log_flow for graph in (made.graph, flipped))
    np.testing.assert_array_equal(one, other)


# Commander ------------------------------------------------------------------------------------------------------------


class Eyes(Beliefs):
    """Believes what the test says: red lies in the red bin where `done` is true."""

    def __init__(self, count: int) -> None:
        self.seer, self.done = seer(), np.zeros(count, bool)
        self.forgot = 0

    @property
    def now(self) -> np.ndarray:
        found = np.full((len(self.done), 2, 2), 0.01)
        found[:, 1, 0] = np.where(self.done, 0.97, 0.01)
        return found

    def of(self, clauses, desk: int) -> np.ndarray:
        return np.array([float(self.seer.clause(self.now[desk][None], clause)[0]) for clause in clauses])

    def desk(self, desk: int) -> Desks:
        return Desks(np.ones((1, 4)), np.zeros((1, 4, 1, 2)))

    def forget(self) -> None:
        self.forgot += 1


def commander(goal: float = 5.5, kind="exact") -> tuple[Commander, np.ndarray]:
    """Return one that walks the ring of `test_navigator`; landmarks right of `goal` satisfy the clause."""
    graph, places = ring()
    there = (places[:, 0] > goal) & (places[:, 1].abs() < 3)
    seen = np.full((len(places), 2, 2), 0.01)
    desks = Desks(np.ones((len(places), 4)), np.zeros((len(places), 4, 1, 2)))
    chance = seen.copy()
    chance[there.numpy(), 1, 0] = 0.95
    known = Potentials(seen, chance, np.zeros((len(places), 2)), desks)
    config = replace(CONFIG, stalls=10**6)
    return Commander(graph, places, ProductPlanner(kind, 40, beta=1.0), Ring(), known, config), there.numpy()


PUT = Request((Clause("put", RED, LEFT),))
START = torch.tensor([[-6.0, -1.0]])


def walk(system: Commander, eyes: Eyes, blocks: int, done, start: torch.Tensor = START) -> torch.Tensor:
    """Walk a unit a block; `done(block, z)` says what is true."""
    z = start.clone()
    for block in range(blocks):
        eyes.done = np.array([done(block, each) for each in z])
        away = system.look(z) - z
        z = z + away / away.norm(dim=1, keepdim=True).clamp_min(1.0)
    return z


def test_it_walks_lingers_and_believes() -> None:
    system, _ = commander()
    eyes = Eyes(1)
    system.command(START, eyes, [PUT])
    z = walk(system, eyes, 40, lambda block, z: bool(z[0] > 5.0))
    assert system.believed.tolist() == system.ended.tolist() == [True]
    assert float(z[0, 0]) > 5 and [event.kind for event in system.events[0]] == ["plan", "done"]
    made = system.made[0][0]
    assert made.done[-1] == (0,) and not any(made.done[:-1])
    torch.testing.assert_close(system.look(z), z)  # and rests


def test_it_tries_again_where_it_does_not_see_it_done() -> None:
    system, _ = commander()
    eyes = Eyes(1)
    system.command(START, eyes, [PUT])
    walk(system, eyes, 60, lambda block, z: block > 30 and bool(z[0] > 5.0))
    kinds = [event.kind for event in system.events[0]]
    assert system.believed.all() and kinds[0] == "plan" and "not done" in kinds and kinds[-1] == "done"
    credulous, _ = commander()
    credulous.credulous = True
    credulous.command(START, eyes, [PUT])
    walk(credulous, eyes, 40, lambda block, z: False)
    assert credulous.believed.all() and [event.kind for event in credulous.events[0]] == ["plan", "done"]


def test_what_is_done_already_needs_no_walk() -> None:
    system, _ = commander()
    eyes = Eyes(1)
    eyes.done[:] = True
    system.command(START, eyes, [PUT])
    z = walk(system, eyes, LINGER + 1, lambda block, z: True)
    torch.testing.assert_close(z, START)
    assert system.believed.all()


def test_where_no_landmark_shows_it_there_is_no_way() -> None:
    system, _ = commander(goal=99.0)
    system.command(START, Eyes(1), [PUT])
    assert system.ended.all() and not system.believed.any() and not system.made[0]
    assert system.events[0][0].kind == "no way" and "No landmark satisfies" in system.events[0][0].words


def test_clauses_that_no_landmark_shows_together_are_done_one_after_the_other() -> None:
    system, there = commander()
    chance = system.known.chance.copy()
    chance[:, 0, 1] = np.where(system.marks[:, 0].numpy() < -5.5, 0.95, 0.01)  # blue in the white bin: on the left
    system.known = replace(system.known, chance=chance)
    eyes = Eyes(1)
    both = Request((Clause("put", RED, LEFT), Clause("put", BLUE, RIGHT)), ((0, 1),))
    system.command(START, eyes, [both])
    assert system.part[0] == (0,) and there[system.made[0][0].nodes[-1]]
    walk(system, eyes, 30, lambda block, z: block > 10)
    assert "next" in [event.kind for event in system.events[0]] and system.part[0] == (1,)


def test_an_alarm_makes_a_new_plan_but_not_twice_at_once() -> None:
    system, _ = commander()
    eyes, z = Eyes(1), START.clone()
    system.command(START, eyes, [PUT])
    for _ in range(2 * ALARM_REST + 3):
        away = system.look(z, None, np.array([1.0])) - z  # the monitor cries at every look
        z = z + away / away.norm(dim=1, keepdim=True).clamp_min(1.0)
    kinds = [event.kind for event in system.events[0]]
    assert kinds == ["plan", "alarm", "plan", "alarm", "plan"] and eyes.forgot == 2


def test_environments_do_not_mix_and_one_without_a_request_rests() -> None:
    system, _ = commander()
    eyes = Eyes(3)
    start = torch.cat([START, START, START + 1])
    system.command(start, eyes, [PUT, None, PUT])
    z = walk(system, eyes, 40, lambda block, z: bool(z[0] > 5.0), start)
    assert system.believed.tolist() == [True, False, True] and system.ended.all()
    torch.testing.assert_close(z[1], start[1])
