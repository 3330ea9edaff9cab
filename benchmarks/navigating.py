"""Policies of `navigate`: System 1 with the goal's frame or given frames, and the navigator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.reachability import states
from jepaflow.evaluation.closed_loop import views_of, world_of
from jepaflow.evaluation.planner import PlannerConfig, make_controller, run_space
from jepaflow.evaluation.run import PlannerPolicy
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.controller import Controller
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.goal import Goal
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.disc import penetration
from jepaflow.sims.disc_env import STATE_TOLERANCE
from jepaflow.sims.maze import MazeEnv
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.subgoals.attach import attach
from jepaflow.subgoals.failures import Failure
from jepaflow.subgoals.fitted import Subgoals, load_subgoals
from jepaflow.subgoals.foresight import Foresight
from jepaflow.subgoals.navigator import Navigator, NavigatorConfig
from jepaflow.subgoals.planners import DijkstraPlanner, ExactPlanner, GFlowNetPlanner, Planner
from jepaflow.subgoals.shortest import shortest_walk
from jepaflow.subgoals.surprised import forecast_errors, surprising
from jepaflow.subgoals.walker import Aim, Stall, system_1
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.heads import Heads, load_heads
from jepaflow.training.latents import Latents, cached_latents

PATIENCE = 8
"""blocks without an advance after which an arm's way has failed: a grasp takes six"""


@dataclass(eq=False)
class Setup:
    """What all policies share."""

    run: Run
    entry: WorldEntry
    heads: Heads
    subgoals: Subgoals
    controller: Controller
    views: Sequence[str]
    stall: Stall
    places: np.ndarray
    """of a maze's landmarks, px (N, 2); elsewhere (N, 0)"""
    surprising: float
    space: ActionSpace

    @property
    def patient(self) -> bool:
        """Whether actions are targets: a block that changes little may be a grasp, and no sign of failure."""
        return self.space.change is not None

    @property
    def block(self) -> int:
        """K, control steps in a model step."""
        return self.run.model.config.block

    def show(self) -> PlannerPolicy:
        """Return what shows worlds to the controller."""
        return PlannerPolicy(self.entry, self.run.model.config.image_size, self.controller, self.views)

    def latents(self, given: np.ndarray) -> Tensor:
        """Return the latents of simulator states."""
        worlds = [self.entry.make(self.run.model.config.image_size) for _ in given]
        for world, state in zip(worlds, given, strict=True):
            world.set_state(state)
        return torch.from_numpy(self.show().look(worlds)[2])

    def doors_of_dijkstra(self, trials: Trials) -> np.ndarray:
        """Return the door to shut for those who make no plan: of Dijkstra's."""
        known, found = self.subgoals, []
        world = self.entry.make(8)
        assert isinstance(world, MazeEnv)
        pairs = zip(self.latents(trials.starts), self.latents(trials.goals), trials.starts, trials.goals, strict=True)
        for z, goal, one, other in pairs:
            here = attach(known.graph, known.reach, known.landmarks.z, z, goal, known.config.build)
            walk = shortest_walk(here.graph, here.start, here.goal).as_lists()
            nodes = walk[0][1:-1] if walk else []
            found.append(middle_door(world, one[:2], self.places[nodes], other[:2]))
        return np.array(found)


