"""Counting by hand agrees with what PyTorch counts while it runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops
from benchmarks.plan_setup import awake, made_scene
from jepaflow.data.windows import Window
from jepaflow.training.objective import ObjectiveConfig, losses
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.imagination import Imaginer
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.presets import PRESETS, preset
from tests.training.tiny_run import TINY

CPU = torch.device("cpu")
VIT = replace(TINY, image_size=12, encoder=EncoderConfig("vit", width=6, patch=4, depth=2, heads=2), action_change=True)
CONFIGS = {"tiny": TINY, "vit": VIT, **{name: preset(name) for name in PRESETS if preset(name).image_size < 200}}


def counted(work: object) -> int:
    """FLOP that PyTorch counts."""
    with FlopCounterMode(display=False) as counter:
        work()  # type: ignore[operator]
    return counter.get_total_flops()


@pytest.mark.parametrize("name", CONFIGS)
def test_encoding(name: str) -> None:
    config = CONFIGS[name]
    model, scene = awake(config, CPU), made_scene(config, 2, CPU)
    with torch.no_grad():
        assert counted(lambda: model.encode(scene.frames)) == 2 * flops.encoded(config)


def _plans(config: JEPAConfig, seen: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents, blocks between them, and seven plans of one environment."""
    z, past = torch.randn(1, seen, config.latent_dim), torch.randn(1, seen - 1, config.block, config.action_dim)
    return z, past, torch.zeros(7, dtype=torch.long), torch.randn(7, 4, config.block, config.action_dim)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seen", [1, 3])
@pytest.mark.parametrize("history", [3, 8])
def test_imagining_with_the_whole_window(name: str, seen: int, history: int) -> None:
    config = replace(CONFIGS[name], history=history)
    model, (z, past, owner, future) = awake(config, CPU), _plans(config, seen)
    with torch.no_grad():
        whole = counted(lambda: model.rollout(z[owner], past[owner], future))
    assert whole == 7 * flops.windowed(config, seen, 4)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("seen", [1, 3])
@pytest.mark.parametrize("history", [3, 8])
def test_imagining_with_new_tokens_alone(name: str, seen: int, history: int) -> None:
    config = replace(CONFIGS[name], history=history, action_change=False)
    model, (z, past, owner, future) = awake(config, CPU), _plans(config, seen)
    imagination = Imaginer(model).meet(z, past)
    with torch.no_grad():
        imagination.rollout(owner, future)  # the history's keys and values are computed now, once for all plans
        assert counted(lambda: imagination.rollout(owner, future)) == 7 * flops.imagined(config, seen, 4)


@pytest.mark.parametrize("name", ["tiny", "vit"])
def test_training(name: str) -> None:
    config: JEPAConfig = replace(CONFIGS[name], action_change=False)
    batch, frames = 3, config.history + 1
    size, model = config.image_size, awake(config, CPU).train()
    window = Window(
        torch.zeros(batch, frames, 1, size, size, 3, dtype=torch.uint8),
        torch.randn(batch, frames, config.block, config.action_dim),
        None,
        np.zeros((batch, 3), np.int64),
    )
    loss = ObjectiveConfig(directions=5)
    total = counted(lambda: losses(model, window, loss, torch.Generator().manual_seed(0)).total.backward())
    assert total == flops.trained(config, batch, frames, loss.directions)
