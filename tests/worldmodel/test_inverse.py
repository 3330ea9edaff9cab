"""The inverse head: shapes, what it holds, how it scales, and the noise of its proposals."""

from dataclasses import replace

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics

CONFIG = InverseConfig(latent_dim=5, action_dim=2, block=3, horizon=4, reach=6, hidden=16, depth=2, step_dim=4)


def head(**changes: object) -> InverseDynamics:
    torch.manual_seed(1)
    made = InverseDynamics(replace(CONFIG, **changes)).eval()  # type: ignore[arg-type]
    plans = torch.randn(50, made.config.horizon, made.config.block, made.config.action_dim) * 3 + 1
    start = plans[:, 0, 0] if made.config.change else None
    made.fit_scalers(torch.randn(40, made.config.latent_dim), plans, start)
    return made


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("batch,count", [(1, 1), (3, 4)])
@pytest.mark.parametrize(
    "sizes", [{}, {"latent_dim": 1, "action_dim": 1, "block": 1, "horizon": 1, "reach": 1, "hidden": 2, "depth": 1}]
)
def test_shapes(change: bool, batch: int, count: int, sizes: dict[str, int]) -> None:
    made = head(change=change, **sizes)
    config = made.config
    z, start = torch.randn(2, batch, config.latent_dim), torch.randn(batch, config.action_dim)
    generator = torch.Generator().manual_seed(0)
    plans = made.propose(z[0], z[1], torch.full((batch,), 9), start if change else None, count, generator)
    assert plans.shape == (batch, count, config.horizon, config.block, config.action_dim)
    assert made.act(z[0], z[1], None, start).shape == (batch, config.block, config.action_dim)


def test_a_head_may_be_told_the_last_action_and_still_answer_with_actions() -> None:
    made, z, start = head(last_action=True), torch.randn(2, 1, 5), torch.randn(2, 1, 2)
    assert not torch.equal(made.act(z[0], z[1], None, start[0]), made.act(z[0], z[1], None, start[1]))
    plans = torch.randn(1, 4, 3, 2)
    torch.testing.assert_close(made.scaled(plans, start[0]), made.scaled(plans, start[1]))
    with pytest.raises(JepaflowError, match="last executed action"):
        made.act(z[0], z[1])
    unaware = head()
    assert torch.equal(unaware.act(z[0], z[1], None, start[0]), unaware.act(z[0], z[1], None, start[1]))


@pytest.mark.parametrize("change", [False, True])
def test_actions_undo_the_scaling(change: bool) -> None:
    made = head(change=change)
    plans, start = torch.randn(7, 4, 3, 2), torch.randn(7, 2)
    answer = made.scaled(plans, start)
    torch.testing.assert_close(made.actions(answer, None, start), plans)
    torch.testing.assert_close(made.actions(answer, torch.full((7,), 4), start), plans)


def test_after_the_goal_the_last_target_is_held() -> None:
    made, start = head(change=True), torch.randn(3, 2)
    plans = torch.randn(3, 4, 3, 2)
    held = made.actions(made.scaled(plans, start), torch.tensor([1, 2, 9]), start)
    torch.testing.assert_close(held[0, 1:], plans[0, 0, -1].expand(3, 3, 2))
    torch.testing.assert_close(held[1, 2:], plans[1, 1, -1].expand(2, 3, 2))
    torch.testing.assert_close(held[0, 0], plans[0, 0])
    torch.testing.assert_close(held[2], plans[2])


def test_after_the_goal_relative_actions_rest() -> None:
    made = head()
    assert torch.equal(made.rest, torch.zeros(2)), "zero lies within the actions"
    plans = torch.randn(2, 4, 3, 2)
    held = made.actions(made.scaled(plans, None), torch.tensor([1, 0]), None)
    assert torch.equal(held[0, 1:], torch.zeros(3, 3, 2))
    torch.testing.assert_close(held[1], plans[1])
    positive = torch.rand(30, 4, 3, 2) + 2
    made.fit_scalers(torch.randn(9, 5), positive, None)
    torch.testing.assert_close(made.rest, positive.flatten(0, 2).mean(0))


def test_the_first_proposal_is_the_mean_and_the_others_spread_as_the_residuals() -> None:
    made = head(horizon=1, block=1)
    mix = torch.tensor([[1.0, 0.0], [0.6, 0.2]])
    made.fit_residual(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0)) @ mix.T, shrink=0.0)
    z = torch.randn(2, 1, 5)
    plans = made.propose(z[0], z[1], count=20_001, generator=torch.Generator().manual_seed(1))[0, :, 0, 0]
    assert torch.equal(plans[0], made.act(z[0], z[1])[0, 0])
    spread = (plans[1:] - plans[0]) / made.answer_scaler.std
    torch.testing.assert_close(spread.T @ spread / 20_000, mix @ mix.T, atol=0.04, rtol=0.05)
    again = made.propose(z[0], z[1], count=20_001, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again[0, :, 0, 0], plans)


def test_steps_change_the_answer_and_are_clipped() -> None:
    made, z = head(), torch.randn(2, 1, 5)
    near, far, further = (made(z[0], z[1], torch.tensor([s]), None) for s in (4, 6, 60))
    assert not torch.equal(near, far) and torch.equal(far, further)


def test_sentences() -> None:
    z = torch.randn(1, 5)
    with pytest.raises(JepaflowError, match="last executed action"):
        head(change=True).act(z, z)
    with pytest.raises(JepaflowError, match="Generator"):
        head().propose(z, z, count=2)
    with pytest.raises(JepaflowError, match="count is 0"):
        head().propose(z, z, count=0)
    with pytest.raises(JepaflowError, match="horizon is 0"):
        replace(CONFIG, horizon=0)


def test_few_residuals_still_give_a_factor() -> None:
    made = head()
    made.fit_residual(torch.ones(1, 24))
    assert made.residual.isfinite().all() and (made.residual.diagonal() > 0).all()
