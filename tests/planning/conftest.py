"""Worlds whose best plan is known by calculation, with a model's `rollout`."""

import pytest
import torch
from torch import Tensor


class LinearWorld:
    """z' = z + gain * (sum of the block's actions): the optimum of every cost below can be written down."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain, self.rows = gain, []

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        """Return the latents (B, N, D) after each block."""
        assert past.shape[1] == z.shape[1] - 1
        self.rows.append(len(z))
        return z[:, -1:] + self.gain * future.sum(2).cumsum(1)


@pytest.fixture
def world() -> LinearWorld:
    return LinearWorld()


def generator(seed: int = 0) -> torch.Generator:
    """Return a seeded generator."""
    return torch.Generator().manual_seed(seed)
