"""Where plans come from: one interface for the GFlowNet, the exact sampler and Dijkstra.

A planner is asked for some walks from one start to one goal on the graph as it is now, and answers in milliseconds.
Samplers put the same walk forward more than once where it is likely; each is given once, the likeliest first.
"""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.flow_models import FlowModel
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.shortest import shortest_walk
from jepaflow.subgoals.verify import learned
from jepaflow.subgoals.walks import Walks, walks_of

BETA = 2.0
"""inverse temperature per model step: mean cost 1.1 of the cheapest in the maze, and several routes"""
DRAWS = 4
"""walks drawn for each that is wanted"""


@runtime_checkable
class Planner(Protocol):
    """Proposes walks."""

    def plan(self, graph: Graph, start: int, goal: int, count: int, rng: np.random.Generator) -> Walks:
        """Return at most ``count`` different walks; none where the goal is out of reach."""
        ...


class DijkstraPlanner:
    """The cheapest walk, always the same."""

    def plan(self, graph: Graph, start: int, goal: int, count: int, rng: np.random.Generator) -> Walks:
        """Return one walk."""
        return shortest_walk(graph, start, goal)


class ExactPlanner:
    """Samples walks from the exact flows.

    Args:
        horizon: K, most edges of a walk.
        beta: inverse temperature.
    """

    def __init__(self, horizon: int = 32, beta: float = BETA) -> None:
        if horizon < 1 or not 0 <= beta < np.inf:
            raise JepaflowError("A planner's horizon must be at least 1, and beta finite and not negative.")
        self.horizon, self.beta = horizon, beta

    def flows(self, graph: Graph, goal: int) -> Flows:
        """Return the distribution of walks to a goal."""
        return solve(graph, np.array([goal]), self.horizon, self.beta)

    def plan(self, graph: Graph, start: int, goal: int, count: int, rng: np.random.Generator) -> Walks:
        """Return the likeliest of some drawn walks."""
        walks, _ = distinct(self.flows(graph, goal), start, count, rng)
        return walks


class GFlowNetPlanner(ExactPlanner):
    """Samples walks from a trained network's flows: new starts, goals and changed costs need no training.

    Args:
        model: the network.
        beta: inverse temperature.
    """

    def __init__(self, model: FlowModel, beta: float = BETA) -> None:
        super().__init__(model.horizon, beta)
        self.model = model

    def flows(self, graph: Graph, goal: int) -> Flows:
        """Return the network's distribution of walks to a goal."""
        return learned(self.model, graph, np.array([goal]), self.beta)


def distinct(
    flows: Flows, start: int, count: int, rng: np.random.Generator, draws: int | None = None
) -> tuple[Walks, Float[ndarray, " W"]]:
    """Draw walks to a distribution's only goal and return the different ones, the likeliest first, with log-probabilities.

    Args:
        flows: of one goal.
        start: node.
        count: most walks.
        rng: source of chance.
        draws: walks drawn; `DRAWS` for each that is wanted.
    """
    times = draws or DRAWS * count
    drawn = flows.sample(np.full(times, start), np.zeros(times, np.int64), rng)
    nodes = np.unique(drawn.nodes[drawn.lengths >= 0], axis=0)
    if not len(nodes):
        return walks_of([]), np.zeros(0)
    walks = Walks(nodes)
    log_p = flows.log_prob(walks, np.zeros(len(nodes), np.int64))
    best = np.argsort(-log_p, kind="stable")[:count]
    return Walks(nodes[best]), log_p[best]
