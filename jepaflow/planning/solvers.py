"""Solvers by name, and the two that are too short for a file of their own."""

from __future__ import annotations

from jepaflow.planning.cem import CEM
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.problem import Solver


def make_solver(config: SolverConfig) -> Solver:
    """Return the solver that `config.kind` names."""
    return CEM(config)
