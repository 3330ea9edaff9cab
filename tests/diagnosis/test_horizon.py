"""Far horizons in worlds whose forecasts are known, and the drift of decoded pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diagnosis_worlds import CopyLast, LinearWorld, random_world, simulate, write_store

from jepaflow.data.store import Store
from jepaflow.diagnosis.captions import drift as say_drift
from jepaflow.diagnosis.captions import horizon as say_horizon
from jepaflow.diagnosis.close_up import take_close_up
from jepaflow.diagnosis.drift import measure_drift, window_places
from jepaflow.diagnosis.figures_horizon import draw_drift, draw_horizon
from jepaflow.diagnosis.forecast import cut_windows
from jepaflow.diagnosis.horizon import choose_windows, mean_latent_errors, measure_horizon
from jepaflow.diagnosis.latents import Trajectory, encode_episodes
from jepaflow.training.checkpoint import Run
from jepaflow.training.decoding import save_decoder
from jepaflow.worldmodel.decoder import Decoder, DecoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig


class MeanForecast:
    """Says the same latent always."""

    def __init__(self, mean: torch.Tensor) -> None:
        self.mean = mean

    def rollout(self, z: torch.Tensor, past: torch.Tensor, future: torch.Tensor) -> torch.Tensor:
        return self.mean.expand(len(z), future.shape[1], -1)


def test_an_exact_world_has_skill_one_to_the_end() -> None:
    a, b = random_world()
    trajectories = simulate(a, b, [60] * 8)
    found = measure_horizon(LinearWorld(torch.zeros(1), a, b), trajectories, history=3, draws=100)
    assert found is not None and found.reach == 50
    assert min(e.value for e in found.forecast.skill) > 1 - 1e-4
    assert found.forecast.shuffled[-1].value < 0  # far ahead nothing but the actions counts
    assert found.beats_copy_until == found.beats_mean_until == 50
    names = [r.name for r in found.rows("toy")]
    assert names == [f"toy/{kind}@{h}" for h in (20, 30, 40, 50) for kind in ("skill", "skill_shuffled")]
    assert found.rows("toy")[0].floors.keys() == {"copy_last", "mean_latent", "shuffled_actions"}
    assert draw_horizon(found, 0.5).startswith(b"\x89PNG") and "50 model steps" in say_horizon(found, 0.5)


def test_the_mean_latent_is_the_floor_that_copying_does_not_beat() -> None:
    """Of independent frames the mean has half of copy-last's error: skill one half."""
    g = torch.Generator().manual_seed(0)
    noise = [Trajectory(e, 0, torch.randn(60, 4, generator=g), torch.zeros(59, 2, 2)) for e in range(40)]
    found = measure_horizon(CopyLast(), noise, history=1, draws=100)
    assert found is not None
    assert [e.value for e in found.forecast.skill] == [0.0] * 50
    assert np.mean([e.value for e in found.mean]) == pytest.approx(0.5, abs=0.03)
    assert found.beats_copy_until == found.beats_mean_until == 0
    assert "at no horizon" in say_horizon(found, 0.5)


def test_mean_latent_leaves_its_own_episode_out() -> None:
    ones = [Trajectory(e, 0, torch.full((3, 2), float(e)), torch.zeros(2, 1, 1)) for e in (1, 4, 7)]
    windows = cut_windows(ones, 1, 2)
    assert windows is not None
    found = mean_latent_errors(windows, ones, (1, 4, 7))
    np.testing.assert_allclose(found, [[2 * 4.5**2, 4.5**2], [0, 0], [2 * 4.5**2, 4.5**2]])
    assert np.isnan(mean_latent_errors(cut_windows(ones[:1], 1, 2), ones[:1], (1,))).all()  # type: ignore[arg-type]


def test_episodes_end_and_too_short_ones_have_no_horizon() -> None:
    a, b = random_world()
    world = LinearWorld(torch.zeros(1), a, b)
    assert measure_horizon(world, simulate(a, b, [3, 2]), history=3) is None
    found = measure_horizon(world, simulate(a, b, [12, 30]), history=3, draws=50)
    assert found is not None and found.reach == 27
    far = found.forecast.skill[-1]
    assert (far.n, far.episodes) == (1, 1) and np.isnan(far.low)
    alone = measure_horizon(world, simulate(a, b, [8]), history=3, draws=50)
    assert alone is not None and np.isnan(alone.mean[0].value) and alone.beats_copy_until == 5
    assert draw_horizon(alone)


