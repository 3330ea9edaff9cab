"""How far a learned distribution over walks is from the exact one, exactly.

Walks need not be enumerated: by the chain rule the Kullback-Leibler divergence of two walk distributions is the expected sum of
those of their steps, one sweep from the goal for all starts at once. Total variation has no such sweep; it is enumerated
where a pair has few walks, and estimated without bias from exact samples elsewhere. Samples alone would not do as a
judge: 10,000 from a *perfect* model are .06 away from 256 equally likely states.

Legend: N nodes, E edges, G goals, K most edges, K1 = K + 1, W walks, P pairs.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import logsumexp

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, edge_logsumexp, edge_sum
from jepaflow.subgoals.flow_models import FlowModel
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.towards import towards
from jepaflow.subgoals.walks import Walks, walks_of

GOALS, NUMBERS = 64, 2**26
"""most goals in one pass of the network, and most numbers that it may hold at once for them"""
EARLY = 3
"""first steps of a walk whose divergence is reported apart: errors there matter most"""


def learned(model: FlowModel, graph: Graph, goals: Int[ndarray, " G"], beta: float) -> Flows:
    """Read a trained GFlowNet's distribution off as flows, to sample from and to compare.

    Args:
        model: `TableFlow` or `NeuralFlow`.
        graph: any graph whose features the model knows.
        goals: nodes.
        beta: inverse temperature.
    """
    device = next(model.parameters()).device
    table = (model.horizon + 1) * graph.nodes * max(1, int(graph.degree.max(initial=0)))  # looking ahead, for each goal
    batch = max(1, min(GOALS, NUMBERS // table))
    parts = [np.zeros((model.horizon + 1, 0, graph.nodes))]
    with torch.no_grad():
        for first in range(0, len(goals), batch):
            flow = model(towards(graph, goals[first : first + batch], beta, device))
            parts.append(flow.permute(2, 0, 1).cpu().double().numpy())
    log_flow = np.concatenate(parts, 1)
    log_norm, column = log_flow.copy(), np.arange(len(goals))
    log_weight = graph.log_ref - beta * graph.cost
    for left in range(1, len(log_flow)):
        log_norm[left] = edge_logsumexp(graph, log_weight + log_flow[left - 1][:, graph.indices])
        log_norm[left, column, goals] = 0.0
    return Flows(graph, goals.astype(np.int64), float(beta), log_flow, log_norm)


@dataclass(frozen=True, eq=False)
class Agreement:
    """A learned distribution beside the exact one, for every goal and start; nan where there is no walk or no choice to make."""

    kl: Float[ndarray, "G N"]
    """KL(learned || exact) over walks, in nats"""
    kl_reverse: Float[ndarray, "G N"]
    """KL(exact || learned)"""
    early: Float[ndarray, "G N"]
    """the part of `kl` from the first steps"""
    log_z_error: Float[ndarray, "G N"]
    """learned log Z - exact log Z"""
    mass: Float[ndarray, "G N"]
    """probability that the learned policy arrives in time"""


def agree(ours: Flows, exact: Flows, early: int = EARLY) -> Agreement:
    """Compare two distributions on the same graph, goals and horizon.

    Raises:
        JepaflowError: they are not about the same.
    """
    if ours.log_flow.shape != exact.log_flow.shape or (ours.goals != exact.goals).any():
        raise JepaflowError(
            "The two flows have other goals, nodes or horizons. Compare flows of one graph and horizon."
        )
    graph, horizon = exact.graph, exact.horizon
    kl, reverse, first = (np.zeros(exact.log_z.shape) for _ in range(3))
    mass = (np.arange(graph.nodes) == exact.goals[:, None]).astype(float)
    at_goal = mass > 0
    for left in range(1, horizon + 1):
        p, q = ours.log_policy(left), exact.log_policy(left)
        kl = _sweep(graph, p, q, kl)
        reverse = _sweep(graph, q, p, reverse)
        first = _sweep(graph, p, q if left > horizon - early else p, first)
        mass = np.where(at_goal, 1.0, edge_sum(graph, np.exp(p) * mass[:, graph.indices]))
    error = np.full(kl.shape, np.nan)
    some = np.isfinite(exact.log_z) & ~at_goal
    np.subtract(ours.log_z, exact.log_z, out=error, where=some)
    kl, reverse, first, mass = (np.where(some, values, np.nan) for values in (kl, reverse, first, mass))
    return Agreement(kl, reverse, first, error, mass)


def _sweep(
    graph: Graph, p: Float[ndarray, "G E"], q: Float[ndarray, "G E"], after: Float[ndarray, "G N"]
) -> Float[ndarray, "G N"]:
    """One step back of KL(p || q) = E_p[log p - log q + what follows]."""
    taken = np.isfinite(p)
    gap = np.zeros_like(p)
    np.subtract(p, q, out=gap, where=taken)
    chance = np.where(taken, np.exp(p), 0.0)
    return edge_sum(graph, np.where(taken, chance * (gap + after[:, graph.indices]), 0.0))


def tv_sampled(ours: Flows, exact: Flows, walks: Walks, goal: Int[ndarray, " W"]) -> Float[ndarray, " W"]:
    """Per exact sample, (1 - ours / exact)_+; its mean is the total variation, without bias.

    Args:
        ours: the learned distribution.
        exact: the oracle.
        walks: drawn from the oracle.
        goal: position of each walk's goal.
    """
    ratio = np.exp(ours.log_prob(walks, goal) - exact.log_prob(walks, goal))
    return np.asarray(np.maximum(0.0, 1.0 - ratio))


def log_z_sampled(
    ours: Flows, start: Int[ndarray, " P"], goal: Int[ndarray, " P"], walks: int, rng: np.random.Generator
) -> Float[ndarray, " P"]:
    """Log Z of pairs from the learned policy's own walks, importance-weighted: log mean e^(log weight - log P_F).

    Each walk's log weight is the flow read off at the start minus the walk's residuals of detailed balance, so that it corrects
    what the network misjudges on the way; the plans that are drawn anyway will do. Converges to the exact log Z, the faster the
    closer the policy is to the target.

    Args:
        ours: the learned distribution.
        start: node of each pair, from which the goal can be reached.
        goal: position of each pair's goal.
        walks: samples for each pair.
        rng: source of chance.
    """
    starts, columns = np.repeat(start, walks), np.repeat(goal, walks)
    drawn = ours.sample(starts, columns, rng)
    log_weight = drawn.total(ours.graph, ours.log_weight) - ours.log_prob(drawn, columns)
    return np.asarray(logsumexp(log_weight.reshape(-1, walks), axis=1) - np.log(walks))


def tv_enumerated(ours: Flows, exact: Flows, goal: int, start: int, most: int = 1_000_000) -> float:
    """Total variation between two distributions over all walks of a pair.

    Args:
        ours: the learned distribution.
        exact: the oracle.
        goal: position of the goal.
        start: node.
        most: walks to enumerate at the most.
    """
    walks = every_walk(exact.graph, start, int(exact.goals[goal]), exact.horizon, most)
    column = np.full(len(walks), goal)
    ours_p, exact_p = np.exp(ours.log_prob(walks, column)), np.exp(exact.log_prob(walks, column))
    return float(0.5 * np.abs(ours_p - exact_p).sum())


def every_walk(graph: Graph, start: int, goal: int, horizon: int, most: int = 1_000_000) -> Walks:
    """Enumerate all walks from start to the first meeting with the goal, of at most `horizon` edges.

    Raises:
        JepaflowError: there are more than `most`.
    """
    left = graph.hops(np.array([goal]))[0]
    done: list[list[int]] = []
    going = [[start]] if left[start] <= horizon else []
    while going:
        walk = going.pop()
        if walk[-1] == goal:
            done.append(walk)
        else:
            neighbours = graph.indices[graph.indptr[walk[-1]] : graph.indptr[walk[-1] + 1]]
            going += [[*walk, int(node)] for node in neighbours if left[node] <= horizon - len(walk)]
        if len(done) > most:
            raise JepaflowError(f"There are more than {most} walks from {start} to {goal}. Use tv_sampled instead.")
    return walks_of(done)
