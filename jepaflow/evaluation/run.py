"""Run trials: a policy acts in many worlds in step, from given states towards given goal states.

The floors and the ceiling run through the same loop as the planner, so that nothing but the policy differs:

- *random*: a fresh uniform action of the whole box every control step;
- *random_hold*: the same, each action held for a whole block, which wanders further (a planner moves in blocks);
- *still*: the action that does nothing;
- *replay*: the dataset's own actions, then the do-nothing action. Less than 1 means that the world or the states are not the dataset's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.protocol import Solved
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.controller import Controller
from jepaflow.planning.space import Parameterisation
from jepaflow.sims.registry import World, WorldEntry, action_bounds


@runtime_checkable
class Policy(Protocol):
    """Acts in all worlds at once."""

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Begin new trials; the worlds are in their start states, `goals` are the goals' simulator states."""
        ...

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the action of control step `step` for each world."""
        ...


def run_trials(
    entry: WorldEntry,
    image_size: int,
    policy: Policy,
    starts: Float[np.ndarray, "n d"],
    goals: Float[np.ndarray, "n d"],
    budget: int,
    phase: str,
    by_task: bool = False,
) -> Outcome:
    """Run one trial per start, all in step.

    Args:
        entry: the world.
        image_size: side of the pictures that the policy may look at, px.
        policy: acts.
        starts: simulator states to begin in.
        goals: simulator states whose place is to be reached.
        budget: control steps.
        phase: what the progress bar calls this.
        by_task: judge by the task's own rule instead of by the goal states' places.

    Raises:
        JepaflowError: there is no trial, or the states are not this world's.
    """
    if len(starts) == 0:
        raise JepaflowError("there is no trial to run: the list of starts is empty. Ask for at least one.")
    worlds = [entry.make(image_size) for _ in starts]
    for world, start, goal in zip(worlds, starts, goals, strict=True):
        world.set_state(start)
        if not by_task:
            world.set_goal(goal)
    policy.begin(worlds, goals)
    ever = np.zeros(len(worlds), dtype=bool)
    states = [np.stack([world.get_state() for world in worlds])]
    with progress(phase, budget) as advance:
        for step in range(budget):
            for world, action in zip(worlds, policy.act(step, worlds), strict=True):
                world.advance(action)
            ever |= [world.is_success() for world in worlds]
            states.append(np.stack([world.get_state() for world in worlds]))
            advance()
    end = np.array([world.is_success() for world in worlds])
    return Outcome(ever, end, np.array([world.distance() for world in worlds]), np.stack(states, 1))


class PlannerPolicy:
    """The controller as a policy: renders only when it looks."""

    def __init__(
        self, entry: WorldEntry, image_size: int, controller: Controller, views: Sequence[str] = ("pixels",)
    ) -> None:
        self._entry, self._image_size, self._controller, self._views = entry, image_size, controller, views

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Show the controller pictures of the worlds in their goal states."""
        twin = self._entry.make(self._image_size)
        seen = []
        for goal in goals:
            twin.set_state(goal)
            seen.append(twin.observation())
        still = np.stack([world.still_action() for world in worlds])
        self._controller.reset(self._pictures(seen), _proprio(seen), still)

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the plan's next actions."""
        return self.decide([world.observation() for world in worlds] if self._controller.looks_next else None)

    def decide(self, seen: list[dict[str, np.ndarray]] | None) -> Float[np.ndarray, "n A"]:
        """Return the next actions, given what the worlds show now; None where the controller does not look."""
        if seen is None or not self._controller.looks_next:
            return self._controller.act(None)
        return self._controller.act(self._pictures(seen), _proprio(seen))

    def look(
        self, worlds: Sequence[World]
    ) -> tuple[UInt8[np.ndarray, "n V S S 3"], Float32[np.ndarray, "n P"], Float32[np.ndarray, "n D"]]:
        """Return what the controller would be shown of the worlds now: pictures and robot states, and their latents."""
        seen = [world.observation() for world in worlds]
        pictures, proprio = self._pictures(seen), _proprio(seen)
        return pictures, proprio, self._controller.encode(pictures, proprio).cpu().numpy()

    def dream(self, worlds: Sequence[World], steps: int) -> Float32[np.ndarray, "n T D"]:
        """Return the latents of `steps` model steps that the controller foresees from what the worlds show now.

        `begin` comes before it, and before anything else that follows (`Controller.dream`).
        """
        seen = [world.observation() for world in worlds]
        return self._controller.dream(self._pictures(seen), _proprio(seen), steps).cpu().numpy()

    def _pictures(self, seen: list[dict[str, np.ndarray]]) -> np.ndarray:
        """Return the pictures (n, V, S, S, 3) of the model's views, in its order."""
        return np.stack([np.stack([observation[view] for view in self._views]) for observation in seen])


