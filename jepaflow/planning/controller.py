"""Receding horizon: plan, execute the first blocks, look again, plan again; many environments in step.

The model sees what it was trained on: frames one *model step* (K control steps) apart and the blocks executed between
them. An episode begins with one frame; the history grows to the model's H. Each frame is encoded once and kept as a
latent. Between two frames the controller only hands out the plan's actions.

A robot cannot wait for a planner. With `asynchronous=True` encoding and planning happen in a background thread: while
a block is executed, the plan that follows it is searched, from the latent that the model expects there. Plans are kept
as parameters and turned into actions when they are due, from the action executed last; so a plan that comes late or is
left early never makes the actions jump.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import Cost, CostConfig, make_cost
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Planner, Proposer, Situation, WorldModel
from jepaflow.planning.space import ActionSpace, shifted


@dataclass(frozen=True)
class ControllerConfig:
    """The solver, its cost, and how much of a plan is executed before the next."""

    solver: SolverConfig = field(default_factory=SolverConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    execute: int = 1
    """Blocks executed before planning anew (LeWM: 5, the whole plan). In the background every block is planned anew."""
    warm_start: bool = True
    """Begin a search from the rest of the last plan."""
    seed: int = 0
    """Seed of the solver's samples."""
    deadline: float | None = None
    """Seconds per decision, encoding included: the best plan so far is taken then. None: all iterations."""
    surprise: float | None = None
    """Plan anew, whatever is left of the plan, when a block's forecast missed the latent by more than this mean squared
    error in any environment (see `surprise_threshold`). None: forecasts are not compared."""
    asynchronous: bool = False
    """Plan in a background thread: `act` never waits for the model. The first block then does nothing."""

    def __post_init__(self) -> None:
        """Refuse to execute what was not planned."""
        if not 1 <= self.execute <= self.solver.horizon:
            raise JepaflowError(
                f"{self.execute} blocks cannot be executed of a plan of {self.solver.horizon}. "
                "Give 1 <= execute <= solver.horizon."
            )
        for name in ("deadline", "surprise"):
            value = getattr(self, name)
            if value is not None and not value >= 0.0:
                raise JepaflowError(f"the controller's {name} is {value:g}. Give a number that is not negative.")


@dataclass(frozen=True)
class _Current:
    """The plan that is being executed."""

    params: Float[Tensor, "E N P A"]
    at: int
    """The model step that its first block belongs to."""
    forecast: Float[Tensor, "E N D"] | None


