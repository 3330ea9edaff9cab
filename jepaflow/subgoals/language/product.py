"""The product of landmark graph and automaton: again a graph with one goal, so all that is exact stays exact.

A walk x_0 … x_T over landmarks that may end where it likes weighs

    P(x) ~ prod_t P_ref(x_t | x_t-1) e^(-beta c_t - a(x_t) - s_t) * accept(x) * e^(rho(x_T)),

with a the price of what is to be avoided and s_t = -log p of each clause that becomes done at x_t (both in nats, 0 or more). In
the product, node (i, q) means "at landmark i, with q done", and one more node is the goal, entered from every (i, all done)
where the walk may end. The next state is certain, so each landmark walk is one product walk and no weight is counted twice. A `Graph`
wants a normalised reference walk and positive costs, so factors are moved between the two without changing a product of both:

    closed edges:   P_ref is shared out again among those left, whose sum S < 1 is paid back: c += -log(S) / beta;
    prices:         c += (a + s) / beta;
    stopping:       the edge to the goal gets the reference probability q = 1 - e^(-STOP beta least cost of the node's edges), so
                    that the others cost c + log(1 - q) / beta > 0; q = 1 where nothing else leaves the node;
    terminal:       the edge to the goal costs (log q - rho + offset) / beta, offset being the least that makes all of them positive.

Hence log weight in the product = log weight above - offset, for every walk: log Z = log Z(product) + offset, and probabilities are
equal. The identity holds at the product's own beta; at others the prices scale along with the costs. What a walk costs in model steps
is in `length`, where nothing was moved: that is what Dijkstra reads.

Legend: N landmarks, m clauses, Q states, S starts, P product nodes, PE its edges, D features, W walks, L longest walk in nodes.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.language.automaton import CLOSED, Automaton
from jepaflow.subgoals.shortest import shortest_walk
from jepaflow.subgoals.walks import Walks

STOP = 1e-3
"""share of a node's cheapest edge by which stopping cheapens going on"""
LEAST = 1e-2
"""nats that the cheapest way into the goal costs"""
BELIEVED = 0.5
"""probability from which a landmark satisfies a clause"""


@dataclass(frozen=True, eq=False)
class ProductGraph:
    """A graph with one goal whose walks are the landmark walks that do what was asked; made by `product`."""

    graph: Graph
    """P nodes; features are the landmark's, then 1 for each clause done"""
    landmark: Int[ndarray, " P"]
    """-1 for the goal, the last node"""
    state: Int[ndarray, " P"]
    """of the automaton; -1 for the goal"""
    automaton: Automaton
    first: Int[ndarray, " N"]
    """state of a walk that begins at a landmark: what holds there already is done"""
    beta: float
    offset: float
    """nats: log Z = log Z of the product + offset"""
    length: Float[ndarray, " PE"]
    """what each edge of the product costs in model steps: c + (a + s) / beta; into the goal, (LEAST - rho) / beta above the least"""

    @property
    def goal(self) -> int:
        """Node that every walk ends in."""
        return self.graph.nodes - 1

    @cached_property
    def _nodes(self) -> Int[ndarray, "Q N"]:
        """Product node of every state and landmark, -1 where there is none."""
        found = np.full((len(self.automaton.states), len(self.first)), -1, np.int64)
        found[self.state[:-1], self.landmark[:-1]] = np.arange(self.goal)
        return found

    def begin(self, start: int) -> int:
        """Product node of a walk that begins at a landmark.

        Raises:
            JepaflowError: the product was not built from there.
        """
        node = int(self._nodes[self.first[start], start])
        if node < 0:
            raise JepaflowError(f"The product was not built from landmark {start}. Name it among the starts.")
        return node

    def flows(self, horizon: int) -> Flows:
        """Exact flows over landmark walks of at most `horizon` edges (one more in the product: stopping)."""
        return solve(self.graph, np.array([self.goal]), horizon + 1, self.beta)

    def log_z(self, flows: Flows) -> Float[ndarray, " P"]:
        """Log of what all walks from each product node weigh together, exact or learned; -inf where it cannot be done."""
        return np.asarray(flows.log_z[0] + self.offset)

    def cheapest(self, start: int) -> Walks:
        """Landmark walk of least cost from a landmark, by Dijkstra; no rows where there is none."""
        plain = replace(self.graph, cost=self.length)
        return self.project(shortest_walk(plain, self.begin(start), self.goal))

    def project(self, walks: Walks) -> Walks:
        """Landmark walks of product walks: the goal is left out, rows keep their width."""
        return Walks(np.where(walks.nodes >= 0, self.landmark[walks.nodes], -1))

    def lift(self, walks: Walks) -> Walks:
        """Product walks of landmark walks, one node longer; an empty row for one that does not do what was asked."""
        nodes = np.full((len(walks), walks.nodes.shape[1] + 1), -1, np.int64)
        for row, landmarks in zip(nodes, walks.as_lists(), strict=True):
            if not landmarks:
                continue
            here = self._nodes[self.first[landmarks[0]], landmarks[0]]
            found = [here]
            for landmark in landmarks[1:]:
                edges = (
                    np.arange(self.graph.indptr[here], self.graph.indptr[here + 1]) if here >= 0 else np.zeros(0, int)
                )
                after = self.graph.indices[edges]
                after = after[(self.landmark[after] == landmark) & (after != self.goal)]
                here = after[0] if len(after) else -1
                found.append(here)
            if min(found) >= 0 and self.graph.edge_ids(np.array(here), np.array(self.goal)) >= 0:
                row[: len(found) + 1] = [*found, self.goal]
        return Walks(nodes)

    def done(self, walks: Walks) -> Bool[ndarray, "W L m"]:
        """Which clauses are done at each node of product walks; all false in the padding and at the goal."""
        state = np.where(walks.nodes >= 0, self.state[walks.nodes], -1)
        return np.asarray(self.automaton.done[state] & (state >= 0)[..., None])


