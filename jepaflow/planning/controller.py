"""Receding horizon: plan, execute the first blocks, look again, plan again; many environments in step.

The model sees what it was trained on: frames one *model step* (K control steps) apart and the blocks executed between
them. An episode begins with one frame; the history grows to the model's H. Each frame is encoded once and kept as a
latent. Between two frames the controller only hands out the plan's actions.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.cem import ActionSpace, CEMConfig, Dynamics, plan
from jepaflow.planning.cost import CostConfig, GoalCost


@runtime_checkable
class Timing(Protocol):
    """What a controller must know of a model's configuration (`JEPAConfig` has it)."""

    @property
    def block(self) -> int:
        """Return K, control steps per model step."""
        ...

    @property
    def history(self) -> int:
        """Return H, the model steps that the predictor sees."""
        ...

    @property
    def proprio_dim(self) -> int:
        """Return the size of the robot state that is an input, 0 for none."""
        ...


@runtime_checkable
class WorldModel(Dynamics, Protocol):
    """Encodes and imagines: a `JEPA` in eval mode, or known physics as a reference."""

    @property
    def config(self) -> Timing:
        """Return the model's sizes."""
        ...

    @property
    def device(self) -> torch.device:
        """Return where the weights are."""
        ...

    def encode(
        self, pixels: UInt8[Tensor, "B T V S S 3"], proprio: Float[Tensor, "B T P"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """Return one latent per frame."""
        ...


@dataclass(frozen=True)
class ControllerConfig:
    """The solver, its cost, and how much of a plan is executed before the next."""

    solver: CEMConfig = field(default_factory=CEMConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    execute: int = 1
    """Blocks executed before planning anew (LeWM: 5, the whole plan)."""
    warm_start: bool = True
    """Begin a search from the rest of the last plan."""
    seed: int = 0
    """Seed of the solver's samples."""

    def __post_init__(self) -> None:
        """Refuse to execute what was not planned."""
        if not 1 <= self.execute <= self.solver.horizon:
            raise JepaflowError(
                f"{self.execute} blocks cannot be executed of a plan of {self.solver.horizon}. "
                "Give 1 <= execute <= solver.horizon."
            )


class Controller:
    """Drives E environments towards their goals with one model.

    Args:
        model: a trained world model in eval mode.
        space: the action space, in raw dataset units.
        config: solver, cost, replanning.
    """

    def __init__(self, model: WorldModel, space: ActionSpace, config: ControllerConfig | None = None) -> None:
        self.model, self.config = model, config or ControllerConfig()
        self.space = ActionSpace(*(t.to(model.device) for t in (space.low, space.high, space.centre, space.scale)))
        self.cost = GoalCost(self.config.cost)
        self.plans, self.plan_seconds = 0, 0.0
        """Plans made (each for all E environments) and the wall time that they took."""

    @torch.no_grad()
    def reset(
        self, goal: UInt8[np.ndarray, "E V S S 3"], goal_proprio: Float32[np.ndarray, "E P"] | None = None
    ) -> None:
        """Begin new episodes towards these goal frames (and robot states, for a model that has them as input)."""
        self._goal = self._encode(goal, goal_proprio)
        self._generator = torch.Generator(self.model.device).manual_seed(self.config.seed)
        self._latents: list[Float[Tensor, "E D"]] = []
        self._executed: list[Float[Tensor, "E K A"]] = []
        self._queue: list[Float[Tensor, "E K A"]] = []
        self._warm: Float[Tensor, "E N Q A"] | None = None
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
            proprio: the robot states now, for a model that has them as input.

        Raises:
            JepaflowError: frames are missing in a control step that looks at them.
        """
        tick = self._clock % self.model.config.block
        if tick == 0:
            if pixels is None:
                raise JepaflowError(
                    f"control step {self._clock} begins a model step and needs frames. Render and pass them."
                )
            self._look(pixels, proprio)
        self._clock += 1
        action: Float32[np.ndarray, "E A"] = self._executed[-1][:, tick].cpu().numpy()
        return action

    def _look(self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None) -> None:
        """Take in the frames of a new model step and put its block at the end of `_executed`."""
        history = self.model.config.history
        self._latents = [*self._latents, self._encode(pixels, proprio)][-history:]
        self._executed = self._executed[len(self._executed) - (len(self._latents) - 1) :]
        if not self._queue:
            self._plan()
        self._executed.append(self._queue.pop(0))

    def _plan(self) -> None:
        started, config = time.perf_counter(), self.config
        z = torch.stack(self._latents, 1)
        block = self.model.config.block
        past = (
            torch.stack(self._executed, 1)
            if self._executed
            else z.new_zeros((len(z), 0, block, self.space.low.numel()))
        )
        found = plan(
            self.model, self.cost, config.solver, self.space, block, z, past, self._goal, self._generator, self._warm
        )
        self._queue = list(found.blocks[:, : config.execute].unbind(1))
        if config.warm_start:
            # The part not executed is the next search's beginning; beyond it we know nothing: the centre.
            unknown = self.space.centre.expand_as(found.mean[:, : config.execute])
            self._warm = torch.cat([found.mean[:, config.execute :], unknown], 1)
        self.plans += 1
        self.plan_seconds += time.perf_counter() - started

    def _encode(
        self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None
    ) -> Float[Tensor, "E D"]:
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
