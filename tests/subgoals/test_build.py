"""The graph from landmarks: walls keep landmarks apart, data add edges, places are attached."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.attach import attach
from jepaflow.subgoals.build import BuildConfig, build_graph, cheapest, connectivity, transitions
from jepaflow.subgoals.graph import FAR, Graph
from jepaflow.subgoals.landmarks import LandmarkConfig, Landmarks, choose_landmarks
from jepaflow.subgoals.reachability import Reachability
from jepaflow.training.latents import Latents
from jepaflow.worldmodel.distance import DistanceConfig, TemporalDistance

from .test_landmarks import latents_of

PLAIN = BuildConfig(within=3, tau=0.5, data_count=0, least_steps=0.0)


class Wall(Reachability):
    """Knows a plane with a wall at x = 0 that is open above y = 2: one unit is one model step."""

    def __init__(self) -> None:
        super().__init__(TemporalDistance(DistanceConfig(2, cap=10, hidden=4, depth=1)))

    def log_probabilities(self, a, b, i, j):
        one, other = a[i], b[j]
        straight = (one - other).norm(dim=1)
        crosses = (one[:, 0] * other[:, 0] < 0) & ((one[:, 1] + other[:, 1]) / 2 < 2.0)
        steps = torch.where(crosses, torch.full_like(straight, 10.0), straight).clamp(max=10.0)
        bins = torch.arange(11.0)
        return (-2.0 * (bins[None] - steps[:, None]).square()).log_softmax(-1)

    def between(self, a, b):
        a, b = torch.broadcast_tensors(a, b)
        each = torch.arange(a[..., 0].numel())
        log_p = self.log_probabilities(a.flatten(0, -2), b.flatten(0, -2), each, each)
        return torch.from_numpy(self.steps(log_p)).view(a.shape[:-1])


def plane(tmp_path, count: int = 60) -> tuple[Latents, Landmarks]:
    """Return walks in the plane that go round the wall, and landmarks of them."""
    rng = np.random.default_rng(0)
    paths = []
    for _ in range(20):
        sign = rng.choice([-1.0, 1.0])
        corners = np.array(
            [[sign * 2, rng.uniform(-2, 1)], [sign * 1, 2.5], [-sign * 1, 2.5], [-sign * 2, rng.uniform(-2, 1)]]
        )
        way = np.concatenate([np.linspace(corners[k], corners[k + 1], 10, endpoint=False) for k in range(3)])
        paths.append(way + 0.1 * rng.standard_normal(way.shape))
    latents = latents_of(tmp_path, [30] * 20, torch.from_numpy(np.concatenate(paths)).float())
    return latents, choose_landmarks(latents, LandmarkConfig(count=count))


def crossing(graph: Graph) -> int:
    """Return how many edges go through the wall."""
    one, other = graph.features[graph.source], graph.features[graph.indices]
    return int(((one[:, 0] * other[:, 0] < 0) & ((one[:, 1] + other[:, 1]) / 2 < 2.0)).sum())


def test_no_edge_goes_through_the_wall_and_every_place_is_reached(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    graph, report = build_graph(marks, Wall(), latents, 1, PLAIN)
    assert graph.nodes == len(marks)
    assert crossing(graph) == 0
    assert report["connected_pairs"] == 1.0
    assert report["components"] == 1.0
    gap = np.linalg.norm(graph.features[graph.source] - graph.features[graph.indices], axis=1)
    assert gap.max() < 3.6
    assert np.corrcoef(gap, graph.cost)[0, 1] > 0.9


def test_fewer_neighbours_are_the_cheapest(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    full, _ = build_graph(marks, Wall(), latents, 1, PLAIN)
    few, _ = build_graph(marks, Wall(), latents, 1, BuildConfig(tau=0.5, data_count=0, least_steps=0.0, neighbours=4))
    assert few.degree.max() == 4
    for node in range(0, 60, 7):
        own, all_ = (np.sort(g.cost[g.source == node]) for g in (few, full))
        assert own == pytest.approx(all_[: len(own)])


def test_cheapest_keeps_the_cheapest_of_each_source() -> None:
    kept = cheapest(np.array([1, 0, 1, 1, 0]), np.array([3.0, 1.0, 1.0, 2.0, 5.0]), 2)
    assert kept.tolist() == [1, 2, 3, 4]
    assert cheapest(np.array([], int), np.array([]), 2).tolist() == []


def test_places_that_are_one_are_no_sub_goals_of_each_other(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    graph, _ = build_graph(marks, Wall(), latents, 1, BuildConfig(data_count=0, least_steps=0.8))
    gap = np.linalg.norm(graph.features[graph.source] - graph.features[graph.indices], axis=1)
    assert gap.min() > 0.5


def test_transitions_are_counted_as_by_hand(tmp_path) -> None:
    z = torch.tensor([0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 0.0, 2.0, 2.0, 2.0])[:, None].repeat(1, 2)
    latents = latents_of(tmp_path, [6, 4], z)
    marks = torch.tensor([0.0, 1.0, 2.0])[:, None].repeat(1, 2)
    assert transitions(latents, marks, 2, 1) == {(0, 1): 2, (1, 2): 2, (0, 2): 1}
    assert transitions(latents, marks, 2, 2) == {(0, 1): 2, (1, 2): 2, (0, 2): 3}
    assert transitions(latents, marks, 10, 1) == {}


def test_data_add_edges_that_the_head_doubts_and_weigh_the_reference_walk(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    strict = {"within": 1, "tau": 0.9, "least_steps": 0.0, "neighbours": 60}
    without, _ = build_graph(marks, Wall(), latents, 3, BuildConfig(data_count=0, **strict))
    with_, report = build_graph(marks, Wall(), latents, 3, BuildConfig(data_count=1, data_tau=0.1, **strict))
    assert with_.edges > without.edges
    assert report["edges_in_data"] > 0
    assert crossing(with_) == 0
    even, _ = build_graph(marks, Wall(), latents, 3, BuildConfig(data_count=1, reference="uniform", **strict))
    assert np.allclose(even.log_ref, -np.log(even.degree[even.source]))
    assert not np.allclose(with_.log_ref, even.log_ref)


def test_the_reference_follows_the_data_though_none_add_edges(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    graph, report = build_graph(marks, Wall(), latents, 1, PLAIN)
    shown = transitions(latents, marks.z, 1, PLAIN.within)
    assert report["edges_in_data"] > 0.05
    for node in range(0, 60, 9):
        edges = slice(graph.indptr[node], graph.indptr[node + 1])
        count = np.array([1.0 + shown.get((node, int(other)), 0) for other in graph.indices[edges]])
        assert np.exp(graph.log_ref[edges]) == pytest.approx(count / count.sum())


def test_imagination_may_veto(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    free, _ = build_graph(marks, Wall(), latents, 1, PLAIN)
    vetoed, report = build_graph(marks, Wall(), latents, 1, PLAIN, lambda source, target: source < 30)
    assert (vetoed.source < 30).all()
    assert vetoed.edges == (free.source < 30).sum()
    assert report["dead_ends"] == 30.0


def test_one_landmark_makes_a_graph_without_edges(tmp_path) -> None:
    latents, marks = plane(tmp_path, count=1)
    graph, report = build_graph(marks, Wall(), latents, 1)
    assert (graph.nodes, graph.edges, report["dead_ends"]) == (1, 0, 1.0)


def test_connectivity_of_two_parts() -> None:
    graph = Graph.from_edges(np.array([0, 1, 2]), np.array([1, 0, 3]), np.ones(3), np.zeros((4, 1)))
    report = connectivity(graph)
    assert report["components"] == 3.0
    assert report["largest_component"] == 0.5
    assert report["connected_pairs"] == pytest.approx(3 / 12)


def test_start_and_goal_are_attached_where_they_can_be_reached(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    graph, _ = build_graph(marks, Wall(), latents, 1, PLAIN)
    start, goal = torch.tensor([-0.5, 0.0]), torch.tensor([0.5, 0.0])
    found = attach(graph, Wall(), marks.z, start, goal, PLAIN)
    joined = found.graph
    assert (found.start, found.goal, joined.nodes) == (60, 61, 62)
    assert crossing(joined) == 0
    assert joined.degree[found.goal] == 0
    assert joined.hops(np.array([found.goal]))[0, found.start] > 2
    assert (joined.hops(np.array([found.start]))[0, :60] == FAR).all()
    assert np.allclose(joined.features[60:], [[-0.5, 0.0], [0.5, 0.0]])
    near = attach(graph, Wall(), marks.z, start, torch.tensor([-1.5, 0.0]), PLAIN)
    assert near.graph.edge_ids(np.array([60]), np.array([61]))[0] >= 0


def test_a_place_far_from_everything_gets_the_likeliest_few_edges(tmp_path) -> None:
    latents, marks = plane(tmp_path)
    graph, _ = build_graph(marks, Wall(), latents, 1, PLAIN)
    found = attach(graph, Wall(), marks.z, torch.tensor([-9.0, 0.0]), torch.tensor([1.0, 0.0]), PLAIN)
    assert found.graph.degree[found.start] == 3
    assert found.graph.hops(np.array([found.goal]))[0, found.start] < FAR


@pytest.mark.parametrize("settings", [{"tau": 0.0}, {"tau": 1.0}, {"within": 0}, {"neighbours": 0}, {"eta": -1.0}])
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        BuildConfig(**settings)


class Double(Wall):
    """The place (9, 9) looks like everything: the head believes it one step from anywhere, and anywhere one step from it."""

    def log_probabilities(self, a, b, i, j):
        told = super().log_probabilities(a, b, i, j)
        special = (a[i] == 9.0).all(1) | (b[j] == 9.0).all(1)
        near = (-2.0 * (torch.arange(11.0) - 1.0).square()).log_softmax(-1)
        return torch.where(special[:, None], near, told)


@pytest.mark.parametrize(("doubtful", "touching"), [(0.0, True), (4.0, False)])
def test_a_landmark_that_looks_like_two_places_leads_nowhere(tmp_path, doubtful: float, touching: bool) -> None:
    latents, landmarks = plane(tmp_path)
    z = 3.0 * landmarks.z + torch.tensor([0.0, 20.0])  # above the wall, wide
    z[7] = 9.0
    worm = Landmarks(z, landmarks.store, landmarks.episode, landmarks.step, landmarks.row, landmarks.stores)
    config = BuildConfig(within=2, tau=0.5, data_count=0, least_steps=0.0, doubtful=doubtful)
    graph, shape = build_graph(worm, Double(), latents, 1, config)
    assert bool(((graph.source == 7) | (graph.indices == 7)).any()) is touching
    assert shape["doubted"] == (0.0 if touching else 1.0)
    assert ((graph.source != 7) & (graph.indices != 7)).sum() > 60  # the rest stays
