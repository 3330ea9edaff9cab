"""Training a decoder: the model stays as it is, the held-out episodes too, and an interruption changes nothing."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.training import fitting
from jepaflow.training.checkpoint import load_run, save_checkpoint
from jepaflow.training.decoder_figures import nearest
from jepaflow.training.decoding import DecodingConfig, differing_rows, load_decoder, pixel_loss, train_decoder
from jepaflow.worldmodel.decoder import Decoder, DecoderConfig
from tests.stores import write_store
from tests.training.tiny_run import SIZE, TINY, make_run

LENGTHS = [9, 12, 8, 14]
QUICK = DecodingConfig(steps=4, batch_size=3)


@pytest.fixture(autouse=True)
def single() -> None:
    torch.set_num_threads(1)


def run_of(folder: Path, cameras: tuple[str, ...] = ("top",), val: tuple[int, ...] = (2, 3)) -> Path:
    store = write_store(folder / "s.h5", LENGTHS, size=SIZE, cameras=cameras)
    names = ("pixels", *cameras[1:])
    train = [e for e in range(len(LENGTHS)) if e not in val]
    return make_run(folder / "run", store, train, list(val), replace(TINY, cameras=names))


@pytest.mark.parametrize("cameras", [("top",), ("top", "wrist")])
def test_the_model_is_not_touched(tmp_path: Path, cameras: tuple[str, ...]) -> None:
    run = run_of(tmp_path, cameras)
    files = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*") if path.is_file()}
    loaded = load_run(run)
    before = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    record = train_decoder(loaded, QUICK, "jepaflow decoder run")
    assert all(torch.equal(before[key], value) for key, value in loaded.model.state_dict().items())
    assert all(p.grad is None for p in loaded.model.parameters())
    assert all(path.read_bytes() == content for path, content in files.items())
    decoder = load_decoder(run)
    pictures = decoder.pictures(torch.randn(1, 6))
    assert pictures.shape == (1, len(cameras), SIZE, SIZE, 3) and not decoder.training
    names = {row["name"] for row in record["rows"]}
    per_camera = {f"decoder/psnr/{c}" for c in ("pixels", "wrist")} if len(cameras) > 1 else set()
    assert names >= {"decoder/psnr", "decoder/ssim", "decoder/psnr_apart"} | per_camera
    assert all(set(row["floors"]) == {"mean", "nearest"} for row in record["rows"])
    written = json.loads((run / "decoder.json").read_text())
    assert written["checkpoint_step"] == 7 and written["episodes"] == {"trained": 2, "held_out": 2}
    assert not (run / "decoder.partial").exists() and not list(run.glob(".*.tmp"))


def test_it_draws_what_the_latent_tells(tmp_path: Path) -> None:
    """Frames of one brightness: a latent of a random encoder tells it, so a decoder beats the mean by far."""
    store, rng = write_store(tmp_path / "s.h5", [30] * 8, size=SIZE), np.random.default_rng(0)
    with h5py.File(store, "r+") as file:
        bright = rng.integers(30, 226, (240, 1, 1, 1))
        file["pixels"][:] = np.broadcast_to(bright, (240, SIZE, SIZE, 3)).astype(np.uint8)
    run = make_run(tmp_path / "run", store, list(range(6)), [6, 7])
    record = train_decoder(load_run(run), DecodingConfig(steps=250, batch_size=16, lr=5e-3), "x")
    rows = {row["name"]: row for row in record["rows"]}
    psnr = rows["decoder/psnr"]
    assert psnr["value"] > psnr["floors"]["mean"] + 8 and psnr["floors"]["nearest"] > 30
    assert psnr["low"] <= psnr["value"] <= psnr["high"] and psnr["n"] == 60


def test_the_held_out_episodes_change_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    first = train_decoder(load_run(run), QUICK, "x")["rows"]
    saved = load_file(run / "decoder.safetensors")
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        begin = int(file["ep_offset"][2])
        file["pixels"][begin:] = 255 - file["pixels"][begin:]
    assert train_decoder(load_run(run), QUICK, "x")["rows"] != first
    again = load_file(run / "decoder.safetensors")
    assert all(torch.equal(value, saved[key]) for key, value in again.items())


def test_an_interrupted_training_ends_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, config = run_of(tmp_path), replace(QUICK, save_seconds=0.0)
    train_decoder(load_run(run), config, "x")
    whole = load_file(run / "decoder.safetensors")
    (run / "decoder.safetensors").unlink()
    save = fitting._save

    def dies(path: Path, about: str, step: int, *rest: object) -> None:
        save(path, about, step, *rest)  # type: ignore[arg-type]
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting, "_save", dies)
        train_decoder(load_run(run), config, "x")
    assert (run / "decoder.partial").is_file() and not (run / "decoder.safetensors").exists()
    train_decoder(load_run(run), config, "x")
    resumed = load_file(run / "decoder.safetensors")
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_focus_weighs_what_differs_from_the_median() -> None:
    decoder = Decoder(DecoderConfig(2, 8, ("a",)))
    frames = torch.full((1, 1, 8, 8, 3), 100, dtype=torch.uint8)
    decoder.base.fill_(100)
    frames[0, 0, 1, 1] = 200
    misses, ghosts = torch.full((1, 1, 8, 8, 3), 100.0), frames.float()
    ghosts[0, 0, 5, 5] = 200
    equal = [float(pixel_loss(decoder, drawn, frames, 0.0)) for drawn in (misses, ghosts)]
    assert equal == pytest.approx([100**2 / 64] * 2)
    focused = [float(pixel_loss(decoder, drawn, frames, 1.0)) for drawn in (misses, ghosts)]
    assert focused == pytest.approx([100**2 / 64 * 65 / 2, 100**2 / 64 / 2])
    assert float(pixel_loss(decoder, frames.float(), frames, 1.0)) == 0


def test_the_empty_scene_is_found_where_most_frames_show_one_pose() -> None:
    """Three quarters of the frames wait in one pose: rows that differ hardly hold it, so its median would not show it."""
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.uniform(-1, 1, (400, 3))).float()
    z[:300] = 0.001 * torch.randn(300, 3)
    rows = differing_rows(z, 40, 1000)
    assert len(rows) == 40 and (rows < 300).sum() <= 1
    assert differing_rows(z[:1], 40, 1000).tolist() == [0]
    assert len(differing_rows(z, 500, 100)) == 100
    assert differing_rows(torch.zeros(5, 2), 3, 10).tolist() == [0]


def test_nearest_finds_the_closest_row_and_its_gap() -> None:
    z = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    rows, gaps = nearest(z, torch.tensor([[2.9, 0.0], [0.0, 4.0]]))
    assert rows.tolist() == [1, 2] and gaps == pytest.approx([0.005, 0.5], abs=1e-5)


def test_without_held_out_episodes_there_are_no_figures(tmp_path: Path) -> None:
    assert train_decoder(load_run(run_of(tmp_path, val=())), QUICK, "x")["rows"] == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, json_file = run_of(tmp_path), tmp_path / "d.json"
    words = ["--steps", "2", "--batch-size", "2", "--lr", "1e-3", "--seed", "1", "--device", "cpu"]
    assert main(["decoder", str(run), *words, "--json", str(json_file)]) == 0
    assert {"run/decoder/psnr", "run/decoder/ssim"} <= {r["name"] for r in json.loads(json_file.read_text())["rows"]}
    said = capsys.readouterr().out
    assert "psnr_apart" in said and "the training frame with the nearest latent" in said
    assert json.loads((run / "decoder.json").read_text())["training"]["seed"] == 1


def test_sentences(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    with pytest.raises(JepaflowError, match=r"has no decoder yet\. Train one with: jepaflow decoder"):
        load_decoder(run)
    train_decoder(load_run(run), QUICK, "x")
    model = load_run(run).model
    save_checkpoint(run, 8, model, torch.optim.AdamW(model.parameters()))
    with pytest.raises(JepaflowError, match="checkpoint of step 7, the newest is of step 8"):
        load_decoder(run)
    (run / "decoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(JepaflowError, match="is damaged"):
        load_decoder(run)
    for wrong in ({"steps": 0}, {"batch_size": 0}, {"lr": 0.0}, {"focus": -1.0}):
        with pytest.raises(JepaflowError, match="--"):
            replace(QUICK, **wrong)  # type: ignore[arg-type]
