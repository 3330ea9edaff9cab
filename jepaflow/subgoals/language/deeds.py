"""A commander whose plan says what is to be done, while the doer does it clause by clause.

The plan (`Commander`) still decides which clause comes when, and what to try again; but what is executed is the doer's
(`doing`), which acts on this desk, instead of walks to landmarks' frames, which lie on others. So a clause is over when the
seer believes it, or after `PATIENT` blocks; then it is tried once more. What was believed for a while is left alone until all was: the seer
loses sight of a thing while the arm goes on to the next (and a cube that is carried over a bin looks for a moment like one in it). What
passes, a touch, was done for good once the hand was sure of it while its turn was. What the sentence says to avoid bends the plan,
not the doer.

Legend: E environments, D latent.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from jepaflow.subgoals.language.automaton import PASSING
from jepaflow.subgoals.language.believing import Beliefs
from jepaflow.subgoals.language.commander import Commander
from jepaflow.subgoals.language.lessons import numbers_of
from jepaflow.subgoals.language.product import BELIEVED
from jepaflow.subgoals.language.request import Request

PATIENT = 70
"""blocks for one round: as many attempts at a clause (`hands.Hands`) as go into them"""
SURE, GLANCES = 6, 2
"""looks in a row for which what lasts, and what passes, must be believed"""


class DeedCommander(Commander):
    """Carries out requests in E environments, each clause by a doer."""

    def command(self, z: Float[Tensor, "E D"], beliefs: Beliefs, requests: Sequence[Request | None]) -> None:
        """Plan all requests, of which nothing was believed yet."""
        self.was_done: list[set[int]] = [set() for _ in requests]
        self.arrived = np.zeros(len(requests), bool)
        """whether a hand that reaches is where it reaches for, and sure of it"""
        self.turn = np.full(len(requests), -1)
        """clause that each hand is at"""
        self.believed_for = [np.zeros(0 if request is None else len(request.must), int) for request in requests]
        """looks for which each clause has been believed without a break"""
        super().command(z, beliefs, requests)

    def look(
        self,
        z: Float[Tensor, "E D"],
        stalled: Bool[ndarray, " E"] | None = None,
        forecast_error: Float[ndarray, " E"] | None = None,
    ) -> Float[Tensor, "E D"]:
        """Remember what is believed to be done, and go on as `Commander` does."""
        for e, request in enumerate(self.requests):
            if request is None or self.ended[e] or not self.part[e]:
                continue
            chances = self.chances(e)
            self.believed_for[e] = np.where(chances >= BELIEVED, self.believed_for[e] + 1, 0)
            for j, clause in enumerate(request.must):
                if self.believed_for[e][j] >= (GLANCES if clause.verb in PASSING else SURE):
                    self.was_done[e].add(j)
        return super().look(z, stalled, forecast_error)

    def doing(self) -> tuple[list[int], ndarray]:
        """Return which environments are doing a clause, and the numbers of its thing and place among the seer's."""
        busy, pairs = [], []
        for e, request in enumerate(self.requests):
            if request is None or self.ended[e] or not self.part[e]:
                continue
            busy.append(e)
            self.turn[e] = self._active(e)
            pairs.append(numbers_of(self.beliefs.seer, request.must[self.turn[e]]))
        return busy, np.array(pairs, np.int64).reshape(-1, 2)

    def chances(self, e: int) -> Float[ndarray, " m"]:
        """Probability of each clause's being done; what passes was done, is done by the hand that has arrived, or is not."""
        request, chances = self.requests[e], super().chances(e)
        for j, clause in enumerate(request.must if request is not None else ()):
            if clause.verb in PASSING:
                chances[j] = float(j in self.was_done[e] or (self.arrived[e] and j == self.turn[e]))
        return chances

    def _active(self, e: int) -> int:
        """The clause that is being done: of the present part, in the plan's order, the first that was never
        believed; if all were, the first that is not believed now."""
        planned = [j for each in self.made[e][-1].done for j in each] if self.made[e] else []
        order = [*(j for j in planned if j in self.part[e]), *(j for j in self.part[e] if j not in planned)]
        open_ = [j for j, chance in enumerate(self.chances(e)) if chance < BELIEVED]
        waiting = [j for j in order if j not in self.was_done[e]] or [j for j in order if j in open_]
        return (waiting or order[-1:])[0]

    def at_end(self, e: int) -> bool:
        """Whether the present clauses are believed to be done, or have taken too long."""
        if self.since_plan[e] >= PATIENT * max(1, len(self.part[e])):
            return True
        chances = self.chances(e)
        return all(chances[j] >= BELIEVED for j in self.part[e])

    def _give_up(self, z: Float[Tensor, "E D"], failed: list[int]) -> None:
        """Landmarks are not walked here, so that none can fail."""
        self.tries[failed] = 0

    def _propose(self, z: Float[Tensor, "E D"], e: int) -> list[tuple[list[int], Float[ndarray, " S"]]]:
        """Return walks; where no recording shows one, the next clause is tried all the same."""
        found = super()._propose(z, e)
        if self.ended[e] and not self.fresh[e]:
            self.ended[e], self.part[e] = False, self._parts(e)[-1]
        return found
