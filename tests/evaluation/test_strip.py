"""The picture of a plan: what it shows is what was seen, and what it says is what came of it."""

import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from jepaflow.cli.evaluate import Args, run
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.evaluation.closed_loop import plan_trials
from jepaflow.evaluation.named import load_protocol
from jepaflow.evaluation.outcome import Outcome
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.strip import Strips, choose, gather_strips
from jepaflow.evaluation.strip_picture import GOAL, MARGIN, TILE, check_strip, draw_strips, outcome_words
from jepaflow.evaluation.trials import Trials
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.training.decoder_figures import nearest
from jepaflow.worldmodel.presets import PRESETS
from tests.evaluation.test_evaluate import SOLVER, make_run

TINY = replace(PRESETS["nano"], image_size=16)
SETTINGS = PlannerConfig(ControllerConfig(SOLVER))


@pytest.fixture(scope="module")
def tried(two_room_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Trials, Outcome]:
    torch.manual_seed(0)
    trained = load_run(make_run(tmp_path_factory.mktemp("runs") / "a", two_room_store.path, TINY), "cpu")
    trials = replace(load_protocol("two_room_25").first(4), budget=12)
    return trained, trials, plan_trials(trained, trials, SETTINGS)[0]


@pytest.fixture(scope="module")
def strips(tried: tuple[Run, Trials, Outcome]) -> Strips:
    return gather_strips(*tried, SETTINGS, count=2)


def test_the_frames_are_those_that_the_controller_was_shown(
    tried: tuple[Run, Trials, Outcome], strips: Strips, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[np.ndarray] = []
    goals: list[np.ndarray] = []
    act, reset = Controller.act, Controller.reset

    def watched_act(self: Controller, pixels: np.ndarray | None, proprio: np.ndarray | None = None) -> np.ndarray:
        looks.extend([] if pixels is None else [pixels])
        return act(self, pixels, proprio)

    def watched_reset(self: Controller, goal: np.ndarray, *rest: np.ndarray) -> None:
        goals.append(goal)
        reset(self, goal, *rest)

    monkeypatch.setattr(Controller, "act", watched_act)
    monkeypatch.setattr(Controller, "reset", watched_reset)
    trained, trials, outcome = tried
    again = plan_trials(trained, trials, SETTINGS)[0]
    assert np.array_equal(again.states, outcome.states)
    assert len(looks) == 3  # control steps 0, 5, 10 of 12
    for i, trial in enumerate(strips.trials):
        assert np.array_equal(trial.goal, goals[0][i, 0])
        assert trial.real.shape == (13, 16, 16, 3)
        for look, seen in enumerate(looks):
            assert np.array_equal(trial.real[5 * look], seen[i, 0])
    assert not np.array_equal(strips.trials[0].real[0], strips.trials[1].real[0])


def test_outcome_and_distance_are_the_trials_own(tried: tuple[Run, Trials, Outcome], strips: Strips) -> None:
    _, _, outcome = tried
    assert strips.unit == "px"
    for trial in strips.trials:
        i = trial.number - 1
        assert trial.reached[1:].any() == outcome.ever[i] and trial.reached[-1] == outcome.end[i]
        assert trial.distance[-1] == pytest.approx(outcome.distance[i], abs=1e-3)
        assert f"{outcome.distance[i]:.1f} px" in outcome_words(trial, strips)[0]


def test_what_is_imagined_comes_from_the_first_look_alone(tried: tuple[Run, Trials, Outcome], strips: Strips) -> None:
    trained, trials, outcome = tried
    other = outcome.states.copy()
    other[:, 1:] = other[:, :1]  # a real trial in which nothing moved
    still = gather_strips(trained, trials, replace(outcome, states=other), SETTINGS, count=2)
    for moved, stood in zip(strips.trials, still.trials, strict=True):
        assert moved.imagined is not None and stood.imagined is not None
        assert np.array_equal(moved.imagined.frames, stood.imagined.frames)
        assert moved.imagined.error[0] == stood.imagined.error[0] == 0.0
        assert not np.allclose(moved.imagined.error, stood.imagined.error)
        assert moved.imagined.frames.shape == (3, 16, 16, 3)
        recorded = Store(trained.store_path).pixels(np.arange(trained_rows(trained)), ("pixels",))[:, 0]
        for frame in moved.imagined.frames:
            assert (recorded == frame).all((1, 2, 3)).any()


def trained_rows(trained: Run) -> int:
    """Rows of the training episodes, which are the store's first."""
    store = Store(trained.store_path)
    return sum(int(store.ep_len[episode]) for episode in trained.train_episodes)


def test_the_nearest_row_is_found() -> None:
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32))
    rows, gaps = nearest(z, z[[7, 30] * 20] + 0.01)
    assert rows.tolist() == [7, 30] * 20
    assert gaps == pytest.approx(np.full(40, 1e-4), rel=0.05)


