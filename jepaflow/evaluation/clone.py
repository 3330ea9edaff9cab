"""The behaviour clone as a policy: the floor of equal size that imagines nothing (`jepaflow heads RUN --clone`).

Like the planner it looks once per model step and acts blindly in between; unlike the planner's inverse head it is not
told how many steps are left, for it has no world model's distance to ask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float

from jepaflow.sims.registry import World, WorldEntry, action_bounds
from jepaflow.training.cloning import Clone


class ClonePolicy:
    """A goal-conditioned clone, batched over worlds.

    Args:
        entry: the world.
        clone: the policy.
        views: the observation's keys of the clone's cameras, in its order.
    """

    def __init__(self, entry: WorldEntry, clone: Clone, views: Sequence[str]) -> None:
        self._entry, self._clone, self._views = entry, clone, tuple(views)

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Look at the goals."""
        twin = self._entry.make(self._clone.config.image_size)
        seen = []
        for goal in goals:
            twin.set_state(goal)
            seen.append(twin.observation())
        self._goal = self._frames(seen)
        self._last = np.stack([world.still_action() for world in worlds]).astype(np.float32)
        self._low, self._high = action_bounds(twin)
        self._block: np.ndarray = np.zeros(0)

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the block's next actions, inside the bounds; look first when a block begins."""
        tick = step % self._clone.config.block
        if tick == 0:
            now, state = self._frames([world.observation() for world in worlds])
            block = self._clone.act(now, state, *self._goal, torch.from_numpy(self._last))
            self._block = block.numpy().clip(self._low, self._high)
            self._last = self._block[:, -1]
        return self._block[:, tick]

    def _frames(self, seen: list[dict[str, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        pixels = np.stack([np.stack([observation[view] for view in self._views]) for observation in seen])
        state = np.stack([observation["state"] for observation in seen]).astype(np.float32)
        return torch.from_numpy(pixels), torch.from_numpy(state) if self._clone.config.proprio_dim else None