def product(
    graph: Graph,
    automaton: Automaton,
    satisfied: Bool[ndarray, "N m"] | Float[ndarray, "N m"],
    starts: Int[ndarray, " S"],
    beta: float,
    avoid: Float[ndarray, " N"] | None = None,
    rho: Float[ndarray, " N"] | None = None,
) -> ProductGraph:
    """Multiply the landmark graph with what is to be done; only what can come about from the starts is kept.

    Args:
        graph: the landmarks.
        automaton: clauses and their order.
        satisfied: which landmarks satisfy which clauses; a probability counts from `BELIEVED`, at a price of -log p when the
            clause becomes done there.
        starts: landmarks. What is done or touched at the start already costs nothing.
        beta: inverse temperature per unit of cost, positive.
        avoid: price (nats) of entering each landmark; infinity closes it. None = 0.
        rho: log-reward of ending at each landmark; -inf where no walk may end. None = 0.

    Raises:
        JepaflowError: sizes or values do not fit; or no landmark satisfies a clause, or no walk does all of them.
    """
    avoid = np.zeros(graph.nodes) if avoid is None else avoid
    rho = np.zeros(graph.nodes) if rho is None else rho
    _check(graph, automaton, satisfied, starts, beta, avoid, rho)
    holds = satisfied if satisfied.dtype == bool else satisfied >= BELIEVED
    symbol, ends = automaton.symbols(holds), automaton.ends(holds) & np.isfinite(rho)
    _require_ends(automaton, holds, ends)
    first = automaton.begin[symbol]
    state, edge, after = _reachable(graph, automaton, symbol, np.isfinite(avoid), starts)

    here, there = graph.source[edge] + state * graph.nodes, graph.indices[edge] + after * graph.nodes
    keys = np.unique(np.concatenate([here, there, starts + first[starts] * graph.nodes]))
    landmark, of = keys % graph.nodes, keys // graph.nodes
    stopping = np.flatnonzero((of == automaton.accepting) & ends[landmark])
    if not len(stopping):
        raise JepaflowError(_unreachable(automaton, of, starts, bool((avoid > 0).any())))
    new = automaton.done[after] & ~automaton.done[state]
    chance = np.where(new, satisfied[graph.indices[edge]].astype(float), 1.0)
    paid = avoid[graph.indices[edge]] - np.log(chance).sum(1)
    features = np.concatenate([graph.features[landmark], automaton.done[of]], 1)
    ways = _Ways(
        np.searchsorted(keys, here), np.searchsorted(keys, there), graph.cost[edge] + paid / beta, graph.log_ref[edge]
    )
    built, length, offset = _with_goal(ways, features, stopping, rho[landmark[stopping]], beta)
    return ProductGraph(
        built, np.append(landmark, -1), np.append(of, -1), automaton, first, float(beta), offset, length
    )


@dataclass(frozen=True, eq=False)
class _Ways:
    """Edges of the product but for those into the goal, in any order."""

    source: Int[ndarray, " e"]
    target: Int[ndarray, " e"]
    length: Float[ndarray, " e"]
    """model steps, prices included"""
    log_ref: Float[ndarray, " e"]
    """of the landmark graph's edge: need not sum to one"""


