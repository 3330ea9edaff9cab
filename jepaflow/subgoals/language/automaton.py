"""What a walk has still to do: the subsets of a request's clauses that may be done, and how each node moves between them.

A clause is *done* at the first node that satisfies it once all clauses before it are done. There are two kinds. What passes
(reach, lift) may be satisfied too early without harm: it does not count yet, and must come again. What lasts (put, push, sort)
must not *come true* too early, else "the red cube, then the blue one" would be met by the blue cube first and the red cube after
it, since the blue one still lies there when the red one is done. So an edge that would make it true too soon is closed; what
was true from the start may stay so. What lasts must also still hold at the end, unless a later clause moves the same thing.

With m <= 4 clauses the subsets that respect the order are at most 16, and everything is one small table.

Legend: m clauses, Q states, S = 2^m symbols (which clauses a node satisfies, as bits), N nodes, n things to avoid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.clause import Clause

MOST = 4
"""clauses: 2^m copies of the graph"""
LASTING = ("put", "push", "sort")
"""verbs whose result stays"""
MOVING = (*LASTING, "lift")
"""verbs that take their object from where it was"""
PASSING = ("reach", "lift")
"""verbs whose result passes: done once, it need not hold any more"""
CLOSED = -1
"""in `Automaton.after`: this edge must not be taken in this state"""


@dataclass(frozen=True)
class Automaton:
    """Reads the nodes of a walk in turn, and accepts when all clauses are done.

    Raises:
        JepaflowError: there are too many clauses, an order names none of them, or it goes round in a circle.
    """

    clauses: tuple[Clause, ...]
    order: tuple[tuple[int, int], ...] = ()
    """pairs (i, j): clause i is done before clause j"""

    def __post_init__(self) -> None:
        if len(self.clauses) > MOST:
            raise JepaflowError(f"{len(self.clauses)} things to do are too many at a time. Ask for at most {MOST}.")
        for pair in self.order:
            if not all(0 <= i < len(self.clauses) for i in pair):
                raise JepaflowError(f"The order {pair} names no clause; there are {len(self.clauses)}, counted from 0.")
        if self._full not in self.states:
            raise JepaflowError("The order goes round in a circle: no clause can be the first. Leave one pair out.")

    @property
    def _full(self) -> int:
        return (1 << len(self.clauses)) - 1

    @cached_property
    def before(self) -> tuple[int, ...]:
        """Bits of the clauses that come before each clause, directly or not."""
        found = [0] * len(self.clauses)
        for _ in self.clauses:
            for i, j in self.order:
                found[j] |= found[i] | 1 << i
        return tuple(found)

    @cached_property
    def states(self) -> tuple[int, ...]:
        """Bits of the clauses done, for every state that can come about; the first is "nothing done", the last "all done"."""
        known, fresh = {0}, [0]
        while fresh:
            done = fresh.pop()
            new = {done | 1 << j for j, first in enumerate(self.before) if not first & ~done} - known
            known |= new
            fresh += new
        return tuple(sorted(known))

    @property
    def accepting(self) -> int:
        """The state in which all is done."""
        return len(self.states) - 1

    @cached_property
    def lasting(self) -> int:
        """Bits of the clauses whose result stays."""
        return sum(1 << j for j, clause in enumerate(self.clauses) if clause.verb in LASTING)

    @cached_property
    def at_end(self) -> int:
        """Bits of the clauses that must hold where the walk ends."""
        kept = self.lasting
        for clause, first in zip(self.clauses, self.before, strict=True):
            for i in range(len(self.clauses)):
                if first >> i & 1 and clause.verb in MOVING and same_object(self.clauses[i], clause):
                    kept &= ~(1 << i)
        return kept

    @cached_property
    def done(self) -> Bool[ndarray, "Q m"]:
        """Which clauses are done in each state."""
        bits = np.array(self.states)[:, None] >> np.arange(len(self.clauses)) & 1
        return np.asarray(bits == 1)

    def symbols(self, satisfied: Bool[ndarray, "N m"]) -> Int[ndarray, " N"]:
        """Which clauses each node satisfies, as bits."""
        return np.asarray((satisfied.astype(np.int64) << np.arange(len(self.clauses))).sum(1))

    @cached_property
    def begin(self) -> Int[ndarray, " S"]:
        """State of a walk that begins at a node with a symbol."""
        return np.array([self._state(self._read(0, here)) for here in range(self._full + 1)])

    @cached_property
    def after(self) -> Int[ndarray, "Q S S"]:
        """State after an edge, by the state before it and the symbols of its two ends; `CLOSED` where it must not be taken."""
        symbols = range(self._full + 1)
        table = [[[self._edge(done, here, there) for there in symbols] for here in symbols] for done in self.states]
        return np.array(table)

    def ends(self, satisfied: Bool[ndarray, "N m"]) -> Bool[ndarray, " N"]:
        """Whether a walk in the accepting state may end at each node: all that lasts still holds there."""
        return np.asarray((self.symbols(satisfied) & self.at_end) == self.at_end)

    def _edge(self, done: int, here: int, there: int) -> int:
        too_soon = (there & ~here & self.lasting) & ~self._open(done)
        return CLOSED if too_soon else self._state(self._read(done, there))

    def _open(self, done: int) -> int:
        """Bits of the clauses whose predecessors are done."""
        return sum(1 << j for j, first in enumerate(self.before) if not first & ~done)

    def _read(self, done: int, symbol: int) -> int:
        """What is done after a node. What passes waits for its predecessors' node to be left; what lasts is simply there."""
        found = done | symbol & self._open(done)
        while more := symbol & self.lasting & self._open(found) & ~found:
            found |= more
        return found

    def _state(self, done: int) -> int:
        return self.states.index(done)


def same_object(one: Clause, other: Clause) -> bool:
    """Whether two clauses may be about one thing; sorting is about all of a kind."""
    if "sort" in (one.verb, other.verb):
        return one.object.kind == other.object.kind
    return one.object == other.object


def in_turn(count: int) -> tuple[tuple[int, int], ...]:
    """The order in which each of `count` clauses comes after the one before."""
    return tuple(pairwise(range(count)))


def avoidance(chances: Sequence[Float[ndarray, " N"]] | Float[ndarray, "n N"], nodes: int) -> Float[ndarray, " N"]:
    """Price (nats, >= 0) of entering each node: -log of the chance that none of the things to avoid happens there.

    Args:
        chances: for each thing to avoid, the probability (0 … 1) that it happens at each node; 1 closes the node (infinity).
        nodes: N.

    Raises:
        JepaflowError: a probability is none.
    """
    price = np.zeros(nodes)
    for chance in chances:
        if not ((chance >= 0) & (chance <= 1)).all():
            raise JepaflowError("What is to be avoided needs probabilities from 0 to 1, one for each landmark.")
        with np.errstate(divide="ignore"):
            price -= np.log1p(-chance.astype(float))
    return price
