"""The oracle: exact flows over all walks from a start to a goal of at most K edges, by soft dynamic programming.

A walk x weighs prod P_ref e^(-beta cost), and ends when it first meets the goal. With k edges left, the flow through a node
is the log-sum-exp over its edges of their weight times the flow with k - 1 left:

    F[k, goal] = 1,   F[0, other] = 0,   F[k, i] = sum_j P_ref(i, j) e^(-beta c_ij) F[k - 1, j],   Z(start) = F[K, start].

This is what a GFlowNet with additive costs learns (entropy-regularised reinforcement learning, arXiv 2310.12934), so it is
both the yardstick and the baseline. Everything else is read off the flows: walk probabilities, samples, entropy,
expected cost. beta = 0 is the reference walk that happens to arrive, beta to infinity the cheapest walk of at most K edges.

Legend: N nodes, E edges, G goals, K most edges of a walk, W walks, M widest degree.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.walks import Walks


@dataclass(frozen=True, eq=False)
class Flows:
    """A distribution over walks to some goals: made by `solve` (exactly), or read off a trained GFlowNet.

    One edge further it goes by P_F(j | i, left) = weight(i, j) F[left - 1, j] / norm[left, i].
    """

    graph: Graph
    goals: Int[ndarray, " G"]
    beta: float
    log_flow: Float[ndarray, "K1 G N"]
    """by edges left (0 … K), goal and node; -inf where the goal is out of reach"""
    log_norm: Float[ndarray, "K1 G N"]
    """what the flows after one more edge sum to; the log-flow itself where flows are exact"""

    @property
    def horizon(self) -> int:
        """K."""
        return len(self.log_flow) - 1

    @property
    def log_z(self) -> Float[ndarray, "G N"]:
        """Log-partition function of every start; -inf where the goal is out of reach.

        Read after one step of looking ahead, as the policy is: VarGrad does not learn the flow of its starts. A network's is off by
        the sum of its residuals along a walk, far more than its policy: take `verify.log_z_sampled` where log Z itself is wanted.
        """
        return np.asarray(self.log_norm[-1])

    @cached_property
    def log_weight(self) -> Float[ndarray, " E"]:
        """log P_ref - beta cost."""
        return self.graph.log_ref - self.beta * self.graph.cost

    def log_policy(self, left: int) -> Float[ndarray, "G E"]:
        """Log-probability of each edge with `left` >= 1 edges left; -inf at the goal and where the goal is out of reach."""
        norm = self.log_norm[left][:, self.graph.source]
        after = self.log_flow[left - 1][:, self.graph.indices]
        value = np.full(after.shape, -np.inf)
        going = np.isfinite(after) & (self.graph.source != self.goals[:, None])
        np.subtract(self.log_weight + after, norm, out=value, where=going)
        return value

    def expected(self, values: Float[ndarray, " E"]) -> Float[ndarray, "G N"]:
        """Expected sum of an edge's value along a walk, for every start; nan where the goal is out of reach."""
        return self._summed(lambda log_p: np.broadcast_to(values, log_p.shape))

    def expected_cost(self) -> Float[ndarray, "G N"]:
        """Expected model steps + risk, for every start."""
        return self.expected(self.graph.cost)

    def entropy(self) -> Float[ndarray, "G N"]:
        """Entropy over walks in nats, for every start."""
        return self._summed(lambda log_p: -np.where(np.isfinite(log_p), log_p, 0.0))

    def _summed(self, value: Callable[[ndarray], ndarray]) -> Float[ndarray, "G N"]:
        """Expectation of what the edges taken are worth, by one sweep from the goal."""
        total = np.zeros((len(self.goals), self.graph.nodes))
        for left in range(1, self.horizon + 1):
            log_p = self.log_policy(left)
            total = edge_sum(self.graph, np.exp(log_p) * (value(log_p) + total[:, self.graph.indices]))
        return np.where(np.isfinite(self.log_z), total, np.nan)

    def log_prob(self, walks: Walks, goal: Int[ndarray, " W"]) -> Float[ndarray, " W"]:
        """Log-probability of whole walks, each given its start; -inf for one that is no walk to its goal.

        Args:
            walks: any walks over the graph's edges.
            goal: position of each walk's goal in `goals`.
        """
        ids, lengths = walks.edges(self.graph), walks.lengths
        if not walks.nodes.shape[1]:
            return np.full(len(walks), -np.inf)
        met = walks.nodes == self.goals[goal][:, None]
        valid = (met.sum(1) == 1) & (met.argmax(1) == lengths) & (lengths <= self.horizon)
        total = np.where(valid & np.isfinite(self.log_z[goal, walks.nodes[:, 0]]), 0.0, -np.inf)
        for step in range(min(self.horizon, ids.shape[1])):
            edge, left = ids[:, step], self.horizon - step
            on = np.flatnonzero((edge >= 0) & np.isfinite(total))
            after = self.log_flow[left - 1][goal[on], walks.nodes[on, step + 1]]
            norm = self.log_norm[left][goal[on], walks.nodes[on, step]]
            total[on] += self.log_weight[edge[on]] + after - norm
        return total

    def sample(self, start: Int[ndarray, " W"], goal: Int[ndarray, " W"], rng: np.random.Generator) -> Walks:
        """Draw walks, all at once.

        Args:
            start: node of each walk.
            goal: position of each walk's goal in `goals`.
            rng: source of chance.

        Returns:
            One walk per row; an empty row where the goal is out of reach.
        """
        graph = self.graph
        graph.require_nodes("start", start)
        nodes = np.full((len(start), self.horizon + 1), -1, np.int64)
        alive = np.flatnonzero(np.isfinite(self.log_z[goal, start]))
        nodes[alive, 0] = start[alive]
        here = start.astype(np.int64)
        for step in range(self.horizon):
            alive = alive[here[alive] != self.goals[goal[alive]]]
            if not alive.size:
                break
            edge, exists = self._fan[0][here[alive]], self._fan[1][here[alive]]
            flow = self.log_flow[self.horizon - step - 1][goal[alive][:, None], graph.indices[edge]]
            score = np.where(exists, self.log_weight[edge] + flow, -np.inf)
            chance = np.exp(score - score.max(1, keepdims=True)).cumsum(1)
            pick = (rng.random(len(alive))[:, None] * chance[:, -1:] >= chance).sum(1)
            here[alive] = nodes[alive, step + 1] = graph.indices[edge[np.arange(len(alive)), pick]]
        return Walks(nodes)

    @cached_property
    def _fan(self) -> tuple[Int[ndarray, "N M"], Bool[ndarray, "N M"]]:
        return fan(self.graph)


