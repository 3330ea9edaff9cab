"""What a model imagines: it sees nothing after the frames given, errors are the latents', and every refusal says why."""

import json
from dataclasses import replace
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.evaluation.imagine import Imagination, Window, imagine, result_rows
from jepaflow.evaluation.imagine_picture import MARGIN, TILE, WORDS, caption, check_output, draw_imagination, title
from jepaflow.training.checkpoint import load_run
from jepaflow.training.decoding import DecodingConfig, load_decoder, train_decoder
from tests.stores import write_store
from tests.training.tiny_run import SIZE, TINY, make_run

LENGTHS = [13, 12, 16, 14, 30]
"""block 2 and history 3: from frame 0 on, now is control step 4"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagine")
    torch.set_num_threads(1)
    store = write_store(folder / "s.h5", LENGTHS, size=SIZE, cameras=("top", "wrist"))
    run = make_run(folder / "run", store, [0, 1], [2, 3, 4], replace(TINY, cameras=("pixels", "wrist")))
    train_decoder(load_run(run), DecodingConfig(steps=3, batch_size=2), "x")
    return run


def shown_of(run: Path, **window: object) -> Imagination:
    return imagine(load_run(run, "cpu"), Window(**{"horizon": 3, **window}))  # type: ignore[arg-type]


def test_frames_and_errors_are_those_of_the_steps_named(run: Path) -> None:
    shown = shown_of(run, episode=3, start=1, other=2, camera="wrist")
    assert shown.given == (1, 3, 5) and shown.block == 2 and shown.steps == 3 and not shown.trained_on
    store, loaded, decoder = Store(run.parent / "s.h5"), load_run(run, "cpu"), load_decoder(run)
    rows = store.episode_rows(3)
    assert np.array_equal(shown.real, store.pixels(rows[5:12], ("wrist",))[:, 0])
    with torch.no_grad():
        z = loaded.model.encode(torch.from_numpy(store.pixels(rows[1:12:2], ("pixels", "wrist")))[None])[0]
        plans = [torch.from_numpy(store.read("action", store.episode_rows(e))).float() for e in (3, 2)]
        past = plans[0][1:5].view(1, 2, 2, 2)
        ahead = [loaded.model.rollout(z[None, :3], past, plan[5:11].view(1, 3, 2, 2))[0] for plan in plans]
    unit = float(decoder.spread)
    for found, latents in zip((shown.error, shown.mismatched_error), ahead):
        assert found is not None and found[0] == 0
        expected = ((latents - z[3:]).square().mean(-1) / unit).sqrt().numpy()
        np.testing.assert_allclose(found[1:], expected, rtol=1e-4)
    np.testing.assert_allclose(shown.still[1:], ((z[2] - z[3:]).square().mean(-1) / unit).sqrt(), rtol=1e-4)
    assert np.array_equal(shown.imagined[1:], decoder.pictures(ahead[0])[:, 1].numpy())
    assert np.array_equal(shown.reconstructed, decoder.pictures(z[2:])[:, 1].numpy())


def test_what_comes_later_is_not_seen(run: Path, tmp_path: Path) -> None:
    before = shown_of(run, episode=3)
    with h5py.File(run.parent / "s.h5", "r") as file:
        changed = {name: file[name][:] for name in ("pixels", "pixels_wrist")}
        begin = int(file["ep_offset"][3])
    path = write_store(tmp_path / "later.h5", LENGTHS, size=SIZE, cameras=("top", "wrist"))
    with h5py.File(path, "r+") as file:
        for name, values in changed.items():
            values[begin + 5 : begin + LENGTHS[3]] = 255 - values[begin + 5 : begin + LENGTHS[3]]
            file[name][:] = values
    after = imagine(load_run(run, "cpu"), Window(episode=3, horizon=3), path)
    assert np.array_equal(before.imagined, after.imagined) and not np.array_equal(before.real, after.real)
    assert not np.allclose(before.error[1:], after.error[1:])


def test_the_other_episode_is_held_out_long_enough_and_another(run: Path) -> None:
    assert shown_of(run).episode == 2, "the first that was held out"
    assert {shown_of(run, episode=2, seed=seed).other for seed in range(20)} == {3, 4}
    assert {shown_of(run, episode=2, horizon=5, seed=seed).other for seed in range(10)} == {3, 4}
    assert shown_of(run, episode=3, start=2, horizon=3).other in (2, 4)
    alone = shown_of(run, episode=4, horizon=12)
    assert alone.other is None and alone.mismatched is None and alone.mismatched_error is None
    assert "No other held-out episode is long enough" in caption(alone)
    trained = shown_of(run, episode=0)
    assert trained.trained_on and "flatters" in caption(trained) and "trained on" in title(trained)


@pytest.mark.parametrize("window", [{"horizon": 1}, {"episode": 4, "horizon": 12}, {"episode": 4, "horizon": 5}])
def test_the_picture_shows_the_frames(run: Path, tmp_path: Path, window: dict[str, int]) -> None:
    shown = shown_of(run, **window)
    draw_imagination(tmp_path / "a.png", shown)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    wanted = np.kron(shown.real[0], np.ones((TILE // SIZE, TILE // SIZE, 1), np.uint8))
    column = sheet[:, MARGIN + WORDS : MARGIN + WORDS + TILE]
    assert any(np.array_equal(column[top : top + TILE], wanted) for top in range(len(column) - TILE))
    last = np.kron(shown.imagined[-1], np.ones((TILE // SIZE, TILE // SIZE, 1), np.uint8))
    assert any(
        np.array_equal(sheet[top : top + TILE, left : left + TILE], last)
        for top in range(sheet.shape[0] - TILE)
        for left in range(MARGIN + WORDS, sheet.shape[1] - TILE)
        if np.array_equal(sheet[top, left], last[0, 0])
    )


def test_the_film_lasts_long_enough(run: Path, tmp_path: Path) -> None:
    draw_imagination(tmp_path / "a.mp4", shown_of(run, episode=2))
    with av.open(str(tmp_path / "a.mp4")) as film:
        frames = sum(1 for _ in film.decode(video=0))
        assert frames / float(film.streams.video[0].average_rate or 1) > 5


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "imagine",
        str(run),
        "--episode",
        "2",
        "--start",
        "1",
        "--horizon",
        "2",
        "--camera",
        "top",
        "--device",
        "cpu",
    ]
    assert main([*words, "--output", str(tmp_path / "a.png"), "--json", str(tmp_path / "a.json")]) == 0
    assert "2 model steps (0.4 s) ahead: latent error" in capsys.readouterr().out
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["run/imagine/error@1", "run/imagine/error@2"]
    assert set(rows[0]["floors"]) == {"still", "random_frames", "other_actions"}
    assert main([*words, "--output", str(tmp_path / "a.gif")]) == 1
    assert "a .png or an .mp4" in capsys.readouterr().err
    shown = shown_of(run, episode=2)
    assert [row.value for row in result_rows(shown, "a")] == pytest.approx(shown.error[1:].tolist())


def test_sentences(run: Path, tmp_path: Path) -> None:
    for window, words in (
        ({"episode": 5}, "has no episode 5: it has 0 to 4, of which .* was not trained on 2, 3, 4. .*--episode"),
        ({"episode": -1}, "has no episode -1"),
        ({"other": 9}, "has no episode 9: .*--other"),
        ({"episode": 3, "horizon": 5}, "has 14 frames; .* no 5 model steps left: give --horizon 4 at most"),
        ({"episode": 3, "start": 12}, "choose an earlier --start"),
        ({"episode": 4, "other": 1, "horizon": 5}, "Episode 1 of .* has 12 frames, 14 are needed"),
        ({"camera": "phone"}, "sees no camera 'phone'; it sees pixels, wrist"),
        ({"horizon": 0}, "--horizon must be at least 1"),
        ({"start": -1}, "must not be negative"),
    ):
        with pytest.raises(JepaflowError, match=words):
            shown_of(run, **window)
    with pytest.raises(JepaflowError, match=r"a .png or an .mp4"):
        check_output(Path("a.jpg"))
    bare = make_run(tmp_path / "bare", write_store(tmp_path / "b.h5", [9, 9], size=SIZE), [0], [1])
    with pytest.raises(JepaflowError, match=r"has no decoder yet\. Train one with: jepaflow decoder"):
        shown_of(bare)
    large = write_store(tmp_path / "l.h5", LENGTHS, size=16, seed=5)
    with pytest.raises(JepaflowError, match="frames of 16 px"):
        imagine(load_run(run, "cpu"), Window(), large)


@pytest.mark.parametrize("proprio", [0, 2])
def test_one_camera_of_16_px_two_latents_and_one_step(tmp_path: Path, proprio: int) -> None:
    store = write_store(tmp_path / "s.h5", [2, 2], size=16)
    config = replace(TINY, image_size=16, latent_dim=2, history=1, block=1, proprio_dim=proprio)
    run = make_run(tmp_path / "run", store, [0], [1], config)
    train_decoder(load_run(run), DecodingConfig(steps=1, batch_size=1), "x")
    shown = shown_of(run, horizon=1)
    assert shown.given == (0,) and shown.other is None and "1 frame (control step 0)" in caption(shown)
    draw_imagination(tmp_path / "a.png", shown)
    draw_imagination(tmp_path / "a.mp4", shown)
