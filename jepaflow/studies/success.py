"""Does it reach its goals? A closed loop as a measure, on the trials of a named protocol, which nobody has trained on.

Kept trial by trial as a ratio (one failure in one trial), so that its interval is over seeds and trials, as that of every other
ratio is over seeds and episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.words import number
from jepaflow.evaluation.closed_loop import plan_trials, world_of
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.run import floors_and_ceiling
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.readings import Ratio, Readings

SOLVER = SolverConfig(samples=48, elites=6, iterations=3, horizon=5, init_std=0.7, parameters="hold")
"""That of `jepaflow evaluate` on a CPU."""
ARM = replace(SOLVER, parameters="displace", horizon=3), CostConfig(path=0.5)
"""Joint targets are searched as displacements (`docs/planning.md`: reach .91; held, .54 of 24 starts)."""
ARMS = ("so101", "koch")
PLANNED = "CEM, 48 samples, 3 rounds, a new plan every model step; of an arm displacements, 3 model steps ahead, else held actions, 5 ahead"
"""In words."""


@dataclass(frozen=True)
class Success:
    """Ratio ``success`` (goal reached at some time, one model step to each decision); scalars ``success_random``,
    ``success_still`` (floors) and ``success_replay`` (ceiling).

    Raises:
        JepaflowError: there is no such protocol, or no trial is asked for.
    """

    protocol: str
    trials: int = 60
    name: str = "success"

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise JepaflowError("--trials of a study must be at least 1.")
        load_protocol(self.protocol)  # now, and not after the first training

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"protocol": self.protocol, "trials": self.trials, "version": 2}

    def __call__(self, evidence: Evidence) -> Readings:
        """Plan in the world.

        Raises:
            JepaflowError: the run does not fit its world.
        """
        return attempt(evidence, load_protocol(self.protocol).first(self.trials))


def attempt(evidence: Evidence, trials: Trials) -> Readings:
    """Plan some trials; the figures are those of `Success`.

    Raises:
        JepaflowError: the run does not fit its world.
    """
    run = evidence.run
    solver, cost = ARM if trials.env.partition("/")[0] in ARMS else (SOLVER, CostConfig(path=1.0))
    outcome, _ = plan_trials(run, trials, PlannerConfig(ControllerConfig(solver, cost)))
    floors, ceilings = floors_and_ceiling(world_of(run, trials.env), trials, 0, run.model.config.block)
    failed, one = 1.0 - outcome.ever.astype(np.float64)[:, None], np.ones((len(trials), 1))
    rates = {"random": floors["random"], "still": floors["still"], "replay": ceilings["replay"]}
    scalars = {f"success_{name}": found.ever_rate for name, found in rates.items()}
    return Readings({"success": Ratio(tuple(range(len(trials))), failed, one, one)}, scalars)


def told(random: float, still: float, replay: float) -> str:
    """Say how success is measured, beside its floors and its ceiling."""
    return (
        f"Success: the share of a protocol's trials whose goal is reached at some time ({PLANNED}). Random actions reach "
        f"{number(random)}, doing nothing {number(still)}, replayed recordings {number(replay)}."
    )
