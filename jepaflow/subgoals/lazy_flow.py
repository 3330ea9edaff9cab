"""The GFlowNet on a lazy graph: one flow per node and goal, asked only at the frontier.

With time to spare the flow does not depend on the edges left: F(i) = sum_j P_ref(i, j) e^(-beta c_ij) F(j), F(goal) = 1. It is
written log F = -slope D, where D is a learned cost to go (the last output of `NeuralFlow.pairs`, beside a straight-line hint). D is
learnt where a table still fits: from Dijkstra on a coarse draw of the nodes. Then one number, the slope, is set so that detailed
balance holds in the median over some nodes of the fine graph: the entropy of its many small edges is in it. There is no pass over the
whole graph and no table of hops, so the mask that made every walk arrive is gone: a walk that has not arrived within its bound
(a multiple of D) has failed, and a node once left is entered again only where there is no other.

Legend: N nodes, W walks, M most edges of a node, S states, G goals.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import logsumexp
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.flow_models import NeuralFlow
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.lazy import LazyGraph
from jepaflow.subgoals.shortest import distances
from jepaflow.subgoals.walks import Walks
from jepaflow.training.fitting import FitConfig, fit

STEEPEST = 1e3
"""times beta, at which the search for the slope ends"""


@dataclass(frozen=True)
class LazyConfig:
    """Scale of the flow, and its training."""

    beta: float = 2.0
    """inverse temperature, per unit of cost"""
    rate: float = 0.0
    """cost of a unit of distance in features, straight on: the hint; 0 gives none"""
    unit: float = 10.0
    """cost that the network's output of one stands for"""
    coarse: int = 2000
    """nodes of the draw that the cost to go is learnt on"""
    steps: int = 1500
    pairs: int = 1024
    """in a step"""
    lr: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.pairs, self.coarse - 1) < 1 or min(self.beta, self.unit, self.lr) <= 0 or self.rate < 0:
            raise JepaflowError(
                "A lazy flow's sizes must be at least 1, beta, unit and lr positive, rate not negative."
            )
        if self.seed < 0:
            raise JepaflowError("A lazy flow's seed must not be negative.")


class LazyFlow:
    """The policy.

    Args:
        model: a network whose last output counts; told the straight way, without surroundings and looking ahead.
        graph: asked at the frontier.
        config: scale.
    """

    def __init__(self, model: NeuralFlow, graph: LazyGraph, config: LazyConfig) -> None:
        if model.config.surroundings or model.config.ahead:
            raise JepaflowError("A lazy flow cannot look at the graph around: make it with surroundings=0, ahead=0.")
        self.model, self.graph, self.config = model, graph, config
        self.device, self.slope = next(model.parameters()).device, config.beta
        self.typical = float("nan")
        """median cost of the edges that `set_slope` looked at"""
        with torch.no_grad():
            self._features = torch.from_numpy(graph.features).to(self.device, torch.float32)
            self._seen: Tensor = model.seen(self._features)

    def to_go(self, node: Int[Tensor, " S"], goal: Int[Tensor, " S"]) -> Float[Tensor, " S"]:
        """Learnt cost from nodes to goals; 0 at the goal, never negative."""
        straight = self.config.rate * (self._features[node] - self._features[goal]).norm(dim=1)
        edges = straight / self.config.unit
        beta = torch.full_like(edges, self.config.beta)
        told = torch.stack([edges / 10, (1 + edges).log(), beta.log1p(), 1 / (1 + beta)], 1)
        raw = self.model.pairs(self._seen[node], self._seen[goal], told)[:, -1]
        return torch.where(node == goal, 0.0, (straight + self.config.unit * raw).clamp_min(0.0))

    @torch.no_grad()
    def ask(self, node: Int[ndarray, " S"], goal: Int[ndarray, " S"]) -> Float[ndarray, " S"]:
        """`to_go` for numpy."""
        one, other = (torch.from_numpy(np.ascontiguousarray(part)).to(self.device) for part in (node, goal))
        return self.to_go(one, other).cpu().numpy().astype(np.float64)

    def frontier(self, node: Int[ndarray, " S"], goal: Int[ndarray, " S"]) -> tuple[ndarray, ndarray, ndarray]:
        """Neighbours (S, M), padded with -1; log P_ref - beta cost, -inf in the padding; and their cost to go."""
        target, cost = self.graph.rows(node)
        there = target >= 0
        weight = np.where(there, -self.config.beta * cost, -np.inf) - np.log(np.maximum(there.sum(1), 1))[:, None]
        ahead = np.zeros(target.shape)
        ahead[there] = self.ask(target[there], np.broadcast_to(goal[:, None], target.shape)[there])
        return target, weight, ahead

    def sample(
        self, start: Int[ndarray, " W"], goal: Int[ndarray, " W"], bound: Int[ndarray, " W"], rng: np.random.Generator
    ) -> Walks:
        """Draw walks of at most `bound` edges each; one that does not arrive is given as far as it went."""
        nodes = np.full((len(start), int(bound.max()) + 1), -1, np.int64)
        nodes[:, 0] = start
        going = np.flatnonzero((start != goal) & (bound > 0))
        for step in range(int(bound.max())):
            if not len(going):
                break
            target, weight, ahead = self.frontier(nodes[going, step], goal[going])
            score = weight - self.slope * ahead
            been = (target[:, :, None] == nodes[going][:, None, : step + 1]).any(2)
            fresh = np.where(been, -np.inf, score)
            score = np.where(np.isfinite(fresh).any(1, keepdims=True), fresh, score)
            moving = np.isfinite(score).any(1)
            pick = target[np.arange(len(going)), (score + rng.gumbel(size=score.shape)).argmax(1)]
            going, pick = going[moving], pick[moving]
            nodes[going, step + 1] = pick
            going = going[(pick != goal[going]) & (step + 1 < bound[going])]
        return Walks(nodes)

    def balance(self, node: Int[ndarray, " S"], goal: Int[ndarray, " S"]) -> Float[ndarray, " S"]:
        """Residual of detailed balance, log F(state) - logsumexp over its edges, in nats."""
        here = self.ask(node, goal)
        _, weight, ahead = self.frontier(node, goal)
        return np.asarray(-self.slope * here - logsumexp(weight - self.slope * ahead, axis=1))

    def set_slope(self, node: Int[ndarray, " S"], goal: Int[ndarray, " S"]) -> None:
        """Choose the slope with which detailed balance holds in the median over these states, by bisection; note the edges' cost."""
        here = self.ask(node, goal)
        _, weight, ahead = self.frontier(node, goal)
        some = np.isfinite(weight).any(1)
        gain = np.where(np.isfinite(weight), here[:, None] - ahead, 0.0)[some]

        def excess(slope: float) -> float:
            return float(np.median(logsumexp(weight[some] + slope * gain, axis=1)))

        low, high = 0.0, STEEPEST * self.config.beta
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if excess(middle) > 0 else (middle, high)
        self.slope = high
        cost = self.graph.rows(node)[1]
        self.typical = float(np.median(cost[np.isfinite(cost)])) if np.isfinite(cost).any() else 1.0


