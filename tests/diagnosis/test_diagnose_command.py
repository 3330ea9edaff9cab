"""`jepaflow diagnose` from a run folder to its report, on a small real model and a small real store."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from diagnosis_runs import LENGTHS, QUICK, VAL, make_run
from diagnosis_worlds import LinearWorld, write_store

from jepaflow.cli.diagnose import Args, DatasetArgs, run
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.heldout import held_out
from jepaflow.diagnosis.latents import choose_episodes, choose_phases, encode_episodes
from jepaflow.diagnosis.measure import Options, diagnose_run, pool
from jepaflow.diagnosis.report import metrics, write_report
from jepaflow.training.checkpoint import load_run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "push.h5", LENGTHS)


@pytest.fixture
def run_folder(tmp_path: Path, store: Path) -> Path:
    return make_run(tmp_path / "runs" / "a", store)


def test_untrained_model_is_not_called_sighted(run_folder: Path) -> None:
    sight = diagnose_run(run_folder, options=Options(skip=QUICK, draws=100)).verdict.sight
    assert sight in ("collapsed", "blind", "deaf")


def test_only_held_out_episodes_are_judged(run_folder: Path) -> None:
    diagnosis = diagnose_run(run_folder, options=Options(skip=QUICK, draws=10))
    assert list(diagnosis.errors.episodes) == VAL
    assert diagnosis.facts["windows"] == sum(-(-(LENGTHS[e] - p) // 2) - 2 for e in VAL for p in (0, 1))


def test_same_seed_same_figures(run_folder: Path) -> None:
    one, two = (metrics(diagnose_run(run_folder, options=Options(skip=QUICK, draws=50, seed=4)), "") for _ in range(2))
    assert one == two


def test_results_rows_of_one_run(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "push.json"
    run(Args((run_folder,), skip=QUICK, json=out, name="push", draws=50))
    result = json.loads(out.read_text())
    rows = {row["name"]: row for row in result["rows"]}
    expected = {f"push/{k}@{h}" for h in range(1, 11) for k in ("skill", "skill_shuffled")} | {"push/effective_rank"}
    assert expected <= set(rows)
    assert all(row["low"] <= row["value"] <= row["high"] and row["seeds"] == 1 for row in rows.values())
    assert "--json" in result["command"] and "--name push" in result["command"]


def test_seeds_are_pooled(tmp_path: Path, store: Path) -> None:
    runs = tuple(make_run(tmp_path / "runs" / f"s{seed}", store, seed) for seed in range(3))
    out = tmp_path / "pooled.json"
    assert run(Args(runs, skip=QUICK, json=out, name="push", draws=100, output_dir=tmp_path / "reports")) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    each = [json.loads((tmp_path / "reports" / f"s{s}" / "metrics.json").read_text()) for s in range(3)]
    assert rows["push/skill@1"]["seeds"] == 3
    assert rows["push/skill@1"]["value"] == pytest.approx(np.mean([m["skill"][0]["value"] for m in each]))
    assert rows["push/skill@1"]["n"] == sum(m["skill"][0]["n"] for m in each)
    assert rows["push/effective_rank"]["value"] == pytest.approx(np.mean([m["effective_rank"]["value"] for m in each]))


def test_runs_of_different_settings_are_not_pooled(tmp_path: Path, store: Path) -> None:
    runs = (make_run(tmp_path / "a", store), make_run(tmp_path / "b", store, latent_dim=4))
    with pytest.raises(JepaflowError, match="latent_dim differs"):
        pool([diagnose_run(folder, options=Options(skip=QUICK, draws=10)) for folder in runs], Options(skip=QUICK))


def test_one_held_out_episode_is_undecided_and_still_reported(tmp_path: Path, store: Path) -> None:
    folder = make_run(tmp_path / "a", store, val=[2])
    run(Args((folder,), skip=QUICK, draws=10, json=tmp_path / "r.json"))
    figures = json.loads((folder / "diagnosis" / "metrics.json").read_text())
    assert figures["verdict"]["sight"] in ("undecided", "collapsed")
    assert figures["skill"][0]["low"] is None and figures["skill_shuffled"][0]["value"] is None
    rows = {row["name"]: row for row in json.loads((tmp_path / "r.json").read_text())["rows"]}
    assert "no interval" in rows["r/skill@1" if "r/skill@1" in rows else "a/skill@1"]["note"]
    assert not any("shuffled@" in name for name in rows)


def test_a_latent_that_never_moves_has_collapsed(tmp_path: Path, store: Path) -> None:
    folder = make_run(tmp_path / "dead", store)
    weights = folder / "checkpoints" / "last" / "pretrained_model" / "model.safetensors"
    from safetensors.torch import load_file, save_file

    state = load_file(weights)
    save_file({k: torch.zeros_like(v) if k == "projector.3.weight" else v for k, v in state.items()}, weights)
    diagnosis = diagnose_run(folder, options=Options(skip=QUICK, draws=10))
    assert diagnosis.verdict.sight == "collapsed" and "effective rank 0.0" in diagnosis.verdict.sentence
    write_report(diagnosis, tmp_path / "report", "")
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["effective_rank"]["value"] == 0


def test_plain_videos_have_no_actions(run_folder: Path, tmp_path: Path) -> None:
    path = write_store(tmp_path / "videos.h5", LENGTHS, source="videos")
    with h5py.File(path, "r+") as file:
        del file["action"]
    with pytest.raises(JepaflowError, match="has no actions"):
        diagnose_run(run_folder, path)


def test_wrong_image_size_is_named(run_folder: Path, tmp_path: Path) -> None:
    other = write_store(tmp_path / "large.h5", LENGTHS, size=48)
    with pytest.raises(JepaflowError, match="image size 48 but the model was trained with 32"):
        diagnose_run(run_folder, other)


def test_too_short_episodes_are_named(tmp_path: Path) -> None:
    store = write_store(tmp_path / "short.h5", [3, 4, 4, 4, 4, 4])
    with pytest.raises(JepaflowError, match="has the 5 frames that a single forecast needs"):
        diagnose_run(make_run(tmp_path / "a", store))


def test_nan_action_names_the_frame(run_folder: Path, store: Path) -> None:
    with h5py.File(store, "r+") as file:
        file["action"][int(file["ep_offset"][3]) + 11, 1] = np.nan
    with pytest.raises(JepaflowError, match="action of episode 3 is not finite at frame 11"):
        diagnose_run(run_folder)


def test_missing_store_says_what_to_do(run_folder: Path, store: Path) -> None:
    store.unlink()
    with pytest.raises(JepaflowError, match=r"--dataset\.path"):
        diagnose_run(run_folder)


def without_first_episode(source: Path, path: Path) -> Path:
    """The same recordings less the first, as another conversion would hold them, under another source's name."""
    with h5py.File(source) as old, h5py.File(path, "w") as new:
        for name, data in old.items():
            new[name] = data[1:] if name.startswith("ep_") else data[LENGTHS[0] :]
        new["ep_offset"][...] -= LENGTHS[0]
        for key, value in old.attrs.items():
            new.attrs[key] = value
        new.attrs["jepaflow"] = old.attrs["jepaflow"].replace('"source": "', '"source": "renamed-')
    return path


