"""Rewards of whole walks that do not add up along edges, and the exact answer where an automaton gives one.

`Automaton` ("visit A before B", "avoid") reads the marks of the nodes in turn; on the product of graph and automaton its
posterior is exact, which makes it the oracle of relative trajectory balance. `Novelty` asks for a walk unlike the plans already
tried, `imagined_chain.Chain` for one that the JEPA believes in: neither has a small product.

Legend: W walks, L longest walk in nodes, C tasks, M kinds of marks, Q states of an automaton, S symbols (M + 1).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import logsumexp

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.tasks import Tasks
from jepaflow.subgoals.walks import Walks

MISS = 10.0
"""nats that a failure costs: enough to count, not so many that it cannot be trained"""


@runtime_checkable
class Reward(Protocol):
    """A reward of whole walks."""

    def log(self, walks: Walks, tasks: Tasks) -> Float[ndarray, " W"]:
        """Log-reward (at most 0) of walks, each for the task in its row."""
        ...


@dataclass(frozen=True, eq=False)
class Automaton:
    """Reads the first mark of each node (0: none) and pays for the state that it ends in.

    Raises:
        JepaflowError: the table leads to a state that is not there.
    """

    after: Int[ndarray, "Q S"]
    """state after a symbol; it begins in state 0"""
    log_r: Float[ndarray, " Q"]

    def __post_init__(self) -> None:
        if self.after.shape[0] != len(self.log_r) or self.after.min() < 0 or self.after.max() >= len(self.log_r):
            raise JepaflowError("An automaton needs a reward for every state, and its table must lead to states.")

    @staticmethod
    def symbols(tasks: Tasks) -> Int[ndarray, "C N"]:
        """Number of each node's first mark, counted from 1; 0 without a mark."""
        return np.where(tasks.marks.any(1), tasks.marks.argmax(1) + 1, 0)

    def end(self, walks: Walks, tasks: Tasks) -> Int[ndarray, " W"]:
        """State at the end of each walk."""
        symbol, state = self.symbols(tasks), np.zeros(len(walks), np.int64)
        for nodes in walks.nodes.T:
            going = nodes >= 0
            state[going] = self.after[state[going], symbol[going, nodes[going]]]
        return state

    def log(self, walks: Walks, tasks: Tasks) -> Float[ndarray, " W"]:
        """See `Reward`."""
        return np.asarray(self.log_r[self.end(walks, tasks)])


def before(miss: float = MISS) -> Automaton:
    """Visit A (mark 0), then B (mark 1). Having been at A alone is a fifth of the way."""
    return Automaton(np.array([[0, 1, 3], [1, 1, 2], [2, 2, 2], [3, 3, 3]]), -miss * np.array([1, 0.8, 0, 1]))


def avoid(miss: float = MISS) -> Automaton:
    """Meet no node with mark 0."""
    return Automaton(np.array([[0, 1], [1, 1]]), -miss * np.array([0.0, 1.0]))


@dataclass(frozen=True)
class Novelty:
    """Be elsewhere than the plans already tried, mark m being the surroundings of plan m.

    log r = -miss max_m (share of the walk's inner nodes in the surroundings of plan m): neither the share nor the maximum adds up.
    """

    miss: float = MISS

    def log(self, walks: Walks, tasks: Tasks) -> Float[ndarray, " W"]:
        """See `Reward`."""
        inner = walks.nodes[:, 1:-1]
        inside = (inner >= 0) & (walks.nodes[:, 2:] >= 0)
        met = np.take_along_axis(tasks.marks, np.maximum(inner, 0)[:, None], 2) & inside[:, None]
        share = met.sum(2) / np.maximum(inside.sum(1), 1)[:, None]
        return np.asarray(-self.miss * share.max(1, initial=0.0))


def surroundings(graph: Graph, tried: Walks) -> ndarray:
    """Mark (T, N) the nodes of each plan and those that an edge leads to from there."""
    marks = np.zeros((len(tried), graph.nodes), bool)
    row, column = np.nonzero(tried.nodes >= 0)
    marks[row, tried.nodes[row, column]] = True
    wide = marks.copy()
    plan, edge = np.nonzero(marks[:, graph.source])
    wide[plan, graph.indices[edge]] = True
    return wide


