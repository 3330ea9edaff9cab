"""The model: published parameter counts, causality, rollout against its definition, degenerate sizes first."""

from dataclasses import asdict, replace

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig
from jepaflow.worldmodel.presets import PRESETS, preset

TINY = JEPAConfig(
    image_size=8, action_dim=2, block=3, latent_dim=6, projector_hidden=5,
    encoder=EncoderConfig(width=7, channels=(4,)), predictor=PredictorConfig(depth=2, heads=2, dim_head=3, mlp=8),
)  # fmt: skip


def awake(config: JEPAConfig) -> JEPA:
    """A model in eval mode whose AdaLN gates are open: at initialisation they are zero and hide the actions."""
    model = JEPA(config).eval()
    for layer in model.predictor.layers:
        torch.nn.init.normal_(layer.modulation.weight, std=0.5)
    return model


def test_paper_preset_has_the_published_parameters() -> None:
    model = JEPA(preset("paper", action_dim=2, block=5))
    parts = {name: sum(p.numel() for p in module.parameters()) for name, module in model.named_children()}
    assert parts["encoder"] == 5_501_376
    assert parts["predictor"] == 10_791_360
    assert parts["projector"] + parts["pred_proj"] == 1_585_536
    assert parts["action_encoder"] == 156_206
    assert sum(p.numel() for p in model.parameters()) == 18_034_478
    arm = JEPA(preset("paper", action_dim=6, block=5))
    assert sum(p.numel() for p in arm.action_encoder.parameters()) == 156_206 + 20 * (30 + 10 + 1) + 20 * 768


@pytest.mark.parametrize("name", sorted(set(PRESETS) - {"paper"}))
def test_small_presets_encode_their_frames(name: str) -> None:
    config = preset(name)
    model = JEPA(config).eval()
    z = model.encode(torch.zeros(1, 2, 1, config.image_size, config.image_size, 3, dtype=torch.uint8))
    assert z.shape == (1, 2, config.latent_dim) and z.dtype == torch.float32 and z.isfinite().all()


@pytest.mark.parametrize("batch,history,steps", [(1, 1, 1), (1, 3, 1), (2, 1, 5), (2, 3, 4)])
def test_rollout_is_repeated_prediction(batch: int, history: int, steps: int) -> None:
    model = awake(TINY)
    z = torch.randn(batch, history, 6)
    blocks = torch.randn(batch, history - 1 + steps, 3, 2)
    imagined = model.rollout(z, blocks[:, : history - 1], blocks[:, history - 1 :])
    states = z
    for _ in range(steps):
        n = states.shape[1]
        begin = max(0, n - TINY.history)
        states = torch.cat([states, model.predict(states[:, begin:], blocks[:, begin:n])[:, -1:]], 1)
    torch.testing.assert_close(imagined, states[:, history:])


def test_zero_steps_of_rollout_are_empty() -> None:
    assert JEPA(TINY).eval().rollout(torch.randn(2, 1, 6), torch.empty(2, 0, 3, 2), torch.empty(2, 0, 3, 2)).shape == (
        2,
        0,
        6,
    )


@pytest.mark.parametrize(("frames", "steps", "prefix"), [(1, 1, 1), (1, 1, 3), (2, 3, 3), (3, 7, 3), (2, 5, 9)])
def test_a_prefix_predictor_imagines_its_prefix_in_one_pass(frames: int, steps: int, prefix: int) -> None:
    torch.manual_seed(0)
    model = awake(replace(TINY, prefix=prefix))
    z, blocks = torch.randn(2, frames, 6), torch.randn(2, frames - 1 + steps, 3, 2)
    imagined = model.rollout(z, blocks[:, : frames - 1], blocks[:, frames - 1 :])
    assert imagined.shape == (2, steps, 6)
    window, first = TINY.history, min(prefix, steps)
    begin = max(0, frames - window)
    once = model.predict(z[:, begin:], blocks[:, begin : frames - 1 + first])[:, -first:]
    torch.testing.assert_close(imagined[:, :first], once)
    later = blocks.clone()
    later[:, -1] += 1.0  # the last block changes the last forecast alone
    changed = model.rollout(z, later[:, : frames - 1], later[:, frames - 1 :])
    torch.testing.assert_close(changed[:, :-1], imagined[:, :-1])
    assert not torch.allclose(changed[:, -1], imagined[:, -1])


