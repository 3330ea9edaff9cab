"""Imagination's word on edges: the loop of one pair at a time is the reference; nine in ten true pairs pass."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.imagined import Imagination
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import PRESETS

from .test_landmarks import latents_of

H = 4


@pytest.fixture(scope="module")
def imagination() -> Imagination:
    """An untrained model and head."""
    torch.manual_seed(0)
    model = JEPA(replace(PRESETS["nano"], image_size=16)).eval()
    head = InverseDynamics(InverseConfig(model.config.latent_dim, 2, model.config.block, hidden=16, depth=1)).eval()
    return Imagination(model, head, H, torch.full((2,), -1.0), torch.ones(2))


@torch.no_grad()
def plain(own: Imagination, start: torch.Tensor, goal: torch.Tensor) -> float:
    """Walk one pair with the whole history imagined anew every block."""
    seen, done, best = start[None, None], torch.empty(1, 0, own.model.config.block, 2), np.inf
    for _ in range(H):
        done = torch.cat([done, own.head.act(seen[:, -1], goal[None]).clamp(-1, 1)[:, None]], 1)
        seen = torch.cat([start[None, None], own.model.rollout(start[None, None], done[:, :0], done)], 1)
        best = min(best, float(((seen[0, -1] - goal) / own.head.latent_scaler.std).square().mean().sqrt()))
    return best


def test_many_pairs_are_walked_as_one_is(imagination: Imagination) -> None:
    torch.manual_seed(1)
    a, b = torch.randn(2, 3, imagination.model.config.latent_dim)
    found = imagination.errors(a, b)
    assert found == pytest.approx([plain(imagination, x, y) for x, y in zip(a, b)], rel=1e-3)
    assert imagination.errors(a[:0], b[:0]).shape == (0,)


def test_nine_in_ten_true_pairs_are_confirmed(imagination: Imagination, tmp_path) -> None:
    torch.manual_seed(2)
    z = torch.randn(120, imagination.model.config.latent_dim)
    latents = latents_of(tmp_path, [60, 60], z)
    limit = imagination.threshold(latents, 200, np.random.default_rng(0))
    assert imagination.threshold(latents, 200, np.random.default_rng(0)) == limit
    assert imagination.threshold(latents, 200, np.random.default_rng(0), 0.5) < limit
    source, target = np.arange(40), np.arange(40, 80)
    errors = imagination.errors(z[:40], z[40:80])
    assert np.array_equal(imagination.veto(z, float(np.median(errors)))(source, target), errors <= np.median(errors))


def test_a_head_that_needs_the_last_action_is_refused(imagination: Imagination) -> None:
    head = InverseDynamics(replace(imagination.head.config, change=True))
    with pytest.raises(JepaflowError, match="last executed action"):
        replace(imagination, head=head)
