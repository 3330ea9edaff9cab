"""What measures look at: a trained run, its held-out episodes as latents, and training episodes to fit probes on.

Everything is encoded once and shared by all measures of a cell. Frames are those of phase 0, one model step apart. Beside the
training's own held-out episodes there may be *fresh* ones, of another store: what its own cannot tell (a leaky split, labels
that are wrong in both) shows on them.
"""

from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.forecast import Windows, cut_windows
from jepaflow.diagnosis.heldout import held_out
from jepaflow.diagnosis.latents import Trajectory, choose_episodes, require_actions
from jepaflow.diagnosis.probe_data import encode
from jepaflow.training.checkpoint import Run

HELD_OUT_EPISODES = 200
PROBE_EPISODES = 150
"""Training episodes that probes are fitted on: enough for a few hundred weights, encoded in seconds."""


class Evidence:
    """A run and what is known of it.

    Args:
        run: the trained run.
        fresh: a store and episodes of it that the run has never seen, for the measures that ask for them.
        fitted_on: episodes that probes are fitted on; those that it was trained on when not given.

    Raises:
        JepaflowError: when no episode was held out, or the store has no actions.
    """

    def __init__(
        self,
        run: Run,
        fresh: tuple[Path, tuple[int, ...]] | None = None,
        fitted_on: tuple[int, ...] | None = None,
    ) -> None:
        self.run, self.model = run, run.model
        self._fresh, self._fitted_on = fresh, fitted_on
        self._chosen = held_out(run)
        self.store = self._chosen.store
        require_actions(self.store, str(self.store.path))

    @cached_property
    def held_out(self) -> list[Trajectory]:
        """Latents of the held-out episodes."""
        return self._encode(choose_episodes(self._chosen.episodes, HELD_OUT_EPISODES, 0))

    @cached_property
    def fitted_on(self) -> list[Trajectory]:
        """Latents of the episodes that probes are fitted on."""
        episodes = self.run.train_episodes if self._fitted_on is None else self._fitted_on
        return self._encode(choose_episodes(episodes, PROBE_EPISODES, 0))

    def trained(self, most: int) -> list[Trajectory]:
        """Latents of at most so many episodes that the run was trained on."""
        return self._encode(choose_episodes(self.run.train_episodes, most, 0))

    @cached_property
    def fresh_store(self) -> Store | None:
        """The store of the fresh episodes; None where there are none."""
        return None if self._fresh is None else Store(self._fresh[0])

    @cached_property
    def fresh(self) -> list[Trajectory] | None:
        """Latents of the fresh episodes; None where there are none."""
        if self._fresh is None or self.fresh_store is None:
            return None
        return encode(self.run, self.fresh_store, choose_episodes(self._fresh[1], HELD_OUT_EPISODES, 0))

    def _encode(self, episodes: list[int]) -> list[Trajectory]:
        return encode(self.run, self.store, episodes)

    def windows(self, history: int, horizon: int, of: list[Trajectory] | None = None) -> Windows:
        """Windows of the held-out episodes (or of other values along them).

        Raises:
            JepaflowError: when no held-out episode is long enough for one.
        """
        found = cut_windows(self.held_out if of is None else of, history, horizon)
        if found is None:
            raise JepaflowError(
                f"No held-out episode of {self.store.path} has the {history * self.model.config.block + 1} frames that one "
                "forecast needs. Hold out longer episodes."
            )
        return found


def stacked(trajectories: list[Trajectory]) -> Float[Tensor, "n D"]:
    """All latents, one after the other."""
    return torch.cat([one.z for one in trajectories])
