"""The graph: edges kept in order, changed in place of nothing, refused with a sentence, saved whole."""

from pathlib import Path

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import FAR, Graph
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms


def diamond() -> Graph:
    """0 -> {1, 2} -> 3, the way over 2 dearer; 3 is a dead end, 4 is alone."""
    source, target = np.array([1, 0, 0, 2]), np.array([3, 2, 1, 3])
    return Graph.from_edges(source, target, np.array([1.0, 2.0, 1.0, 2.0]), np.zeros((5, 2)))


def no_edges(nodes: int) -> Graph:
    empty = np.zeros(0, np.int64)
    return Graph.from_edges(empty, empty, np.zeros(0), np.zeros((nodes, 2)))


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_graph_without_edges(nodes: int, tmp_path: Path) -> None:
    graph = no_edges(nodes)
    assert graph.nodes == nodes and graph.edges == 0 and graph.degree.tolist() == [0] * nodes
    assert graph.hops(np.array([0])).tolist() == [[0] + [FAR] * (nodes - 1)]
    assert graph.hops(np.zeros(0, np.int64)).shape == (0, nodes)
    assert graph.edge_ids(np.array([0]), np.array([0])).tolist() == [-1]
    assert graph.without([]).edges == 0 and graph.penalised([], 1.0).edges == 0
    graph.save(tmp_path / "graph.safetensors")
    assert Graph.load(tmp_path / "graph.safetensors").edges == 0


def test_edges_are_sorted_and_found() -> None:
    graph = diamond()
    assert graph.source.tolist() == [0, 0, 1, 2] and graph.indices.tolist() == [1, 2, 3, 3]
    assert graph.cost.tolist() == [1.0, 2.0, 1.0, 2.0]
    assert graph.edge_ids(np.array([0, 1, 3, -1]), np.array([2, 3, 0, 2])).tolist() == [1, 2, -1, -1]
    assert graph.hops(np.array([3, 4])).tolist() == [[2, 1, 1, 0, FAR], [FAR, FAR, FAR, FAR, 0]]
    np.testing.assert_allclose(np.exp(graph.log_ref), [0.5, 0.5, 1, 1])


def test_the_reference_walk_follows_the_data() -> None:
    edges = np.array([0, 0]), np.array([1, 2]), np.array([1.0, 1.0]), np.zeros((3, 1))
    graph = Graph.from_edges(*edges, counts=np.array([3.0, 1.0]))
    np.testing.assert_allclose(np.exp(graph.log_ref), [0.75, 0.25])
    with pytest.raises(JepaflowError, match="positive count"):
        Graph.from_edges(*edges, counts=np.array([3.0, 0.0]))


def test_a_failed_edge_costs_more_or_goes() -> None:
    graph = diamond()
    dear = graph.penalised([(0, 1)], 5.0)
    assert dear.cost.tolist() == [6.0, 2.0, 1.0, 2.0] and graph.cost[0] == 1.0
    np.testing.assert_array_equal(dear.log_ref, graph.log_ref)
    cut = graph.without([(0, 1), (1, 3)])
    assert cut.indices.tolist() == [2, 3] and cut.degree.tolist() == [1, 0, 1, 0, 0]
    np.testing.assert_allclose(np.exp(cut.log_ref), [1, 1])
    for change in (lambda: graph.without([(3, 0)]), lambda: graph.penalised([(3, 0)], 1.0)):
        with pytest.raises(JepaflowError, match="no edge from 3 to 0"):
            change()


@pytest.mark.parametrize(
    "source,target,cost,words",
    [
        ([0], [0], [1.0], "edge to itself"),
        ([0, 0], [1, 1], [1.0, 2.0], "there twice"),
        ([0], [9], [1.0], "not among the 2"),
        ([9], [0], [1.0], "not among the 2"),
        ([0], [1], [0.0], "more than 0"),
        ([0], [1], [np.inf], "less than infinity"),
    ],
)
def test_nonsense_is_refused(source: list[int], target: list[int], cost: list[float], words: str) -> None:
    with pytest.raises(JepaflowError, match=words):
        Graph.from_edges(np.array(source), np.array(target), np.array(cost), np.zeros((2, 1)))


def test_features_must_be_finite() -> None:
    with pytest.raises(JepaflowError, match="features"):
        Graph.from_edges(np.array([0]), np.array([1]), np.ones(1), np.array([[0.0], [np.nan]]))


def test_it_comes_back_from_disk(tmp_path: Path) -> None:
    graph, path = diamond(), tmp_path / "graph.safetensors"
    graph.save(path)
    back = Graph.load(path)
    for name in ("indptr", "indices", "cost", "log_ref", "features"):
        np.testing.assert_array_equal(getattr(back, name), getattr(graph, name))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(JepaflowError, match="damaged"):
        Graph.load(path)
    with pytest.raises(JepaflowError, match="does not exist"):
        Graph.load(tmp_path / "nothing")


@pytest.mark.parametrize("rows,columns,landmarks", [(1, 1, 1), (1, 1, 2), (2, 2, 64), (3, 3, 100)])
def test_rooms_hang_together_and_walls_hold(rows: int, columns: int, landmarks: int) -> None:
    rooms = make_rooms(RoomsConfig(landmarks, rows, columns, neighbours=5))
    graph = rooms.graph
    assert graph.nodes == landmarks and set(rooms.room) == set(range(rows * columns))
    assert (graph.hops(np.arange(landmarks)) < FAR).all()
    again = make_rooms(RoomsConfig(landmarks, rows, columns, neighbours=5)).graph
    np.testing.assert_array_equal(again.indices, graph.indices)
    other = make_rooms(RoomsConfig(landmarks, rows, columns, neighbours=5, draw=1)).graph
    doors = rows * (columns - 1) + columns * (rows - 1)
    np.testing.assert_array_equal(other.features[:doors], graph.features[:doors])
    # An edge that passes a wall away from the landmark in its door would be a hole: its middle must be near the door.
    a, b = graph.features[graph.source], graph.features[graph.indices]
    inside = (rooms.room[graph.source] != rooms.room[graph.indices]) & (np.abs(a % 1) > 0.01).all(1)
    inside &= (np.abs(b % 1) > 0.01).all(1) & (np.arange(graph.edges) >= 0)
    for one, other_end in zip(a[inside], b[inside], strict=True):
        line = one + np.linspace(0, 1, 200)[:, None] * (other_end - one)
        gap = np.linalg.norm(line[:, None] - graph.features[:doors], axis=-1).min()
        assert gap < 0.11


def test_rooms_need_landmarks_for_their_doors() -> None:
    with pytest.raises(JepaflowError, match="at least 4 landmarks"):
        RoomsConfig(3, 2, 2)
