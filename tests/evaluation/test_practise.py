"""`jepaflow practise`: what the planner executed is what is recorded, from training episodes alone, whole or not at all."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from jepaflow.cli import convert, evaluate
from jepaflow.cli import practise as command
from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.data.doctor import examine
from jepaflow.data.store import Store
from jepaflow.evaluation.closed_loop import planner_policy, world_of
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.practise import TASK, PractiseConfig, RecordingPolicy, practice_trials, practise
from jepaflow.evaluation.run import run_trials
from jepaflow.planning.controller import ControllerConfig
from jepaflow.sims.collect import CollectConfig, collect
from jepaflow.sims.record import Recording
from jepaflow.sims.registry import WorldOptions, find_world
from jepaflow.training.checkpoint import Run, load_run
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.presets import PRESETS
from tests.evaluation.test_evaluate import SOLVER, make_run

STATE = "observation.environment_state"
SETTINGS = PlannerConfig(ControllerConfig(SOLVER))
CONFIG = PractiseConfig(episodes=5, budget=20, batch=2)
TINY = replace(PRESETS["nano"], image_size=16)


@pytest.fixture(scope="module")
def trained(two_room_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return load_run(make_run(tmp_path_factory.mktemp("runs") / "a", two_room_store.path, TINY))


@pytest.fixture(scope="module")
def practised(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("practised") / "data"
    found = practise(trained, root, CONFIG, SETTINGS)
    assert (found.episodes, found.new) == (5, 5) and 0 <= found.reached <= 5
    assert found.forecast is not None and found.forecast.skill[0].n == 5  # four frames, three of them history
    return root


def rows(root: Path) -> dict[str, np.ndarray]:
    read = pq.ParquetDataset(sorted(root.glob("data/*/*.parquet"))).read()
    return {key: np.stack(read[key].to_numpy()) for key in (STATE, "observation.state", "action", "episode_index")}


def files(root: Path) -> dict[str, str]:
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


# What is recorded -----------------------------------------------------------------------------------------------------


def test_rows_hold_what_was_seen_before_each_action_and_the_action_executed(trained: Run) -> None:
    entry = world_of(trained, "two_room")
    trials = practice_trials(trained, CONFIG).first(3)
    policy = RecordingPolicy(entry, planner_policy(trained, entry, SETTINGS)[0])
    outcome = run_trials(entry, 16, policy, trials.starts, trials.goals, 20, "test")
    for recording, states, start, goal in zip(policy.recordings(), outcome.states, trials.starts, trials.goals):
        assert np.array_equal(recording.rows[STATE], states[:-1]) and len(recording.rows["action"]) == 20
        world = entry.make(16)
        world.set_state(start)
        world.set_goal(goal)
        for t, action in enumerate(recording.rows["action"]):
            seen = world.observation()
            assert np.array_equal(seen["pixels"], recording.pictures["top"][t])
            assert np.array_equal(seen["state"], recording.rows["observation.state"][t])
            world.advance(action)
        assert np.array_equal(world.get_state(), states[-1])
        assert np.ptp(recording.rows["action"], axis=0).min() > 0.0


def test_the_planner_acts_as_in_an_evaluation(trained: Run) -> None:
    """It is shown the recorder's frames instead of its own: that must change nothing."""
    entry, trials = world_of(trained, "two_room"), practice_trials(trained, CONFIG)
    runs = [
        run_trials(entry, 16, policy, trials.starts, trials.goals, 20, "test").states
        for plain in [planner_policy(trained, entry, SETTINGS)[0] for _ in range(2)]
        for policy in (plain, RecordingPolicy(entry, planner_policy(trained, entry, SETTINGS)[0]))
    ]
    assert all(np.array_equal(states, runs[0]) for states in runs)