class Counted:
    """A reward that remembers what it was asked, and counts distinct walks: what re-ranking and training are charged.

    Args:
        reward: asked once for every walk of a task.
        tasks: all that will be asked for.
    """

    def __init__(self, reward: Reward, tasks: Tasks) -> None:
        self.reward, self.tasks = reward, tasks
        self._known: dict[bytes, float] = {}

    @property
    def evaluations(self) -> int:
        """Distinct walks that the reward was asked for."""
        return len(self._known)

    def log(self, walks: Walks, task: Int[ndarray, " W"]) -> Float[ndarray, " W"]:
        """Log-reward of walks, each for the task of that number."""
        keys = [
            bytes((int(t)).to_bytes(4, "little")) + row[row >= 0].tobytes()
            for t, row in zip(task, walks.nodes, strict=True)
        ]
        fresh = list({key: i for i, key in enumerate(keys) if key not in self._known}.values())
        if fresh:
            found = self.reward.log(Walks(walks.nodes[fresh]), self.tasks.some(task[fresh]))
            self._known.update((keys[i], float(value)) for i, value in zip(fresh, found, strict=True))
        return np.array([self._known[key] for key in keys])


class Product:
    """The exact posterior of one task under an automaton: prior times reward, by the soft dynamic programme on (node, state).

    Args:
        flows: the prior, exact.
        automaton: the reward.
        tasks: of which
        which: is the one.
    """

    def __init__(self, flows: Flows, automaton: Automaton, tasks: Tasks, which: int) -> None:
        self.prior, self.automaton, self.tasks = flows, automaton, tasks.some(np.array([which]))
        graph, states = flows.graph, len(automaton.log_r)
        goal, n = int(flows.goals[self.tasks.goal[0]]), graph.nodes
        symbol = automaton.symbols(self.tasks)[0]
        # Node (i, q) is i + q N; nothing leaves the goal, whatever the state.
        keep = np.flatnonzero(graph.source != goal)
        state = np.repeat(np.arange(states), len(keep))
        one, other = np.tile(graph.source[keep], states), np.tile(graph.indices[keep], states)
        product = Graph.from_edges(
            one + state * n,
            other + automaton.after[state, symbol[other]] * n,
            np.tile(graph.cost[keep], states),
            np.tile(graph.features, (states, 1)),
            np.tile(np.exp(graph.log_ref[keep]), states),
        )
        start = int(self.tasks.start[0])
        self._start = start + int(automaton.after[0, symbol[start]]) * n
        self._flows = solve(product, goal + n * np.arange(states), flows.horizon, flows.beta)

    @cached_property
    def log_ends(self) -> Float[ndarray, " Q"]:
        """Log-probability under the prior of ending in each state."""
        base = self.prior.log_z[self.tasks.goal[0], self.tasks.start[0]]
        return np.asarray(self._flows.log_z[:, self._start] - base)

    @property
    def log_z(self) -> float:
        """Log of the reward's mean under the prior."""
        return float(logsumexp(self.log_ends + self.automaton.log_r))

    def log_prob(self, walks: Walks) -> Float[ndarray, " W"]:
        """Log-probability of walks under the posterior."""
        task = np.zeros(len(walks), np.int64)
        prior = self.prior.log_prob(walks, self.tasks.goal[task])
        return np.asarray(prior + self.automaton.log(walks, self.tasks.some(task)) - self.log_z)

    def sample(self, count: int, rng: np.random.Generator) -> Walks:
        """Draw walks from the posterior."""
        chance = np.exp(self.log_ends + self.automaton.log_r - self.log_z)
        state = rng.choice(len(chance), count, p=chance / chance.sum())
        drawn = self._flows.sample(np.full(count, self._start), state, rng).nodes
        return Walks(np.where(drawn >= 0, drawn % self.prior.graph.nodes, -1))
