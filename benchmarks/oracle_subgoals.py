"""G0: are true future frames good sub-goals? If not, System 1 must be mended before anything proposes sub-goals.

    python -m benchmarks.oracle_subgoals runs/maze --protocol maze_far [--every 2 3 5] [--json results/system2.json]

The demonstration of each trial is replayed in the simulator and its frame every m blocks is encoded. System 1 (the
inverse-dynamics head, as `evaluate --solver.kind proposal --proposals inverse` runs it) walks these frames in order: the
next one when the distance head says that this one is a block away or less, or after three times the blocks that the
demonstration took. Beside it the same System 1 with the goal's frame alone (flat), on the same trials and budget.

Rows: ``far/<protocol>/flat``, ``far/<protocol>/oracle_<m>``, and ``..._end``.
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

from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.closed_loop import floors_and_ceiling, views_of, world_of
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.planner import PlannerConfig, make_controller
from jepaflow.evaluation.run import PlannerPolicy, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import ControllerConfig, SolverConfig
from jepaflow.planning.controller import Controller
from jepaflow.planning.goal import Goal
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.heads import load_heads
from jepaflow.worldmodel.distance import TemporalDistance

ARRIVED = 1.0
"""model steps to a sub-goal at which the next one is due"""
PATIENCE = 3
"""times the demonstration's blocks between two sub-goals, after which the next one is due anyway"""


@dataclass(frozen=True)
class Args:
    """Walk true future frames."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads"""
    protocol: str = "maze_far"
    every: tuple[int, ...] = (2, 3, 5)
    """m: blocks between two sub-goals"""
    trials: int = 210
    json: Path | None = None


class FramesPolicy:
    """Walks given latents, one after the other.

    Args:
        policy: shows the worlds to the controller.
        controller: System 1.
        distance: says when a sub-goal is reached.
        frames: sub-goals (E, S, D), the last is the goal.
        patience: blocks after which the next is due.
    """

    def __init__(
        self, policy: PlannerPolicy, controller: Controller, distance: TemporalDistance, frames: Tensor, patience: int
    ) -> None:
        self.policy, self.controller, self.distance = policy, controller, distance
        self.frames, self.patience = frames, patience

    def begin(self, worlds: Sequence[World], goals: np.ndarray) -> None:
        """Start at the first sub-goal."""
        self.at = torch.zeros(len(worlds), dtype=torch.long)
        self.waited = torch.zeros(len(worlds), dtype=torch.long)
        self.last = np.stack([world.still_action() for world in worlds])
        self.block = self.controller.model.config.block

    @torch.no_grad()
    def act(self, step: int, worlds: Sequence[World]) -> np.ndarray:
        """Aim at the sub-goal that is due; once a block."""
        seen = None
        if step % self.block == 0:
            seen = [world.observation() for world in worlds]
            z = torch.from_numpy(self.policy.look(worlds)[2])
            every = torch.arange(len(worlds))
            for _ in range(self.frames.shape[1]):
                due = (self.distance(z, self.frames[every, self.at]) <= ARRIVED) | (self.waited >= self.patience)
                due &= self.at < self.frames.shape[1] - 1
                if not due.any():
                    break
                self.at += due
                self.waited[due] = 0
            self.waited += 1
            self.controller.reset(Goal(self.frames[every, self.at][:, None]), start_action=self.last)
        self.last = self.policy.decide(seen)
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


def system_1(run: Run, world: World) -> Controller:
    """Return the inverse-dynamics head as a controller."""
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
        outcome = run_trials(entry, size, policy, trials.starts, trials.goals, trials.budget, name)  # type: ignore[arg-type]
        made = rows(f"far/{args.protocol}/{name}", outcome, floors, ceilings, f"{note}; {words}")
        console.print(f"{name}: ever {outcome.ever_rate:.3f}, at the end {outcome.end_rate:.3f}")
        found.extend(made)
        if args.json is not None:
            write_results(
                args.json, shlex.join(["python -m benchmarks.oracle_subgoals", *sys.argv[1:]]), made, keep=True
            )

    world = entry.make(size)
    controller, views = system_1(run, world), views_of(run, world)
    judge("flat", PlannerPolicy(entry, size, controller, views), "the goal's frame alone")
    for every in args.every:
        frames = demonstrations(run, entry, controller, trials, every)
        policy = PlannerPolicy(entry, size, controller, views)
        walker = FramesPolicy(policy, controller, load_heads(run.path).distance, frames, PATIENCE * every)
        judge(f"oracle_{every}", walker, f"true future frames every {every} blocks as sub-goals")


if __name__ == "__main__":
    main(tyro.cli(Args))
