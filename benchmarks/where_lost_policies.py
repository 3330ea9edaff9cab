"""The policies that `where_lost` compares: one search and one controller, with exchanged dynamics, costs and goals."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.place_probe import RADIUS, Place, Readings, fit_probes, places
from benchmarks.true_dynamics import GoalPolicy, SeenWorld, StatePolicy, TrueWorld
from jepaflow.evaluation.closed_loop import planner_policy, world_of
from jepaflow.evaluation.planner import PlannerConfig, run_space
from jepaflow.evaluation.run import PlannerPolicy, UnguidedPolicy
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import Cost, Distance, WeightedError, make_cost, squared_error
from jepaflow.planning.goal import Goal, Probe
from jepaflow.planning.space import make_parameterisation
from jepaflow.sims.registry import WorldEntry, WorldOptions
from jepaflow.training.checkpoint import Run

Policy = tuple[PlannerPolicy, Controller]


class Contenders:
    """Makes the policies of one run.

    Args:
        run: a trained run.
        env: the protocol's world.
        control: search, cost and controller of all.
        probe_episodes: episodes that the probes are fitted to, and judged on, at most.

    Raises:
        JepaflowError: the run does not fit the world, or it is not an arm's.
    """

    def __init__(self, run: Run, env: str, control: ControllerConfig, probe_episodes: int) -> None:
        self.run, self.control, self._probe_episodes = run, control, probe_episodes
        self.entry = own_cameras(run, world_of(run, env))
        self.size, self.block = run.model.config.image_size, run.model.config.block
        self._world = self.entry.make(self.size)
        self._views = views(run, self._world.cameras)
        self._space = run_space(run, self._world).to(run.model.device)
        self.object = places(self._world.state_names)[0]

    @cached_property
    def _object_probe(self) -> Probe:
        """Return the task's object's probe, where the model computes."""
        probe, device = self.readings.probes[0], self.run.model.device
        return Probe(probe.weight.to(device), probe.bias.to(device), probe.scale.to(device))

    @cached_property
    def readings(self) -> Readings:
        """Return the probes; the first is the task's object's."""
        return fit_probes(self.run, self._probe_episodes, self.control.seed)

    def true_true(self) -> Policy:
        """True dynamics, true cost."""
        world = TrueWorld(self._world, self.block, self.run.model.device)
        select = place_matrix(self.object, len(self._world.state_names)).to(world.device)
        controller = Controller(world, self._space, self.control, self._cost(WeightedError(select)))
        return StatePolicy(
            self.entry, 8, controller, (), lambda states: Goal(self._tensor(states)[:, None])
        ), controller

    def true_learned(self) -> Policy:
        """True dynamics, seen by the learned encoder."""
        world = SeenWorld(self._world, self.run.model, self._views)
        controller = Controller(world, self._space, self.control)
        return StatePolicy(self.entry, 8, controller, (), world.goal), controller

    def aimed(self) -> Policy:
        """Learned dynamics, read by the probe and aimed at the true place."""
        controller = Controller(self.run.model, self._space, self.control)
        probe, columns = self._object_probe, list(self.object.columns)

        def goal(states: Float[np.ndarray, "n d"]) -> Goal:
            return Goal(probe=probe, target=self._tensor(states[:, columns]))

        return GoalPolicy(self.entry, self.size, controller, self._views, goal), controller

    def learned(self, times: int = 1) -> Policy:
        """Learned dynamics, latent distance to the goal's picture; `times` the samples."""
        solver = self.control.solver
        control = replace(self.control, solver=replace(solver, samples=times * solver.samples))
        return planner_policy(self.run, self.entry, PlannerConfig(control))

    def weighted(self) -> Policy:
        """Learned dynamics; of the latent difference to the goal's picture, what the probe reads."""
        cost = self._cost(WeightedError(self._object_probe.weight / RADIUS))
        controller = Controller(self.run.model, self._space, self.control, cost)
        return PlannerPolicy(self.entry, self.size, controller, self._views), controller

    def inverse(self) -> Policy:
        """The inverse-dynamics head's first answer, executed block by block.

        Raises:
            JepaflowError: the run has no heads.
        """
        solver = SolverConfig(kind="proposal", horizon=1, parameters="full")
        control = ControllerConfig(solver, seed=self.control.seed)
        return planner_policy(self.run, self.entry, PlannerConfig(control, ("inverse",), 1))

    def unguided(self) -> UnguidedPolicy:
        """The search's first Gaussian, without a model: the floor."""
        solver = self.control.solver
        parameters = make_parameterisation(solver.parameters, self._space, self.block, solver.knots)
        return UnguidedPolicy(parameters, self.block, self.control.seed)

    def _cost(self, distance: Distance = squared_error) -> Cost:
        return make_cost(self.control.cost, self._space, distance)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32)).to(self.run.model.device)


def own_cameras(run: Run, entry: WorldEntry) -> WorldEntry:
    """Return the world with the model's cameras alone: what it does not look at is not drawn."""
    primary, wanted = entry.make(8).cameras[0], run.model.config.cameras
    others = tuple(name for name in wanted if name not in ("pixels", primary))
    names = others if len(others) == len(wanted) else (primary, *others)
    return entry.bound(WorldOptions(cameras=names)) if entry.optional else entry


def views(run: Run, cameras: tuple[str, ...]) -> list[str]:
    """Return the observation's keys of the model's cameras, in its order."""
    return ["pixels" if name in ("pixels", cameras[0]) else name for name in run.model.config.cameras]


def place_matrix(place: Place, size: int) -> Float[Tensor, "Q d"]:
    """Return the matrix that reads a place from a simulator state of `size` numbers, in units of `RADIUS`."""
    matrix = torch.zeros(len(place.columns), size)
    matrix[torch.arange(len(place.columns)), list(place.columns)] = 1.0 / RADIUS
    return matrix
