"""A run under orders in simulated worlds: frames in, sentences in, actions out; many worlds in step.

`Robot` is all that a run offers: model, heads, landmarks, language. `Commanded` looks once a model step, shows what it sees to
beliefs, monitor and commander, and lets System 1 (the inverse-dynamics head, or CEM) go where the commander aims.

Legend: E worlds, V views, D latent, A action size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.evaluation.closed_loop import views_of, world_of
from jepaflow.evaluation.planner import PlannerConfig, make_controller, run_space
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.controller import Controller
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.goal import Goal
from jepaflow.planning.monitor import Monitor
from jepaflow.planning.monitor_file import load_monitor
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.subgoals.fitted import Subgoals, load_subgoals
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.language.believing import Beliefs
from jepaflow.subgoals.language.commander import Commander
from jepaflow.subgoals.language.deeds import DeedCommander
from jepaflow.subgoals.language.doing import Doer, load_doer
from jepaflow.subgoals.language.grounding import Language, load_language
from jepaflow.subgoals.language.hands import Hands
from jepaflow.subgoals.language.potentials import Potentials, known_potentials, seen_graph
from jepaflow.subgoals.language.proposing import Kind, ProductPlanner
from jepaflow.subgoals.language.request import Refusal, Request
from jepaflow.subgoals.language.understanding import understand
from jepaflow.subgoals.navigator import NavigatorConfig
from jepaflow.subgoals.walker import system_1
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.heads import Heads, load_heads

PATIENCE = 8
"""blocks without an advance after which a way has failed: a grasp takes six"""


@dataclass(eq=False)
class Knowledge:
    """What a run knows, without any world."""

    run: Run
    heads: Heads
    subgoals: Subgoals
    language: Language
    known: Potentials
    graph: Graph
    """the run's, with what the seer tells apart (`seen_graph`)"""
    doer: Doer | None
    """System 1 for clauses, where it was fitted"""
    stores: list[Store] | None
    """the run's, where they are at hand: they hold the landmarks' frames"""

    def planner(self, kind: Kind) -> ProductPlanner:
        """Return a planner on products."""
        return ProductPlanner(kind, self.subgoals.config.horizon, self.subgoals.flow)

    def commander(self, kind: Kind, seed: int) -> Commander:
        """Return a System 2 that takes requests."""
        mine = self.subgoals
        config = NavigatorConfig(patience=PATIENCE, stalls=10**6, build=mine.config.build, seed=seed)
        kind_of = Commander if self.doer is None else DeedCommander
        return kind_of(self.graph, mine.landmarks.z, self.planner(kind), mine.reach, self.known, config)

    def beliefs(self, pictures: UInt8[np.ndarray, "E V S S 3"]) -> Beliefs:
        """Begin to watch desks."""
        return Beliefs(self.language.seer, pictures, self.doer)

    @torch.no_grad()
    def encode(
        self, pictures: UInt8[np.ndarray, "E V S S 3"], proprio: Float[np.ndarray, "E P"] | None
    ) -> Float[Tensor, "E D"]:
        """Return the latents of frames and robot states."""
        told = None if proprio is None else torch.from_numpy(proprio).float()[:, None]
        return self.run.model.encode(torch.from_numpy(pictures)[:, None], told)[:, 0]

    def model_steps(self, nodes: Sequence[int]) -> float:
        """Return how many model steps walking landmarks takes by what the graph was built of, without any price.

        Along an episode, as many as it took there; elsewhere as many as its landmarks are usually apart, or as the graph says.
        """
        marks, mine = self.subgoals.landmarks, self.subgoals
        chosen = np.array(list(nodes), np.int64)
        if len(chosen) < 2:
            return float(len(chosen))
        if mine.config.build.like <= 0:
            edges = mine.graph.edge_ids(chosen[:-1], chosen[1:])
            return 1.0 + float(mine.graph.cost[edges[edges >= 0]].sum())
        gap = np.diff(marks.step[chosen]).astype(float)
        own = (np.diff(marks.episode[chosen]) == 0) & (np.diff(marks.store[chosen]) == 0) & (gap > 0)
        usual = float(mine.config.landmarks.every or np.median(gap[own]) if own.any() else mine.config.landmarks.every)
        return float(np.where(own, gap, usual).sum() + usual) / self.run.model.config.block

    def frames(self, nodes: Sequence[int]) -> UInt8[np.ndarray, "n S S 3"] | None:
        """Return the pictures of landmarks by the model's first camera; None where the stores are not at hand."""
        if self.stores is None:
            return None
        marks, camera = self.subgoals.landmarks, self.run.model.config.cameras[:1]
        found = [self.stores[int(marks.store[n])].pixels(marks.row[n : n + 1], camera)[0, 0] for n in nodes]
        size = self.run.model.config.image_size
        return np.stack(found) if found else np.zeros((0, size, size, 3), np.uint8)


