"""Walks that do what was asked, by Dijkstra, the exact sampler or the run's GFlowNet: all on the product of automaton and landmarks.

The GFlowNet was trained on the landmark graph, towards single landmarks. On a product it is shown landmarks' latents alone, and
as its goal the mean of those that a walk may end at; costs, hops and the best single way, its hint, are the product's own. So every
walk that it draws does what was asked, and how far it is from the exact distribution can be measured (`verify.agree`). Where the
request takes more sub-goals than the network plans, the exact flows stand in.

Legend: P product nodes, D latent.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows
from jepaflow.subgoals.flow_models import FlowModel, NeuralFlow
from jepaflow.subgoals.graph import FAR
from jepaflow.subgoals.language.product import ProductGraph
from jepaflow.subgoals.planners import BETA, distinct
from jepaflow.subgoals.shortest import shortest_walk
from jepaflow.subgoals.towards import Towards
from jepaflow.subgoals.verify import learned
from jepaflow.subgoals.walks import Walks, walks_of

Kind = Literal["gflownet", "exact", "dijkstra"]
KINDS: tuple[Kind, ...] = ("gflownet", "exact", "dijkstra")


class LiftedFlow(FlowModel):
    """A flow of the landmark graph on products of it: the flags "done" behind each latent are not shown to it."""

    def __init__(self, flow: NeuralFlow) -> None:
        super().__init__()
        self.flow, self.horizon = flow, flow.horizon

    def forward(self, goals: Towards) -> Float[Tensor, "G N K1"]:
        """Log-flows of every product node."""
        found: Tensor = self.flow(replace(goals, features=goals.features[:, : self.flow.config.features]))
        return found


@dataclass(frozen=True, eq=False)
class Proposed:
    """One walk."""

    nodes: list[int]
    """landmarks, the start first"""
    done: list[tuple[int, ...]]
    """numbers of the clauses that become done at each"""
    to_go: Float[ndarray, " L"]
    """model steps from each node to the end, prices included"""


class ProductPlanner:
    """Proposes walks on a product.

    Args:
        kind: see `KINDS`.
        horizon: most edges of an exactly sampled walk, for each clause.
        flow: the run's GFlowNet; needed for that kind.
        beta: inverse temperature, which the product must have been made with.
    """

    def __init__(self, kind: Kind, horizon: int = 32, flow: NeuralFlow | None = None, beta: float = BETA) -> None:
        if kind not in KINDS:
            raise JepaflowError(f"There is no planner {kind!r}. Choose {', '.join(KINDS)}.")
        if kind == "gflownet" and flow is None:
            raise JepaflowError("The planner gflownet needs the run's flow. Fit it: jepaflow subgoals fit RUN")
        self.kind, self.horizon, self.beta = kind, horizon, beta
        self.flow = None if flow is None else LiftedFlow(flow)
        self.stood_in = 0
        """times that the exact flows stood in for the network"""

    def flows(self, made: ProductGraph, start: int) -> Flows:
        """Return the distribution of walks from a landmark on."""
        if self.kind == "gflownet" and self.flow is not None:
            goal = np.array([made.goal])
            if made.graph.hops(goal)[0, made.begin(start)] <= self.flow.horizon:
                return learned(self.flow, made.graph, goal, self.beta)
            self.stood_in += 1
        needed = int(made.graph.hops(np.array([made.goal]))[0, made.begin(start)])
        longest = max(self.horizon * max(1, len(made.automaton.clauses)), needed if needed < FAR else 0)
        return made.flows(longest)

    def propose(self, made: ProductGraph, start: int, count: int, rng: np.random.Generator) -> list[Proposed]:
        """Return at most `count` different walks, the likeliest first."""
        begin = made.begin(start)
        if self.kind == "dijkstra":
            walks = shortest_walk(replace(made.graph, cost=made.length), begin, made.goal)
        else:
            walks, _ = distinct(self.flows(made, start), begin, count, rng)
        return [_proposed(made, walk) for walk in walks.as_lists()]


def _proposed(made: ProductGraph, walk: list[int]) -> Proposed:
    """Read a product walk; its last node is the goal, which is no landmark."""
    steps = made.length[made.graph.edge_ids(np.array(walk[:-2], int), np.array(walk[1:-1], int))]
    state = made.automaton.done[made.state[walk[:-1]]]
    new = state & ~np.concatenate([np.zeros((1, state.shape[1]), bool), state[:-1]])
    done = [tuple(np.flatnonzero(row).tolist()) for row in new]
    return Proposed(made.landmark[walk[:-1]].tolist(), done, np.append(steps[::-1].cumsum()[::-1], 0.0))


__all__ = ["KINDS", "Kind", "LiftedFlow", "ProductPlanner", "Proposed", "Walks", "walks_of"]
