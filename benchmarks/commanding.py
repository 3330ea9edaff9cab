"""Who takes part in `benchmarks.command`, the trials, and the loop that all of them go through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.command_truth import Witness, things_of
from jepaflow.evaluation.commanded import PATIENCE, Commanded, Robot, make_robot
from jepaflow.planning.goal import Goal
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert, ArmExpertConfig
from jepaflow.sims.arms.script import Targets
from jepaflow.sims.arms.slip import Slip
from jepaflow.sims.arms.tasks import in_bin
from jepaflow.sims.registry import World, action_bounds
from jepaflow.subgoals.language.automaton import MOST, in_turn
from jepaflow.subgoals.language.clause import HAND, Clause, Thing
from jepaflow.subgoals.language.grammar import Split
from jepaflow.subgoals.language.paraphrase import paraphrase
from jepaflow.subgoals.language.proposing import KINDS, Kind
from jepaflow.subgoals.language.request import Refusal, Request
from jepaflow.subgoals.navigator import Navigator, NavigatorConfig
from jepaflow.subgoals.planners import DijkstraPlanner, ExactPlanner, GFlowNetPlanner, Planner

SLACK = 1.5
"""times the task's own steps, for each clause"""
STILL = 1e-3
"""m/s"""
SEARCHED = 50
"""desks looked at for each trial, in search of one on which names are clear"""
SLIPS = 77
"""tells the slips' draws from others"""


@dataclass(frozen=True, eq=False)
class Trial:
    """One desk and one sentence."""

    number: int
    """seed of the desk"""
    state: np.ndarray
    """simulator state of the start"""
    request: Request
    """what the sentence means"""
    sentence: str
    slip: bool
    budget: int


@runtime_checkable
class Worker(Protocol):
    """Takes part: a `Policy` that may also say what it believes."""

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Begin; the worlds are in their start states."""
        ...

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Return the actions of this control step."""
        ...


def draw_trials(
    robot: Robot, count: int, first: int, clauses: int, wording: str, slip: bool, budget: int | None
) -> list[Trial]:
    """Lay desks and draw a sentence for each. A cube is named by its colour: desks where that may mean two are passed over.

    Args:
        robot: in the world.
        count: desks.
        first: seed of the first.
        clauses: things to do, one after the other: 1 or 2; 0: every cube into the bin of its colour.
        wording: plain, or a split of the paraphrases.
        slip: let a cube slip in every second one.
        budget: control steps.

    Raises:
        JepaflowError: the world has no cubes, or nothing to put or push them on; or no bins of their colours to sort them into.
    """
    world, found = robot.entry.make(8), list[Trial]()
    if not isinstance(world, ArmEnv) or not (world.rules.layout.cubes or world.rules.layout.marker == "ball"):
        raise JepaflowError(
            "Sentences here are about cubes, and a ball. Choose tasks that have some, e.g. so101/place."
        )
    for number in range(first, first + SEARCHED * count):
        if len(found) == count:
            break
        world.reset(seed=number)
        rng = np.random.default_rng(number)
        must = _asked(robot, world, clauses, rng)
        if not must:
            continue
        request = Request(must, in_turn(len(must)) if clauses else ())
        steps = budget or round(SLACK * world.rules.steps * len(must))
        slips = slip and len(found) % 2 == 1
        sentence = _said(must, wording, rng) if clauses else "sort the cubes by colour"
        found.append(Trial(number, world.get_state(), request, sentence, slips, steps))
    if len(found) < count:
        raise JepaflowError(f"Hardly any desk of {robot.env} has {clauses} cubes that are alone of their colour.")
    return found


def _asked(robot: Robot, world: ArmEnv, clauses: int, rng: np.random.Generator) -> tuple[Clause, ...]:
    """Draw what is asked for on a desk; nothing where names are not clear."""
    things = things_of(world)
    cubes, balls = ([thing for thing in things if thing.kind == kind] for kind in ("cube", "ball"))
    places = [thing for thing in things if thing.kind in ("bin", "disc")]
    if balls:
        return (Clause("reach", balls[0]),)
    if not places:
        raise JepaflowError(f"{robot.env} has neither bin, disc nor ball. Choose other tasks, e.g. so101/place.")
    if clauses == 0:
        must = tuple(Clause("put", cube, Thing(cube.colour, "bin")) for cube in cubes if (cube.colour, "bin") in places)
        if not must:
            raise JepaflowError(f"No cube of a desk of {robot.env} has a bin of its colour. Give --clauses 1.")
        return must
    names = world.scene.colours[: world.scene.cubes]
    alone = [cube for cube in cubes if names.count(cube.colour) == 1]
    if len(alone) < min(clauses, len(cubes)):
        return ()
    some = [alone[i] for i in rng.permutation(len(alone))[:clauses]]
    return tuple(_moving(cube, places[int(rng.integers(len(places)))]) for cube in some)


