"""The benchmark's plain reference computes the same loss and gradients as ours: the ratio compares like with like."""

import numpy as np
import torch

from benchmarks.reference.plain_step import plain_attention, plain_loss
from jepaflow.data.windows import Window
from jepaflow.training.objective import ObjectiveConfig, losses
from jepaflow.worldmodel.jepa import JEPA
from tests.worldmodel.test_jepa import TINY


def test_plain_and_ours_agree() -> None:
    model = JEPA(TINY).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for layer in model.predictor.layers:
        layer.attention.dropout = 0.0
    window = Window(
        torch.randint(0, 255, (6, 4, 1, 8, 8, 3), dtype=torch.uint8),
        torch.randn(6, 4, 3, 2),
        None,
        np.zeros((6, 3), np.int64),
    )
    config = ObjectiveConfig(directions=16)
    ours = losses(model, window, config, torch.Generator().manual_seed(1)).total
    ours.backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with plain_attention():
        plain = plain_loss(model, window, config.sigreg, config.directions, torch.Generator().manual_seed(1))
    plain.backward()
    torch.testing.assert_close(ours, plain)
    for mine, other in zip(gradients, (p.grad for p in model.parameters()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)