def test_training_data_is_known_again_under_any_name(run_folder: Path, store: Path, tmp_path: Path) -> None:
    """A renamed, moved or partial copy must not let training episodes judge; what was never seen may."""
    loaded = load_run(run_folder)
    renamed = write_store(tmp_path / "copy.h5", LENGTHS, source="another-name")
    assert list(held_out(loaded, renamed).episodes) == VAL
    assert list(held_out(loaded, without_first_episode(store, tmp_path / "fewer.h5")).episodes) == [0, 2, 3]
    foreign = write_store(tmp_path / "foreign.h5", LENGTHS)  # the same source's name, other recordings
    with h5py.File(foreign, "r+") as file:
        file["action"][...] += 1
    assert list(held_out(loaded, foreign).episodes) == list(range(len(LENGTHS)))


def test_a_run_remembers_what_it_trained_on(run_folder: Path, store: Path, tmp_path: Path) -> None:
    """When its store is gone the run's own record decides; without a record nothing is judged."""
    loaded, opened = load_run(run_folder), Store(store)
    copy = write_store(tmp_path / "copy.h5", LENGTHS, source="another-name")
    marks = [opened.fingerprint(episode) for episode in loaded.train_episodes]
    store.unlink()
    with pytest.raises(JepaflowError, match="does not record what it trained on"):
        held_out(loaded, copy)
    record = {"image_fit": opened.meta.get("image_fit"), "fps": opened.fps, "train": marks}
    (run_folder / "data.json").write_text(json.dumps([record]))
    assert list(held_out(loaded, copy).episodes) == VAL
    for changes in ({"image_fit": "pad"}, {"fps": 99.0}):
        (run_folder / "data.json").write_text(json.dumps([{**record, **changes}]))
        with pytest.raises(JepaflowError, match="was trained with"):
            diagnose_run(run_folder, copy)


