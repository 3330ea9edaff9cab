"""System 2 under orders: plans what a sentence asks for, lets System 1 walk it, looks whether it is done, and tries again if not.

A `Navigator` whose goal is no latent but a request: wherever it plans, it multiplies the landmark graph (with what failed
penalised) with the request's automaton, begun with what the seer believes to be done already. So a cube that slipped out of
the bin is simply not done any more, and the next plan fetches it. When a walk has come to its end, the robot lingers for
`LINGER` blocks and then believes its eyes: done, and it rests; not done, and it plans anew from what it sees. An alarm of the
run's monitor makes it plan anew at once.

Legend: E environments, D latent, S most sub-goals, N landmarks, O objects, P places.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product as product_of

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.attach import Attached, attach_start
from jepaflow.subgoals.build import BuildConfig
from jepaflow.subgoals.failures import penalised
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.language.automaton import PASSING, Automaton
from jepaflow.subgoals.language.believing import Beliefs
from jepaflow.subgoals.language.potentials import Potentials, ground
from jepaflow.subgoals.language.product import BELIEVED, product
from jepaflow.subgoals.language.proposing import ProductPlanner, Proposed
from jepaflow.subgoals.language.request import Request
from jepaflow.subgoals.navigator import Navigator, NavigatorConfig
from jepaflow.subgoals.planners import DijkstraPlanner
from jepaflow.subgoals.reachability import Reachability

LINGER = 6
"""blocks at the end of a walk before the robot judges: it lets go, goes away, and sees"""
WIDER = 8
"""times as many landmarks a start is joined to, where no walk was found"""
ALARM_REST = 4
"""blocks after a plan in which no alarm makes another one: what slipped comes to rest first"""
SUBGOALS = 96
"""S"""


@dataclass(frozen=True)
class Event:
    """Something that happened in one environment."""

    block: int
    kind: str
    """plan, no way, no progress, alarm, next, done, not done"""
    words: str
    """for a person"""


@dataclass(frozen=True, eq=False)
class Made:
    """One plan as it was made."""

    block: int
    nodes: list[int]
    """landmarks in order"""
    done: list[tuple[int, ...]]
    """numbers of the clauses that become done at each"""
    steps: float
    """model steps that the plan costs, prices included"""


class Commander(Navigator):
    """Carries out requests in E environments.

    Args:
        graph: of landmarks.
        marks: their latents (N, D).
        planner: proposes walks on products.
        reach: as for the graph.
        known: what the seer says of the landmarks.
        config: see `NavigatorConfig`.
    """

    def __init__(
        self,
        graph: Graph,
        marks: Float[Tensor, "N D"],
        planner: ProductPlanner,
        reach: Reachability,
        known: Potentials,
        config: NavigatorConfig | None = None,
    ) -> None:
        config = replace(config or NavigatorConfig(), most=SUBGOALS)
        super().__init__(graph, marks, DijkstraPlanner(), reach, config)
        self.proposer, self.known = planner, known
        self.credulous = False
        """believe whatever has been walked to its end: the baseline that does not look"""

    def command(self, z: Float[Tensor, "E D"], beliefs: Beliefs, requests: Sequence[Request | None]) -> None:
        """Plan all requests.

        Args:
            z: latents now.
            beliefs: of the same environments.
            requests: understood; None where nothing is asked for, and nothing will be done.
        """
        self.beliefs, self.requests = beliefs, list(requests)
        self.ended = np.array([request is None for request in requests])
        """where nothing more is done: believed to be done, or there is no way"""
        self.believed = np.zeros(len(z), bool)
        self.events: list[list[Event]] = [[] for _ in z]
        self.made: list[list[Made]] = [[] for _ in z]
        self.part: list[tuple[int, ...]] = [() for _ in z]
        """numbers of the clauses that the present walk is for"""
        self.lingered = np.zeros(len(z), int)
        self.since_plan = np.zeros(len(z), int)
        self.begin(z, z.clone())

    def look(
        self,
        z: Float[Tensor, "E D"],
        stalled: Bool[ndarray, " E"] | None = None,
        forecast_error: Float[ndarray, " E"] | None = None,
    ) -> Float[Tensor, "E D"]:
        """Return the latents to aim at; once a block, after `Beliefs.see`. `forecast_error` above 0 is an alarm."""
        self.since_plan += 1
        if forecast_error is not None:
            self._alarmed(z, forecast_error > 0)
        aimed = super().look(z, stalled)
        self._judge(z)
        aimed = self.aim.rows[torch.arange(len(z)), self.aim.at]
        return torch.where(torch.from_numpy(self.ended)[:, None], z, aimed)

    def at_end(self, e: int) -> bool:
        """Whether an environment aims at the last sub-goal of its walk."""
        return int(self.aim.at[e]) >= len(self.walk[e]) - 1

    def chances(self, e: int) -> Float[ndarray, " m"]:
        """Probability of each clause's being done now."""
        request = self.requests[e]
        return self.beliefs.of(request.must, e) if request is not None else np.zeros(0)

    def _judge(self, z: Float[Tensor, "E D"]) -> None:
        """Believe or try again, where a walk has come to its end."""
        here = np.array([not self.ended[e] and self.at_end(e) for e in range(len(z))])
        self.lingered = np.where(here, self.lingered + 1, 0)
        again = []
        for e in np.flatnonzero(self.lingered >= LINGER).tolist():
            if self.credulous or self._holds(e):
                self.ended[e] = self.believed[e] = True
                self._note(e, "done", f"I believe it is done ({_shares(self.chances(e))})")
            elif all(self.chances(e)[j] >= BELIEVED for j in self.part[e]):
                self._note(e, "next", f"I believe that this is done ({_shares(self.chances(e))}); now the rest")
                again.append(e)
            else:
                self._note(e, "not done", f"not done, as I see it ({_shares(self.chances(e))}): again")
                again.append(e)
        if again:
            self._plan(z, again)

    def _holds(self, e: int) -> bool:
        """Whether all that must hold at the end is believed to, and what passes has been believed."""
        request = self.requests[e]
        assert request is not None
        kept, chances = request.automaton.at_end, self.chances(e)
        passing = [clause.verb in PASSING for clause in request.must]
        return all(chance >= BELIEVED for j, chance in enumerate(chances) if kept >> j & 1 or passing[j])

    def _alarmed(self, z: Float[Tensor, "E D"], loud: Bool[ndarray, " E"]) -> None:
        """Plan anew where the monitor raised an alarm, unless that has just been done."""
        which = np.flatnonzero(loud & ~self.ended & (self.since_plan > ALARM_REST)).tolist()
        for e in which:
            self._note(e, "alarm", "something went wrong: I look again")
            self.beliefs.forget()
        if which:
            self._plan(z, which)

    def _give_up(self, z: Float[Tensor, "E D"], failed: list[int]) -> None:
        """Take another way, unless nothing is to be done or the walk's end is being judged."""
        failed = [e for e in failed if not self.ended[e] and not self.at_end(e)]
        for e in failed:
            self._note(e, "no progress", "no progress: another way")
        if failed:
            super()._give_up(z, failed)

    def _plan(self, z: Float[Tensor, "E D"], which: list[int]) -> None:
        """Plan for some environments that still have something to do."""
        some = [e for e in which if not self.ended[e]]
        for e in set(which) - set(some):
            self.walk[e] = [0]
        self.fresh: dict[int, list[Proposed]] = {}
        if some:
            self.goal[some] = z[some]  # where a walk has no sub-goal, it stays
            super()._plan(z, some)
        for e in some:
            self.lingered[e] = self.since_plan[e] = 0
            if self.fresh.get(e):
                taken = next(one for one in self.fresh[e] if one.nodes[1:] == self.walk[e])
                done = [tuple(self.part[e][j] for j in each) for each in taken.done[1:]]
                self.made[e].append(Made(self.block, taken.nodes[1:], done, float(taken.to_go[0])))
                self._note(e, "plan", f"plan {len(self.made[e])}: {_count(len(taken.nodes) - 1, 'sub-goal')}")
            self.walk[e] = self.walk[e] or [0]

    def _propose(self, z: Float[Tensor, "E D"], e: int) -> list[tuple[list[int], Float[ndarray, " S"]]]:
        """Return walks that do what was asked; the start alone where all is done, or where there is none."""
        request, why = self.requests[e], ""
        assert request is not None
        for part, times in product_of(self._parts(e), (1, WIDER, WIDER**2)):
            config = replace(self.config.build, neighbours=times * self.config.build.neighbours)
            try:
                self.fresh[e] = self._walks(z, e, part, config)
            except JepaflowError as error:
                why = why or str(error)
                continue
            if self.fresh[e]:
                self.part[e] = part
                return [(one.nodes, one.to_go) for one in self.fresh[e]]
        self.ended[e] = True
        self.fresh[e] = []
        self._note(e, "no way", f"I see no way: {why or 'no walk was found.'}")
        return [([len(self.marks)], np.zeros(1))]

    def _parts(self, e: int) -> list[tuple[int, ...]]:
        """What to plan for: all clauses; where no recording shows them together, the next one alone."""
        request = self.requests[e]
        assert request is not None
        every = tuple(range(len(request.must)))
        before, done = request.automaton.before, self.chances(e) >= BELIEVED
        open_ = [j for j in every if not done[j] and all(done[i] for i in every if before[j] >> i & 1)]
        return [every, *((j,) for j in open_ if len(every) > 1)]

    def _walks(self, z: Float[Tensor, "E D"], e: int, part: tuple[int, ...], config: BuildConfig) -> list[Proposed]:
        """Plan some clauses on the product of their automaton and the landmarks, with what failed penalised."""
        request = self.requests[e]
        assert request is not None
        wish = ground(self.beliefs.seer, self.known, request, self.beliefs.desk(e), self.beliefs.now[e])
        dearer = self.known.joins(self.beliefs.now[e]) - wish.rho
        here = attach_start(self.graph, self.reach, self.marks, z[e], config, dearer)
        graph = here.graph
        if self.failures[e]:
            stood, wanted = torch.stack(self.tried[e], 1)
            z_here = z[e].expand_as(stood)
            side = self.reach.between(z_here, stood) <= self.reach.between(z_here, wanted)
            graph = penalised(graph, self.failures[e], side.numpy())
        columns = list(part)
        chances, asked = self.chances(e)[columns], wish.satisfied[:, columns]
        satisfied = np.concatenate([asked, chances[None], np.zeros((1, len(part)))])
        price, rho = (np.concatenate([values, [0.0, 0.0]]) for values in (wish.price, wish.rho))
        automaton = (
            request.automaton if len(part) == len(request.must) else Automaton(tuple(request.must[j] for j in part))
        )
        made = product(graph, automaton, satisfied, np.array([here.start]), self.proposer.beta, price, rho)
        return self.proposer.propose(made, here.start, self.config.count, self.rng)

    def _attach(self, z: Float[Tensor, "E D"], e: int) -> Attached:
        return attach_start(self.graph, self.reach, self.marks, z[e], self.config.build)

    def _row(self, e: int, walk: list[int]) -> Float[Tensor, "S D"]:
        """Return a walk's sub-goals, the last repeated; where it has none, the present goal."""
        nodes = [node for node in walk[1:] if node < len(self.marks)][: self.config.most]
        row = (self.marks[nodes[-1]] if nodes else self.goal[e]).expand(self.config.most, -1).clone()
        row[: len(nodes)] = self.marks[nodes]
        return row

    def _note(self, e: int, kind: str, words: str) -> None:
        self.events[e].append(Event(self.block, kind, words))


def _shares(chances: Float[ndarray, " m"]) -> str:
    return ", ".join(f"{chance:.2f}" for chance in chances)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