def _moving(cube: Thing, place: Thing) -> Clause:
    """What brings a thing to a place, or the hand to it."""
    if place == HAND:
        return Clause("reach", cube)
    return Clause("put" if place.kind == "bin" else "push", cube, place)


def _said(must: Sequence[Clause], wording: str, rng: np.random.Generator) -> str:
    """Say clauses one after the other."""
    splits: dict[str, Split] = {"train": "train", "test": "test"}
    each = [str(clause) if wording == "plain" else paraphrase(clause, rng, splits[wording]) for clause in must]
    return ", then ".join(words.rstrip(".!") for words in each)


def run_commands(robot: Robot, worker: Worker, trials: Sequence[Trial], phase: str) -> Bool[np.ndarray, "5 n"]:
    """Let someone work on trials, all in step; success at the end, success at any time, belief, refusal and slip of each.

    Args:
        robot: in the world.
        worker: who works.
        trials: what on.
        phase: what the progress bar calls this.
    """
    size = 8 if isinstance(worker, Still | Wanders | Scripts) else robot.size
    worlds = [_laid(robot, trial, size) for trial in trials]
    worker.begin(worlds, np.zeros((len(trials), 0)))
    witnesses = [Witness(world, trial.request) for world, trial in zip(worlds, trials, strict=True)]
    slips = [
        Slip(world, np.random.default_rng((trial.number, SLIPS))) if trial.slip else None
        for world, trial in zip(worlds, trials, strict=True)
    ]
    for witness in witnesses:
        witness.see()
    budget = max(trial.budget for trial in trials)
    with progress(phase, budget) as advance:
        for step in range(budget):
            if _over(worker, worlds):
                break
            for world, action, slip in zip(worlds, worker.act(step, worlds), slips, strict=True):
                if slip is not None:
                    slip.before(step)
                world.advance(action)
                if slip is not None:
                    slip.after()
            for witness in witnesses:
                witness.see()
            advance()
    for slip in slips:
        if slip is not None:
            slip.end()
    success = np.array([witness.success for witness in witnesses])
    believed, refused = np.zeros(len(trials), bool), np.zeros(len(trials), bool)
    if isinstance(worker, Commanded):
        believed = worker.commander.believed.copy()
        refused = np.array([isinstance(answer, Refusal) for answer in worker.answers])
    ever = np.array([witness.ever for witness in witnesses])
    struck = np.array([slip is not None and slip.began is not None for slip in slips])
    return np.stack([success, ever, believed, refused, struck])


def _laid(robot: Robot, trial: Trial, size: int) -> ArmEnv:
    """Lay a trial's desk; from the seed, since whose cube is whose is no part of a state."""
    world = robot.entry.make(size)
    assert isinstance(world, ArmEnv)
    world.reset(seed=trial.number)
    return world


def _over(worker: Worker, worlds: Sequence[ArmEnv]) -> bool:
    """Whether nobody will do anything more, and no cube still falls."""
    ended = isinstance(worker, Commanded) and bool(worker.ended.all())
    ended |= isinstance(worker, Scripts) and all(expert.done for expert in worker.experts)
    return ended and not any(world.desk.cube_speed(i) > STILL for world in worlds for i in range(world.scene.cubes))


# Floors and ceiling -------------------------------------------------------------------------------------------------------


class Still:
    """Does nothing."""

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Remember what doing nothing is."""
        self.action = np.stack([world.still_action() for world in worlds])

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Return it."""
        return self.action


class Wanders:
    """Uniform actions of the whole box, each held for a block."""

    def __init__(self, block: int, seed: int) -> None:
        self.block, self.rng = block, np.random.default_rng(seed)

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Learn the bounds."""
        self.low, self.high = action_bounds(worlds[0])

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Draw anew with every block."""
        if step % self.block == 0:
            self.now = self.rng.uniform(self.low, self.high, (len(worlds), len(self.low)))
        return self.now