def load_knowledge(path: Path, stores: tuple[Path, ...] = ()) -> Knowledge:
    """Load a run with heads, sub-goals and language.

    Args:
        path: the run's folder.
        stores: where its stores lie now; empty = where they lay when it was trained.

    Raises:
        JepaflowError: something was not fitted yet: it says what, and how.
    """
    run = load_run(path, "cpu")
    language, subgoals = load_language(run), load_subgoals(run)
    own = stores or tuple(Path(p) for p in run.config["dataset"]["path"])
    there = [Store(each) for each in own] if all(each.is_file() for each in own) else None
    if stores and there is None:
        raise JepaflowError(f"{' or '.join(map(str, stores))} does not exist. Check --stores.")
    known = known_potentials(path, language, subgoals.landmarks, there)
    chains = subgoals.config.build.like > 0
    graph = seen_graph(subgoals.graph, known, subgoals.landmarks, chains, len(language.seer.objects))
    return Knowledge(run, load_heads(path), subgoals, language, known, graph, load_doer(path), there)


@dataclass(eq=False)
class Robot:
    """A run in a world."""

    mind: Knowledge
    env: str
    """the world's name"""
    entry: WorldEntry
    controller: Controller
    views: tuple[str, ...]
    monitor: Monitor | None

    @property
    def block(self) -> int:
        """K, control steps in a model step."""
        return self.mind.run.model.config.block

    @property
    def size(self) -> int:
        """Side of the pictures, px."""
        return self.mind.run.model.config.image_size

    def see(self, worlds: Sequence[World]) -> tuple[UInt8[np.ndarray, "E V S S 3"], Float[np.ndarray, "E P"]]:
        """Return pictures and robot states."""
        seen = [world.observation() for world in worlds]
        pictures = np.stack([np.stack([one[view] for view in self.views]) for one in seen])
        return pictures, np.stack([one["state"] for one in seen])


def make_robot(mind: Knowledge, env: str, search: bool = False) -> Robot:
    """Put a run into a world.

    Args:
        mind: the run.
        env: the world's name.
        search: System 1 is CEM over held actions instead of the head.

    Raises:
        JepaflowError: the run does not fit the world.
    """
    entry, run = world_of(mind.run, env), mind.run
    world = entry.make(run.model.config.image_size)
    if search:
        solver = SolverConfig(kind="cem", parameters="hold", horizon=mind.subgoals.config.build.within)
        control = ControllerConfig(solver=solver, cost=CostConfig(path=0.5))
        controller = make_controller(run, world, PlannerConfig(control=control))
    else:
        space = run_space(run, world, PlannerConfig().rate)
        controller = system_1(run.model, space, mind.heads, mind.subgoals.reach)
    monitor = load_monitor(run) if (run.path / "monitor.json").is_file() else None
    return Robot(mind, env, entry, controller, tuple(views_of(run, world)), monitor)


