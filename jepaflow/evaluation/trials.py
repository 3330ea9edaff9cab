"""Trials: start states, goal states and the actions that once led from one to the other. What an evaluation runs on.

They come from a run's own held-out episodes (`protocol`), or from a named protocol: a file that is part of the package,
drawn once from episodes that nobody trains on (`named`). Either way a trial holds everything that the world needs, so
an evaluation needs no dataset.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path
from jepaflow.data.store import Store
from jepaflow.evaluation.protocol import ProtocolConfig, Solved, draw_starts
from jepaflow.sims.arms.dress import dress
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.registry import WorldOptions, find_world


@dataclass(frozen=True)
class Trials:
    """n trials of one world."""

    env: str
    offset: int
    """Control steps between start and goal in the episode."""
    budget: int
    """Control steps that a policy gets."""
    starts: Float[np.ndarray, "n d"]
    goals: Float[np.ndarray, "n d"]
    actions: Float[np.ndarray, "n L A"]
    """The recorded actions from start to goal (L = offset): the replay ceiling."""
    episode: Int[np.ndarray, " n"]
    """The episode that each trial comes from."""
    excluded: int = 0
    """Candidates that were left out because their goal was reached at the start."""
    made_by: str = ""
    by_task: bool = False
    """Judge by the task's own rule (the cube lies in the bin) instead of by the goal state's places."""

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, index: int, parts: int) -> Trials:
        """Return the `index`-th of `parts` equal, disjoint shares: one per evaluation seed.

        Raises:
            JepaflowError: there are fewer trials than parts.
        """
        size = len(self) // parts
        if size == 0:
            raise JepaflowError(f"{len(self)} trials cannot be shared among {parts} seeds. Ask for fewer seeds.")
        rows = slice(index * size, (index + 1) * size)
        return replace(
            self,
            starts=self.starts[rows],
            goals=self.goals[rows],
            actions=self.actions[rows],
            episode=self.episode[rows],
        )

    def first(self, count: int) -> Trials:
        """Return the first trials, at most `count`."""
        return replace(
            self,
            starts=self.starts[:count],
            goals=self.goals[:count],
            actions=self.actions[:count],
            episode=self.episode[:count],
        )

    def dressed(self, fix: Sequence[str]) -> Trials:
        """Return the same trials in another look: starts and goals, and so the pictures of the goals.

        Args:
            fix: factors with their values, as `jepaflow collect --fix` takes them ("light.level=0.25"); empty: as they are.

        Raises:
            JepaflowError: the world has no such factor, or the factor changes more than the look.
        """
        if not fix:
            return self
        world = find_world(self.env).make(8, WorldOptions(fix=tuple(fix)))
        assert isinstance(world, ArmEnv)  # the only worlds with factors; `make` refuses the others
        pairs = [dress(world, np.stack(pair)) for pair in zip(self.starts, self.goals, strict=True)]
        return replace(
            self,
            starts=np.stack([start for start, _ in pairs]),
            goals=np.stack([goal for _, goal in pairs]),
            made_by=f"{self.made_by}; {', '.join(fix)}",
        )

    def save(self, path: Path) -> None:
        """Write one safetensors file; what is not an array goes into its metadata."""
        from safetensors.numpy import save_file

        about = {"env": self.env, "offset": self.offset, "budget": self.budget, "excluded": self.excluded}
        arrays = {
            name: np.ascontiguousarray(getattr(self, name), dtype=np.float32) for name in ("starts", "goals", "actions")
        }
        arrays["episode"] = np.ascontiguousarray(self.episode, dtype=np.int64)
        with atomic_path(path) as temporary:
            save_file(
                arrays, temporary, {"trials": json.dumps({**about, "made_by": self.made_by, "by_task": self.by_task})}
            )

    @classmethod
    def load(cls, path: Path) -> Trials:
        """Read what `save` wrote.

        Raises:
            JepaflowError: the file is missing or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                about: dict[str, Any] = json.loads((file.metadata() or {})["trials"])
                arrays = {name: file.get_tensor(name) for name in ("starts", "goals", "actions", "episode")}
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise JepaflowError(
                f"{path} holds no trials ({error}). Make it anew with scripts/make_protocols.py."
            ) from error
        return cls(**about, **arrays)


def held_out_trials(
    store: Store,
    episodes: list[int],
    env: str,
    protocol: ProtocolConfig,
    solved: Solved,
    listing: Path | None = None,
    which: str = "held-out",
) -> Trials:
    """Draw trials from a run's held-out episodes (`draw_starts`), writing the list to a file if one is named.

    `which` says what the episodes are, where they are others.

    Raises:
        JepaflowError: the store has no states or actions, or the episodes offer too few starts.
    """
    if "action" not in store.columns:
        raise JepaflowError(f"{store.path} has no actions to replay. Convert a dataset that was recorded with actions.")
    listed = draw_starts(store, episodes, protocol, solved)
    if listing is not None:
        listed.save(listing, protocol, store)
    return Trials(
        env,
        protocol.offset,
        protocol.budget,
        store.read("state", listed.rows),
        store.read("state", listed.goal_rows),
        np.stack([store.read("action", np.arange(start.row, start.goal_row)) for start in listed.starts]),
        np.array([start.episode for start in listed.starts]),
        listed.already_solved,
        f"{which} episodes of {store.path.name}, seed {protocol.seed}",
    )
