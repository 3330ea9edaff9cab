"""The simulator as a world model: what a planner could do if its model made no mistake.

The "latent" of such a model is the simulator's whole state, float32, which is exact: a candidate's rollout ends in the
very state that executing it leads to. The planner, its search and its controller are the ones that a learned model gets,
so what differs in the outcome is the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepaflow.evaluation.run import PlannerPolicy
from jepaflow.planning.controller import Controller
from jepaflow.planning.goal import Goal
from jepaflow.sims.registry import World, WorldEntry
from jepaflow.worldmodel.jepa import JEPA

ENCODE_BATCH = 64
Goals = Callable[[Float[np.ndarray, "n d"]], Goal]
"""Makes the goals' simulator states a goal."""


@dataclass(frozen=True)
class Timing:
    """What a controller must know of a model (`jepaflow.planning.planner.Timing`)."""

    block: int
    history: int
    proprio_dim: int


class TrueWorld:
    """Imagines by simulating; its latents are simulator states.

    Args:
        world: a world of its own, to be put into any state.
        block: K, control steps per model step.
        device: where the planner computes.
    """

    def __init__(self, world: World, block: int, device: torch.device) -> None:
        self._world, self.device = world, device
        self.config = Timing(block, history=1, proprio_dim=len(world.state_names))
        self._noted: list[np.ndarray] = []

    def encode(
        self, pixels: UInt8[Tensor, "B T V S S 3"], proprio: Float[Tensor, "B T d"] | None = None
    ) -> Float[Tensor, "B T d"]:
        """Return what stands in the place of the robot's state: the simulator's. Pictures are not looked at."""
        assert proprio is not None
        return proprio

    def rollout(
        self, z: Float[Tensor, "B H d"], past: Float[Tensor, "B P K A"], future: Float[Tensor, "B N K A"]
    ) -> Float[Tensor, "B N D"]:
        """Simulate every plan from its last state; return what `_look` makes of the world after each block."""
        states, plans = z[:, -1].cpu().numpy(), future.cpu().numpy()
        for state, plan in zip(states, plans, strict=True):
            self._world.set_state(state)
            for block in plan:
                for action in block:
                    self._world.advance(action)
                self._look()
        return self._seen().view(*future.shape[:2], -1)

    def _look(self) -> None:
        """Take note of the world as it is."""
        self._noted.append(self._world.get_state())

    def _seen(self) -> Float[Tensor, "BN D"]:
        """Return the notes since the last call, as latents."""
        noted, self._noted = self._noted, []
        return torch.from_numpy(np.stack(noted)).to(self.device)


class SeenWorld(TrueWorld):
    """Imagines by simulating, drawing the world after each block and encoding the pictures with a learned model.

    Args:
        world: draws the model's cameras, in its order, at its size.
        model: the encoder.
        views: the observation's keys of those cameras.
    """

    def __init__(self, world: World, model: JEPA, views: Sequence[str]) -> None:
        super().__init__(world, model.config.block, model.device)
        self._model, self._views = model, tuple(views)
        self._frames: list[dict[str, np.ndarray]] = []
        self._latents: list[Tensor] = []

    def encode_observations(self, seen: Sequence[dict[str, np.ndarray]]) -> Float[Tensor, "n D"]:
        """Return the model's latents of observations."""
        pixels = torch.from_numpy(np.stack([np.stack([o[view] for view in self._views]) for o in seen]))
        proprio = None
        if self._model.config.proprio_dim:
            proprio = torch.from_numpy(np.stack([o["state"] for o in seen]))[:, None].to(self.device)
        return self._model.encode(pixels[:, None].to(self.device), proprio)[:, 0]

    def goal(self, goals: Float[np.ndarray, "n d"]) -> Goal:
        """Return the latents of the goal states' pictures."""
        seen = []
        for state in goals:
            self._world.set_state(state)
            seen.append(self._world.observation())
        with torch.inference_mode():
            return Goal(self.encode_observations(seen).clone()[:, None])

    def _look(self) -> None:
        self._frames.append(self._world.observation())
        if len(self._frames) == ENCODE_BATCH:  # bounds the memory
            self._encode_frames()

    def _encode_frames(self) -> None:
        if self._frames:
            self._latents.append(self.encode_observations(self._frames))
            self._frames = []

    def _seen(self) -> Float[Tensor, "BN D"]:
        self._encode_frames()
        latents, self._latents = self._latents, []
        return torch.cat(latents)


class GoalPolicy(PlannerPolicy):
    """A learned model's controller with a goal that is not (only) a picture."""

    def __init__(
        self, entry: WorldEntry, image_size: int, controller: Controller, views: Sequence[str], goals: Goals
    ) -> None:
        super().__init__(entry, image_size, controller, views)
        self._goals = goals

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Tell the controller the goals."""
        self._controller.reset(self._goals(goals), None, np.stack([world.still_action() for world in worlds]))


class StatePolicy(GoalPolicy):
    """The controller of a `TrueWorld`: sees simulator states, so nothing is drawn."""

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the plan's next actions."""
        if not self._controller.looks_next:
            return self._controller.act(None)
        unseen = np.zeros((len(worlds), 1, 1, 1, 3), np.uint8)
        return self._controller.act(unseen, np.stack([world.get_state() for world in worlds]))