def test_nothing_held_out_is_refused(tmp_path: Path, store: Path) -> None:
    with pytest.raises(JepaflowError, match="was held out"):
        diagnose_run(make_run(tmp_path / "a", store, val=[]))


def test_frames_and_blocks_line_up_in_every_phase(store: Path) -> None:
    """``blocks[t]`` are the actions from frame ``t`` to ``t + 1``, whatever the phase: checked against the file."""

    class Numbered(Store):
        def pixels(self, rows: np.ndarray, cameras: tuple[str, ...] = ("pixels",)) -> np.ndarray:
            frames = np.zeros((len(rows), 1, 1, 1, 3), np.uint8)
            frames[..., 0], frames[..., 1] = (x[:, None, None, None] for x in (rows % 256, rows // 256))
            return frames

    opened = Numbered(store)
    table = torch.arange(sum(LENGTHS), dtype=torch.float32)[:, None]
    world = LinearWorld(table, torch.eye(1), torch.zeros(2, 1))
    found = encode_episodes(world, opened, [1, 2], cameras=["pixels"], block=3, phases=[0, 2], proprio=False)
    actions = opened.read("action", np.arange(sum(LENGTHS)))
    assert [(t.episode, t.phase) for t in found] == [(1, 0), (1, 2), (2, 0), (2, 2)]
    for t in found:
        rows = t.z[:, 0].long().numpy()
        assert rows[0] == LENGTHS[0] + (LENGTHS[1] if t.episode == 2 else 0) + t.phase
        assert (np.diff(rows) == 3).all()
        for step in range(len(rows) - 1):
            np.testing.assert_array_equal(t.blocks[step].numpy(), actions[rows[step] : rows[step] + 3])


def test_choices_are_bounded_and_seeded() -> None:
    assert choose_episodes([5, 2, 9], 10, 0) == [2, 5, 9]
    assert choose_episodes(range(100), 7, 1) == choose_episodes(range(100), 7, 1)
    assert len(set(choose_episodes(range(100), 7, 1))) == 7
    assert choose_phases([100], 5, 1) == [0]
    assert choose_phases([100], 5, 10**6) == [0, 1, 2, 3, 4]
    assert choose_phases([100], 4, 50) == [0, 2]


@pytest.mark.parametrize("field", ["horizon", "episodes", "frames", "draws"])
def test_senseless_options_are_refused(field: str) -> None:
    with pytest.raises(JepaflowError, match=f"--{field} is 0"):
        Options(skip=QUICK, **{field: 0})


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match="at least one run"):
        run(Args(()))
    with pytest.raises(JepaflowError, match="is not a run folder"):
        run(Args((tmp_path,), dataset=DatasetArgs()))
