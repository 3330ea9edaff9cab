"""Receding horizon: plan, execute the first blocks, look again, plan again; many environments in step.

A *model step* is K control steps. Frames are looked at once per model step; between two looks the controller only
hands out the block's actions. In step, `act` plans when a plan is due; with `asynchronous=True` it never waits: a
background thread plans and `act` takes what is ready (`background`).
"""

from __future__ import annotations

import time

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.background import Background
from jepaflow.planning.config import ControllerConfig
from jepaflow.planning.cost import Cost, make_cost
from jepaflow.planning.goal import Goal
from jepaflow.planning.monitor import Monitor, Verdict
from jepaflow.planning.planner import Planner, Proposer, WorldModel
from jepaflow.planning.schedule import Schedule
from jepaflow.planning.space import ActionSpace
from jepaflow.planning.thinker import Thinker

__all__ = ["Controller", "ControllerConfig"]


class Controller:
    """Drives E environments towards their goals with one model.

    Args:
        model: a trained world model in eval mode.
        space: the action space, in raw dataset units.
        config: solver, cost, replanning.
        cost: prices plans instead of `config.cost`.
        proposer: candidates for every search's first iteration.
        monitor: after an alarm in any environment what is left of the plan is dropped and a new one is made.
    """

    def __init__(
        self,
        model: WorldModel,
        space: ActionSpace,
        config: ControllerConfig | None = None,
        cost: Cost | None = None,
        proposer: Proposer | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self.model, self.config = model, config or ControllerConfig()
        self.space = space.to(model.device)
        self.planner = Planner(
            model, cost or make_cost(self.config.cost, self.space), self.space, model.config.block, self.config.solver
        )
        self._relative = self.config.solver.parameters in ("displace", "knots")
        self._thinker = Thinker(model, self.planner, self.config, proposer, monitor)
        self._background: Background | None = None

    @property
    def plans(self) -> int:
        """Return the plans made so far, each for all E environments."""
        return self._thinker.plans

    @property
    def plan_seconds(self) -> float:
        """Return the wall time that they took."""
        return self._thinker.plan_seconds

    @property
    def forecast_errors(self) -> list[Float32[np.ndarray, " E"]]:
        """Return the mean squared error of each executed block's forecast in this episode (if `surprise` is set)."""
        return self._thinker.forecast_errors

    @property
    def verdicts(self) -> list[Verdict]:
        """Return what the monitor said of each look of this episode; empty without one."""
        return self._thinker.verdicts

    @property
    def memory(self) -> tuple[Float[Tensor, "E T D"], Float[Tensor, "E T K A"]]:
        """Return what this episode was, one model step apart: the latents of the frames seen, the block executed after each.

        Raises:
            JepaflowError: the configuration does not ask to remember, or nothing was seen yet.
        """
        if self._background is not None:
            self._background.settle()
        if not self._thinker.done:
            raise JepaflowError("this controller remembers nothing. Set `remember` in its configuration, and act.")
        return torch.stack(self._thinker.seen, 1), torch.stack(self._thinker.done, 1)

    def reset(
        self,
        goal: UInt8[np.ndarray, "E V S S 3"] | Goal,
        goal_proprio: Float32[np.ndarray, "E P"] | None = None,
        start_action: Float[np.ndarray, "E A"] | None = None,
    ) -> None:
        """Begin new episodes.

        Args:
            goal: goal frames, or anything else that a `Goal` can say.
            goal_proprio: robot states in the goal frames, for a model that has them as input.
            start_action: the action in force now, which does nothing (an arm's present targets, no torque). Plans of
                displacements and rate limits begin there; without it, at the robot state of the first frame.

        Raises:
            JepaflowError: the start action is not finite or has another size.
        """
        if self._background is not None:
            self._background.settle()
        self._goal = goal if isinstance(goal, Goal) else Goal(self.encode(goal, goal_proprio)[:, None])
        self._start = None if start_action is None else self._checked(start_action)
        self._thinker.begin(self._goal)
        self._block: Float32[np.ndarray, "E K A"] | None = None
        self._clock = 0

    @property
    def looks_next(self) -> bool:
        """Return whether the next `act` uses its frames: once per model step."""
        return self._clock % self.model.config.block == 0

    @torch.no_grad()
    def act(
        self, pixels: UInt8[np.ndarray, "E V S S 3"] | None, proprio: Float32[np.ndarray, "E P"] | None = None
    ) -> Float32[np.ndarray, "E A"]:
        """Return the action of this control step for each environment, inside the bounds.

        Args:
            pixels: the frames now; may be None when `looks_next` is false.
            proprio: the robot states now, for a model that has them as input, and where plans begin (see `reset`).

        Raises:
            JepaflowError: frames are missing in a control step that looks at them, or planning failed.
        """
        step, tick = divmod(self._clock, self.model.config.block)
        if tick == 0:
            if pixels is None:
                raise JepaflowError(
                    f"control step {self._clock} begins a model step and needs frames. Render and pass them."
                )
            if step == 0:
                self._begin(proprio)
            look = self._look_in_background if self.config.asynchronous else self._look
            block = look(step, pixels, proprio)
            self._last = block[:, -1]
            self._block = block.cpu().numpy()
        self._clock += 1
        assert self._block is not None
        return self._block[:, tick]

    def dream(
        self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None, steps: int
    ) -> Float[Tensor, "E T D"]:
        """Return the latents that the episode would have, as the first frames and the model alone foresee it.

        The plan made there is imagined to its horizon, the next one is made at its imagined end, and so on. Call `reset`
        before and after.

        Args:
            pixels: the first frames.
            proprio: as in `act`.
            steps: T, model steps to imagine.
        """
        self._thinker.see(pixels, proprio, None)
        return self._thinker.dream(self._first_action(proprio), steps)

    def encode(
        self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None = None
    ) -> Float[Tensor, "E D"]:
        """Return the latents of frames, e.g. for a `Goal` of several pictures or for `KeepOut`."""
        return self._thinker.encode(pixels, proprio)

    def close(self) -> None:
        """End the background thread, if there is one."""
        if self._background is not None:
            self._background.close()
            self._background = None

    def _begin(self, proprio: np.ndarray | None) -> None:
        """Set the action in force and empty schedules."""
        self._last = self._first_action(proprio)
        self._schedule = Schedule(self.planner.parameterisation, self._last, self._relative)
        if self.config.asynchronous:
            if self._background is None:
                self._background = Background(self._thinker, self.model.config.history, self.config.solver.horizon)
            self._background.begin(Schedule(self.planner.parameterisation, self._last, self._relative))

    def _look(self, step: int, pixels: np.ndarray, proprio: np.ndarray | None) -> Float[Tensor, "E K A"]:
        """Take in the frames of a new model step, plan if due, and return its block."""
        began = time.perf_counter()
        surprised = self._thinker.see(pixels, proprio, self._schedule.expected(step))
        plan = self._schedule.governing(step)
        if surprised or plan is None or step - plan.at >= self.config.execute:
            self._schedule.clear()
            self._schedule.add(self._thinker.plan(step, self._last, (), began))
        block = self._schedule.block(step, self._last)
        self._thinker.did(block)
        return block

    def _look_in_background(self, step: int, pixels: np.ndarray, proprio: np.ndarray | None) -> Float[Tensor, "E K A"]:
        """Return the block that is due by the plans that are ready; hand the frames over."""
        assert self._background is not None
        expected = self._schedule.expected(step)
        for plan in self._background.ready():
            self._schedule.add(plan)
        block = self._schedule.block(step, self._last)
        self._background.look(step, pixels, proprio, block, expected)
        return block

    def _first_action(self, proprio: np.ndarray | None) -> Float[Tensor, "E A"]:
        """Return the action in force before the first: the one given to `reset`, else the robot state, if one is needed."""
        envs, size = len(self._goal), self.space.low.numel()
        if self._start is not None:
            return self._start
        if not self._relative and self.space.rate is None:
            return self.space.centre.expand(envs, -1)
        if proprio is None or proprio.shape[-1] != size:
            raise JepaflowError(
                "plans of displacements and rate limits begin at the action in force. Give reset(start_action=...), or a "
                f"robot state of {size} numbers in the actions' units."
            )
        return self._checked(proprio)

    def _checked(self, action: np.ndarray) -> Float[Tensor, "E A"]:
        """Return a start action inside the bounds."""
        start = torch.from_numpy(np.asarray(action, dtype=np.float32)).to(self.model.device)
        if start.shape != (len(self._goal), self.space.low.numel()) or not torch.isfinite(start).all():
            raise JepaflowError(
                f"the start action must be {len(self._goal)} x {self.space.low.numel()} finite numbers, one row per "
                f"environment; its shape is {tuple(start.shape)}. Give the actions in force now."
            )
        return start.clamp(self.space.low, self.space.high)
