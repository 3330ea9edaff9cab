"""Settings of the search and of the controller. One flat dataclass serves all solvers, so that `--solver.kind icem
--solver.samples 64` reads well.

A setting that a solver has no use for is ignored by it; each says whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.cost import CostConfig
from jepaflow.planning.space import ParameterKind

SolverKind = Literal["cem", "icem", "mppi", "gradient", "random", "proposal"]


@dataclass(frozen=True)
class SolverConfig:
    """The solver, its budget and what it searches."""

    kind: SolverKind = "cem"
    """cem, icem (improved), mppi, gradient (Adam through the model), random (shooting), proposal (the first proposal
    as it is, nothing is imagined)."""
    samples: int = 128
    """S: plans tried per iteration; of gradient, starts. LeWM: 300."""
    elites: int = 13
    """Plans that the next Gaussian is fitted to (cem, icem). LeWM: 30."""
    iterations: int = 8
    """LeWM: 30."""
    horizon: int = 5
    """N: blocks that a plan looks ahead."""
    init_std: float = 1.0
    """First standard deviation, in units of the parameters' scale."""
    parameters: ParameterKind = "full"
    """full: every control step has its own action; hold: the K actions of a block are one vector; displace: one
    displacement per block, linear in time; knots: several displacements per block."""
    knots: int = 2
    """P: displacements per block of "knots"."""
    rows_per_call: int = 8192
    """Plans imagined in one call of the model: bounds the memory, does not change the answer."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Of imagined plans; auto takes bf16 where the hardware multiplies it natively, float32 elsewhere."""
    answer: Literal["auto", "mean", "best"] = "auto"
    """The last mean (auto: cem) or the best plan ever imagined (auto: icem, mppi; always: gradient, random)."""
    beta: float = 2.0
    """icem: how steeply the noise's spectrum falls; 0 is white."""
    keep: float = 0.3
    """icem (and cem with proposals): share of the elites that stay candidates."""
    shrink: float = 1.25
    """icem: samples are divided by this each iteration, down to twice the elites."""
    momentum: float = 0.1
    """icem: weight of the old mean in the new one."""
    temperature: float = 0.5
    """mppi: in units of the costs' standard deviation. Smaller is greedier: below 0.3 searches of 12 numbers ended too
    early, above 0.8 they came nearer too slowly."""
    learning_rate: float = 0.1
    """gradient: Adam's step, in units of the first standard deviation."""

    def __post_init__(self) -> None:
        """Refuse a budget that cannot be searched with."""
        for name in ("samples", "elites", "iterations", "horizon", "knots", "rows_per_call"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"the solver's {name} is {getattr(self, name)}. Give at least 1.")
        if self.kind in ("cem", "icem") and self.elites > self.samples:
            raise JepaflowError(
                f"{self.elites} elites cannot be chosen from {self.samples} samples. Lower --solver.elites."
            )
        for name in ("init_std", "temperature", "learning_rate"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise JepaflowError(f"the solver's {name} is {getattr(self, name):g}. Give a number above 0.")
        limits = {"beta": (0.0, 4.0), "keep": (0.0, 1.0), "shrink": (1.0, 100.0), "momentum": (0.0, 0.999)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise JepaflowError(f"the solver's {name} is {getattr(self, name):g}. Give {low:g} to {high:g}.")


@dataclass(frozen=True)
class ControllerConfig:
    """The solver, its cost, and how much of a plan is executed before the next."""

    solver: SolverConfig = field(default_factory=SolverConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    execute: int = 1
    """Blocks executed before planning anew (LeWM: 5, the whole plan). In the background every block is planned anew."""
    context: int | None = None
    """Frames of the past that plans begin with, at most. A model of history H imagines N blocks fastest (one new token a step)
    if context + N - 1 <= H. None: H."""
    warm_start: bool = True
    """Begin a search from the rest of the last plan."""
    seed: int = 0
    """Seed of the solver's samples."""
    deadline: float | None = None
    """Seconds per decision, encoding included: no iteration is begun that is expected to end later, and the best plan so
    far is taken. How long the first takes is not known before: if any time is left, it is done. None: all iterations."""
    surprise: float | None = None
    """Plan anew, whatever is left of the plan, when a block's forecast missed the latent by more than this mean squared
    error in any environment (see `surprise_threshold`). None: forecasts are not compared."""
    remember: bool = False
    """Keep every latent seen and every block executed in an episode (`Controller.memory`), to judge forecasts afterwards."""
    asynchronous: bool = False
    """Plan in a background thread: `act` never waits for the model. Until the first plan is ready nothing is done."""

    def __post_init__(self) -> None:
        """Refuse to execute what was not planned."""
        if not 1 <= self.execute <= self.solver.horizon:
            raise JepaflowError(
                f"{self.execute} blocks cannot be executed of a plan of {self.solver.horizon}. "
                "Give 1 <= execute <= solver.horizon."
            )
        if self.context is not None and self.context < 1:
            raise JepaflowError(f"the controller's context is {self.context}. Give at least 1 frame.")
        for name in ("deadline", "surprise"):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise JepaflowError(f"the controller's {name} is {value:g}. Give a number that is not negative.")
