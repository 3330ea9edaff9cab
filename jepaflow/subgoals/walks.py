"""Walks over the graph: the objects that everything in this room samples, weighs and compares.

Rows are padded with -1, so that a thousand plans are one array.

Legend: W walks, L longest walk in nodes, E edges of the graph.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph


@dataclass(frozen=True, eq=False)
class Walks:
    """Walks, from start to goal where the maker says so."""

    nodes: Int[ndarray, "W L"]
    """visited nodes in order, padded with -1 on the right; an empty row is no walk at all"""

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def lengths(self) -> Int[ndarray, " W"]:
        """Edges of each walk; -1 for an empty row."""
        return np.asarray((self.nodes >= 0).sum(1) - 1)

    def edges(self, graph: Graph) -> Int[ndarray, "W l"]:
        """Numbers of the edges, -1 after the end.

        Raises:
            JepaflowError: a walk uses an edge that the graph has not.
        """
        one, other = self.nodes[:, :-1], self.nodes[:, 1:]
        ids = graph.edge_ids(one, other)
        if ((ids < 0) & (other >= 0)).any():
            row, column = np.argwhere((ids < 0) & (other >= 0))[0]
            pair = f"{one[row, column]} to {other[row, column]}"
            raise JepaflowError(f"Walk {row} goes from {pair}, but the graph has no such edge.")
        return ids

    def total(self, graph: Graph, values: Float[ndarray, " E"]) -> Float[ndarray, " W"]:
        """Sum a value of the edges along each walk."""
        ids = self.edges(graph)
        if not graph.edges:
            return np.zeros(len(self))
        return np.asarray(np.where(ids >= 0, values[ids], 0.0).sum(1))

    def cost(self, graph: Graph) -> Float[ndarray, " W"]:
        """Expected model steps + risk of each walk."""
        return self.total(graph, graph.cost)

    def as_lists(self) -> list[list[int]]:
        """The nodes of each walk, without padding."""
        return [[int(node) for node in row if node >= 0] for row in self.nodes]


def walks_of(lists: list[list[int]]) -> Walks:
    """Pad lists of nodes."""
    nodes = np.full((len(lists), max((len(row) for row in lists), default=0)), -1, np.int64)
    for row, values in zip(nodes, lists, strict=True):
        row[: len(values)] = values
    return Walks(nodes)