def middle_door(world: MazeEnv, start: np.ndarray, places: np.ndarray, goal: np.ndarray) -> int:
    """Return the middle door of a route, not the first; -1 where it has fewer than two, or start or goal lies in it."""
    maze = world.config
    doors = maze.doors_on(np.concatenate([start[None], places, goal[None]]))
    if len(doors) < 2:
        return -1
    door = doors[max(1, len(doors) // 2)]
    ends = ((float(x), float(y)) for x, y in (start, goal))
    return -1 if any(penetration(maze, end, (maze.leaf(door),)) > STATE_TOLERANCE for end in ends) else door


def set_up(path: Path, env: str, search: bool = False) -> Setup:
    """Load a run with its heads and sub-goals.

    Args:
        path: of the run.
        env: world.
        search: System 1 is CEM over held actions instead of the head, as far ahead as edges reach; with the path in its cost,
            or else it plans to arrive at the end of its horizon, ever again.
    """
    run = load_run(path, "cpu")
    entry, heads, subgoals = world_of(run, env), load_heads(path), load_subgoals(run)
    world = entry.make(run.model.config.image_size)
    train, _ = cached_latents(run)
    space = run_space(run, world, PlannerConfig().rate)
    if search:
        solver = SolverConfig(kind="cem", parameters="hold", horizon=subgoals.config.build.within)
        control = ControllerConfig(solver=solver, cost=CostConfig(path=0.5))
        controller = make_controller(run, world, PlannerConfig(control=control))
    else:
        controller = system_1(run.model, space, heads, subgoals.reach)
    stall, error = Stall(train, run.model.config.block), surprising(run, train)
    places = places_of(train, subgoals) if isinstance(world, MazeEnv) else np.zeros((len(subgoals.landmarks), 0))
    return Setup(run, entry, heads, subgoals, controller, views_of(run, world), stall, places, error, space)


def places_of(train: Latents, known: Subgoals) -> np.ndarray:
    """Return where a maze's landmarks lie, px (N, 2)."""
    where = {(int(s), int(r)): i for i, (s, r) in enumerate(zip(train.corpus.store_of, train.corpus.row, strict=True))}
    rows = [where[(int(s), int(r))] for s, r in zip(known.landmarks.store, known.landmarks.row, strict=True)]
    return np.asarray(states(train)[rows, :2].astype(float))


def random_block(rng: np.random.Generator, space: ActionSpace, last: np.ndarray, block: int) -> np.ndarray:
    """Return actions (E, A) to hold for a block: uniform in the box; of targets, about a block's way from the last ones.

    Args:
        rng: source of chance.
        space: the world's; it knows the usual change of targets.
        last: executed last (E, A).
        block: K.
    """
    low, high = space.low.numpy(), space.high.numpy()
    if space.change is None:
        return rng.uniform(low, high, last.shape)
    away = block * space.change.numpy() * rng.standard_normal(last.shape)
    if space.rate is not None:
        away = away.clip(-space.rate.numpy(), space.rate.numpy())
    return np.asarray((last + away).clip(low, high))


class FlatPolicy:
    """System 1 towards the goal's frame, or along given frames.

    Args:
        setup: shared.
        seed: of random blocks.
        loose: a random block after one that changed nothing; never with an arm's targets, where standing still may be grasping.
        frames: latents (E, S, D), the last is the goal; None: the goal alone.
    """

    def __init__(self, setup: Setup, seed: int, loose: bool = True, frames: Tensor | None = None) -> None:
        self.setup, self.seed, self.wants_loose, self.frames = setup, seed, loose and not setup.patient, frames
        self.policy = setup.show()

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Start at the first sub-goal."""
        self.rng, self.loose = np.random.default_rng(self.seed), np.zeros(len(worlds), bool)
        self.setup.stall.begin()
        self.last = self.drawn = np.stack([world.still_action() for world in worlds])
        self.goal = self.setup.latents(goals)
        self.z = torch.from_numpy(self.policy.look(worlds)[2])
        self.start(self.z)

    def start(self, z: Float[Tensor, "E D"]) -> None:
        """Begin to aim."""
        self.aim = Aim(self.setup.subgoals.reach, self.goal[:, None] if self.frames is None else self.frames)
        self.aimed = self.goal

    def towards(self, z: Float[Tensor, "E D"], stalled: np.ndarray) -> Float[Tensor, "E D"]:
        """Return what to aim at."""
        return self.aim.look(z)

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Aim anew once a block."""
        seen = None
        if step % self.setup.block == 0:
            seen = [world.observation() for world in worlds]
            z = torch.from_numpy(self.policy.look(worlds)[2])
            stalled = self.setup.stall.look(z, self.setup.subgoals.reach.between(z, self.aimed))
            self.aimed = self.towards(z, stalled)
            self.setup.controller.reset(Goal(self.aimed[:, None]), start_action=self.last)
            self.loose = stalled & self.wants_loose
            self.drawn = random_block(self.rng, self.setup.space, self.last, self.setup.block)
        self.last = self.policy.decide(seen)
        if self.loose.any():
            self.last = np.where(self.loose[:, None], self.drawn, self.last)
        self.did(self.last)
        return self.last

    def did(self, action: np.ndarray) -> None:
        """Nothing to remember."""


class NavigatingPolicy(FlatPolicy):
    """System 1 and System 2.

    Args:
        setup: shared.
        planner: gflownet, exact or dijkstra.
        seed: of planner and random blocks.
        replan: take another route when one fails.
        imagine: rank walks by imagination, where the head can be imagined (one that needs the last action cannot).
    """

    def __init__(self, setup: Setup, planner: str, seed: int, replan: bool = True, imagine: bool = True) -> None:
        super().__init__(setup, seed)
        known = setup.subgoals
        makers: dict[str, Planner] = {
            "dijkstra": DijkstraPlanner(),
            "exact": ExactPlanner(known.config.horizon),
            "gflownet": GFlowNetPlanner(known.flow),
        }
        space, head = setup.space, setup.heads.inverse
        can = imagine and not head.config.needs_start
        self.foresight = Foresight(setup.run.model, head, known.reach, space.low, space.high) if can else None
        config = NavigatorConfig(replan=replan, seed=seed, build=known.config.build)
        if setup.patient:
            config = replace(config, patience=PATIENCE, stalls=10**6)
        self.navigator = Navigator(
            known.graph, known.landmarks.z, makers[planner], known.reach, config, self.foresight, setup.surprising
        )

    def start(self, z: Float[Tensor, "E D"]) -> None:
        """Plan."""
        self.navigator.begin(z, self.goal, self.told_of())
        self.aimed, self.seen = self.goal, [z]
        self.done: list[Tensor] = []
        self.block: list[np.ndarray] = []

    def towards(self, z: Float[Tensor, "E D"], stalled: np.ndarray) -> Float[Tensor, "E D"]:
        """Ask System 2."""
        error = None
        if self.block:
            self.done.append(torch.from_numpy(np.stack(self.block, 1)).float())
            error = forecast_errors(self.setup.run.model, self.seen, self.done, z)
            self.seen.append(z)
        self.block = []
        return self.navigator.look(z, stalled, error)

    def did(self, action: np.ndarray) -> None:
        """Remember what was executed."""
        self.block.append(action)

    def told_of(self) -> list[list[tuple[Failure, Tensor]]] | None:
        """Return what is known of shut doors: nothing."""
        return None

    def doors(self, worlds: Sequence[World]) -> np.ndarray:
        """Return the middle door of each plan's route; the worlds are in their start states."""
        found = []
        for world, plans in zip(worlds, self.navigator.plans, strict=True):
            assert isinstance(world, MazeEnv)
            places = self.setup.places[plans[0].nodes]
            found.append(middle_door(world, np.array(world.agent), places, np.array(world.target)))
        return np.array(found)

    def told(self) -> str:
        """Return what navigating took, in words."""
        c, looked = self.navigator.counts, len(self.navigator.plans)
        ms = 1e3 * c.seconds / max(1, c.plans)
        imagined = self.foresight.evaluations / looked if self.foresight is not None else 0
        return (
            f"{c.plans / looked:.2f} plans a trial, {ms:.0f} ms each, {self.setup.block * c.wasted / looked:.1f} control steps "
            f"in ways given up, {imagined:.0f} model steps imagined, {c.surprises / looked:.2f} surprises"
        )


class InformedPolicy(NavigatingPolicy):
    """The ceiling: Dijkstra with re-planning, told from the start which door will be shut.

    Args:
        setup: shared.
        seed: of random blocks.
        trials: for the rooms of the goals.
        shut: number of each trial's door, -1 for none.
    """

    def __init__(self, setup: Setup, seed: int, trials: Trials, shut: np.ndarray) -> None:
        super().__init__(setup, "dijkstra", seed, imagine=False)
        self.goals, self.shut = trials.goals, shut

    def told_of(self) -> list[list[tuple[Failure, Tensor]]] | None:
        """Return both directions through each door as ways that do not work."""
        world, marks = self.setup.entry.make(8), self.setup.subgoals.landmarks.z
        assert isinstance(world, MazeEnv)
        maze, found = world.config, []
        room = np.array([maze.room((float(x), float(y))) for x, y in self.setup.places])
        for goal, door in zip(self.goals, self.shut, strict=True):
            ways = [maze.doors[door], maze.doors[door][::-1]] if door >= 0 else []
            there = maze.room((float(goal[0]), float(goal[1])))
            middle = {each: marks[self._nearest(maze.centre(each))] for way in ways for each in way}
            found.append(
                [
                    (Failure(room == a, np.append(room == b, there == b), 500.0), torch.stack([middle[a], middle[b]]))
                    for a, b in ways
                ]
            )
        return found

    def _nearest(self, place: tuple[float, float]) -> int:
        return int(np.linalg.norm(self.setup.places - np.array(place), axis=1).argmin())