def test_starts_and_goals_are_states_of_training_episodes(trained: Run, two_room_store: Store, practised: Path) -> None:
    trials = practice_trials(trained, CONFIG)
    assert set(trials.episode.tolist()) <= set(trained.train_episodes) and "training" in trials.made_by
    known = {
        tuple(two_room_store.read("state", two_room_store.episode_rows(e))[t])
        for e in trained.train_episodes
        for t in range(int(two_room_store.ep_len[e]))
    }
    assert {tuple(state) for state in [*trials.starts, *trials.goals]} <= known
    read, world = rows(practised), find_world("two_room").make(8)
    for number, (start, goal) in enumerate(zip(trials.starts, trials.goals)):
        first = read[STATE][read["episode_index"] == number][0]
        assert np.array_equal(first[:2], start[:2]) and np.array_equal(first[2:], goal[:2])
        world.set_state(first)
        assert not world.is_success()
    more = practice_trials(trained, replace(CONFIG, episodes=9))
    assert np.array_equal(more.starts[:5], trials.starts)


def test_the_features_are_collects(practised: Path, tmp_path: Path) -> None:
    collect(tmp_path / "collected", CollectConfig(episodes=1, steps=(5, 5), image_size=16))
    infos = [json.loads((root / "meta/info.json").read_text()) for root in (practised, tmp_path / "collected")]
    assert infos[0]["features"] == infos[1]["features"]
    assert (infos[0]["fps"], infos[0]["robot_type"]) == (infos[1]["fps"], infos[1]["robot_type"])
    assert infos[0]["total_episodes"] == 5 and infos[0]["total_frames"] == 5 * 20
    diagnosis = examine(practised)
    assert diagnosis.count("error") == 0, diagnosis.findings


def test_an_arms_practice_has_events_and_a_label_of_its_own(tmp_path: Path) -> None:
    options = WorldOptions(renderer="ray")
    collect(tmp_path / "d", CollectConfig("so101/reach", 3, steps=(30, 30), image_size=16, world=options))
    convert.run(convert.Args(str(tmp_path / "d"), tmp_path / "d.h5", image_size=16))
    sizes = JEPAConfig(**{**vars(TINY), "action_dim": 6, "cameras": ("pixels", "phone"), "proprio_dim": 6})
    folder = make_run(tmp_path / "arm", tmp_path / "d.h5", sizes)
    (folder / "split.json").write_text(json.dumps({"train": [[0, 1]], "val": [[2]]}))
    config = PractiseConfig("so101/reach", episodes=2, offset=20, budget=6)
    practise(load_run(folder), tmp_path / "p", config, SETTINGS)
    info = json.loads((tmp_path / "p/meta/info.json").read_text())
    labels = info["features"]["behaviour"]["labels"]
    assert labels == [*find_world("so101/reach").behaviours, "planner"]
    read = pq.ParquetDataset(sorted((tmp_path / "p").glob("data/*/*.parquet"))).read().to_pydict()
    assert {labels[number] for number in read["behaviour"]} == {"planner"} and len(read["event"]) == 12
    assert [key for key in info["features"] if "images" in key] == [
        "observation.images.laptop", "observation.images.phone",
    ]  # fmt: skip
    convert.run(convert.Args(str(tmp_path / "p"), tmp_path / "p.h5", image_size=16))
    assert Store(tmp_path / "p.h5").tasks == [TASK]
    assert Store(tmp_path / "p.h5").cameras == Store(tmp_path / "d.h5").cameras


# Interrupted, extended, refused ---------------------------------------------------------------------------------------