def test_windows_are_shared_among_bands_of_reach() -> None:
    reach = np.concatenate([np.arange(1, 51), np.full(500, 5)])
    chosen = choose_windows(reach, 60)
    assert len(chosen) == 60 and len(np.unique(chosen)) == 60
    band = (reach[chosen] - 1) // 10
    assert [(band == b).sum() for b in range(1, 5)] == [10, 10, 10, 10]
    assert choose_windows(reach, 1000).tolist() == list(range(550))


def test_places_are_those_of_the_windows() -> None:
    a, b = random_world()
    ones = simulate(a, b, [5, 3, 9])
    windows = cut_windows(ones, 3, 4)
    places = window_places(ones, 3)
    assert windows is not None and len(places) == len(windows.reach)
    for history, (which, now) in zip(windows.history, places):
        torch.testing.assert_close(history[-1], ones[which].z[now])


@pytest.fixture
def tiny_run(tmp_path: Path) -> tuple[Run, Store, list[Trajectory]]:
    """An untrained model of moving squares, with an untrained decoder."""
    torch.manual_seed(0)
    store = Store(write_store(tmp_path / "s.h5", [60, 40, 30, 50]))
    config = JEPAConfig(image_size=32, latent_dim=8, block=2)
    model = JEPA(config).eval()
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run", model, {}, tmp_path / "s.h5", [], [0, 1, 2, 3], 0)
    z = encode_episodes(model, store, [0, 1, 2, 3], cameras=("pixels",), block=2, phases=[0], proprio=False)
    return run, store, z


def test_drift_of_an_untrained_decoder(tiny_run: tuple[Run, Store, list[Trajectory]]) -> None:
    """It draws its base picture whatever the latent, so imagined, reconstructed and the base frame are one."""
    run, store, z = tiny_run
    decoder = Decoder(DecoderConfig(8, 32, ("pixels",))).eval()
    decoder.base.fill_(10.0)
    found = measure_drift(run.model, decoder, z, store, history=3, draws=50)
    assert found is not None and found.steps == (1, 2, 5, 10, 15, 20)
    for sources in found.scores.values():
        for i in range(len(found.steps)):
            values = {source: sources[source][i].value for source in sources}
            assert values["imagined"] == values["reconstructed"]
            assert values["imagined"] == pytest.approx(values["median_frame"], abs=1e-6)
    near, far = found.scores["psnr"]["copy_last"][0].value, found.scores["psnr"]["copy_last"][4].value
    assert near > far  # the square has moved on
    row = next(r for r in found.rows("toy") if r.name == "toy/decoded_psnr@10")
    assert row.floors.keys() == {"copy_last", "median_frame"} and row.ceilings.keys() == {"reconstructed"}
    assert draw_drift(found).startswith(b"\x89PNG") and say_drift(found)


def test_copy_last_is_scored_against_the_frame_so_many_steps_on(tiny_run: tuple[Run, Store, list[Trajectory]]) -> None:
    from jepaflow.training.picture_scores import psnr

    run, store, z = tiny_run
    found = measure_drift(run.model, Decoder(DecoderConfig(8, 32, ("pixels",))), z[:1], store, history=3, draws=10)
    assert found is not None
    now = 2 * np.arange(2, 25)  # of 30 frames, those with three behind them and five ahead
    real, last = store.pixels(now + 10)[:, 0], store.pixels(now)[:, 0]
    assert found.scores["psnr"]["copy_last"][2].value == pytest.approx(float(psnr(real, last).mean()))
    assert found.scores["psnr"]["copy_last"][2].n == len(now)


def test_the_close_up_is_whole(tiny_run: tuple[Run, Store, list[Trajectory]]) -> None:
    run, store, z = tiny_run
    close = take_close_up(run, store, z, draws=20)
    assert any("decoder" in sentence for sentence in close.missing)
    assert any("state" in sentence for sentence in close.missing)
    assert close.drift is None and close.isometry is None and close.neighbours is not None
    save_decoder(run.path, Decoder(DecoderConfig(8, 32, ("pixels",))), 0)
    close = take_close_up(run, store, z, draws=20)
    names = set(close.pictures())
    assert names == set(close.captions()) == set(close.titles())
    assert names == {"normality_time", "panels", "neighbours", "horizon", "drift"}
    assert json.loads(json.dumps(close.as_dict(), allow_nan=False))["horizon"]["windows"] > 0
    assert {"a/skill@20", "a/decoded_psnr@10", "a/normality_by_time"} <= {row.name for row in close.rows("a")}
