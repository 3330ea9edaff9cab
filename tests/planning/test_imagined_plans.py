"""A planner of a real JEPA: the quick way to imagine gives the plan that plain rollouts give."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jepaflow.planning.config import SolverConfig
from jepaflow.planning.cost import CostConfig, GoalCost
from jepaflow.planning.goal import Goal
from jepaflow.planning.planner import Planner, Situation
from jepaflow.planning.space import ActionSpace
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig

ENVS, K, A, D = 2, 2, 3, 16
SPACE = ActionSpace.from_bounds(-torch.ones(A), torch.ones(A))
SEARCH = SolverConfig(samples=32, elites=6, iterations=4, horizon=4, precision="float32")  # bf16 finds other plans


class Plain:
    """The same model without anything shared."""

    def __init__(self, model: JEPA) -> None:
        self.rollout = model.rollout


def model(history: int) -> JEPA:
    torch.manual_seed(0)
    made = JEPA(JEPAConfig(image_size=16, block=K, action_dim=A, latent_dim=D, history=history, action_change=True))
    for part in (made.predictor, made.action_encoder, made.pred_proj):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def situation(committed: int) -> Situation:
    drawn = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=drawn)

    ahead = draw(ENVS, committed, K, A) if committed else None
    return Situation(draw(ENVS, 2, D), draw(ENVS, 1, K, A), torch.zeros(ENVS, A), Goal(draw(ENVS, 1, D)), ahead)


@pytest.mark.parametrize("kind", ["cem", "icem", "mppi", "gradient", "random"])
@pytest.mark.parametrize("committed", [0, 1, 3])
@pytest.mark.parametrize("history", [2, 8])
def test_same_plan_as_with_plain_rollouts(history: int, committed: int, kind: str) -> None:
    jepa, search = model(history), replace(SEARCH, kind=kind)  # type: ignore[arg-type]
    plans = [
        Planner(dynamics, GoalCost(CostConfig(path=0.5)), SPACE, K, search).plan(
            situation(committed), torch.Generator().manual_seed(2)
        )
        for dynamics in (jepa, Plain(jepa))
    ]
    assert torch.allclose(plans[0].blocks, plans[1].blocks, atol=1e-3)
    assert torch.allclose(plans[0].cost, plans[1].cost, rtol=1e-3)
    if plans[0].elites.numel():
        assert torch.allclose(plans[0].elites, plans[1].elites, atol=1e-3), "the same candidates were elite"
    assert plans[0].blocks.std() > 0.1