def test_an_interrupted_practice_ends_with_the_same_files(
    trained: Run, practised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Recording.stage

    def dies(self: Recording, root: Path, index: int) -> None:
        if index == 3:  # in the middle of the second batch
            raise KeyboardInterrupt
        real(self, root, index)

    root = tmp_path / "halves"
    monkeypatch.setattr(Recording, "stage", dies)
    with pytest.raises(KeyboardInterrupt):
        practise(trained, root, CONFIG, SETTINGS)
    assert not (root / "meta" / "info.json").exists()
    monkeypatch.undo()
    assert practise(trained, root, CONFIG, SETTINGS).new == 2
    assert files(root) == files(practised)
    again = practise(trained, root, CONFIG, SETTINGS)
    assert (again.episodes, again.new, again.forecast) == (5, 0, None) and files(root) == files(practised)


def test_asking_for_more_extends(trained: Run, practised: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    practise(trained, root, replace(CONFIG, episodes=2), SETTINGS)
    assert practise(trained, root, CONFIG, SETTINGS).new == 3
    more, at_once = rows(root), rows(practised)
    assert all(np.array_equal(more[key], at_once[key]) for key in at_once)


def test_a_folder_of_something_else_or_of_other_settings_is_refused(
    trained: Run, practised: Path, tmp_path: Path, two_room_store: Store
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep me")
    with pytest.raises(JepaflowError, match="not made by `jepaflow practise`"):
        practise(trained, tmp_path / "mine", CONFIG, SETTINGS)
    collect(tmp_path / "collected", CollectConfig(episodes=1, steps=(5, 5), image_size=16))
    with pytest.raises(JepaflowError, match="not made by"):
        practise(trained, tmp_path / "collected", CONFIG, SETTINGS)
    before = files(practised)
    with pytest.raises(JepaflowError, match="seed 0 -> 1"):
        practise(trained, practised, replace(CONFIG, seed=1), SETTINGS)
    with pytest.raises(JepaflowError, match=r"planner\.control\.solver\.samples 4 -> 5"):
        other = PlannerConfig(ControllerConfig(replace(SOLVER, samples=5)))
        practise(trained, practised, CONFIG, other)
    another = load_run(make_run(tmp_path / "b", two_room_store.path, replace(TINY, latent_dim=64)))
    with pytest.raises(JepaflowError, match="weights"):
        practise(another, practised, CONFIG, SETTINGS)
    assert files(practised) == before


def test_what_cannot_be_practised_is_said_and_nothing_is_begun(trained: Run, tmp_path: Path) -> None:
    for bad in ({"episodes": 0}, {"budget": 0}, {"batch": 0}, {"seed": -1}, {"env": "three_room"}):
        with pytest.raises(JepaflowError):
            PractiseConfig(**bad)
    gone = replace(trained, store_path=tmp_path / "gone.h5")
    with pytest.raises(JepaflowError, match="is not there"):
        practise(gone, tmp_path / "data", CONFIG, SETTINGS)
    with pytest.raises(JepaflowError, match="Ask for fewer"):
        practise(trained, tmp_path / "data", replace(CONFIG, episodes=10_000), SETTINGS)
    with pytest.raises(JepaflowError, match="trained on 2 action dimensions"):
        practise(trained, tmp_path / "data", replace(CONFIG, env="so101/reach"), SETTINGS)
    assert not (tmp_path / "data").exists()


# A round --------------------------------------------------------------------------------------------------------------


def test_plan_record_retrain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of a round, as a person types them."""
    monkeypatch.chdir(tmp_path)
    train = "--preset nano --device cpu --batch-size 4 --val-batches 1 --calibration-batches 1"
    plan = "--env two_room --solver.samples 4 --solver.elites 2 --solver.iterations 1 --solver.horizon 2"
    for line in (
        "collect --env two_room --episodes 4 --steps 40 40 --output-dir d",
        "convert d d.h5 --image-size 64",
        f"train --dataset.path d.h5 --steps 1 {train} --output-dir r0",
        f"practise r0 {plan} --episodes 3 --budget 20 --batch 3 --seed 1 --output-dir p --json p.json",
        "convert p p.h5 --image-size 64",
        f"train --dataset.path d.h5 p.h5 --init r0 --steps 1 {train} --output-dir r1",
        f"evaluate r1 {plan} --episodes 2 --offset 10 --budget 20 --json e.json",
    ):
        assert main(line.split()) == 0, (line, capsys.readouterr())
    assert json.loads(Path("p.json").read_text())["new_episodes"] == 3
    assert [len(part) for part in json.loads(Path("r1/split.json").read_text())["train"]] == [3, 2]
    names = [row["name"] for row in json.loads(Path("e.json").read_text())["rows"]]
    assert names[:3] == ["two_room/success@10", "two_room/success_end@10", "two_room/success@10_skill@1"]
    assert "under the planner's own actions" in " ".join(capsys.readouterr().out.split())
    assert command.Args(Path("r0"), Path("p")).solver == evaluate.CPU_SOLVER
