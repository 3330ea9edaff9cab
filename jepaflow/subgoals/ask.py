"""Plans between two frames of a run's episodes, for people: how likely, how dear, which routes.

Nobody tells where rooms or doors are, so routes are told apart by the graph alone: two walks are the same route when every
place of each is within a few model steps of the other (Hausdorff distance along the graph). The likeliest walk of a route
stands for it.

Legend: W walks, N nodes, D latent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.attach import Attached, attach
from jepaflow.subgoals.fitted import load_subgoals
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.planners import ExactPlanner, GFlowNetPlanner
from jepaflow.subgoals.shortest import distances, shortest_walk
from jepaflow.subgoals.walks import Walks
from jepaflow.training.checkpoint import Run
from jepaflow.training.latents import Latents, cached_latents

SAME = 5.0
"""model steps between two walks of one route at most"""
ROUTES = 8
"""routes told apart; the last holds the rest"""


@dataclass(frozen=True)
class PlanShown:
    """One plan."""

    nodes: list[int]
    """landmarks in order"""
    probability: float
    cost: float
    route: int


@dataclass(frozen=True, eq=False)
class Answer:
    """Plans between two frames."""

    title: str
    here: Attached
    plans: list[PlanShown]
    """the likeliest of each route, then the next of each, and so on"""
    shares: Float[ndarray, " R"]
    """of the routes among the walks drawn"""
    least: float
    """cost of the cheapest walk"""
    frames: list[list[UInt8[ndarray, "S S 3"]]]
    """of each plan: start, landmarks, goal"""

    @property
    def routes_words(self) -> str:
        """Return the routes' shares in a sentence."""
        each = ", ".join(f"{'ABCDEFGH'[i]} {100 * share:.0f} %" for i, share in enumerate(self.shares))
        spread = -float((self.shares * np.log(self.shares)).sum()) + 0.0
        return (
            f"Routes among the walks drawn: {each} (entropy {max(0.0, spread):.2f} nats). "
            f"Cheapest walk: {self.least:.1f} model steps."
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for a file."""
        plans = [plan.__dict__ for plan in self.plans]
        return {"title": self.title, "least_cost": self.least, "route_shares": self.shares.tolist(), "plans": plans}


def answer(
    run: Run,
    start: tuple[int, int],
    goal: tuple[int, int],
    planner: str,
    count: int,
    beta: float,
    draws: int,
    seed: int,
    dataset: tuple[Path, ...] = (),
) -> Answer:
    """Plan between two frames.

    Args:
        run: with sub-goals.
        start, goal: episode and control step, of the run's first store.
        planner: gflownet, exact or dijkstra.
        count: plans.
        beta: inverse temperature.
        draws: walks drawn.
        seed: of the draws.
        dataset: where the run's stores lie now.

    Raises:
        JepaflowError: nothing is fitted, there is no such frame, or no way.
    """
    known, latents = load_subgoals(run), cached_latents(run, dataset)
    (z, first), (end, last) = (_frame(run, latents, *place) for place in (start, goal))
    here = attach(known.graph, known.reach, known.landmarks.z, z, end, known.config.build)
    title = f"{planner}: episode {start[0]}, step {start[1]} to episode {goal[0]}, step {goal[1]}"
    if planner == "dijkstra":
        walks = shortest_walk(here.graph, here.start, here.goal)
        log_p, classes, shares = np.zeros(len(walks)), np.zeros(len(walks), np.int64), np.ones(1)
    else:
        exact = ExactPlanner(known.config.horizon, beta) if planner == "exact" else GFlowNetPlanner(known.flow, beta)
        walks, log_p, classes, shares = _drawn(exact, here, draws, seed)
        title += f", beta {beta:g}"
    if not len(walks):
        raise JepaflowError(f"There is no way from {start} to {goal} of at most {known.config.horizon} edges.")
    cost, order = walks.cost(here.graph), _in_turn(classes)[:count]
    lists = walks.as_lists()
    plans = [PlanShown(lists[i][1:-1], float(np.exp(log_p[i])), float(cost[i]), int(classes[i])) for i in order]
    marks, camera = known.landmarks, run.model.config.cameras[:1]
    stores = latents[0].corpus.stores
    pictures = [
        [first, *(stores[int(marks.store[n])].pixels(marks.row[n : n + 1], camera)[0, 0] for n in plan.nodes), last]
        for plan in plans
    ]
    least = float(distances(here.graph, np.array([here.goal]))[0, here.start])
    return Answer(title, here, plans, shares, least, pictures)


def _drawn(
    planner: ExactPlanner, here: Attached, draws: int, seed: int
) -> tuple[Walks, Float[ndarray, " W"], Int[ndarray, " W"], Float[ndarray, " R"]]:
    """Draw walks; return the different ones with log-probabilities and routes, and the routes' shares."""
    flows = planner.flows(here.graph, here.goal)
    start = np.full(draws, here.start)
    drawn = flows.sample(start, np.zeros(draws, np.int64), np.random.default_rng(seed))
    nodes, times = np.unique(drawn.nodes[drawn.lengths >= 0], axis=0, return_counts=True)
    walks = Walks(nodes)
    log_p = flows.log_prob(walks, np.zeros(len(nodes), np.int64))
    best = np.argsort(-log_p, kind="stable")
    walks, log_p = Walks(nodes[best]), log_p[best]
    classes = route_classes(here.graph, walks)
    often = np.bincount(classes, times[best])
    order = np.argsort(-often, kind="stable")
    return walks, log_p, np.argsort(order)[classes], often[order] / max(1, often.sum())


def route_classes(graph: Graph, walks: Walks, same: float = SAME, most: int = ROUTES) -> Int[ndarray, " W"]:
    """Return the route of each walk, by the first walk that it is near to all along; the last class holds the rest.

    Args:
        graph: the walks'.
        walks: the likeliest first.
        same: model steps.
        most: routes told apart.
    """
    nodes = np.unique(walks.nodes[walks.nodes >= 0])
    if not len(walks):
        return np.zeros(0, np.int64)
    away = dijkstra(graph.matrix, indices=nodes)[:, nodes]
    away = np.minimum(away, away.T)
    lists = [np.searchsorted(nodes, np.array(walk)) for walk in walks.as_lists()]
    leaders: list[ndarray] = []
    found = np.zeros(len(lists), np.int64)
    for i, walk in enumerate(lists):
        gaps = [_apart(away, walk, leader) for leader in leaders]
        near = int(np.argmin(gaps)) if gaps else -1
        if near >= 0 and (gaps[near] <= same or len(leaders) == most):
            found[i] = near if gaps[near] <= same else most - 1
        else:
            found[i] = len(leaders)
            leaders.append(walk)
    return found


def _apart(away: Float[ndarray, "n n"], one: Int[ndarray, " a"], other: Int[ndarray, " b"]) -> float:
    between = away[np.ix_(one, other)]
    return float(max(between.min(1).max(), between.min(0).max()))


def _in_turn(classes: Int[ndarray, " W"]) -> Int[ndarray, " W"]:
    """Return the first walk of each route in the routes' order, then the second of each, and so on."""
    order = np.argsort(classes, kind="stable")
    turn = np.empty(len(classes), np.int64)
    turn[order] = np.arange(len(classes)) - np.searchsorted(classes[order], classes[order])
    return np.asarray(np.lexsort((classes, turn)))


def _frame(
    run: Run, latents: tuple[Latents, Latents], episode: int, step: int
) -> tuple[Float[Tensor, " D"], UInt8[ndarray, "S S 3"]]:
    """Return latent and picture of a frame of the first store."""
    for part in latents:
        corpus = part.corpus
        found = np.flatnonzero((corpus.where[corpus.episode] == [0, episode]).all(1) & (corpus.step == step))
        if len(found):
            return part.z[int(found[0])], corpus.frames(found[:1], run.model.config.cameras[:1])[0, 0]
    raise JepaflowError(
        f"Episode {episode} of {run.store_path.name} has no step {step}, or the run does not know it. Choose another frame."
    )
