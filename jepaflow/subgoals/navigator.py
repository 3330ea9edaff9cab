"""System 2 at work: plans, ranks, walks by System 1, notices failure, penalises the way and takes a different one.

All environments are walked in step; each has its own graph (its start and goal attached), failures, plan and counts. A plan
is given up when System 1 has stood still, been surprised or had no sub-goal come nearer for some blocks. The frames are
never asked about doors or walls: what is known of failure is that it did not work. Plans made anew start from what is
seen now; among the walks proposed the one of lowest *imagined* cost is taken (`foresight`), or of lowest cost.

Legend: E environments, D latent, S most sub-goals of a plan, N landmarks.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.attach import Attached, attach
from jepaflow.subgoals.build import BuildConfig
from jepaflow.subgoals.failures import Failure, PenaltyConfig, failure, penalised
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.planners import Planner
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.shortest import distances
from jepaflow.subgoals.walker import Aim, AimConfig


@runtime_checkable
class Ranker(Protocol):
    """Foretells what plans cost: `Foresight`."""

    def cost(
        self, z: Float[Tensor, "P D"], rows: Float[Tensor, "P S D"], to_go: Float[Tensor, "P S"], aim: AimConfig
    ) -> Float[Tensor, " P"]:
        """Return each plan's cost in model steps."""
        ...


@dataclass(frozen=True)
class NavigatorConfig:
    """How plans are made and given up."""

    count: int = 8
    """plans that are ranked"""
    replan: bool = True
    """take a different route when one fails; else the first plan is walked to its end"""
    patience: int = 4
    """blocks without an advance after which a way has failed"""
    stalls: int = 2
    """of these, blocks that changed nothing, or not what was expected, after which it has failed sooner"""
    most: int = 40
    """S, sub-goals of a plan that are kept"""
    aim: AimConfig = field(default_factory=AimConfig)
    build: BuildConfig = field(default_factory=BuildConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.patience, self.stalls, self.most) < 1:
            raise JepaflowError("A navigator's count, patience, stalls and most must be at least 1.")
        if self.seed < 0:
            raise JepaflowError("A navigator's seed must not be negative.")


@dataclass
class Counts:
    """What navigating took, over all environments."""

    plans: int = 0
    replans: int = 0
    proposed: int = 0
    """walks that planners proposed"""
    seconds: float = 0.0
    """spent on planning"""
    wasted: int = 0
    """blocks between the last advance and giving up"""
    surprises: int = 0


@dataclass(frozen=True, eq=False)
class Plan:
    """One plan as it was made."""

    block: int
    """at which block of the episode"""
    nodes: list[int]
    """landmarks in order; the goal follows"""
    cost: float
    """of the walk, with penalties"""
    imagined: float
    """imagined cost; nan where none was imagined"""