def test_prediction_is_causal_and_hears_actions() -> None:
    model = awake(TINY)
    z, blocks = torch.randn(1, 3, 6), torch.randn(1, 3, 3, 2)
    base = model.predict(z, blocks)
    later_z, later_blocks = z.clone(), blocks.clone()
    later_z[:, 2] += torch.randn(6)
    later_blocks[:, 2] += 1
    for changed in (model.predict(later_z, blocks), model.predict(z, later_blocks)):
        torch.testing.assert_close(changed[:, :2], base[:, :2])
        assert (changed[:, 2] - base[:, 2]).abs().max() > 1e-3


def test_a_prefix_is_a_shorter_history() -> None:
    model = awake(TINY)
    z, blocks = torch.randn(2, 3, 6), torch.randn(2, 3, 3, 2)
    torch.testing.assert_close(model.predict(z[:, :1], blocks[:, :1]), model.predict(z, blocks)[:, :1])


def test_actions_enter_in_dataset_units() -> None:
    """Scaling the dataset's unit and the scaler together changes nothing."""
    model = awake(TINY)
    z, blocks = torch.randn(2, 3, 6), torch.randn(2, 3, 3, 2)
    before = model.predict(z, blocks)
    model.action_scaler.std.mul_(1000)
    torch.testing.assert_close(model.predict(z, blocks * 1000), before)


def test_proprioception_is_an_input_when_asked_for() -> None:
    model = JEPA(JEPAConfig(**{**TINY.__dict__, "proprio_dim": 4})).eval()
    pixels = torch.zeros(2, 1, 1, 8, 8, 3, dtype=torch.uint8)
    with pytest.raises(JepaflowError, match=r"observation\.state"):
        model.encode(pixels)
    one, two = model.encode(pixels, torch.zeros(2, 1, 4)), model.encode(pixels, torch.ones(2, 1, 4))
    assert (one - two).abs().max() > 1e-4


def test_every_view_counts() -> None:
    model = JEPA(JEPAConfig(**{**TINY.__dict__, "cameras": ("pixels", "phone")})).eval()
    pixels = torch.zeros(1, 1, 2, 8, 8, 3, dtype=torch.uint8)
    changed = pixels.clone()
    changed[:, :, 1] = 255
    assert (model.encode(pixels) - model.encode(changed)).abs().max() > 1e-4


def test_config_survives_json() -> None:
    assert JEPAConfig.from_dict(asdict(TINY)) == TINY


@pytest.mark.parametrize("changes", [{"latent_dim": 0}, {"history": 0}, {"cameras": ()}, {"block": -1}])
def test_bad_configurations_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(JepaflowError):
        JEPAConfig(**{**TINY.__dict__, **changes})
    with pytest.raises(JepaflowError, match="paper"):
        preset("huge")


def test_bad_frame_sizes_are_refused() -> None:
    with pytest.raises(JepaflowError, match="patches"):
        JEPA(preset("paper", image_size=225))
    with pytest.raises(JepaflowError, match="multiple of 4"):
        JEPA(preset("nano", image_size=63))


def test_withheld_proprioception_is_withheld_from_whole_windows_and_in_training_alone() -> None:
    torch.manual_seed(0)
    model = JEPA(replace(TINY, proprio_dim=3, proprio_dropout=0.5)).eval()
    pixels = torch.randint(0, 256, (64, 2, 1, 8, 8, 3), dtype=torch.uint8)
    state = torch.randn(64, 2, 3)
    full = model.encode(pixels, state)
    assert torch.equal(full, model.encode(pixels, state))
    model.training = True  # but not its BatchNorms: a row's latent depends on that row alone
    same = (model.encode(pixels, state) == full).flatten(1)
    kept = same.all(1)
    assert 15 < int(kept.sum()) < 49 and not same[~kept].any()


def test_all_of_the_proprioception_cannot_be_withheld() -> None:
    with pytest.raises(JepaflowError, match="proprio_dropout is 1"):
        replace(TINY, proprio_dropout=1.0)