def _with_goal(
    ways: _Ways, features: Float[ndarray, "p D"], stopping: Int[ndarray, " s"], rho: Float[ndarray, " s"], beta: float
) -> tuple[Graph, Float[ndarray, " PE"], float]:
    """Add the goal and move factors between reference walk and costs, as the module says; graph, lengths, offset."""
    goal = len(features)
    share = np.bincount(ways.source, np.exp(ways.log_ref), minlength=goal)
    log_share = np.log(np.minimum(share, 1.0), where=share > 0, out=np.zeros(goal))
    cost = ways.length - log_share[ways.source] / beta
    least = np.full(goal, np.inf)
    np.minimum.at(least, ways.source, cost)
    going_on = np.zeros(goal)
    going_on[stopping] = -STOP * beta * least[stopping]  # log(1 - q)
    log_stop = np.log(-np.expm1(going_on[stopping]))
    offset = float(LEAST - (log_stop - rho).min())

    source, target = np.append(ways.source, stopping), np.append(ways.target, np.full(len(stopping), goal))
    final = features[stopping].mean(0)
    graph = Graph.from_edges(
        source,
        target,
        np.append(cost + going_on[ways.source] / beta, (log_stop - rho + offset) / beta),
        np.concatenate([features, final[None]]),
        np.exp(np.append(ways.log_ref - log_share[ways.source] + going_on[ways.source], log_stop)),
    )
    length = np.append(ways.length, (LEAST + rho.max() - rho) / beta)
    return graph, length[np.lexsort((target, source))], offset


def _reachable(
    graph: Graph,
    automaton: Automaton,
    symbol: Int[ndarray, " N"],
    open_: Bool[ndarray, " N"],
    starts: Int[ndarray, " S"],
) -> tuple[Int[ndarray, " e"], Int[ndarray, " e"], Int[ndarray, " e"]]:
    """Edges of the product that can be walked from the starts: state before, edge of the graph, state after."""
    after = automaton.after[:, symbol[graph.source], symbol[graph.indices]]
    after[:, ~open_[graph.indices]] = CLOSED
    seen = np.zeros((len(automaton.states), graph.nodes), bool)
    fresh = np.zeros_like(seen)
    fresh[automaton.begin[symbol[starts]], starts] = True
    while fresh.any():
        seen |= fresh
        state, edge = np.nonzero(fresh[:, graph.source] & (after != CLOSED))
        fresh = np.zeros_like(seen)
        fresh[after[state, edge], graph.indices[edge]] = True
        fresh &= ~seen
    state, edge = np.nonzero(seen[:, graph.source] & (after != CLOSED))
    return state, edge, after[state, edge]


def _check(
    graph: Graph, automaton: Automaton, satisfied: ndarray, starts: ndarray, beta: float, avoid: ndarray, rho: ndarray
) -> None:
    if satisfied.shape != (graph.nodes, len(automaton.clauses)) or {avoid.shape, rho.shape} != {(graph.nodes,)}:
        raise JepaflowError(
            f"The product needs {graph.nodes} rows (landmarks) of {len(automaton.clauses)} clauses, and as many prices and rewards."
        )
    if not 0 < beta < np.inf:
        raise JepaflowError(f"The product's beta ({beta}) must be positive and finite.")
    if not ((satisfied >= 0) & (satisfied <= 1)).all():
        raise JepaflowError("Whether a landmark satisfies a clause is true, false, or a probability from 0 to 1.")
    if not (avoid >= 0).all() or np.isnan(rho).any() or (rho == np.inf).any():
        raise JepaflowError("Prices of landmarks must not be negative, and rewards must be numbers below infinity.")
    if not len(starts):
        raise JepaflowError("The product needs a landmark to start from.")
    graph.require_nodes("start", starts)


def _require_ends(automaton: Automaton, holds: Bool[ndarray, "N m"], ends: Bool[ndarray, " N"]) -> None:
    """Name the clause that no landmark satisfies, or the clauses that none satisfies at once."""
    for clause, column in zip(automaton.clauses, holds.T, strict=True):
        if not column.any():
            raise JepaflowError(f'No landmark satisfies "{clause}". Ask for something that the data shows.')
    if not ends.any():
        kept = [str(clause) for j, clause in enumerate(automaton.clauses) if automaton.at_end >> j & 1]
        asked = " and ".join(f'"{clause}"' for clause in kept) or "the end that was asked for"
        raise JepaflowError(f"No landmark holds {asked} at the end. Ask for fewer things at a time.")


def _unreachable(automaton: Automaton, states: ndarray, starts: ndarray, careful: bool) -> str:
    """What no walk does, in a sentence."""
    done = automaton.done[np.unique(states)]
    never = [f'"{clause}"' for clause, some in zip(automaton.clauses, done.any(0), strict=True) if not some]
    what = " or ".join(never) or "all that was asked for, in this order,"
    begins = ", ".join(str(node) for node in starts[:5])
    without = " without what is to be avoided" * careful
    return f"No walk from landmark {begins} does {what}{without}. Ask for less, or from elsewhere."