def solve(graph: Graph, goals: Int[ndarray, " G"], horizon: int, beta: float) -> Flows:
    """Compute the flows towards some goals from every node.

    Args:
        graph: the landmarks.
        goals: nodes.
        horizon: K, the most edges of a walk.
        beta: inverse temperature, per unit of cost.

    Raises:
        JepaflowError: a goal is no node, or the horizon or beta is negative.
    """
    graph.require_nodes("goal", goals)
    if horizon < 0 or not 0 <= beta < np.inf:
        raise JepaflowError(f"The horizon ({horizon}) and beta ({beta}) must not be negative, and beta must be finite.")
    log_weight = graph.log_ref - beta * graph.cost
    flow = np.full((horizon + 1, len(goals), graph.nodes), -np.inf)
    column = np.arange(len(goals))
    flow[:, column, goals] = 0.0
    for left in range(1, horizon + 1):
        flow[left] = edge_logsumexp(graph, log_weight + flow[left - 1][:, graph.indices])
        flow[left, column, goals] = 0.0
    return Flows(graph, goals.astype(np.int64), float(beta), flow, flow)


def fan(graph: Graph) -> tuple[Int[ndarray, "N M"], Bool[ndarray, "N M"]]:
    """Edges of every node as a rectangle, and which of its places hold one."""
    slot = np.arange(max(1, int(graph.degree.max(initial=0))))
    exists = slot < graph.degree[:, None]
    return np.where(exists, graph.indptr[:-1, None] + slot, 0), exists


def edge_sum(graph: Graph, values: Float[ndarray, "G E"]) -> Float[ndarray, "G N"]:
    """Sum values over the edges of each node."""
    out = np.zeros((len(values), graph.nodes))
    full = graph.degree > 0
    if graph.edges and len(values):
        out[:, full] = np.add.reduceat(values, graph.indptr[:-1][full], axis=1)
    return out


def edge_logsumexp(graph: Graph, values: Float[ndarray, "G E"]) -> Float[ndarray, "G N"]:
    """Log-sum-exp over the edges of each node; -inf where there is none."""
    out = np.full((len(values), graph.nodes), -np.inf)
    if not graph.edges or not len(values):
        return out
    full = graph.degree > 0
    highest = np.full_like(out, -np.inf)
    highest[:, full] = np.maximum.reduceat(values, graph.indptr[:-1][full], axis=1)
    finite = np.where(np.isfinite(highest), highest, 0.0)
    total = edge_sum(graph, np.exp(values - finite[:, graph.source]))
    np.log(total, out=out, where=total > 0)
    return out + finite
