"""What came of a set of trials, and the two success rates that are always reported together.

"Ever" counts a trial in which the goal was reached in at least one control step of the budget (LeWorldModel's rule);
"at the end" counts it when the goal is reached after the last one. A planner that runs over its goal and away from it
looks perfect by the first and not by the second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import wilson


@dataclass(frozen=True)
class Outcome:
    """Result of n trials."""

    ever: Bool[np.ndarray, " n"]
    end: Bool[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    """Distance to the goal at the end, in the world's unit."""
    states: Float[np.ndarray, "n L d"]
    """The simulator states of each trial: the start's and the one after every control step (L = budget + 1)."""
    seconds_per_plan: float = 0.0
    """Wall time per plan of one environment; 0 where nothing is planned."""

    def __len__(self) -> int:
        return len(self.ever)

    @property
    def ever_rate(self) -> float:
        """Return the share of trials that reached the goal at some time."""
        return float(self.ever.mean())

    @property
    def end_rate(self) -> float:
        """Return the share of trials that are at the goal after the budget."""
        return float(self.end.mean())

    def ever_interval(self) -> tuple[float, float]:
        """Return the 95 % Wilson interval of `ever_rate`."""
        return wilson(int(self.ever.sum()), len(self))

    def end_interval(self) -> tuple[float, float]:
        """Return the 95 % Wilson interval of `end_rate`."""
        return wilson(int(self.end.sum()), len(self))


def pooled(outcomes: list[Outcome]) -> Outcome:
    """Join the trials of several seeds or policies' repeats.

    Raises:
        JepaflowError: the list is empty.
    """
    if not outcomes:
        raise JepaflowError("there are no outcomes to pool. Evaluate at least one run.")
    trials = sum(len(outcome) for outcome in outcomes)
    seconds = sum(outcome.seconds_per_plan * len(outcome) for outcome in outcomes) / max(1, trials)
    ever, end, distance, states = (
        np.concatenate([getattr(outcome, name) for outcome in outcomes])
        for name in ("ever", "end", "distance", "states")
    )
    return Outcome(ever, end, distance, states, seconds)
