"""The quick way to imagine gives what `JEPA.rollout` gives, wherever the window stands."""

from dataclasses import replace

import pytest
import torch

from jepaflow.worldmodel.imagination import Imaginer
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig

SMALL = JEPAConfig(
    image_size=16, block=2, action_dim=3, latent_dim=24, predictor=PredictorConfig(depth=3, heads=2, dim_head=8, mlp=32)
)


def make(history: int, action_change: bool = False, **changes: object) -> JEPA:
    torch.manual_seed(0)
    model = JEPA(replace(SMALL, history=history, action_change=action_change, **changes)).eval()
    for part in (model.predictor, model.action_encoder, model.pred_proj):
        for parameter in part.parameters():  # AdaLN starts at zero and would ignore the actions
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("action_change", [False, True])
@pytest.mark.parametrize("history", [1, 2, 3, 8])
@pytest.mark.parametrize("seen", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_same_as_plain_rollout(history: int, seen: int, steps: int, action_change: bool) -> None:
    model = make(history, action_change)
    envs, samples = 2, 3
    z, past = torch.randn(envs, seen, 24), torch.randn(envs, seen - 1, 2, 3)
    owner = torch.tensor([0, 1, 1, 0, 1, 0])
    future = torch.randn(envs * samples, steps, 2, 3)
    with torch.no_grad():
        plain = model.rollout(z[owner], past[owner], future)
        quick = Imaginer(model).meet(z, past).rollout(owner, future)
    assert quick.shape == plain.shape
    assert torch.allclose(quick, plain, atol=1e-4, rtol=1e-4)
    assert (plain[0] - plain[3]).abs().max() > 1e-2, "the actions matter in this test"


def test_more_frames_than_the_model_sees() -> None:
    model = make(2, action_change=True)
    z, past, future = torch.randn(1, 5, 24), torch.randn(1, 4, 2, 3), torch.randn(4, 3, 2, 3)
    owner = torch.zeros(4, dtype=torch.long)
    plain = model.rollout(z[owner][:, -2:], past[owner][:, -1:], future)
    assert torch.allclose(Imaginer(model).meet(z, past).rollout(owner, future), plain, atol=1e-4)


def test_one_situation_serves_many_rollouts_and_no_rows() -> None:
    model = make(3)
    z, past = torch.randn(1, 2, 24), torch.randn(1, 1, 2, 3)
    imagination = Imaginer(model).meet(z, past)
    future = torch.randn(4, 5, 2, 3)
    owner = torch.zeros(4, dtype=torch.long)
    first, again = imagination.rollout(owner, future), imagination.rollout(owner, future)
    assert torch.equal(first, again)
    assert torch.allclose(imagination.rollout(owner[:1], future[2:3]), first[2:3], atol=1e-5)
    assert imagination.rollout(owner[:0], future[:0]).shape == (0, 5, 24)


@pytest.mark.parametrize("history", [3, 8])
def test_gradients_reach_the_actions(history: int) -> None:
    model = make(history)
    z, past = torch.randn(1, 3, 24), torch.randn(1, 2, 2, 3)
    owner = torch.zeros(2, dtype=torch.long)
    future = torch.randn(2, 4, 2, 3, requires_grad=True)
    plain = torch.autograd.grad(model.rollout(z[owner], past[owner], future)[:, -1].square().sum(), future)[0]
    quick = torch.autograd.grad(Imaginer(model).meet(z, past).rollout(owner, future)[:, -1].square().sum(), future)[0]
    assert torch.allclose(plain, quick, atol=1e-4)


def test_bfloat16_is_near() -> None:
    model = make(3)
    z, past, future = torch.randn(1, 3, 24), torch.randn(1, 2, 2, 3), torch.randn(8, 4, 2, 3)
    owner = torch.zeros(8, dtype=torch.long)
    plain = Imaginer(model).meet(z, past).rollout(owner, future)
    quick = Imaginer(model, bf16=True).meet(z, past).rollout(owner, future)
    assert quick.dtype == torch.float32
    assert 0 < (quick - plain).square().mean() < 1e-3 * plain.square().mean()
    assert all(p.dtype == torch.float32 for p in model.parameters()), "the model itself is left alone"


def test_prefix_models_are_refused() -> None:
    with pytest.raises(ValueError, match="in one pass"):
        Imaginer(make(3, prefix=3))
