"""Chained episodes: every edge was walked, and episodes are joined where they look alike."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.attach import attach
from jepaflow.subgoals.build import BuildConfig
from jepaflow.subgoals.chains import TOUCH, chain_graph, following, likest
from jepaflow.subgoals.landmarks import Landmarks
from jepaflow.subgoals.planners import DijkstraPlanner
from jepaflow.subgoals.reachability import Reachability
from jepaflow.worldmodel.distance import DistanceConfig, TemporalDistance

CONFIG = BuildConfig(like=0.1, unlike=10.0, neighbours=3)


def marks(z: list[list[float]], episode: list[int], step: list[int]) -> Landmarks:
    n = len(z)
    return Landmarks(torch.tensor(z), np.zeros(n, int), np.array(episode), np.array(step), np.arange(n), ("made.h5",))


def two_roads() -> Landmarks:
    """Episode 0 goes right and up, episode 1 right and down; both begin at the same place. In a shuffled order."""
    z = [[2.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.05], [2.0, -1.0], [0.0, 0.01]]
    return marks(z, [0, 0, 0, 1, 1, 1], [20, 0, 10, 10, 20, 0])


def test_what_follows_is_the_next_of_the_same_episode() -> None:
    assert following(two_roads()).tolist() == [-1, 2, 0, 4, -1, 3]


def test_one_landmark_follows_nothing_and_is_no_graph() -> None:
    with pytest.raises(JepaflowError, match="No landmark follows another"):
        chain_graph(marks([[0.0, 0.0]], [0], [0]), 5, CONFIG)


def test_edges_were_walked_and_join_what_looks_alike() -> None:
    graph, shape = chain_graph(two_roads(), 5, CONFIG)
    edges = {(int(a), int(b)): float(c) for a, b, c in zip(graph.source, graph.indices, graph.cost, strict=True)}
    away = 10.0 * 0.05 / 2**0.5  # middles differ by .05 in one of two dimensions
    assert edges[1, 2] == edges[2, 0] == 2.0  # ten control steps are two model steps
    assert edges[2, 4] == pytest.approx(2.0 + away) and edges[3, 0] == pytest.approx(2.0 + away)
    assert set(edges) == {(1, 2), (2, 0), (3, 4), (5, 3), (2, 4), (3, 0), (1, 3), (5, 2)}
    assert shape["edges_in_data"] == 0.5


def test_nothing_is_joined_where_nothing_is_alike() -> None:
    graph, shape = chain_graph(two_roads(), 5, BuildConfig(like=0.001, unlike=10.0, neighbours=3))
    assert graph.edges == 4 and shape["edges_in_data"] == 1.0


def test_the_nearest_are_found_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.standard_normal((n, 4))).float() for n in (5, 7))
    i, j, away = likest(a, b, 2)
    by_hand = np.linalg.norm(a.numpy()[:, None] - b.numpy()[None], axis=-1) / 2.0
    assert i.tolist() == np.repeat(np.arange(5), 2).tolist()
    assert j.reshape(5, 2).tolist() == np.argsort(by_hand, axis=1)[:, :2].tolist()
    np.testing.assert_allclose(away.reshape(5, 2), np.sort(by_hand, axis=1)[:, :2], atol=1e-5)


def test_a_plan_changes_the_episode_to_reach_the_other_end() -> None:
    known = two_roads()
    graph, _ = chain_graph(known, 5, CONFIG)
    reach = Reachability(TemporalDistance(DistanceConfig(latent_dim=2)).eval())
    here = attach(graph, reach, known.z, torch.tensor([0.0, 0.0]), torch.tensor([2.0, -1.0]), CONFIG)
    walk = DijkstraPlanner().plan(here.graph, here.start, here.goal, 1, np.random.default_rng(0)).as_lists()[0]
    assert (walk[0], walk[-1], walk[-2]) == (6, 7, 4) and walk[1] in (1, 5)
    cost = here.graph.cost[here.graph.edge_ids(np.array(walk[:-1]), np.array(walk[1:]))]
    assert cost.sum() == pytest.approx(4.0 + 2 * TOUCH, abs=0.4)
