"""Graphs too large for a table: edges are asked for only where a plan looks.

A lazy graph knows where its nodes are and what to ask: the nearest candidates of a node are proposed, `ask` says which of them are
within reach and at what cost (walls, or the distance head), the cheapest few are kept. What was asked is remembered, and
counted: that is what a plan costs, since on a robot's latents each question is a pass of a network, or a chain of imagination.

Legend: N nodes, D features, n nodes asked for, M most edges of a node, C candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph

FLAT = 3
"""most features for which a tree finds neighbours faster than a matrix product"""

Ask = Callable[[Int[ndarray, "n 2"]], tuple[Bool[ndarray, " n"], Float[ndarray, " n"]]]
"""Whether each pair (source, target) is an edge, and its cost."""


@dataclass(eq=False)
class LazyGraph:
    """See above.

    Args:
        features: where nodes are.
        ask: about pairs.
        candidates: nearest nodes that are asked about.
        neighbours: edges kept, the cheapest first.
        stride: only every `stride`-th of the nearest is a candidate, lest a dense draw has none but tiny edges.
    """

    features: Float[ndarray, "N D"]
    ask: Ask
    candidates: int = 32
    neighbours: int = 8
    stride: int = 1
    evaluated: int = field(default=0, init=False)
    """pairs asked about so far"""

    def __post_init__(self) -> None:
        if min(self.candidates, self.neighbours, self.stride) < 1 or len(self.features) < 2:
            raise JepaflowError("A lazy graph needs two nodes, one candidate and one neighbour at least.")
        self.stride = min(self.stride, len(self.features) - 1)
        self.candidates = min(self.candidates, (len(self.features) - 1) // self.stride)
        self._tree = cKDTree(self.features) if self.features.shape[1] <= FLAT else None
        self._proposed = np.full((self.nodes, self.candidates), -1, np.int64)
        self.forget()

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.features)

    def forget(self) -> None:
        """Begin anew: nothing was asked. Which candidates lie near is no question, and stays known."""
        self.evaluated = 0
        self._target = np.full((self.nodes, self.neighbours), -1, np.int64)
        self._cost = np.full((self.nodes, self.neighbours), np.inf)
        self._known = np.zeros(self.nodes, bool)

    def rows(self, nodes: Int[ndarray, " n"]) -> tuple[Int[ndarray, "n M"], Float[ndarray, "n M"]]:
        """Neighbours of nodes, padded with -1, and costs, padded with infinity; asks where they are not known.

        Raises:
            JepaflowError: there is no such node.
        """
        if len(nodes) and (nodes.min() < 0 or nodes.max() >= self.nodes):
            raise JepaflowError(f"A node asked for is none of the {self.nodes} of the lazy graph.")
        new = np.unique(nodes[~self._known[nodes]])
        if len(new):
            self._find(new)
        return self._target[nodes], self._cost[nodes]

    def eager(self) -> Graph:
        """Ask about everything, and return an ordinary graph: the yardstick."""
        target, cost = self.rows(np.arange(self.nodes))
        source, column = np.nonzero(target >= 0)
        return Graph.from_edges(source, target[source, column], cost[source, column], self.features)

    def _find(self, new: Int[ndarray, " n"]) -> None:
        without = new[self._proposed[new, 0] < 0]
        if len(without):
            self._proposed[without] = self._near(without)
        near = self._proposed[new]
        pairs = np.stack([np.repeat(new, near.shape[1]), near.flatten()], 1)
        edge, cost = self.ask(pairs)
        self.evaluated += len(pairs)
        ranked = np.where(edge, cost, np.inf).reshape(near.shape)
        best = np.argsort(ranked, 1, kind="stable")[:, : self.neighbours]
        found = np.take_along_axis(ranked, best, 1)
        width = best.shape[1]
        self._cost[new, :width] = found
        self._target[new, :width] = np.where(np.isfinite(found), np.take_along_axis(near, best, 1), -1)
        self._known[new] = True

    def _near(self, new: Int[ndarray, " n"]) -> Int[ndarray, "n C"]:
        count = self.candidates * self.stride
        if self._tree is not None:
            found = self._tree.query(self.features[new], count + 1)[1]
        else:
            z, found_ = torch.from_numpy(self.features), []
            size = z.square().sum(1)
            for part in torch.split(torch.from_numpy(new), 1024):
                found_.append((size - 2 * z[part] @ z.mT).topk(count + 1, largest=False).indices)
            found = torch.cat(found_).numpy()
        # A node is its own nearest; where it has a double, whichever is itself goes.
        own = found == new[:, None]
        own[~own.any(1), -1] = True
        return np.asarray(found[~own].reshape(len(new), count)[:, self.stride - 1 :: self.stride], np.int64)
