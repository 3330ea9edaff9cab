"""From arm to arm, films among the training, other looks: the stores, the measures, and each command from a store to a page."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.data.split import split_episodes
from jepaflow.data.store import Store
from jepaflow.diagnosis.latents import Trajectory
from jepaflow.studies.abroad import realigned
from jepaflow.studies.films import told_apart
from jepaflow.studies.outcome import Outcome, read_outcome
from jepaflow.studies.slices import action_free, normalised
from jepaflow.worldmodel.jepa import JEPA
from tests.training.tiny_run import TINY, make_store

SMALL = "--dataset.val-fraction 0.34 --preset tiny --block 1 --batch-size 4 --calibration-batches 1 --steps 2 --device cpu --seeds 1"


@pytest.fixture(scope="session")
def other_arm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three entries in an action instead of two."""
    lengths = [24, 25, 26, 27, 28, 29, 30, 31]
    actions = np.random.default_rng(2).normal(3.0, [1.0, 5.0, 0.1], (sum(lengths), 3))
    return make_store(tmp_path_factory.mktemp("arm") / "b.h5", lengths, actions, seed=4)


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright clips without actions."""
    path = make_store(tmp_path_factory.mktemp("films") / "clips.h5", [40, 44, 48, 52], seed=9)
    with h5py.File(path, "r+") as file:
        file["pixels"][:] = 200 + file["pixels"][:] // 8
        for name in ("action", "proprio", "state"):
            if name in file:
                del file[name]
    return path


def run(tmp_path: Path, *words: str) -> tuple[str, Outcome]:
    """Run a study and publish it; returns its kind and what it found."""
    places = [f"--output-dir={tmp_path / 'runs'}", f"--results-dir={tmp_path / 'results'}"]
    assert main(["study", *words, *places, *SMALL.split()]) == 0
    assert (
        main(["study", "publish", f"--results-dir={tmp_path / 'results'}", f"--output-dir={tmp_path / 'pages'}"]) == 0
    )
    (path,) = (tmp_path / "results").glob("*/summary.json")
    page = (tmp_path / "pages" / f"{path.parent.name}.md").read_text()
    assert ".png)" in page and "nan" not in page and str(tmp_path) not in path.read_text()
    return read_outcome(path)


def test_actions_in_a_common_form(other_arm: Path, tmp_path: Path) -> None:
    old, new = Store(other_arm), Store(normalised(other_arm, tmp_path, 5, (0, 1, 2)))
    rows = np.concatenate([old.episode_rows(e) for e in (0, 1, 2)])
    scaled = new.read("action", rows)
    assert new.dim("action") == 5 and not scaled[:, 3:].any()
    np.testing.assert_allclose(scaled[:, :3].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled[:, :3].std(0), 1, rtol=1e-3)
    every = np.arange(old.length)
    np.testing.assert_array_equal(new.pixels(every), old.pixels(every))
    np.testing.assert_array_equal(new.read("proprio", every), old.read("proprio", every))


def test_films_become_episodes_whose_actions_say_nothing(store: Path, films: Path, tmp_path: Path) -> None:
    robot, train = Store(store), (0, 1, 2, 3)
    mixed = Store(action_free(films, (1, 3), (100, 5), store, train, tmp_path))
    assert mixed.ep_len.tolist() == [44, 52, 44] and mixed.fps == robot.fps
    rows = np.concatenate([robot.episode_rows(e) for e in train])
    np.testing.assert_allclose(
        mixed.read("action", np.arange(140)), np.tile(robot.read("action", rows).mean(0), (140, 1)), rtol=1e-4
    )
    clip = Store(films)
    np.testing.assert_array_equal(mixed.pixels(mixed.episode_rows(1)), clip.pixels(clip.episode_rows(3)))
    small = make_store(tmp_path / "small.h5", [30], seed=1)
    with h5py.File(small, "r+") as file:
        del file["pixels"]
        file["pixels"] = np.zeros((30, 4, 4, 3), np.uint8)
    with pytest.raises(JepaflowError, match="Convert them alike"):
        action_free(small, (0,), (10, 4), store, train, tmp_path)
    with pytest.raises(JepaflowError, match=r"No clip of .* has the 60 frames"):
        action_free(films, (0,), (10, 60), store, train, tmp_path)


def test_a_permuted_arm_is_found_again() -> None:
    """Latents that move by the first entry of an action; on the other arm that is the second."""
    torch.manual_seed(0)
    model = JEPA(replace(TINY, block=1, history=1)).eval()
    own = replace(TINY, block=1, history=1)
    blocks = torch.randn(6, 30, 1, 2)

    def world(told: torch.Tensor) -> list[Trajectory]:
        found = []
        for e in range(6):
            z = [torch.randn(own.latent_dim)]
            with torch.inference_mode():
                for t in range(30):
                    z.append(model.predict(z[-1][None, None], told[e, t][None, None])[0, 0])
            found.append(Trajectory(e, 0, torch.stack(z), blocks[e]))
        return found

    with torch.no_grad():  # an untrained predictor ignores actions: let it hear
        for module in model.predictor.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(0, 0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    turned = world(blocks.flip(-1))
    found = realigned(model, turned, 0)

    def error(judge: JEPA) -> float:
        told = torch.cat([t.z[:-1] for t in turned])[:, None], torch.cat([t.blocks for t in turned])[:, None]
        came = torch.cat([t.z[1:] for t in turned])
        with torch.inference_mode():
            return float((judge.predict(*told)[:, -1] - came).square().mean())

    assert error(found) < 0.2 * error(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    changed = {name for name, value in found.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"action_encoder.mix.weight", "action_encoder.mix.bias"}


def test_what_is_far_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    known, own = rng.normal(0, [1, 10], (500, 2)), rng.normal(0, [1, 10], (200, 2))
    assert told_apart(known, own, rng.normal(0, [1, 10], (200, 2))) == pytest.approx(0.5, abs=0.08)
    assert told_apart(known, own, own + [8, 0]) > 0.99 > 0.7 > told_apart(known, own, own + [0, 8])


def test_from_arm_to_arm(store: Path, other_arm: Path, tmp_path: Path) -> None:
    kind, outcome = run(tmp_path, "transfer-arms", "--dataset.path", str(store), str(other_arm), "--sizes", "2", "100")
    train = len(split_episodes(8, 0.34, 0).train)
    assert kind == "arms"
    for name in (
        "zero-shot/skill@1",
        f"realigned/gain@1/n={train}",
        "tuned/joints_r2/n=2",
        f"scratch/skill@5/n={train}",
    ):
        assert outcome.row(f"transfer/s_to_b/{name}") is not None, name
    assert outcome.row("transfer/b_to_s/saved/n=2") is not None


def test_films_among_the_training(store: Path, films: Path, tmp_path: Path) -> None:
    kind, outcome = run(
        tmp_path, "transfer-films", f"--dataset.path={store}", f"--films={films}", "--shares", "0", "0.5"
    )
    noticed = outcome.row("transfer/s/films=0/foreign_auroc_pixels")
    assert kind == "films" and noticed is not None and noticed.value > 0.95
    assert outcome.row("transfer/s/films=0.5/moved_agreement") is not None
    (mixed,) = (tmp_path / "runs" / "stores").glob("films-*.h5")
    robot = sum(int(Store(store).ep_len[e]) - 3 for e in split_episodes(9, 0.34, 0).train)
    lengths = [int(Store(mixed).ep_len[e]) - 3 for e in split_episodes(Store(mixed).num_episodes, 0.34, 0).train]
    assert sum(lengths) / (sum(lengths) + robot) == pytest.approx(0.5, abs=0.12)


def test_other_looks(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dark, wrong = tmp_path / "dark.h5", tmp_path / "wrong.h5"
    for path in (dark, wrong):
        with h5py.File(store) as old, h5py.File(path, "w") as new:
            for name in old:
                old.copy(name, new)
            new["pixels"][:] = new["pixels"][:] // 2
            new.attrs.update(old.attrs)
    with h5py.File(wrong, "r+") as file:
        file["action"][:] = file["action"][:] + 1
    kind, outcome = run(tmp_path, "transfer-looks", f"--dataset.path={store}", "--looks", str(store), str(dark))
    moved = outcome.row("transfer/s/dark/agreement")
    assert kind == "looks" and moved is not None and moved.value < 1 and outcome.row("transfer/s/s/agreement") is None
    assert outcome.row("transfer/s/dark/joints_r2") is not None and outcome.row("transfer/s/s/skill@5") is not None
    words = [
        "study",
        "transfer-looks",
        f"--dataset.path={store}",
        f"--output-dir={tmp_path / 'x'}",
        *SMALL.split(),
        "--looks",
    ]
    assert main([*words, str(store), str(wrong)]) == 1 and "not hold the same actions" in capsys.readouterr().err
    assert main([*words, str(store)]) == 1 and "at least one other" in capsys.readouterr().err


def test_one_store_is_no_pair(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "transfer-arms", f"--dataset.path={store}"]) == 2
    assert "two stores: --dataset.path A.h5 B.h5" in capsys.readouterr().err
