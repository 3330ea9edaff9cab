"""Which block is due at which model step. Plans are kept as parameters and become actions when they are due.

A plan belongs to the step that its first block was searched for. Its blocks are decoded one by one from the action
executed last; so a plan that is taken up late, left early or followed by another never makes the actions jump.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from jepaflow.planning.space import Parameterisation


@dataclass(frozen=True)
class TimedPlan:
    """A plan and when it begins."""

    params: Float[Tensor, "E N P A"]
    at: int
    """The model step of the first block."""
    forecast: Float[Tensor, "E N D"] | None = None
    """The latents expected after each block."""


class Schedule:
    """The plans in force.

    Args:
        parameterisation: of the plans.
        still: the action in force at the beginning, which does nothing.
        relative: whether plans are displacements: then no displacement does nothing, else `still` does.
    """

    def __init__(self, parameterisation: Parameterisation, still: Float[Tensor, "E A"], relative: bool) -> None:
        self._parameterisation, self._still, self._relative = parameterisation, still, relative
        self._plans: list[TimedPlan] = []

    def add(self, plan: TimedPlan) -> None:
        """Take up a plan from its first step on."""
        self._plans = [*self._plans[-2:], plan]  # one may be in force, one wait for its step

    def clear(self) -> None:
        """Drop what is left of all plans."""
        self._plans = []

    def governing(self, step: int) -> TimedPlan | None:
        """Return the plan of a model step: the newest that has begun and is not over."""
        begun = [plan for plan in self._plans if plan.at <= step]
        return begun[-1] if begun and step - begun[-1].at < begun[-1].params.shape[1] else None

    def block(self, step: int, last: Float[Tensor, "E A"]) -> Float[Tensor, "E K A"]:
        """Return the block of a model step after the action `last`; without a plan, one that does nothing."""
        plan, space = self.governing(step), self._parameterisation
        if plan is not None:
            params = plan.params[:, step - plan.at]
        elif self._relative:
            params = space.rest.expand(len(last), space.count, -1)
        else:
            params = self._still[:, None].expand(-1, space.count, -1)
        return space.decode(params[:, None], last)[:, 0]

    def blocks(self, first: int, count: int, last: Float[Tensor, "E A"]) -> list[Float[Tensor, "E K A"]]:
        """Return the blocks of `count` model steps from `first` on."""
        found: list[Tensor] = []
        for step in range(first, first + count):
            found.append(self.block(step, found[-1][:, -1] if found else last))
        return found

    def expected(self, step: int) -> Float[Tensor, "E D"] | None:
        """Return the latent that was forecast for the beginning of a model step."""
        plan = self.governing(step - 1)
        return None if plan is None or plan.forecast is None else plan.forecast[:, step - 1 - plan.at]
