"""Solvers by name."""

from __future__ import annotations

from jepaflow.planning.cem import CEM
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.gradient import GradientDescent
from jepaflow.planning.mppi import MPPI
from jepaflow.planning.problem import Solver
from jepaflow.planning.shooting import FirstProposal, RandomShooting


def make_solver(config: SolverConfig) -> Solver:
    """Return the solver that `config.kind` names."""
    match config.kind:
        case "cem" | "icem":
            return CEM(config)
        case "mppi":
            return MPPI(config)
        case "gradient":
            return GradientDescent(config)
        case "random":
            return RandomShooting(config)
        case "proposal":
            return FirstProposal()
