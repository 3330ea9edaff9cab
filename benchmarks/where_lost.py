"""Where is success lost in closed loop: in the search, the cost, the dynamics, or the eyes?

    python -m benchmarks.where_lost RUN --protocol so101/push_25 [--trials 20] [--trials-true 8] [--rows a b h]
        [--json results/where_lost.json]

One search (CEM over displacements), one controller and the same trials throughout; between two rows one thing differs:

- a: the recorded actions, replayed: the ceiling of the trials;
- b: true dynamics, true cost: candidates are rolled out in the simulator, their cost is the squared distance of the
  task's object (the cube, or the fingertips for reach) to its place in the goal state. What is lost here, the search loses;
- c: true dynamics, learned cost: the same rollouts, drawn after each block and encoded; squared latent distance to the
  goal's picture. Less than b: the latent distance misleads;
- d: learned dynamics, true goal: a linear probe reads the object's place from imagined latents; it is aimed at the true
  place. Less than b: the imagined latents do not say where the object goes (the probe rows tell whether the eyes, the
  forecast or a linear reading is to blame; an error near the goal's 2.5 cm makes d fail, however good the rest is);
- e: learned dynamics, learned cost: what `jepaflow evaluate` does;
- f: e with four times the samples. More than e: the search was too small for this cost;
- g: learned dynamics, and of the latent distance only what the probe reads. More than e: the arm's pose drowns the object;
- h: the inverse-dynamics head alone, nothing imagined (needs `jepaflow heads RUN`);
- probe: where the object and the fingertips are, read from real latents and from latents imagined 1, 3, 5 blocks ahead.
  A cube is near the arm that pushes it: only what is read better than the floor "arm" (guessed from the true fingertips)
  is seen.

Rows: ``where/<protocol>/<letter>_<words>`` and ``..._end``, ``probe/<protocol>/<thing>/<real|ahead1|...>/<r2|cm>``. Each
is written as soon as it is known; rows of other names stay in the file.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import tyro

from benchmarks.place_probe import probe_rows
from benchmarks.where_lost_policies import Contenders
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.closed_loop import Evaluation, result_rows
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.run import Policy, floors_and_ceiling, run_trials
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.training.checkpoint import load_run

Letter = Literal["a", "h", "probe", "d", "e", "g", "f", "b", "c"]
"""What can be measured, the cheapest first."""
NAMES: dict[str, str] = {
    "a": "a_replay",
    "b": "b_true_dynamics_true_cost",
    "c": "c_true_dynamics_learned_cost",
    "d": "d_learned_dynamics_true_goal",
    "e": "e_learned_dynamics_learned_cost",
    "f": "f_learned_4x_samples",
    "g": "g_learned_probe_weighted",
    "h": "h_inverse_head",
}
SIMULATED = ("b", "c")
"""Rows whose candidates are simulated."""
TIMES = 4
"""How many times the samples row f has."""
SEARCH = SolverConfig(samples=48, elites=8, iterations=3, horizon=3, parameters="displace")


@dataclass(frozen=True)
class Args:
    """Tell where a run's closed loop loses success."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    protocol: str = "so101/push_25"
    """A named protocol of the world that the run's data comes from."""
    rows: tuple[Letter, ...] = get_args(Letter)
    """What to measure, in this order."""
    trials: int = 20
    """The protocol's first trials."""
    trials_true: int | None = None
    """Trials of the rows that simulate their candidates (b, c): the first of them; left out: all."""
    solver: SolverConfig = field(default_factory=lambda: SEARCH)
    """The search of b to g."""
    cost: CostConfig = field(default_factory=lambda: CostConfig(path=0.5))
    """Weight of the path beside the end."""
    execute: int = 1
    """Blocks executed before planning anew."""
    seed: int = 0
    """Of searches, floors and the probe's episodes."""
    probe_episodes: int = 300
    """Training (and held-out) episodes that the probe is fitted to (and judged on), at most."""
    name: str = ""
    """What stands for the protocol in the rows' names, e.g. push_25_half; left out: the protocol's own name."""
    device: str = "cpu"
    json: Path | None = None
    """Rows that are not measured anew stay in this file."""


