"""G0: are true future frames good sub-goals? If not, System 1 must be mended before anything proposes sub-goals.

    python -m benchmarks.oracle_subgoals runs/maze --protocol maze_far [--every 1 2 3] [--json results/system2.json]

The demonstration of each trial is replayed in the simulator and its frame every m blocks is encoded. System 1
(`subgoals.walker`) aims at the farthest of these frames that reachability says is near. Beside it, on the same trials and
budget, the goal's frame alone: by the same System 1 (``flat``), and as `evaluate --solver.kind proposal --proposals
inverse` runs the head (``flat_evaluate``). Both again with a random block wherever a block changed nothing (``_loose``).

Rows: ``far/<protocol>/flat_evaluate``, ``flat``, ``flat_loose``, ``oracle_<m>``, ``oracle_<m>_loose``, and ``..._end``.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.navigating import random_block
from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.closed_loop import floors_and_ceiling, views_of, world_of
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.planner import PlannerConfig, make_controller, run_space
from jepaflow.evaluation.run import PlannerPolicy, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.controller import Controller
from jepaflow.planning.goal import Goal
from jepaflow.planning.space import ActionSpace
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.walker import Aim, Stall, system_1
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.heads import load_heads
from jepaflow.training.latents import cached_latents


@dataclass(frozen=True)
class Args:
    """Walk true future frames."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads"""
    protocol: str = "maze_far"
    every: tuple[int, ...] = (1, 2, 3)
    """m: blocks between two sub-goals"""
    trials: int = 210
    json: Path | None = None


class FramesPolicy:
    """Walks given latents.

    Args:
        policy: shows the worlds to the controller.
        controller: System 1.
        space: the world's actions.
        reach: says what is near.
        frames: sub-goals (E, S, D), the last is the goal.
        stall: notices blocks that changed nothing, after which one is drawn at random; None: they are not noticed.
    """

    def __init__(
        self,
        policy: PlannerPolicy,
        controller: Controller,
        space: ActionSpace,
        reach: Reachability,
        frames: Tensor,
        stall: Stall | None = None,
    ) -> None:
        self.policy, self.controller, self.space = policy, controller, space
        self.reach, self.frames, self.stall = reach, frames, stall

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Start at the first sub-goal."""
        self.aim = Aim(self.reach, self.frames)
        self.rng, self.loose = np.random.default_rng(0), np.zeros(len(worlds), bool)
        if self.stall is not None:
            self.stall.begin()
        self.last = np.stack([world.still_action() for world in worlds])

    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Aim anew once a block."""
        seen = None
        if step % self.controller.model.config.block == 0:
            seen = [world.observation() for world in worlds]
            z = torch.from_numpy(self.policy.look(worlds)[2])
            aimed = self.aim.look(z)
            self.controller.reset(Goal(aimed[:, None]), start_action=self.last)
            if self.stall is not None:
                self.loose = self.stall.look(z, self.reach.between(z, aimed))
                self.drawn = random_block(self.rng, self.space, self.last, self.controller.model.config.block)
        self.last = self.policy.decide(seen)
        if self.loose.any():
            self.last = np.where(self.loose[:, None], self.drawn, self.last)
        return self.last


def demonstrations(run: Run, entry: WorldEntry, controller: Controller, trials: Trials, every: int) -> Tensor:
    """Return the latents (E, S, D) of each trial's replayed frames, every ``every`` blocks, the last at the goal."""
    size, block = run.model.config.image_size, run.model.config.block
    worlds = [entry.make(size) for _ in range(len(trials))]
    for world, start in zip(worlds, trials.starts, strict=True):
        world.set_state(start)
    policy = PlannerPolicy(entry, size, controller, views_of(run, worlds[0]))
    found = []
    for step in range(trials.offset):
        for world, actions in zip(worlds, trials.actions, strict=True):
            world.advance(actions[step])
        if (step + 1) % (every * block) == 0 or step + 1 == trials.offset:
            found.append(torch.from_numpy(policy.look(worlds)[2]))
    return torch.stack(found, 1)


def as_evaluated(run: Run, world: World) -> Controller:
    """Return the inverse-dynamics head as `evaluate` runs it."""
    solver = SolverConfig(kind="proposal", parameters="full", horizon=1)
    return make_controller(run, world, PlannerConfig(control=ControllerConfig(solver=solver), proposals=("inverse",)))


def rows(name: str, outcome: Outcome, floors: dict[str, Outcome], ceilings: dict[str, Outcome], note: str) -> list[Row]:
    """Return success within the budget and at its end."""
    return [
        Row(
            name if which == "ever" else f"{name}_end",
            getattr(outcome, f"{which}_rate"),
            *getattr(outcome, f"{which}_interval")(),
            len(outcome),
            1,
            "fraction",
            {key: getattr(each, f"{which}_rate") for key, each in floors.items()},
            {key: getattr(each, f"{which}_rate") for key, each in ceilings.items()},
            note,
        )
        for which in ("ever", "end")
    ]


def main(args: Args) -> None:
    """Measure and show."""
    run = load_run(args.run, "cpu")
    trials = load_protocol(args.protocol).first(args.trials)
    entry, size = world_of(run, trials.env), run.model.config.image_size
    floors, ceilings = floors_and_ceiling(entry, trials, 0, run.model.config.block)
    note = (
        f"goal {trials.offset} control steps later, budget {trials.budget}; System 1 is the inverse-dynamics head alone"
    )
    found: list[Row] = []

    def judge(name: str, policy: object, words: str) -> None:
        outcome = run_trials(entry, size, policy, trials.starts, trials.goals, trials.budget, name, trials.by_task)  # type: ignore[arg-type]
        made = rows(f"far/{args.protocol}/{name}", outcome, floors, ceilings, f"{note}; {words}")
        console.print(f"{name}: ever {outcome.ever_rate:.3f}, at the end {outcome.end_rate:.3f}")
        found.extend(made)
        if args.json is not None:
            write_results(
                args.json, shlex.join(["python -m benchmarks.oracle_subgoals", *sys.argv[1:]]), made, keep=True
            )

    world = entry.make(size)
    heads, views = load_heads(run.path), views_of(run, world)
    reach = Reachability(heads.distance)
    space = run_space(run, world, PlannerConfig().rate)
    controller = system_1(run.model, space, heads, reach)
    judge(
        "flat_evaluate",
        PlannerPolicy(entry, size, as_evaluated(run, world), views),
        "the goal's frame alone, as evaluate",
    )
    policy = PlannerPolicy(entry, size, controller, views)
    judge("flat", policy, "the goal's frame alone")
    stall = Stall(cached_latents(run)[0], run.model.config.block)
    loose = "; a random block after one that changed nothing"
    goal = demonstrations(run, entry, controller, trials, trials.offset)
    judge("flat_loose", FramesPolicy(policy, controller, space, reach, goal, stall), f"the goal's frame alone{loose}")
    for every in args.every:
        frames = demonstrations(run, entry, controller, trials, every)
        words = f"true future frames every {every} blocks as sub-goals"
        judge(f"oracle_{every}", FramesPolicy(policy, controller, space, reach, frames), words)
        judge(f"oracle_{every}_loose", FramesPolicy(policy, controller, space, reach, frames, stall), words + loose)


if __name__ == "__main__":
    main(tyro.cli(Args))
