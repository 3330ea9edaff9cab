"""The whole story of one sentence: what was read, planned, done and seen; what is believed of it, and what is true.

`carry_out` lets a commanded run work in one world and writes down what happened; it also keeps every frame and what the model
imagined, for films. *Imagined* is what the model foretells from the look at which a plan was made and the actions executed since,
and nothing else: the next plan begins from what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jepaflow.evaluation.command_truth import Witness
from jepaflow.evaluation.commanded import Commanded, Knowledge
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.slip import Slip
from jepaflow.sims.registry import World
from jepaflow.subgoals.language.commander import Event, Made
from jepaflow.subgoals.language.request import Refusal, Request


@dataclass(eq=False)
class Story:
    """One sentence and what came of it."""

    sentence: str
    answer: Request | Refusal
    there: tuple[str, ...]
    """what is on the desk, as the robot sees it"""
    fps: float
    block: int
    before: tuple[float, ...] = ()
    """probability of each clause before anything was done"""
    chances: list[list[float]] = field(default_factory=list)
    """probability of each clause at each look"""
    aimed: list[int] = field(default_factory=list)
    """landmark aimed at, at each look; -1 for none"""
    plans: list[Made] = field(default_factory=list)
    foreseen: list[float] = field(default_factory=list)
    """seconds that walking each plan takes, as recorded"""
    events: list[Event] = field(default_factory=list)
    steps: int = 0
    """control steps executed"""
    believed: bool = False
    truth: bool | None = None
    """by the simulator"""
    true_clauses: tuple[bool, ...] = ()
    slipped: int | None = None
    """control step at which an object slipped on purpose"""
    frames: list[UInt8[np.ndarray, "S S 3"]] = field(default_factory=list)
    """first camera, at the start and after each control step"""
    imagined: list[Float[Tensor, " D"]] = field(default_factory=list)
    """at each look"""

    def planned(self, plans: Sequence[Made], mind: Knowledge) -> None:
        """Take note of plans."""
        self.plans = list(plans)
        self.foreseen = [mind.model_steps(plan.nodes) * self.block / self.fps for plan in plans]

    @property
    def refused(self) -> bool:
        """Whether nothing was done."""
        return isinstance(self.answer, Refusal)

    def as_json(self) -> dict[str, Any]:
        """Return it for a file, without pictures."""
        must = self.answer.must if isinstance(self.answer, Request) else ()
        return {
            "sentence": self.sentence,
            "understood": str(self.answer) if not self.refused else None,
            "refused": str(self.answer) if self.refused else None,
            "clauses": [str(clause) for clause in must],
            "there": list(self.there),
            "plans": [
                {
                    "look": plan.block,
                    "landmarks": plan.nodes,
                    "done_at": [list(d) for d in plan.done],
                    "cost": plan.steps,
                    "seconds": seconds,
                }
                for plan, seconds in zip(self.plans, self.foreseen, strict=True)
            ],
            "events": [
                {"second": event.block * self.block / self.fps, "kind": event.kind, "words": event.words}
                for event in self.events
            ],
            "probabilities": [[round(p, 4) for p in row] for row in self.chances],
            "control_steps": self.steps,
            "seconds": self.steps / self.fps,
            "believes_success": self.believed,
            "true_success": self.truth,
            "true_clauses": list(self.true_clauses),
            "slipped_at_second": None if self.slipped is None else self.slipped / self.fps,
        }


def carry_out(
    policy: Commanded,
    world: World,
    sentence: str,
    budget: int,
    before: Request | None = None,
    slip: np.random.Generator | None = None,
    film: bool = False,
    say: Callable[[Event], None] | None = None,
) -> Story:
    """Do what a sentence asks in one world, from its present state.

    Args:
        policy: has met the world (`Commanded.meet`).
        world: it.
        sentence: what is asked for.
        budget: control steps at most.
        before: what was asked for before.
        slip: draws when an object slips on purpose; None: none does.
        film: keep every frame.
        say: is told every event as it happens.
    """
    policy.ask([sentence], [before])
    system, answer = policy.commander, policy.answers[0]
    there = tuple(str(thing) for thing in policy.beliefs.there(0))
    story = Story(sentence, answer, there, world.fps, policy.robot.block)
    if isinstance(answer, Refusal):
        return story
    witness = Witness(world, answer) if isinstance(world, ArmEnv) else None
    accident = Slip(world, slip) if slip is not None and isinstance(world, ArmEnv) else None
    story.before = tuple(system.chances(0).tolist())
    dreams, told = _Dreams(policy), 0
    if witness is not None:
        witness.see()
    for step in range(budget):
        action = policy.act(step, [world])[0]
        if step % policy.robot.block == 0:
            story.chances.append(system.chances(0).tolist())
            story.aimed.append(_aim(policy))
            story.imagined.append(dreams.now())
        if say is not None:
            for event in system.events[0][told:]:
                say(event)
        told = len(system.events[0])
        if policy.ended[0]:
            break
        if film:
            story.frames.append(_picture(policy, world))
        if accident is not None:
            accident.before(step)
        world.advance(action)
        if accident is not None:
            accident.after()
        if witness is not None:
            witness.see()
        story.steps += 1
    if film:
        story.frames.append(_picture(policy, world))
    if accident is not None:
        accident.end()
        story.slipped = accident.began
    story.planned(system.made[0], policy.robot.mind)
    story.events, story.believed = list(system.events[0]), bool(system.believed[0])
    if witness is not None:
        story.truth, story.true_clauses = witness.success, tuple(witness.now().tolist())
    return story


def _aim(policy: Commanded) -> int:
    """Return the landmark aimed at; -1 for none."""
    system = policy.commander
    walk = [node for node in system.walk[0] if node < len(system.marks)] if system.made[0] else []
    return walk[min(int(system.aim.at[0]), len(walk) - 1)] if walk else -1


def _picture(policy: Commanded, world: World) -> UInt8[np.ndarray, "S S 3"]:
    return np.asarray(world.observation()[policy.robot.views[0]])


class _Dreams:
    """Foretells the present from the look at which the present plan was made, by the actions alone."""

    def __init__(self, policy: Commanded) -> None:
        self._policy, self._since, self._plans = policy, len(policy.seen) - 1, 0

    @torch.no_grad()
    def now(self) -> Float[Tensor, " D"]:
        """Return what is imagined of the present look."""
        policy, model = self._policy, self._policy.robot.mind.run.model
        seen, done, last = policy.seen, policy.done, len(policy.seen) - 1
        if len(policy.commander.made[0]) != self._plans:
            self._plans, self._since = len(policy.commander.made[0]), last
        if self._since == last:
            return seen[last][0]
        first = max(0, self._since - model.config.history + 1)
        states = torch.stack(seen[first : self._since + 1], 1)
        past = torch.stack(done[first : self._since], 1) if self._since > first else done[self._since][:, None][:, :0]
        future = torch.stack(done[self._since : last], 1)
        found: Tensor = model.rollout(states, past, future)[0, -1]
        return found
