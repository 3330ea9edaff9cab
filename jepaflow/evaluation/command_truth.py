"""What the simulator says of a request: the judge that neither the seer nor any policy is ever shown.

The automaton that plans obey reads the true world's clauses step by step, so order and "must still hold at the end" mean the same
to plan and judge. A clause about a cube of one colour is about all cubes of that colour.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.tasks import in_bin
from jepaflow.subgoals.language.automaton import CLOSED
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.request import Request

LAYERS = 2
"""a cube on top of another one lies in the bin, too"""


def things_of(env: ArmEnv) -> tuple[Thing, ...]:
    """Return what is on the desk: cubes, then bins."""
    cubes = [Thing(colour, "cube") for colour in env.scene.colours[: env.scene.cubes]]
    bins = [Thing(colour, "bin") for colour in env.scene.bins if colour]
    marker = {"disc": [Thing("green", "disc")], "ball": [Thing("green", "ball")]}.get(env.rules.layout.marker or "", [])
    return tuple(dict.fromkeys([*cubes, *bins, *marker]))


def is_true(env: ArmEnv, clause: Clause) -> bool:
    """Return whether a clause about putting, pushing or reaching holds now; False where what it names is not there."""
    if clause.verb == "reach":
        return _touched(env, clause.object)
    cubes = [i for i in range(env.scene.cubes) if _is(clause.object, env.scene.colours[i], "cube")]
    if clause.verb == "push":
        return bool(cubes) and env.rules.success(env.desk, env.scene)
    if clause.place is None or not cubes:
        return False
    bins = [i for i, colour in enumerate(env.scene.bins) if _is(clause.place, colour, "bin")]
    return all(any(in_bin(env.desk, cube, which, LAYERS) for which in bins) for cube in cubes)


def _touched(env: ArmEnv, one: Thing) -> bool:
    """Whether the hand touches a cube, or has reached the ball."""
    if one.kind == "ball":
        return any(_is(one, *thing) for thing in things_of(env)) and env.rules.success(env.desk, env.scene)
    cubes = [i for i in range(env.scene.cubes) if _is(one, env.scene.colours[i], "cube")]
    return any(any(env.desk.touched(i)) for i in cubes)


def _is(said: Thing, colour: str, kind: str) -> bool:
    return said.kind == kind and said.colour in ("", colour)


@dataclass
class Witness:
    """Watches one world while it works on one request: `see` before the first action and after each control step.

    Args:
        env: the world.
        request: what was asked for.
    """

    env: ArmEnv
    request: Request
    state: int = field(default=-1, init=False)
    """of the automaton; `CLOSED` once an order was broken for good"""
    broken: list[str] = field(default_factory=list, init=False)
    """what was to be avoided and came true"""
    steps: int = field(default=-1, init=False)
    symbol: int = field(default=0, init=False)
    """which clauses held at the last look, as bits"""
    avoided: list[bool] = field(default_factory=list, init=False)
    """what was to be avoided and was so from the start"""
    ever: bool = field(default=False, init=False)
    """whether all was done at some time"""
    since: dict[int, int] = field(default_factory=dict, init=False)
    """control step since which each clause holds"""

    def see(self) -> None:
        """Look at the world."""
        automaton = self.request.automaton
        holds = self.now()
        symbol = int(automaton.symbols(holds[None])[0])
        self.steps += 1
        if self.steps == 0:
            self.state = int(automaton.begin[symbol])
            self.avoided = self._forbidden()
        elif self.state != CLOSED:
            self.state = int(automaton.after[self.state][self.symbol][symbol])
        self.symbol = symbol
        self.since = {j: self.since.get(j, self.steps) for j in np.flatnonzero(holds).tolist()}
        self.ever |= self.success
        for one, (was, now) in enumerate(zip(self.avoided, self._forbidden(), strict=True)):
            words = str(self.request.avoid[one])
            if now and not was and words not in self.broken:
                self.broken.append(words)

    def now(self) -> Bool[ndarray, " m"]:
        """Return which clauses hold."""
        return np.array([is_true(self.env, clause) for clause in self.request.must], bool)

    @property
    def success(self) -> bool:
        """Whether all was done in order, holds, and nothing was done that was to be avoided."""
        automaton = self.request.automaton
        ended = bool(automaton.ends(self.now()[None])[0])
        return self.state == automaton.accepting and ended and not self.broken

    def _forbidden(self) -> list[bool]:
        return [self._happens(one) for one in self.request.avoid]

    def _happens(self, one: Clause | Thing) -> bool:
        """Whether what is to be avoided is so now: a clause is true, a thing is touched, a bin holds something."""
        if isinstance(one, Clause):
            return is_true(self.env, one)
        scene, desk = self.env.scene, self.env.desk
        if one.kind == "bin":
            bins = [i for i, colour in enumerate(scene.bins) if _is(one, colour, "bin")]
            return any(in_bin(desk, cube, which, LAYERS) for cube in range(scene.cubes) for which in bins)
        return _touched(self.env, one)
