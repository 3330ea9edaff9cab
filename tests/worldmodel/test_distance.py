"""The temporal distance, its baseline and the table that calibrates both."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.distance import DistanceConfig, LatentDistance, TemporalDistance
from jepaflow.worldmodel.head_layers import MonotoneTable, fit_latent_scaler
from jepaflow.worldmodel.jepa import Scaler


def head(dim: int = 4, cap: int = 5) -> TemporalDistance:
    torch.manual_seed(0)
    return TemporalDistance(DistanceConfig(dim, cap, hidden=8, depth=2)).eval()


@pytest.mark.parametrize("made", [head(), LatentDistance()])
def test_leading_shapes_are_broadcast(made: TemporalDistance | LatentDistance) -> None:
    a, b = torch.randn(3, 1, 2, 4), torch.randn(7, 2, 4)
    whole = made(a, b)
    assert whole.shape == (3, 7, 2)
    torch.testing.assert_close(whole[2, 5, 1], made(a[2, 0, 1], b[5, 1]))
    assert made(torch.randn(4), torch.randn(4)).shape == ()


def test_only_the_baseline_is_symmetric() -> None:
    a, b = torch.randn(9, 4), torch.randn(9, 4)
    assert not torch.allclose(head()(a, b), head()(b, a))
    torch.testing.assert_close(LatentDistance()(a, b), LatentDistance()(b, a))
    torch.testing.assert_close(LatentDistance()(a, b), (a - b).square().mean(-1).sqrt())


def test_gradients_are_finite_even_where_both_are_equal() -> None:
    for made in (head(), LatentDistance()):
        a = torch.zeros(2, 4, requires_grad=True)
        made(a, torch.zeros(2, 4)).sum().backward()
        assert a.grad is not None and a.grad.isfinite().all()


def test_the_loss_shares_a_fraction_between_its_neighbours() -> None:
    made, a, b = head(), torch.randn(3, 4), torch.randn(3, 4)
    log = made.logits(a, b).log_softmax(-1)
    wanted = -(0.75 * log[0, 1] + 0.25 * log[0, 2] + log[1, 5] + log[2, 0]) / 3
    torch.testing.assert_close(made.loss(a, b, torch.tensor([1.25, 99.0, 0.0])), wanted)


def test_degenerate_sizes() -> None:
    made = TemporalDistance(DistanceConfig(1, 1, 1, 1))
    assert 0 <= float(made(torch.zeros(1), torch.ones(1)).detach()) <= 1
    with pytest.raises(JepaflowError, match="cap is 0"):
        DistanceConfig(1, 0)


def test_a_table_recovers_a_rising_function() -> None:
    rng = np.random.default_rng(0)
    raw = rng.uniform(0, 4, 20_000)
    table = MonotoneTable()
    assert torch.equal(table(torch.tensor([0.3, 7.5, 99.0])), torch.tensor([0.3, 7.5, 99.0])), (
        "the identity until fitted"
    )
    table.fit(raw, raw**2 + rng.normal(0, 0.3, len(raw)))
    x = torch.linspace(0.3, 3.9, 50)
    torch.testing.assert_close(table(x), x**2, atol=0.15, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 30, 3000])
def test_a_table_always_rises(count: int) -> None:
    rng = np.random.default_rng(count)
    table = MonotoneTable()
    for raw, true in [
        (rng.uniform(0, 3, count), rng.uniform(0, 9, count)),
        (np.full(count, 2.0), rng.uniform(0, 9, count)),
        (np.linspace(0, 1, count), np.linspace(9, 0, count)),
        (np.zeros(count), np.zeros(count)),
    ]:
        table.fit(raw, true)
        x = torch.linspace(-1, 12, 400, dtype=torch.float64)
        y = table(x)
        assert y.isfinite().all() and (y.diff() > 0).all()
        assert float(table(torch.zeros(1))) == pytest.approx(0, abs=1e-6)


def test_a_table_needs_values() -> None:
    with pytest.raises(JepaflowError, match="calibrate"):
        MonotoneTable().fit(np.empty(0), np.empty(0))


def test_directions_that_hardly_move_are_not_blown_up() -> None:
    scaler = Scaler(3)
    fit_latent_scaler(scaler, torch.randn(5000, 3) * torch.tensor([1.0, 1.0, 1e-4]) + 2)
    torch.testing.assert_close(scaler.std, torch.tensor([1.0, 1.0, 0.0816]), atol=0.03, rtol=0)
    fit_latent_scaler(scaler, torch.ones(4, 3))
    assert (scaler.std > 0).all()
