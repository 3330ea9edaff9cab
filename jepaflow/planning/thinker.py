"""What a controller knows and how it decides: latents seen, blocks executed, the last plan; one thread at a time uses it.

The model sees what it was trained on: frames one model step apart and the blocks executed between them. Each frame is
encoded once and kept as a latent.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import ControllerConfig
from jepaflow.planning.goal import Goal
from jepaflow.planning.monitor import Monitor, Verdict
from jepaflow.planning.planner import Planner, Proposer, Situation, WorldModel
from jepaflow.planning.schedule import TimedPlan
from jepaflow.planning.space import shifted


class Thinker:
    """Sees and plans for E environments.

    Args:
        model: the world model.
        planner: searches with it.
        config: the controller's.
        proposer: candidates for every search's first iteration.
        monitor: raises alarms, which are surprises too.
    """

    def __init__(
        self,
        model: WorldModel,
        planner: Planner,
        config: ControllerConfig,
        proposer: Proposer | None = None,
        monitor: Monitor | None = None,
    ) -> None:
        self._model, self._planner, self._config, self._proposer = model, planner, config, proposer
        self._monitor = monitor
        self.plans, self.plan_seconds, self.last_seconds = 0, 0.0, 0.0
        """Plans made, the wall time that they took together, and the last one's with its encoding."""

    def begin(self, goal: Goal) -> None:
        """Forget everything; a new episode has this goal."""
        self._goal = goal
        self._generator = torch.Generator(self._model.device).manual_seed(self._config.seed)
        self._warm: tuple[Float[Tensor, "E N P A"], Float[Tensor, "E Q N P A"], int] | None = None
        self.forecast_errors: list[Float32[np.ndarray, " E"]] = []
        self.verdicts: list[Verdict] = []
        """The monitor's, of each look of this episode."""
        self.forget()

    def forget(self) -> None:
        """Begin the history anew: what is seen next does not follow what was seen last."""
        self._latents: list[Float[Tensor, "E D"]] = []
        self._executed: list[Float[Tensor, "E K A"]] = []
        self.seen: list[Float[Tensor, "E D"]] = []
        self.done: list[Float[Tensor, "E K A"]] = []
        """All latents and blocks since the history began, if the configuration asks to remember them."""
        if self._monitor is not None:
            self._monitor.begin()

    @torch.no_grad()
    def encode(
        self, pixels: UInt8[np.ndarray, "E V S S 3"], proprio: Float32[np.ndarray, "E P"] | None = None
    ) -> Float[Tensor, "E D"]:
        """Return the latents of frames.

        Raises:
            JepaflowError: the model needs the robot's state and it is missing.
        """
        device = self._model.device
        frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)[:, None]
        state = None
        if self._model.config.proprio_dim:
            if proprio is None:
                raise JepaflowError(
                    "this model was trained with observation.state: give the controller the robot's state too."
                )
            state = torch.from_numpy(np.asarray(proprio, dtype=np.float32)).to(device)[:, None]
        return self._model.encode(frames, state)[:, 0]

    def see(
        self,
        pixels: UInt8[np.ndarray, "E V S S 3"],
        proprio: Float32[np.ndarray, "E P"] | None,
        expected: Float[Tensor, "E D"] | None,
    ) -> bool:
        """Take in the frames of a new model step; return whether they surprise."""
        z = self.encode(pixels, proprio)
        self._latents = [*self._latents, z][-self._kept :]
        self._executed = self._executed[len(self._executed) - (len(self._latents) - 1) :]
        if self._config.remember:
            self.seen.append(z)
        alarm = self._alarm(z)
        if expected is None or self._config.surprise is None:
            return alarm
        error = (z - expected).square().mean(-1)
        self.forecast_errors.append(error.cpu().numpy())
        return alarm or bool((error > self._config.surprise).any())

    def _alarm(self, z: Float[Tensor, "E D"]) -> bool:
        """Ask the monitor. Where it raises an alarm, no search begins from the rest of a plan for what is no longer so."""
        if self._monitor is None:
            return False
        verdict = self._monitor.see(z)
        self.verdicts.append(verdict)
        if verdict.any and self._warm is not None:
            mean, elites, at = self._warm
            loud, rest = verdict.loud.to(mean.device), self._planner.parameterisation.rest
            fresh = (torch.where(loud.view(-1, *[1] * (old.ndim - 1)), rest, old) for old in (mean, elites))
            self._warm = (*fresh, at)  # type: ignore[assignment]
        return verdict.any

    def did(self, block: Float[Tensor, "E K A"]) -> None:
        """Take note of the block executed after the frames seen last."""
        self._executed.append(block)
        if self._monitor is not None:
            self._monitor.did(block)
        if self._config.remember:
            self.done.append(block)

    @torch.no_grad()
    def plan(
        self,
        step: int,
        start: Float[Tensor, "E A"],
        committed: Sequence[Float[Tensor, "E K A"]],
        began: float,
    ) -> TimedPlan:
        """Search the plan that begins at a model step.

        Args:
            step: the model step of its first block.
            start: the action executed last before it.
            committed: the blocks executed between the frames seen last and the plan.
            began: when the frames came in (`time.perf_counter()`); the deadline counts from there.
        """
        entered, (z, past) = time.perf_counter(), self._history(start)
        ahead = torch.stack(list(committed), 1) if committed else None
        situation = Situation(z, past, start, self._goal, ahead)
        warm, proposals = None, [] if self._proposer is None else [self._proposer(situation)]
        if self._warm is not None:
            mean, elites, at = self._warm
            rest = self._planner.parameterisation.rest
            warm = shifted(mean, step - at, rest)
            proposals.append(shifted(elites, step - at, rest))
        deadline = None if self._config.deadline is None else began + self._config.deadline
        found = self._planner.plan(
            situation, self._generator, warm, torch.cat(proposals, 1) if proposals else None, deadline
        )
        if self._config.warm_start:
            self._warm = (found.mean, found.elites, step)
        forecast = None if self._config.surprise is None else self._planner.imagine(situation, found.blocks)
        now = time.perf_counter()
        self.plans, self.plan_seconds, self.last_seconds = (
            self.plans + 1,
            self.plan_seconds + now - entered,
            now - began,
        )
        return TimedPlan(found.params, step, forecast)

    @torch.no_grad()
    def dream(self, start: Float[Tensor, "E A"], steps: int) -> Float[Tensor, "E T D"]:
        """Go on from what was seen last in imagination alone: plan, imagine the whole plan, plan on from its end.

        The history is then an imagined one; `begin` before anything else is seen.

        Args:
            start: the action executed last.
            steps: T, model steps to imagine.
        """
        dreamt: list[Float[Tensor, "E D"]] = []
        while len(dreamt) < steps:
            plan = self.plan(len(dreamt), start, (), time.perf_counter())
            blocks = self._planner.parameterisation.decode(plan.params, start)
            imagined = self._model.rollout(*self._history(start), blocks).unbind(1)
            dreamt += imagined
            self._latents = [*self._latents, *imagined][-self._kept :]
            self._executed = [*self._executed, *blocks.unbind(1)]
            self._executed = self._executed[len(self._executed) - (len(self._latents) - 1) :]
            start = blocks[:, -1, -1]
        return torch.stack(dreamt[:steps], 1)

    @property
    def _kept(self) -> int:
        """Return how many latents are kept."""
        most = self._model.config.history
        return most if self._config.context is None else min(self._config.context, most)

    def _history(self, start: Float[Tensor, "E A"]) -> tuple[Float[Tensor, "E H D"], Float[Tensor, "E H-1 K A"]]:
        """Return the latents in view and the blocks executed between them."""
        z = torch.stack(self._latents, 1)
        nothing = z.new_zeros((len(z), 0, self._model.config.block, start.shape[-1]))
        return z, torch.stack(self._executed, 1) if self._executed else nothing
