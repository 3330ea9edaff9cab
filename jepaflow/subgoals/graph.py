"""The graph that sub-goals are drawn from: landmarks, what it costs to get from one to the next, and a reference walk.

Compressed rows in plain arrays: scipy, the exact oracle and the GFlowNet read the same memory, and a changed edge gives a
new graph in milliseconds. The reference walk is *normalised* (uniform over neighbours, or as frequent as in the data):
weighing walks by cost alone favours wandering, because there are so many more long walks than short ones.

Legend: N nodes, E directed edges (sorted by source, then by target), D features, G goals, W walks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path

FAR = 2**30
"""hops to a goal that cannot be reached"""
KIND = "jepaflow graph 1"


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph; make one with `from_edges`.

    Raises:
        JepaflowError: the arrays do not describe a graph.
    """

    indptr: Int[ndarray, " N1"]
    """the edges of node i are indptr[i] … indptr[i + 1] - 1"""
    indices: Int[ndarray, " E"]
    """target of each edge"""
    cost: Float[ndarray, " E"]
    """expected model steps + risk, positive"""
    log_ref: Float[ndarray, " E"]
    """log-probability of the reference walk; the edges of a node sum to one"""
    features: Float[ndarray, "N D"]
    """what a landmark looks like: its latent, or coordinates"""

    def __post_init__(self) -> None:
        n, e = len(self.features), len(self.indices)
        if len(self.indptr) != n + 1 or self.indptr[0] != 0 or self.indptr[-1] != e or (np.diff(self.indptr) < 0).any():
            raise JepaflowError(
                f"The rows of the graph do not fit its {n} nodes and {e} edges. Build it with from_edges."
            )
        if e and (self.indices.min() < 0 or self.indices.max() >= n):
            raise JepaflowError(f"An edge leads to a node that is not among the {n}. Check source and target.")
        if (self.indices == self.source).any():
            node = int(self.source[self.indices == self.source][0])
            raise JepaflowError(f"Node {node} has an edge to itself; waiting is no sub-goal. Leave such edges out.")
        if (np.diff(self._keys) <= 0).any():
            raise JepaflowError("An edge is there twice, or edges are not sorted. Build the graph with from_edges.")
        if not (np.isfinite(self.cost).all() and (self.cost > 0).all()):
            raise JepaflowError(
                "Every edge must cost more than 0 and less than infinity. Leave out edges that cannot be walked."
            )
        if not np.isfinite(self.features).all():
            raise JepaflowError("A node's features are not finite. Look at the latent of that landmark.")
        sums = np.bincount(self.source, np.exp(self.log_ref), minlength=n)[self.degree > 0]
        if not np.allclose(sums, 1, atol=1e-5):
            raise JepaflowError(
                "The reference walk does not sum to one at every node. Build the graph with from_edges."
            )

    @classmethod
    def from_edges(
        cls,
        source: Int[ndarray, " E"],
        target: Int[ndarray, " E"],
        cost: Float[ndarray, " E"],
        features: Float[ndarray, "N D"],
        counts: Float[ndarray, " E"] | None = None,
    ) -> "Graph":
        """Build a graph from edges in any order.

        Args:
            source: node that the edge leaves.
            target: node that it leads to.
            cost: expected model steps + risk, positive.
            features: one row per node.
            counts: how often the data went this way (positive; add 1 to counts that may be 0); None = uniform.

        Raises:
            JepaflowError: see the class; or a count is not positive.
        """
        n = len(features)
        if len(source) and (source.min() < 0 or source.max() >= n):
            raise JepaflowError(f"An edge leaves a node that is not among the {n}. Check source and target.")
        if counts is not None and not (np.isfinite(counts).all() and (counts > 0).all()):
            raise JepaflowError(
                "Every edge needs a positive count. Add 1 to counts that may be 0, or leave the edge out."
            )
        order = np.lexsort((target, source))
        source, target = source[order].astype(np.int64), target[order].astype(np.int64)
        indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=n))]).astype(np.int64)
        weight = np.ones(len(source)) if counts is None else counts[order].astype(np.float64)
        log_ref = _normalised(np.log(weight), source, n)
        return cls(indptr, target, cost[order].astype(np.float64), log_ref, features.astype(np.float32))

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.features)

    @property
    def edges(self) -> int:
        """E."""
        return len(self.indices)

    @cached_property
    def degree(self) -> Int[ndarray, " N"]:
        """Edges that leave each node."""
        return np.asarray(np.diff(self.indptr))

    @cached_property
    def source(self) -> Int[ndarray, " E"]:
        """Node that each edge leaves."""
        return np.asarray(np.repeat(np.arange(self.nodes), self.degree))

    @cached_property
    def matrix(self) -> csr_array:
        """Costs as scipy wants them."""
        parts = (
            self.cost,
            self.indices.astype(np.int32),
            self.indptr.astype(np.int32),
        )  # csgraph's yen takes no others
        return csr_array(parts, shape=(self.nodes, self.nodes))

    @cached_property
    def _keys(self) -> Int[ndarray, " E"]:
        return np.asarray(self.source * self.nodes + self.indices)

    def edge_ids(self, source: Int[ndarray, "*shape"], target: Int[ndarray, "*shape"]) -> Int[ndarray, "*shape"]:
        """Number of the edge between two nodes, -1 where there is none."""
        if not self.edges:
            return np.full(np.shape(source), -1, np.int64)
        keys: ndarray = source * self.nodes + target
        found = np.minimum(np.searchsorted(self._keys, keys), self.edges - 1)
        inside: ndarray = (source >= 0) & (target >= 0) & (source < self.nodes) & (target < self.nodes)
        return np.asarray(np.where((self._keys[found] == keys) & inside, found, -1))

    def hops(self, goals: Int[ndarray, " G"]) -> Int[ndarray, "G N"]:
        """Fewest edges from every node to each goal; `FAR` where there is no way."""
        self.require_nodes("goal", goals)
        if not len(goals):
            return np.zeros((0, self.nodes), np.int64)
        steps = dijkstra(self.matrix.T.tocsr(), indices=goals, unweighted=True)
        return np.asarray(np.where(np.isfinite(steps), steps, FAR), np.int64)

    def penalised(self, edges: Sequence[tuple[int, int]], by: float) -> "Graph":
        """Return the graph in which edges that failed cost more; the reference walk stays.

        Args:
            edges: pairs (source, target).
            by: added to their cost, in model steps.

        Raises:
            JepaflowError: there is no such edge, or its cost would not be positive.
        """
        cost = self.cost.copy()
        cost[self._found(edges)] += by
        return replace(self, cost=cost)

    def without(self, edges: Sequence[tuple[int, int]]) -> "Graph":
        """Return the graph without some edges; the reference walk is shared among those that remain.

        Raises:
            JepaflowError: there is no such edge.
        """
        keep = np.ones(self.edges, bool)
        keep[self._found(edges)] = False
        source = self.source[keep]
        indptr = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=self.nodes))]).astype(np.int64)
        log_ref = _normalised(self.log_ref[keep], source, self.nodes)
        return Graph(indptr, self.indices[keep], self.cost[keep], log_ref, self.features)

    def require_nodes(self, what: str, nodes: Int[ndarray, "*shape"]) -> None:
        """Refuse numbers that are no nodes.

        Raises:
            JepaflowError: naming what and which.
        """
        wrong = nodes[(nodes < 0) | (nodes >= self.nodes)]
        if wrong.size:
            raise JepaflowError(f"The {what} {wrong.flat[0]} is no node; the graph has 0 … {self.nodes - 1}.")

    def _found(self, edges: Sequence[tuple[int, int]]) -> Int[ndarray, " n"]:
        pairs = np.array(list(edges), np.int64).reshape(-1, 2)
        ids = self.edge_ids(pairs[:, 0], pairs[:, 1])
        if (ids < 0).any():
            one, other = pairs[ids < 0][0]
            raise JepaflowError(f"There is no edge from {one} to {other} in the graph.")
        return ids

    def save(self, path: Path) -> None:
        """Write the graph as safetensors, whole or not at all."""
        names = ("indptr", "indices", "cost", "log_ref", "features")
        with atomic_path(path) as temporary:
            save_file({name: np.ascontiguousarray(getattr(self, name)) for name in names}, temporary, {"kind": KIND})

    @classmethod
    def load(cls, path: Path) -> "Graph":
        """Read what `save` wrote.

        Raises:
            JepaflowError: the file is missing, damaged or something else.
        """
        try:
            with safe_open(path, "np") as file:
                if (file.metadata() or {}).get("kind") != KIND:
                    raise JepaflowError(f"{path} is no graph of landmarks. Give the file that Graph.save wrote.")
                return cls(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
        except FileNotFoundError as error:
            raise JepaflowError(f"{path} does not exist. Check the path.") from error
        except (OSError, SafetensorError, TypeError) as error:
            raise JepaflowError(f"{path} is damaged ({error}). Build the graph anew.") from error


def _normalised(log_weight: Float[ndarray, " E"], source: Int[ndarray, " E"], nodes: int) -> Float[ndarray, " E"]:
    highest = np.full(nodes, -np.inf)
    np.maximum.at(highest, source, log_weight)
    total = np.bincount(source, np.exp(log_weight - highest[source]), minlength=nodes)
    return np.asarray(log_weight - highest[source] - np.log(total[source]))
