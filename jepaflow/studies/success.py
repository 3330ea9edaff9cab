"""Does it reach its goals? A closed loop as a measure, on the trials of a named protocol, which nobody has trained on.

Kept trial by trial as a ratio (one failure in one trial), so that its interval is over seeds and trials, as that of every other
ratio is over seeds and episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.words import number
from jepaflow.evaluation.closed_loop import bounds, plan_trials
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import ControllerConfig
from jepaflow.planning.cost import CostConfig
from jepaflow.sims.registry import find_world
from jepaflow.studies.evidence import Evidence
from jepaflow.studies.outcome import Outcome
from jepaflow.studies.readings import Ratio, Readings

SOLVER = SolverConfig(samples=48, elites=6, iterations=3, horizon=5, init_std=0.7, parameters="hold")
"""That of `jepaflow evaluate` on a CPU."""
ARM = replace(SOLVER, parameters="displace", horizon=3), CostConfig(path=0.5)
"""Joint targets are searched as displacements (`docs/planning.md`: reach .91; held, .54 of 24 starts)."""
ARMS = ("so101", "koch")
PLANNED = "CEM, 48 samples, 3 rounds, a new plan every model step; of an arm displacements, 3 model steps ahead, else held actions, 5 ahead"
"""In words."""


FLOORS = ("random", "random_hold", "still", "unguided")
"""Random actions, the same held for a model step, none, and one draw of the planner's first Gaussian without a model."""


@dataclass(frozen=True)
class Success:
    """Ratio ``success`` (goal reached at some time, one model step to each decision); scalars ``success_<floor>`` for each of
    `FLOORS` and ``success_replay``, the ceiling.

    Raises:
        JepaflowError: there is no such protocol, or there are fewer than two trials.
    """

    protocol: str
    trials: int = 60
    name: str = "success"

    def __post_init__(self) -> None:
        if self.trials < 2:
            raise JepaflowError("--trials of a study must be at least 2: one gives no interval.")
        load_protocol(self.protocol)  # now, and not after the first training

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the figures depend on."""
        return {"protocol": self.protocol, "trials": self.trials, "version": 3}

    def check(self, store: Store) -> None:
        """Refuse recordings whose actions are not the world's, before a model is trained on them.

        Raises:
            JepaflowError: they are not.
        """
        env = load_protocol(self.protocol).env
        if store.dim("action") != (wanted := len(find_world(env).action_names)):
            raise JepaflowError(
                f"{store.path} has {store.dim('action')} action dimensions, {env} of the protocol {self.protocol} has {wanted}. "
                "Name a protocol of the world that was recorded, or leave --success out."
            )

    def __call__(self, evidence: Evidence) -> Readings:
        """Plan in the world.

        Raises:
            JepaflowError: the run does not fit its world.
        """
        return attempt(evidence, load_protocol(self.protocol).first(self.trials))


def attempt(evidence: Evidence, trials: Trials, known: Mapping[str, float] | None = None) -> Readings:
    """Plan some trials; the figures are those of `Success`.

    Args:
        evidence: the run.
        trials: what it plans.
        known: floors and ceiling of these trials, where they need not be found again.

    Raises:
        JepaflowError: the run does not fit its world.
    """
    solver, cost = ARM if trials.env.partition("/")[0] in ARMS else (SOLVER, CostConfig(path=1.0))
    outcome, controller = plan_trials(evidence.run, trials, PlannerConfig(ControllerConfig(solver, cost)))
    if known is None:
        floors, ceilings = bounds(evidence.run, trials, controller, 0)
        known = {f"success_{name}": one.ever_rate for name, one in (floors | ceilings).items()}
    failed, one = 1.0 - outcome.ever.astype(np.float64)[:, None], np.ones((len(trials), 1))
    return Readings({"success": Ratio(tuple(range(len(trials))), failed, one, one)}, dict(known))


def bounds_in(figures: Mapping[str, Estimate]) -> tuple[dict[str, float], dict[str, float]]:
    """Floors and ceilings of success among pooled figures."""
    floors = {name: one.value for name in FLOORS if (one := figures.get(f"success_{name}")) is not None}
    return floors, {"replay": figures["success_replay"].value}


def tell_success(outcome: Outcome, success: tuple[str, int] | None) -> Outcome:
    """Add to a study's method how success was measured, beside its floors and its ceiling; nothing where it was not.

    Args:
        outcome: with rows of success.
        success: the protocol and how many of its trials were planned.
    """
    if success is None:
        return outcome
    row = next(row for row in outcome.rows if row.name.endswith(("/success", "/success@1")))
    names = {"random": "random actions", "random_hold": "held ones", "still": "doing nothing"}
    names["unguided"] = "the planner's first guess without a model"
    floors = ", ".join(f"{names[name]} {number(value)}" for name, value in row.floors.items())
    said = (
        f"Success: the share of the first {success[1]} trials of {success[0]} whose goal is reached at some time ({PLANNED}). "
        f"Floors: {floors}; replayed recordings reach {number(row.ceilings['replay'])}."
    )
    return replace(outcome, method=(*outcome.method, said))