class Controller:
    """Drives E environments towards their goals with one model.

    Args:
        model: a trained world model in eval mode.
        space: the action space, in raw dataset units.
        config: solver, cost, replanning.
        cost: prices plans instead of `config.cost`.
        proposer: candidates for every search's first iteration.
    """

    def __init__(
        self,
        model: WorldModel,
        space: ActionSpace,
        config: ControllerConfig | None = None,
        cost: Cost | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        self.model, self.config, self.proposer = model, config or ControllerConfig(), proposer
        self.space = space.to(model.device)
        self.planner = Planner(
            model, cost or make_cost(self.config.cost, self.space), self.space, model.config.block, self.config.solver
        )
        self.plans, self.plan_seconds = 0, 0.0
        """Plans made (each for all E environments) and the wall time that they took."""
        self.forecast_errors: list[Float32[np.ndarray, " E"]] = []
        """Mean squared error of each executed block's forecast in this episode (if `surprise` is set)."""
        self._pool: ThreadPoolExecutor | None = None
        self._jobs: deque[Future[_Current | None]] = deque()
        self._newest = -1

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
        self._settle()
        self._goal = goal if isinstance(goal, Goal) else Goal(self.encode(goal, goal_proprio)[:, None])
        self._generator = torch.Generator(self.model.device).manual_seed(self.config.seed)
        self._start = None if start_action is None else self._checked(start_action)
        self._latents: list[Float[Tensor, "E D"]] = []
        self._executed: list[Float[Tensor, "E K A"]] = []
        self._current: _Current | None = None
        self._warm: tuple[Float[Tensor, "E N P A"], Float[Tensor, "E Q N P A"], int] | None = None
        self._block: Float32[np.ndarray, "E K A"] | None = None
        self._clock = 0
        self.forecast_errors = []

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
                self._last = self._still = self._first_action(proprio)
            look = self._look_in_background if self.config.asynchronous else self._look
            self._block = look(step, pixels, proprio).cpu().numpy()
        self._clock += 1
        assert self._block is not None
        return self._block[:, tick]

    @torch.no_grad()
    def encode(
        self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None = None
    ) -> Float[Tensor, "E D"]:
        """Return the latents of frames, e.g. for a `Goal` of several pictures or for `KeepOut`."""
        device = self.model.device
        frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)[:, None]
        state = None
        if self.model.config.proprio_dim:
            if proprio is None:
                raise JepaflowError(
                    "this model was trained with observation.state: give the controller the robot's state too."
                )
            state = torch.from_numpy(np.asarray(proprio, dtype=np.float32)).to(device)[:, None]
        return self.model.encode(frames, state)[:, 0]

    def close(self) -> None:
        """End the background thread, if there is one."""
        self._settle()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    # In step -------------------------------------------------------------------------------------------------------

    def _look(self, step: int, pixels: np.ndarray, proprio: np.ndarray | None) -> Float[Tensor, "E K A"]:
        """Take in the frames of a new model step, plan if due, and return its block."""
        deadline = self._deadline()
        if self._see(pixels, proprio, self._expected(step)):
            self._current = None
        if self._current is None or step - self._current.at >= self.config.execute:
            self._current = self._plan(step, self._last, None, deadline)
        block = self._due(step)
        self._executed.append(block)
        return block

    # In the background: only the worker thread touches latents, executed blocks, warm start and generator ----------

    def _look_in_background(self, step: int, pixels: np.ndarray, proprio: np.ndarray | None) -> Float[Tensor, "E K A"]:
        """Return the block that is due by the newest plan that is ready; hand the frames to the worker."""
        while self._jobs and self._jobs[0].done():
            found = self._jobs.popleft().result()
            self._current = found or self._current
        expected = self._expected(step)
        block = self._due(step)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="planner")
        self._newest = step
        seen = None if proprio is None else np.array(proprio)
        self._jobs.append(self._pool.submit(self._work, step, np.array(pixels), seen, block, expected))
        return block

    @torch.no_grad()
    def _work(
        self, step: int, pixels: np.ndarray, proprio: np.ndarray | None, block: Tensor, expected: Tensor | None
    ) -> _Current | None:
        """Take in the frames of `step`, in which `block` is executed; plan what follows unless newer frames wait."""
        if self._newest - step >= self.model.config.history:
            self._latents, self._executed = [], []  # too late to matter: the history begins anew after it
            return None
        deadline = self._deadline()
        self._see(pixels, proprio, expected)
        found = None
        if step == self._newest:
            found = self._plan(step + 1, block[:, -1], block[:, None], deadline)
        self._executed.append(block)
        return found

    def _settle(self) -> None:
        """Wait until the worker has nothing left to do; what it found or met is forgotten."""
        self._newest = -1
        while self._jobs:
            self._jobs.popleft().exception()

    # Parts of both -------------------------------------------------------------------------------------------------

    def _see(self, pixels: np.ndarray, proprio: np.ndarray | None, expected: Tensor | None) -> bool:
        """Take in frames; return whether they surprise."""
        z = self.encode(pixels, proprio)
        self._latents = [*self._latents, z][-self.model.config.history :]
        self._executed = self._executed[len(self._executed) - (len(self._latents) - 1) :]
        if expected is None or self.config.surprise is None:
            return False
        error = (z - expected).square().mean(-1)
        self.forecast_errors.append(error.cpu().numpy())
        return bool((error > self.config.surprise).any())

    def _expected(self, step: int) -> Float[Tensor, "E D"] | None:
        """Return the latent that the current plan forecasts for the frames of `step`."""
        current = self._current
        if current is None or current.forecast is None or not 0 < step - current.at <= current.forecast.shape[1]:
            return None
        return current.forecast[:, step - current.at - 1]

    def _due(self, step: int) -> Float[Tensor, "E K A"]:
        """Return the block of `step`: the plan's, or, where there is none, one that does nothing."""
        current, space = self._current, self.planner.parameterisation
        if current is not None and 0 <= step - current.at < current.params.shape[1]:
            params = current.params[:, step - current.at]
        elif self._relative:
            params = space.rest.expand(len(self._last), space.count, -1)
        else:
            params = self._still[:, None].expand(-1, space.count, -1)
        block = space.decode(params[:, None], self._last)[:, 0]
        self._last = block[:, -1]
        return block

    def _plan(self, step: int, start: Tensor, committed: Tensor | None, deadline: float | None) -> _Current:
        """Search the plan whose first block belongs to model step `step`."""
        began, z = time.perf_counter(), torch.stack(self._latents, 1)
        nothing = z.new_zeros((len(z), 0, self.model.config.block, self.space.low.numel()))
        past = torch.stack(self._executed, 1) if self._executed else nothing
        situation = Situation(z, past, start, self._goal, committed)
        warm, proposals = None, []
        if self._warm is not None:
            mean, elites, at = self._warm
            rest = self.planner.parameterisation.rest
            warm = shifted(mean, step - at, rest)
            proposals = [shifted(elites, step - at, rest)]
        if self.proposer is not None:
            proposals.insert(0, self.proposer(situation))
        found = self.planner.plan(
            situation, self._generator, warm, torch.cat(proposals, 1) if proposals else None, deadline
        )
        if self.config.warm_start:
            self._warm = (found.mean, found.elites, step)
        forecast = None if self.config.surprise is None else self.planner.imagine(situation, found.blocks)
        self.plans += 1
        self.plan_seconds += time.perf_counter() - began
        return _Current(found.params, step, forecast)

    @property
    def _relative(self) -> bool:
        """Return whether plans are displacements from the last action."""
        return self.config.solver.parameters in ("displace", "knots")

    def _deadline(self) -> float | None:
        return None if self.config.deadline is None else time.perf_counter() + self.config.deadline

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
