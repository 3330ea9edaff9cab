"""Which starts and goals an evaluation uses: a list that anyone can draw again, saved beside the figures.

LeWorldModel's protocol (arXiv 2603.19312 v3): the world is put into a dataset state, the goal is the picture that the
same trajectory shows 25 control steps later, the budget is 50 control steps. Two decisions against known faults of
earlier evaluations: only *held-out* episodes are used, and a start from which the goal is reached already is left out
and counted (le-wm issues #23, #101: it is credit for standing still).

The list is a pure function of (store, episodes, offset, seed): a permutation of all candidates, filtered, cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.data.store import Store

Solved = Callable[[Float[np.ndarray, " d"], Float[np.ndarray, " d"]], bool]
"""Whether the goal of one simulator state is already reached in another: solved(start, goal)."""


@dataclass(frozen=True)
class ProtocolConfig:
    """Distances and budget, in control steps."""

    offset: int = 25
    """The goal is the state this many control steps after the start."""
    budget: int = 50
    """Control steps that a controller gets."""
    episodes: int = 200
    """Number of starts."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an evaluation of nothing."""
        for name in ("offset", "budget", "episodes"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"the protocol's {name} is {getattr(self, name)}. Give at least 1.")


@dataclass(frozen=True)
class Start:
    """One trial: put the world into `row`'s state, reach `goal_row`'s."""

    episode: int
    step: int
    row: int
    goal_row: int


@dataclass(frozen=True)
class StartList:
    """The trials, and how many candidates were left out because their goal was reached at once."""

    starts: tuple[Start, ...]
    already_solved: int
    candidates: int
    """All (episode, step) pairs that the held-out episodes offer."""

    @property
    def rows(self) -> np.ndarray:
        """Return the store rows of the starts, (n,)."""
        return np.array([start.row for start in self.starts], dtype=np.int64)

    @property
    def goal_rows(self) -> np.ndarray:
        """Return the store rows of the goals, (n,)."""
        return np.array([start.goal_row for start in self.starts], dtype=np.int64)

    def save(self, path: Path, config: ProtocolConfig, store: Store) -> None:
        """Write the list as JSON, so that a figure can be checked trial by trial."""
        listed = [asdict(start) for start in self.starts]
        write_json(
            path,
            {
                "protocol": asdict(config),
                "store": store.path.name,
                "already_solved_excluded": self.already_solved,
                "candidates": self.candidates,
                "starts": listed,
            },
        )


def draw_starts(store: Store, episodes: Sequence[int], config: ProtocolConfig, solved: Solved) -> StartList:
    """Draw trials from episodes: held-out ones to judge, training ones to practise.

    Args:
        store: a store with a `state` column that holds the full simulator state.
        episodes: store numbers.
        config: offset, number of starts, seed.
        solved: tells whether a candidate's goal is reached at its start.

    Raises:
        JepaflowError: the store has no simulator state, or the episodes offer too few starts.
    """
    if "state" not in store.columns:
        raise JepaflowError(
            f"{store.path} has no column 'state': a world cannot be reset from it. Convert a simulated dataset."
        )
    candidates = [
        (int(episode), step)
        for episode in sorted({int(e) for e in episodes})
        for step in range(int(store.ep_len[episode]) - config.offset)
    ]
    order = np.random.default_rng(config.seed).permutation(len(candidates))
    starts: list[Start] = []
    already = 0
    states = {episode: store.read("state", store.episode_rows(episode)) for episode, _ in dict(candidates).items()}
    for index in order:
        episode, step = candidates[index]
        if solved(states[episode][step], states[episode][step + config.offset]):
            already += 1
            continue
        row = int(store.ep_offset[episode]) + step
        starts.append(Start(episode, step, row, row + config.offset))
        if len(starts) == config.episodes:
            return StartList(tuple(starts), already, len(candidates))
    raise JepaflowError(
        f"{len(set(episodes))} episodes of {store.path} offer only {len(starts)} starts whose goal, "
        f"{config.offset} control steps later, is not reached at once; {config.episodes} were asked for. "
        f"Ask for fewer with --episodes, or collect more episodes."
    )