def train_lazy(flow: LazyFlow, partial: Path | None = None, about: str = "", most_goals: int = 400) -> int:
    """Learn the cost to go on a coarse draw, then balance on the fine graph, in place.

    Args:
        flow: its model is fitted.
        partial: where an unfinished training is kept, and looked for.
        about: what the training is.
        most_goals: of the coarse draw.

    Returns:
        edges evaluated: the coarse graph's, and those of the states that were balanced.

    Raises:
        JepaflowError: nothing can be reached on the coarse draw.
    """
    config, fine = flow.config, flow.graph
    rng = np.random.default_rng((config.seed, 20))
    draw = np.sort(rng.choice(fine.nodes, min(config.coarse, fine.nodes), replace=False))
    graph, coarse = coarse_draw(fine, draw)
    goals = rng.choice(len(draw), min(most_goals, len(draw)), replace=False)
    cost = distances(graph, goals)
    goal, start = np.nonzero(np.isfinite(cost) & (cost > 0))
    if not len(goal):
        raise JepaflowError("No goal can be reached on the coarse draw. Draw more nodes, or ask about more candidates.")
    value = torch.from_numpy(cost[goal, start]).to(flow.device, torch.float32)
    one, other = (torch.from_numpy(part).to(flow.device) for part in (draw[start], draw[goals[goal]]))
    flow.model.fit_scaler(flow._features)

    def loss(step: int) -> Tensor:
        generator = torch.Generator(flow.device).manual_seed(config.seed * 1_000_003 + step)
        some = torch.randint(len(value), (config.pairs,), generator=generator, device=flow.device)
        flow._seen = flow.model.seen(flow._features)
        gap = (flow.to_go(one[some], other[some]) - value[some]) / config.unit
        return torch.nn.functional.smooth_l1_loss(gap, torch.zeros_like(gap))

    with torch.no_grad():
        flow._seen = flow.model.seen(flow._features)
    fit(flow.model, loss, FitConfig(config.steps, config.lr, 0.0, 5.0), "lazy flow", partial, about)
    before = fine.evaluated
    flow.set_slope(rng.choice(fine.nodes, 256), rng.choice(fine.nodes, 256))
    return coarse + fine.evaluated - before


def coarse_draw(fine: LazyGraph, draw: Int[ndarray, " n"]) -> tuple[Graph, int]:
    """Return the graph of some nodes alone, and how many edges were asked about; candidates spread as far as on the fine graph."""
    stride = max(1, round(fine.stride * len(draw) / fine.nodes))
    coarse = LazyGraph(
        fine.features[draw], lambda pairs: fine.ask(draw[pairs]), fine.candidates, fine.neighbours, stride
    )
    return coarse.eager(), coarse.evaluated
