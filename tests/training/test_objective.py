"""The objective's optional parts against their formulas, and what the model is told of its actions."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.data.scaling import change_statistics, column_statistics
from jepaflow.data.store import Store
from jepaflow.data.windows import Window
from jepaflow.training.config import DatasetConfig, TrainConfig
from jepaflow.training.objective import ObjectiveConfig, backward, inverse_error, losses
from jepaflow.training.trainer import Trainer
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from tests.stores import write_store

TINY = JEPAConfig(image_size=16, action_dim=3, proprio_dim=4, block=2, history=2, latent_dim=6, projector_hidden=8)


def window(batch: int = 5, frames: int = 4) -> Window:
    torch.manual_seed(0)
    return Window(
        torch.randint(0, 256, (batch, frames, 1, 16, 16, 3), dtype=torch.uint8),
        torch.randn(batch, frames, TINY.block, TINY.action_dim),
        torch.randn(batch, frames, TINY.proprio_dim),
        np.zeros((batch, 3), dtype=np.int64),
    )


def test_a_model_without_changes_is_told_the_z_scores_alone() -> None:
    model, blocks = JEPA(TINY), torch.randn(2, 2, 2, 3)
    model.action_scaler.mean.fill_(1.0)
    model.action_scaler.std.fill_(2.0)
    assert torch.equal(model.scale_blocks(blocks), ((blocks - 1.0) / 2.0).flatten(2))


@pytest.mark.parametrize("history", [1, 2])
def test_changes_are_differences_across_blocks_and_the_first_is_unknown(history: int) -> None:
    model = JEPA(replace(TINY, action_change=True))
    model.change_scaler.mean.copy_(torch.tensor([0.5, 0.0, -1.0]))
    model.change_scaler.std.fill_(4.0)
    blocks = torch.randn(3, history, 2, 3)
    told = model.scale_blocks(blocks).view(3, history, 2, 6)
    assert torch.equal(told[..., :3], blocks)
    steps = blocks.flatten(1, 2)
    change = (steps[:, 1:] - steps[:, :-1] - model.change_scaler.mean) / 4.0
    assert torch.allclose(told.flatten(1, 2)[:, 1:, 3:], change)
    assert torch.equal(told[:, 0, 0, 3:], torch.zeros(3, 3))  # what came before is unknown


def test_the_statistics_of_changes_stay_inside_episodes(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "s.h5", [7, 9, 1]))
    mean, std = change_statistics([store], [(0, 1, 2)], "action")
    parts = [np.diff(store.read("action", store.episode_rows(e)).astype(np.float64), axis=0) for e in range(3)]
    changes = np.concatenate(parts)
    assert np.allclose(mean, changes.mean(0), atol=1e-6) and np.allclose(std[1:], changes.std(0)[1:], atol=1e-6)
    assert std[0] == 1.0  # the store's first action counts: its change never changes
    assert not np.allclose(std, column_statistics([store], [(0, 1, 2)], "action")[1])


def test_the_inverse_error_is_that_of_the_blocks_between_latents_without_the_first() -> None:
    model, batch = JEPA(replace(TINY, inverse=True)), window()
    model.inverse = torch.nn.Identity()  # type: ignore[assignment]
    told = model.scale_blocks(batch.blocks)
    z = torch.randn(5, 4, told.shape[-1] // 2)
    pairs = torch.cat([z[:, 1:-1], z[:, 2:]], -1)
    assert torch.allclose(inverse_error(model, z, batch.blocks), (pairs - told[:, 1:3]).square().mean())


@pytest.mark.parametrize("part", ["inverse", "grounding", "colour"])
def test_each_part_is_added_with_its_weight_and_reaches_the_encoder(part: str) -> None:
    model = JEPA(replace(TINY, inverse=True, grounding=True, colours=3))
    model.encoder.requires_grad_(True)
    batch, plain = window(), ObjectiveConfig(sigreg=0.0)
    model.colours.fit(batch.pixels.flatten(0, 1))
    model.eval()  # so that both calls see the same normalisation
    without = losses(model, batch, plain, torch.Generator().manual_seed(0))
    weighted = losses(model, batch, replace(plain, **{part: 0.7}), torch.Generator().manual_seed(0))
    error = getattr(weighted, part)
    assert error > 0 and getattr(without, part) == 0
    assert torch.allclose(weighted.total, without.total + 0.7 * error)
    error.backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def test_grounding_reads_the_scaled_robot_state() -> None:
    model, batch = JEPA(replace(TINY, grounding=True)).eval(), window()
    model.proprio_scaler.std.fill_(3.0)
    with torch.no_grad():
        model.grounding.weight.zero_()
        model.grounding.bias.zero_()
    found = losses(model, batch, ObjectiveConfig(grounding=1.0), torch.Generator().manual_seed(0))
    assert batch.proprio is not None
    assert torch.allclose(found.grounding, (batch.proprio / 3.0).square().mean())


def test_grounding_without_a_robot_state_is_refused() -> None:
    with pytest.raises(JepaflowError, match="--proprio"):
        JEPA(replace(TINY, proprio_dim=0, grounding=True))


@pytest.mark.parametrize("name", ["sigreg", "rollout", "inverse", "grounding"])
def test_negative_weights_are_refused(name: str) -> None:
    with pytest.raises(JepaflowError, match=name):
        ObjectiveConfig(**{name: -0.1})


def test_configurations_saved_before_these_options_still_load() -> None:
    saved = asdict(TINY)
    for name in ("action_change", "inverse", "grounding"):
        del saved[name]
    assert JEPAConfig.from_dict(saved) == TINY


def test_a_run_with_all_options_trains(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s.h5", [40, 44, 42])
    config = TrainConfig(
        DatasetConfig((store,), 0.34),
        steps=2,
        batch_size=4,
        action_change=True,
        proprio=True,
        val_batches=1,
        loss=ObjectiveConfig(rollout=0.5, rollout_steps=2, inverse=0.2, grounding=0.5),
    )
    trainer = Trainer(config, tmp_path / "run")
    trainer.fit()
    assert trainer.step == 2 and float(trainer.model.change_scaler.std.min()) > 0


def test_a_prefix_needs_the_rollout_that_teaches_it() -> None:
    with pytest.raises(JepaflowError, match="give --loss"):
        TrainConfig(prefix=3, loss=ObjectiveConfig(rollout=0.5, rollout_steps=2))
    with pytest.raises(JepaflowError, match="--prefix is 0"):
        TrainConfig(prefix=0)
    assert TrainConfig(prefix=2, loss=ObjectiveConfig(rollout=0.5, rollout_steps=2)).frames == 5


def test_a_prefix_predictor_learns_from_its_rollout() -> None:
    model = JEPA(replace(TINY, prefix=2)).train()
    config = ObjectiveConfig(rollout=1.0, rollout_steps=2, sigreg=0.0)
    losses(model, window(), config, torch.Generator().manual_seed(0)).rollout.backward()
    assert model.predictor.queries is not None and model.predictor.queries.grad is not None
    assert model.predictor.queries.grad.abs().sum() > 0


def _gradients(model: JEPA, config: ObjectiveConfig, pieces: int) -> tuple[dict[str, torch.Tensor], float]:
    model.zero_grad()
    parts = backward(model, window(batch=6), config, torch.Generator().manual_seed(0), pieces)
    torch.testing.assert_close(parts.total, parts.prediction + config.sigreg * parts.sigreg)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, float(parts.sigreg)


@pytest.mark.parametrize("pieces", [2, 3])
def test_accumulated_gradients_are_the_whole_batch_s(pieces: int) -> None:
    """In eval mode, where BatchNorm and dropout do not tell micro-batches apart."""
    model = JEPA(TINY).eval()
    (whole, _), (parts, _) = (_gradients(model, ObjectiveConfig(sigreg=0.0), n) for n in (1, pieces))
    assert whole.keys() == parts.keys() and any(g.abs().max() > 1e-4 for g in whole.values())
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-7)


def test_sigreg_of_micro_batches_weighs_as_that_of_the_batch() -> None:
    """A collapsed latent is equally far from a Gaussian in any share of the batch: the statistic must not shrink with it."""
    model = JEPA(TINY).eval()
    with torch.no_grad():
        model.projector[3].weight.zero_()
    (_, whole), (_, parts) = (_gradients(model, ObjectiveConfig(directions=4096), n) for n in (1, 3))
    assert whole > 1 and parts == pytest.approx(whole, rel=0.05)


def test_accumulation_trains_and_must_divide_the_batch(tmp_path: Path) -> None:
    store = write_store(tmp_path / "s.h5", [24, 30])
    data = DatasetConfig(path=(store,), val_fraction=0.0)
    config = TrainConfig(dataset=data, steps=2, batch_size=8, accumulate=2, device="cpu", log_every=1)
    trainer = Trainer(config, tmp_path / "run")
    before = [p.clone() for p in trainer.model.parameters()]
    trainer.fit()
    assert trainer.step == 2 and any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
    for accumulate in (0, 3, 8):
        with pytest.raises(JepaflowError, match="--accumulate"):
            replace(config, accumulate=accumulate)