class Bidden(ArmExpert):
    """The scripted expert, doing what a request asks instead of the world's own task."""

    def __init__(self, env: ArmEnv, request: Request, rng: np.random.Generator) -> None:
        self.request = request
        super().__init__(env, rng, ArmExpertConfig())

    def script(self) -> Targets:
        """Bring every cube of each clause's colour into the bin."""
        scene, desk = self.env.scene, self.env.desk
        if self.env.rules.layout.marker:  # a disc or a ball: the world's own task
            yield from super().script()
            return
        for clause in self.request.must:
            assert clause.place is not None
            which = scene.bins.index(clause.place.colour)
            for cube in range(scene.cubes):
                if scene.colours[cube] == clause.object.colour and not in_bin(desk, cube, which, 2):
                    filled = sum(in_bin(desk, other, which, 2) for other in range(scene.cubes) if other != cube)
                    yield from self._bring(cube, which, filled)
        yield from self.hand.home()


class Scripts:
    """One script for each world."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Write the scripts."""
        self.experts = [
            Bidden(world, trial.request, np.random.default_rng(trial.number))
            for world, trial in zip(worlds, self.trials, strict=True)
            if isinstance(world, ArmEnv)
        ]

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Read them on."""
        return np.stack([expert.act() for expert in self.experts])


# Goals as pictures --------------------------------------------------------------------------------------------------------


class Towards:
    """System 1 towards latents, once a block; subclasses say which.

    Args:
        robot: in the world.
    """

    def __init__(self, robot: Robot) -> None:
        self.robot = robot

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Look."""
        self.last = np.stack([world.still_action() for world in worlds])
        self.goal = self.goals(worlds)
        self.start(self._z(worlds)[0])

    def goals(self, worlds: Sequence[World]) -> Tensor:
        """Return the goals' latents (E, D)."""
        raise NotImplementedError

    def start(self, z: Tensor) -> None:
        """Begin to aim."""

    def aim(self, z: Tensor) -> Tensor:
        """Return what to aim at."""
        return self.goal

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Look once a block."""
        shown: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
        if step % self.robot.block == 0:
            z, *seen = self._z(worlds)
            self.robot.controller.reset(Goal(self.aim(z)[:, None]), start_action=self.last)
            shown = (seen[0], seen[1])
        self.last = self.robot.controller.act(*shown)
        return self.last

    def _z(self, worlds: Sequence[World]) -> tuple[Tensor, np.ndarray, np.ndarray]:
        pictures, proprio = self.robot.see(worlds)
        return self.robot.controller.encode(pictures, proprio).cpu().float(), pictures, proprio


def last_frames(robot: Robot, trials: Sequence[Trial]) -> tuple[np.ndarray, np.ndarray]:
    """Let the script do each trial on a twin of its desk, and return pictures (E, V, S, S, 3) and robot states (E, P) at its end."""
    seen = []
    for trial in trials:
        twin = _laid(robot, trial, robot.size)
        expert = Bidden(twin, trial.request, np.random.default_rng(trial.number))
        for _ in range(trial.budget):
            twin.advance(expert.act())
            if expert.done:
                break
        seen.append(robot.see([twin]))
    pictures, proprio = zip(*seen, strict=True)
    return np.concatenate(pictures), np.concatenate(proprio)


class Shown(Commanded):
    """Ours, with a goal image instead of a sentence: what lies where in it, as the seer sees it, is what is asked for."""

    def __init__(self, robot: Robot, kind: Kind, seed: int, trials: Sequence[Trial]) -> None:
        super().__init__(robot, kind, seed, [trial.sentence for trial in trials])
        self.goal, _ = last_frames(robot, trials)

    def ask(self, sentences: Sequence[str], before: Sequence[Request | None] = ()) -> None:
        """Read the image; the sentences are not read."""
        seer = self.robot.mind.language.seer
        chances = seer.probabilities(self.beliefs.start, seer.maps(self.goal))
        requests = []
        for chance in chances:
            surest = chance.max(1)
            rows = np.flatnonzero(surest >= min(0.5, surest.max()))[:MOST]
            must = tuple(_moving(seer.objects[row], seer.places[int(chance[row].argmax())]) for row in rows)
            requests.append(Request(must, ()))
        self.answers = list(requests)
        self.commander.command(self.z, self.beliefs, requests)
        self._restart()


class GoalImage(Towards):
    """The same graph, walked to the final frame of an expert that did the sentence from the same start."""

    def __init__(self, robot: Robot, trials: Sequence[Trial], kind: Kind, seed: int) -> None:
        super().__init__(robot)
        mine = robot.mind.subgoals
        planners: dict[Kind, Callable[[], Planner]] = {
            "gflownet": lambda: GFlowNetPlanner(mine.flow),
            "exact": lambda: ExactPlanner(mine.config.horizon),
            "dijkstra": DijkstraPlanner,
        }
        config = NavigatorConfig(patience=PATIENCE, stalls=10**6, build=mine.config.build, seed=seed)
        self.trials = trials
        self.navigator = Navigator(robot.mind.graph, mine.landmarks.z, planners[kind](), mine.reach, config)

    def goals(self, worlds: Sequence[World]) -> Tensor:
        """Let the expert do it on a twin of each desk."""
        return self.robot.controller.encode(*last_frames(self.robot, self.trials)).cpu().float()

    def start(self, z: Tensor) -> None:
        """Plan."""
        self.navigator.begin(z, self.goal)

    def aim(self, z: Tensor) -> Tensor:
        """Ask System 2."""
        return self.navigator.look(z)


class Flat(Towards):
    """System 1 alone towards the landmark at which the first plan of ours ends; where there is none, towards where it is."""

    def __init__(self, robot: Robot, trials: Sequence[Trial], seed: int) -> None:
        super().__init__(robot)
        self.planner = Commanded(robot, "exact", seed, [trial.sentence for trial in trials])

    def goals(self, worlds: Sequence[World]) -> Tensor:
        """Plan as ours does."""
        self.planner.begin(worlds, np.zeros((len(worlds), 0)))
        marks, plans = self.robot.mind.subgoals.landmarks.z, self.planner.commander.made
        ends = [plan[0].nodes[-1] if plan and plan[0].nodes else -1 for plan in plans]
        return torch.stack([marks[end] if end >= 0 else z for end, z in zip(ends, self.planner.z, strict=True)])


class Once(Commanded):
    """The same plans, but whoever has walked one to its end believes that all is done, and no alarm is heard."""

    def __init__(self, robot: Robot, kind: Kind, seed: int, sentences: Sequence[str]) -> None:
        super().__init__(replace(robot, monitor=None), kind, seed, sentences)
        self.commander.credulous = True


# The baseline that reads --------------------------------------------------------------------------------------------------


@runtime_checkable
class Reads(Protocol):
    """A policy that is given what robots see and the sentences, and answers with chunks of actions (`TextPolicy`)."""

    def __call__(self, frames: np.ndarray, proprio: np.ndarray, sentence: Sequence[str]) -> np.ndarray:
        """Return the next actions (E, K, A), given frames (E, V, S, S, 3), robot states (E, P) and E sentences."""
        ...


class Clone:
    """A text clone in all worlds: it looks once a block and executes the first actions of its chunk."""

    def __init__(self, robot: Robot, trials: Sequence[Trial], policy: Reads) -> None:
        self.robot, self.trials, self.policy = robot, trials, policy

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Learn the bounds."""
        self.low, self.high = action_bounds(worlds[0])
        self.chunk: np.ndarray = np.zeros((0, 1, 0))

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Read the chunk on; look first when a block begins."""
        tick = step % self.robot.block
        if tick == 0:
            pictures, proprio = self.robot.see(worlds)
            self.chunk = self.policy(pictures, proprio, [trial.sentence for trial in self.trials])
        return np.asarray(self.chunk[:, min(tick, self.chunk.shape[1] - 1)].clip(self.low, self.high))


def make_worker(who: str, robot: Robot, trials: Sequence[Trial], seed: int, clone: Path) -> Worker:
    """Return someone by name.

    Raises:
        JepaflowError: nobody is called so.
    """
    name = who.partition("_")[0]
    kind: Kind = next((kind for kind in KINDS if kind == who.rpartition("_")[2]), "gflownet")
    sentences = [trial.sentence for trial in trials]
    if who == "flat_cem":
        return Flat(make_robot(robot.mind, robot.env, search=True), trials, seed)
    makers: dict[str, Callable[[], Worker]] = {
        "still": Still,
        "random": lambda: Wanders(robot.block, seed),
        "expert": lambda: Scripts(trials),
        "ours": lambda: Commanded(robot, kind, seed, sentences),
        "once": lambda: Once(robot, kind, seed, sentences),
        "goal": lambda: Shown(robot, kind, seed, trials),
        "walk": lambda: GoalImage(robot, trials, kind, seed),
        "flat": lambda: Flat(robot, trials, seed),
        "clone": lambda: Clone(robot, trials, _text_policy(clone)),
    }
    if name not in makers:
        raise JepaflowError(f"Nobody is called {who!r} here. Choose among {', '.join(makers)}.")
    return makers[name]()


def _text_policy(path: Path) -> Reads:
    from jepaflow.subgoals.language.text_clone import load_text_clone

    return load_text_clone(path)