class Bench:
    """One run on its trials: attempts them, and tells what came of it as rows.

    Raises:
        JepaflowError: the run does not fit the protocol's world, or there is no trial.
    """

    def __init__(self, args: Args) -> None:
        for name, value in (("trials", args.trials), ("trials-true", args.trials_true)):
            if value is not None and value < 1:
                raise JepaflowError(f"--{name} is {value}. Give at least 1.")
        self.args, self.run = args, load_run(args.run, args.device)
        self.trials = load_protocol(args.protocol).first(args.trials)
        control = ControllerConfig(args.solver, args.cost, args.execute, seed=args.seed)
        self.contenders = Contenders(self.run, self.trials.env, control, args.probe_episodes)
        self.floors, self.ceilings = floors_and_ceiling(
            self.contenders.entry, self.trials, args.seed, self.contenders.block
        )
        self.floors["unguided"] = self._attempt(self.contenders.unguided(), self.trials, "unguided")
        self.name = args.name or args.protocol.rpartition("/")[2]

    def measure(self, letter: str) -> list[Row]:
        """Return the rows of one letter.

        Raises:
            JepaflowError: the run lacks what the row needs (heads, its store).
        """
        began = time.perf_counter()
        if letter == "probe":
            rows = probe_rows(self.run, self.contenders.readings, f"probe/{self.name}", self.args.seed)
            console.print(f"probe: {time.perf_counter() - began:.0f} s")
            return rows
        count = self.args.trials_true if letter in SIMULATED else None
        trials = self.trials if count is None else self.trials.first(count)
        outcome = self._outcome(letter, trials)
        seconds = time.perf_counter() - began
        rows = self._rows(letter, trials, outcome, seconds)
        console.print(
            f"{letter}: ever {outcome.ever_rate:.2f}, at the end {outcome.end_rate:.2f}, "
            f"median {_middle(outcome):.1f} cm off; {len(trials)} trials in {seconds:.0f} s"
        )
        return rows

    def _outcome(self, letter: str, trials: Trials) -> Outcome:
        if letter == "a":
            return self.ceilings["replay"]
        make = {
            "b": self.contenders.true_true,
            "c": self.contenders.true_learned,
            "d": self.contenders.aimed,
            "e": self.contenders.learned,
            "f": lambda: self.contenders.learned(TIMES),
            "g": self.contenders.weighted,
            "h": self.contenders.inverse,
        }[letter]
        return self._attempt(make()[0], trials, letter)

    def _attempt(self, policy: Policy, trials: Trials, phase: str) -> Outcome:
        size = self.contenders.size
        return run_trials(self.contenders.entry, size, policy, trials.starts, trials.goals, trials.budget, phase)

    def _rows(self, letter: str, trials: Trials, outcome: Outcome, seconds: float) -> list[Row]:
        """Return both success rates beside the floors and the ceiling of the same trials."""
        floors, ceilings = (
            {name: _first(one, len(trials)) for name, one in known.items()} for known in (self.floors, self.ceilings)
        )
        evaluation = Evaluation(
            outcome, trials.goals, floors, ceilings, trials.excluded, len(set(trials.episode.tolist()))
        )
        search = "" if letter in "ah" else f"; {self._search(letter)}"
        told = f"{self.run.path.name} at step {self.run.step}{search}; median {_middle(outcome):.1f} cm off at the end"
        rows = result_rows(evaluation, f"where/{self.name}/{NAMES[letter]}", trials)
        return [replace(row, note=f"{told}; {seconds:.0f} s; {row.note}") for row in rows]

    def _search(self, letter: str) -> str:
        solver = self.args.solver
        samples = (TIMES if letter == "f" else 1) * solver.samples
        return (
            f"{solver.kind} {samples} x {solver.iterations}, {solver.elites} elites, {solver.horizon} blocks ahead, "
            f"{solver.parameters}, path {self.args.cost.path:g}, {self.args.execute} executed"
        )


def _first(outcome: Outcome, count: int) -> Outcome:
    """Return the outcome of the first trials."""
    return Outcome(outcome.ever[:count], outcome.end[:count], outcome.distance[:count], outcome.states[:count])


def _middle(outcome: Outcome) -> float:
    """Return the median distance at the end, cm."""
    return 100.0 * float(np.median(outcome.distance))


def show(rows: list[Row]) -> None:
    """Print all rows, one a line: the value, its interval, floors and ceilings."""
    for row in sorted(rows, key=lambda row: row.name):
        beside = [*row.floors.items(), *row.ceilings.items()]
        told = ", ".join(f"{name} {value:.2f}" for name, value in beside)
        line = f"{row.name}: {row.value:.2f} {row.unit} [{row.low:.2f}, {row.high:.2f}], n {row.n}; {told}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def main(args: Args) -> None:
    """Measure the rows that were asked for; write after each, so that an interrupted run loses nothing."""
    command = shlex.join(["python", "-m", "benchmarks.where_lost", *sys.argv[1:]])
    bench, rows = Bench(args), []
    for letter in args.rows:
        try:
            rows += bench.measure(letter)
        except JepaflowError as error:
            console.print(f"{letter} is left out: {error}")
            continue
        if args.json is not None:
            write_results(args.json, command, rows, keep=True)
    show(rows)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except JepaflowError as error:
        console.print(str(error))
        sys.exit(1)