def _proprio(seen: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Return the robot states (n, P)."""
    return np.stack([observation["state"] for observation in seen])


class RandomPolicy:
    """Uniform actions of the whole box, each held for `hold` control steps."""

    def __init__(self, world: World, seed: int, hold: int = 1) -> None:
        self._low, self._high = action_bounds(world)
        self._rng, self._hold = np.random.default_rng(seed), hold
        self._now: np.ndarray = self._low

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Nothing to prepare."""

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return fresh actions every `hold` steps."""
        if step % self._hold == 0:
            self._now = self._rng.uniform(self._low, self._high, (len(worlds), len(self._low)))
        return self._now


class UnguidedPolicy:
    """The planner without a model: each block is one draw from its first Gaussian, continued from the action in force."""

    def __init__(self, parameterisation: Parameterisation, block: int, seed: int) -> None:
        self._parameterisation, self._block = parameterisation, block
        self._generator = torch.Generator().manual_seed(seed)
        self._now: np.ndarray = np.zeros(0)

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Nothing to prepare."""

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return this step's actions, drawing anew at the beginning of a block."""
        if step % self._block == 0:
            space = self._parameterisation
            still = torch.from_numpy(np.stack([world.still_action() for world in worlds])).float()
            noise = torch.randn((len(worlds), 1, space.count, still.shape[1]), generator=self._generator)
            self._now = space.decode(space.rest.cpu() + space.std.cpu() * noise, still)[:, 0].numpy()
        return self._now[:, step % self._block]


class ReplayPolicy:
    """Given actions (n, L, A), then the action that does nothing. With L = 0 it stands still."""

    def __init__(self, actions: Float[np.ndarray, "n L A"]) -> None:
        self._actions = actions

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Nothing to prepare."""

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the recorded actions of this step."""
        if step < self._actions.shape[1]:
            return self._actions[:, step]
        return np.stack([world.still_action() for world in worlds])


def already_solved(world: World) -> Solved:
    """Return the test whether the goal of one simulator state is reached in another, by this world's own rule."""

    def solved(start: np.ndarray, goal: np.ndarray) -> bool:
        world.set_state(start)
        world.set_goal(goal)
        return world.is_success()

    return solved


def floors_and_ceiling(
    entry: WorldEntry, trials: Trials, seed: int, block: int
) -> tuple[dict[str, Outcome], dict[str, Outcome]]:
    """Run the floors (random, random_hold, still) and the ceiling (replay) on the same trials."""
    world = entry.make(8)  # pictures are not looked at
    policies: dict[str, Callable[[], Policy]] = {
        "random": lambda: RandomPolicy(world, seed),
        "random_hold": lambda: RandomPolicy(world, seed, block),
        "still": lambda: ReplayPolicy(trials.actions[:, :0]),
        "replay": lambda: ReplayPolicy(trials.actions),
    }
    outcomes = {
        name: run_trials(entry, 8, make(), trials.starts, trials.goals, trials.budget, name, trials.by_task)
        for name, make in policies.items()
    }
    ceiling = {"replay": outcomes.pop("replay")}
    return outcomes, ceiling