class Navigator:
    """Walks to goals by sub-goals.

    Args:
        graph: of landmarks.
        marks: their latents (N, D).
        planner: proposes walks.
        reach: as for the graph.
        config: see there.
        foresight: ranks walks by imagination; None: by cost.
        surprising: error of a forecast (mean square per latent dimension) above which a block is surprising.
    """

    def __init__(
        self,
        graph: Graph,
        marks: Float[Tensor, "N D"],
        planner: Planner,
        reach: Reachability,
        config: NavigatorConfig | None = None,
        foresight: Ranker | None = None,
        surprising: float = float("inf"),
    ) -> None:
        self.graph, self.marks, self.planner, self.reach = graph, marks, planner, reach
        self.config, self.foresight, self.surprising = config or NavigatorConfig(), foresight, surprising

    def begin(
        self,
        z: Float[Tensor, "E D"],
        goal: Float[Tensor, "E D"],
        told: list[list[tuple[Failure, Float[Tensor, "2 D"]]]] | None = None,
    ) -> None:
        """Plan all episodes.

        Args:
            z: latents of the starts.
            goal: latents of the goals.
            told: ways that are known not to work, with a place on either side; none.
        """
        self.goal, self.block, self.counts = goal, 0, Counts()
        self.rng = np.random.default_rng(self.config.seed)
        known = told or [[] for _ in z]
        self.failures: list[list[Failure]] = [[way for way, _ in mine] for mine in known]
        self.plans: list[list[Plan]] = [[] for _ in z]
        self.tried: list[list[Tensor]] = [[sides for _, sides in mine] for mine in known]
        """where the robot stood at each failure, and where it wanted to go (2, D)"""
        self.attached: dict[int, Attached] = {}
        """what a plan that is due begins with"""
        self.walk: list[list[int]] = [[] for _ in z]
        self.tries, self.bad = np.zeros(len(z), int), np.zeros(len(z), int)
        rows = goal[:, None].expand(-1, self.config.most, -1).clone()
        self.aim = Aim(self.reach, rows, replace(self.config.aim, patience=2**30 if self.config.replan else 8))
        self._plan(z, list(range(len(z))))

    def look(
        self,
        z: Float[Tensor, "E D"],
        stalled: Bool[ndarray, " E"] | None = None,
        forecast_error: Float[ndarray, " E"] | None = None,
    ) -> Float[Tensor, "E D"]:
        """Return the latents to aim at; once a block.

        Args:
            z: latents now.
            stalled: where the last block changed nothing.
            forecast_error: of the last block, where it is known.
        """
        before = self.aim.at.clone()
        aimed = self.aim.look(z)
        surprised = np.zeros(len(z), bool) if forecast_error is None else forecast_error > self.surprising
        self.counts.surprises += int(surprised.sum())
        advanced = (self.aim.at > before).numpy()
        arrived = (self.reach.between(z, aimed) <= self.config.aim.arrived).numpy()
        idle = ~advanced & ~arrived
        self.tries = np.where(idle, self.tries + 1, 0)
        self.bad = np.where(idle, self.bad + (surprised if stalled is None else stalled | surprised), 0)
        if self.config.replan and self.block > 0:
            failed = np.flatnonzero((self.tries >= self.config.patience) | (self.bad >= self.config.stalls))
            if len(failed):
                self._give_up(z, failed.tolist())
                aimed = self.aim.rows[torch.arange(len(z)), self.aim.at]
        self.block += 1
        return aimed

    def _give_up(self, z: Float[Tensor, "E D"], failed: list[int]) -> None:
        """Penalise what some environments tried, and plan anew."""
        for e in failed:
            at, walk = int(self.aim.at[e]), self.walk[e]
            other = walk[min(at, len(walk) - 1)]
            here = self._attach(z, e)
            self.attached[e] = here
            self.failures[e].append(failure(here.graph, other, self.failures[e], self.config.penalty))
            self.tried[e].append(torch.stack([z[e], self.aim.rows[e, at]]))
            self.counts.wasted += int(self.tries[e])
        self.counts.replans += len(failed)
        self._plan(z, failed)

    def _plan(self, z: Float[Tensor, "E D"], which: list[int]) -> None:
        """Plan for some environments and aim at the first sub-goal."""
        began = time.perf_counter()
        proposals = [self._propose(z, e) for e in which]
        flat = [(e, walk, to_go) for e, found in zip(which, proposals, strict=True) for walk, to_go in found]
        imagined = self._imagined(z, flat)
        scores = iter(zip(flat, imagined, strict=True))
        for e, found in zip(which, proposals, strict=True):
            mine = [next(scores) for _ in found]
            (_, walk, to_go), score = min(mine, key=lambda one: one[1] if np.isfinite(one[1]) else one[0][2][0])
            self.walk[e] = walk[1:]
            self.aim.rows[e] = self._row(e, walk)
            self.aim.at[e], self.aim.waited[e] = 0, 0
            self.tries[e] = self.bad[e] = 0
            self.plans[e].append(Plan(self.block, walk[1:-1], float(to_go[0]), score))
        self.counts.plans += len(which)
        self.counts.proposed += len(flat)
        self.counts.seconds += time.perf_counter() - began

    def _propose(self, z: Float[Tensor, "E D"], e: int) -> list[tuple[list[int], Float[ndarray, " S"]]]:
        """Return walks from the start to the goal, each with the cost from its every node on; straight where there is none."""
        here = self.attached.pop(e, None) or self._attach(z, e)
        graph = here.graph
        if self.failures[e]:
            stood, wanted = torch.stack(self.tried[e], 1)
            z_here = z[e].expand_as(stood)
            side = self.reach.between(z_here, stood) <= self.reach.between(z_here, wanted)
            graph = penalised(graph, self.failures[e], side.numpy())
        walks = self.planner.plan(graph, here.start, here.goal, self.config.count, self.rng)
        found = []
        for walk in walks.as_lists():
            cost = graph.cost[graph.edge_ids(np.array(walk[:-1]), np.array(walk[1:]))]
            found.append((walk, np.append(cost[::-1].cumsum()[::-1], 0.0)))
        if found:
            return found
        away = distances(graph, np.array([here.goal]))[0, here.start]
        return [([here.start, here.goal], np.array([away if np.isfinite(away) else 1e6, 0.0]))]

    def _attach(self, z: Float[Tensor, "E D"], e: int) -> Attached:
        return attach(self.graph, self.reach, self.marks, z[e], self.goal[e], self.config.build)

    def _imagined(self, z: Tensor, flat: list[tuple[int, list[int], ndarray]]) -> list[float]:
        """Return the imagined cost of walks; nan where there is no choice or no imagination."""
        found = [float("nan")] * len(flat)
        rivals = np.bincount([e for e, _, _ in flat], minlength=len(z))
        some = [i for i, (e, _, _) in enumerate(flat) if rivals[e] > 1]
        if self.foresight is None or not some:
            return found
        rows = torch.stack([self._row(flat[i][0], flat[i][1]) for i in some])
        to_go = torch.zeros(rows.shape[:2])
        for k, i in enumerate(some):
            tail = torch.from_numpy(flat[i][2][1:])[: self.config.most]
            to_go[k, : len(tail)] = tail.float()
        costs = self.foresight.cost(z[[flat[i][0] for i in some]], rows, to_go, self.aim.config)
        for i, cost in zip(some, costs.tolist(), strict=True):
            found[i] = cost
        return found

    def _row(self, e: int, walk: list[int]) -> Float[Tensor, "S D"]:
        """Return a walk's sub-goals, its goal repeated."""
        nodes = walk[1:-1][: self.config.most - 1]
        row = self.goal[e].expand(self.config.most, -1).clone()
        row[: len(nodes)] = self.marks[nodes]
        return row