@pytest.mark.parametrize(
    ("ever", "count", "numbers", "words"),
    [
        (
            [1, 1, 1, 1, 0],
            3,
            [0, 1, 4],
            "4 of 5 trials reached their goal; shown: the first 2, and the first one that mi",
        ),
        ([0, 0, 0, 1, 1], 2, [0, 3], "2 of 5 trials reached their goal; shown: the first, and the first one that rea"),
        ([1, 0, 1, 1], 2, [0, 1], "3 of 4 trials reached their goal; shown: the first 2."),
        ([1, 1], 3, [0, 1], "2 of 2 trials reached their goal; shown: all."),
        ([1, 0], 1, [0], "1 of 2 trials reached their goal; shown: the first."),
    ],
)
def test_both_kinds_of_trials_are_shown(ever: list[int], count: int, numbers: list[int], words: str) -> None:
    chosen, said = choose(np.array(ever, dtype=bool), count)
    assert chosen.tolist() == numbers
    assert said.startswith(words)


def enlarged(frame: np.ndarray, side: int) -> np.ndarray:
    """Return a 16 px picture as the strip shows it."""
    return frame.repeat(side // 16, 0).repeat(side // 16, 1)


def test_the_png_shows_the_goal_at_the_left_and_every_look(strips: Strips, tmp_path: Path) -> None:
    draw_strips(tmp_path / "strip.png", strips)
    sheet = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"))
    margin = slice(MARGIN, MARGIN + GOAL)
    for trial in strips.trials:
        goal, first = enlarged(trial.goal, GOAL), enlarged(trial.real[0], TILE)
        tops = [y for y in range(len(sheet) - GOAL) if np.array_equal(sheet[y : y + GOAL, margin], goal)]
        assert len(tops) == 1
        row = tops[0] + TILE + 20  # below the imagined row and its errors
        found = [
            x for x in range(sheet.shape[1] - TILE) if np.array_equal(sheet[row : row + TILE, x : x + TILE], first)
        ]
        assert found
    assert sheet.shape[1] > MARGIN + GOAL + 3 * TILE


def test_the_film_shows_every_control_step_at_the_worlds_pace_or_slower(
    tried: tuple[Run, Trials, Outcome], tmp_path: Path
) -> None:
    strips = gather_strips(*tried, SETTINGS, count=2, smooth=True)
    assert not np.array_equal(strips.trials[0].real[0], strips.trials[0].real[3])
    draw_strips(tmp_path / "strip.mp4", strips)
    with av.open(str(tmp_path / "strip.mp4")) as film:
        stream = film.streams.video[0]
        frames = sum(1 for _ in film.decode(stream))
        assert frames == 2 * 13
        assert float(stream.average_rate) == pytest.approx(strips.fps / 5)  # 13 frames at 10 fps would be over at once


def test_without_its_store_the_imagined_row_is_left_out(
    tried: tuple[Run, Trials, Outcome], two_room_store: Store, tmp_path: Path
) -> None:
    store = Path(shutil.copy(two_room_store.path, tmp_path / "store.h5"))
    trained = load_run(make_run(tmp_path / "a", store, TINY), "cpu")
    store.unlink()
    strips = gather_strips(trained, tried[1], tried[2], SETTINGS, count=1)
    assert strips.trials[0].imagined is None
    assert "left out" in strips.missing and "store.h5 is not there" in strips.missing
    draw_strips(tmp_path / "strip.png", strips)
    assert (tmp_path / "strip.png").is_file()


def test_the_command_draws_it_and_refuses_what_it_cannot_draw(
    two_room_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "a", two_room_store.path, TINY)
    file = tmp_path / "plan.png"
    assert run(Args((folder,), episodes=2, budget=6, solver=SOLVER, strip=file, strip_trials=5)) == 0
    assert file.is_file() and "plan.png" in capsys.readouterr().out
    with pytest.raises(JepaflowError, match=r"a strip is a \.png or an \.mp4 file"):
        run(Args((folder,), strip=tmp_path / "plan.gif"))
    with pytest.raises(JepaflowError, match="--strip-trials is 0"):
        check_strip(file, 0)