class Commanded:
    """Does what sentences ask, in many worlds at once. As a `Policy` it is given its sentences beforehand.

    Args:
        robot: a run in a world.
        planner: gflownet, exact or dijkstra.
        seed: of the planner.
        sentences: one for each world.
    """

    def __init__(self, robot: Robot, planner: Kind = "exact", seed: int = 0, sentences: Sequence[str] = ()) -> None:
        self.robot, self.sentences = robot, list(sentences)
        self.commander = robot.mind.commander(planner, seed)
        self.answers: list[Request | Refusal] = []

    def _restart(self) -> None:
        """Begin to count blocks."""
        self._tick, self._fresh = 0, True
        self._busy: list[int] = []
        self._chunk = np.zeros((0, 0, 0))
        self._blocks: list[np.ndarray] = []
        self._shown: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        if self.robot.monitor is not None:
            self.robot.monitor.begin()

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Look, and take the sentences in."""
        self.meet(worlds)
        self.ask(self.sentences)

    def meet(self, worlds: Sequence[World]) -> None:
        """Look at the desks before anything is done: what is seen now is what later frames are compared with."""
        pictures, proprio = self.robot.see(worlds)
        self.beliefs = self.robot.mind.beliefs(pictures)
        self.last = np.stack([world.still_action() for world in worlds])
        space = worlds[0].action_space
        assert isinstance(space, gymnasium.spaces.Box)
        self.low, self.high = space.low, space.high
        self.z = self._encode(pictures, proprio)
        self.seen: list[Tensor] = [self.z]
        """latents of every look of all sentences since"""
        self.done: list[Tensor] = []
        """the block executed after each of them"""
        if self.robot.mind.doer is not None:
            self._hands = Hands(self.robot.mind.doer, proprio)
        self._restart()

    def ask(self, sentences: Sequence[str], before: Sequence[Request | None] = ()) -> None:
        """Take in one sentence for each world; `before`: what was asked for there before."""
        language, past = self.robot.mind.language, before or [None] * len(sentences)
        self.answers = [
            understand(sentence, language.ground, language.seer, self.beliefs.there(e), past[e])
            for e, sentence in enumerate(sentences)
        ]
        wanted = [answer if isinstance(answer, Request) else None for answer in self.answers]
        self.commander.command(self.z, self.beliefs, wanted)
        if self.robot.mind.doer is not None:
            self._hands.forget()
        self._restart()

    @property
    def ended(self) -> np.ndarray:
        """Where nothing more will be done (E,)."""
        return self.commander.ended

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Return the next actions (E, A); looks once a model step. `step` is not read: a new sentence begins a new count."""
        if self._tick % self.robot.block == 0:
            self._look(worlds)
        action = self.robot.controller.act(*self._shown)
        self._shown = (None, None)
        if self._busy:
            step = self._tick % self.robot.block
            action = np.array(action)
            action[self._busy] = self._chunk[:, step].clip(self.low, self.high)
        self.last = np.where(self.ended[:, None], self.last, action)
        self._blocks.append(self.last)
        self._tick += 1
        return self.last

    def _look(self, worlds: Sequence[World]) -> None:
        """See, believe, and aim."""
        pictures, proprio = self.robot.see(worlds)
        self.z = self._encode(pictures, proprio)
        if not self._fresh:
            block = torch.from_numpy(np.stack(self._blocks, 1)).float()
            self.seen.append(self.z)
            self.done.append(block)
            if self.robot.monitor is not None:
                self.robot.monitor.did(block)
        self.beliefs.see(pictures)
        loud = None
        if self.robot.monitor is not None:
            loud = self.robot.monitor.see(self.z).loud.numpy().astype(float)
        self._fresh, self._blocks = False, []
        aimed = self.commander.look(self.z, None, loud)
        self.robot.controller.reset(Goal(aimed[:, None]), start_action=self.last)
        self._shown = (pictures, proprio)
        self._do(pictures, proprio)

    def _do(self, pictures: np.ndarray, proprio: np.ndarray) -> None:
        """Let the doer, where there is one, decide the next block of those that are at a clause."""
        doer, commander, self._busy = self.robot.mind.doer, self.commander, []
        if doer is None or not isinstance(commander, DeedCommander):
            return
        self._busy, pairs = commander.doing()
        if self._busy:
            rows = np.array(self._busy)
            self._chunk = self._hands.act(rows, self.z[rows], pictures[rows], proprio[rows], pairs)
            commander.arrived[rows] = self._hands.arrived(rows, proprio[rows])

    def _encode(self, pictures: np.ndarray, proprio: np.ndarray) -> Float[Tensor, "E D"]:
        return self.robot.controller.encode(pictures, proprio).cpu().float()
