"""``jepaflow command``: a tiny run in a real simulated desk; the truth's judge, a slip, the prompt, a dataset, bad inputs."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from jepaflow.cli.main import main
from jepaflow.common.files import read_json
from jepaflow.evaluation import commanded
from jepaflow.evaluation.command_story import Story
from jepaflow.evaluation.command_truth import Witness, is_true, things_of
from jepaflow.evaluation.command_words import told, true_words
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.slip import Slip
from jepaflow.subgoals.landmarks import Landmarks
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.commander import Event, Made
from jepaflow.subgoals.language.doing import Doer, DoerConfig, save_doer
from jepaflow.subgoals.language.encoders import Hashed
from jepaflow.subgoals.language.grounding import Language
from jepaflow.subgoals.language.pointing import Pointer
from jepaflow.subgoals.language.potentials import Desks, Potentials
from jepaflow.subgoals.language.reading import Ground, Reader
from jepaflow.subgoals.language.request import Refusal, Request
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.training import head_metrics, heads
from jepaflow.training.checkpoint import load_run
from jepaflow.training.heads import HeadsConfig, train_heads
from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig
from tests.stores import write_store
from tests.training.tiny_run import make_run

SIZE, ENV = 16, "so101/place"
TINY = JEPAConfig(
    image_size=SIZE,
    cameras=("laptop", "phone"),
    block=5,
    latent_dim=6,
    proprio_dim=6,
    action_change=True,
    projector_hidden=8,
    encoder=EncoderConfig(width=8, channels=(4,), blocks=1),
    predictor=PredictorConfig(depth=1, heads=1, dim_head=4, mlp=8),
)
CUBES = [Thing(colour, "cube") for colour in ("blue", "green", "red")]
BINS = [Thing(colour, "bin") for colour in ("blue", "red", "white")]
FIT = [
    "--landmarks.count",
    "40",
    "--landmarks.every",
    "10",
    "--build.like",
    "100",
    "--build.unlike",
    "1",
    "--flow.steps",
    "2",
]
FIT += ["--horizon", "8", "--hidden", "8", "--flow.walks", "8", "--build.neighbours", "4"]


class Literal(Ground):
    """Understands plain wordings only."""

    def __init__(self) -> None:
        encoder = Hashed()
        super().__init__(Reader(encoder.dim, 4), encoder)

    def __call__(self, sentence: str) -> Clause | None:
        return None


def language() -> Language:
    """Return one that sees all things and believes in nothing but the start."""
    seer = Seer(CUBES, BINS, views=2, colours=3, grid=4, hidden=4).eval()
    seer.absent.fill_(0.0)
    seer.bias.data.fill_(-20.0)
    return Language(Literal(), seer, ("laptop", "phone"), {})


def potentials(_path: Path, known: Language, landmarks: Landmarks, _stores: object) -> Potentials:
    """Say that the last landmark of each episode has all cubes in all bins."""
    n = len(landmarks)
    last = [landmarks.step[i] == landmarks.step[landmarks.episode == landmarks.episode[i]].max() for i in range(n)]
    chance = np.where(np.array(last)[:, None, None], 0.9, 0.01) * np.ones((n, 3, 3))
    return Potentials(
        np.full((n, 3, 3), 0.01), chance, np.zeros((n, 3)), Desks(np.ones((n, 6)), np.zeros((n, 6, 2, 2)))
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a tiny run whose language is made up."""
    patch = pytest.MonkeyPatch()
    for module, name, value in ((head_metrics, "PAIRS", 200), (head_metrics, "DRAWS", 5)):
        patch.setattr(module, name, value)
    patch.setattr(heads, "SCALER_PAIRS", 300)
    patch.setattr(heads, "CALIBRATION_PAIRS", 300)
    folder = tmp_path_factory.mktemp("made")
    store = write_store(folder / "s.h5", [60, 70, 80, 60], size=SIZE, cameras=("laptop", "phone"), action_dim=6)
    rng = np.random.default_rng(0)
    with h5py.File(store, "r+") as file:
        joints = np.cumsum(rng.normal(0, 1, (len(file["action"]), 6)), 0).clip(-60, 60).astype(np.float32)
        file["action"][:] = joints
        del file["proprio"]
        file["proprio"] = joints
    path = make_run(folder / "run", store, [0, 1, 2], [3], TINY)
    train_heads(load_run(path), HeadsConfig(steps=3, batch_size=8, horizon=2, reach=3, cap=8, hidden=8, depth=1), "x")
    assert main(["subgoals", "fit", str(path), *FIT]) == 0
    patch.setattr(commanded, "load_language", lambda run: language())
    patch.setattr(commanded, "known_potentials", potentials)
    yield path
    patch.undo()


def told_by(*words: str) -> int:
    return main(["command", *words])


# The command ----------------------------------------------------------------------------------------------------------


def first_action(run: Path) -> np.ndarray:
    """Return what a run does first."""
    robot = commanded.make_robot(commanded.load_knowledge(run), ENV)
    world = robot.entry.make(SIZE)
    world.reset(seed=0)
    policy = commanded.Commanded(robot, "exact", sentences=["put the red cube in the blue bin"])
    policy.begin([world], np.zeros((1, 0)))
    return policy.act(0, [world])


def test_a_run_with_a_doer_lets_it_act(run: Path, tmp_path: Path, capsys) -> None:
    torch.manual_seed(0)
    made = Doer(load_run(run).model.config.latent_dim, Pointer(6, 3, 2, 6, 3, hidden=4), DoerConfig(hidden=8)).eval()
    made.scale.fill_(20.0)
    walked = first_action(run)
    words = ["put the red cube in the blue bin", "--env", ENV, "--run", str(run), "--budget", "25", "--no-film"]
    try:
        save_doer(run, made)
        done = first_action(run)
        assert done.shape == walked.shape and np.abs(done - walked).max() > 0.1
        assert told_by(*words, "--output", str(tmp_path / "done")) == 0
        (run / "language" / "doer.safetensors").write_bytes(b"damaged")
        assert told_by(*words, "--output", str(tmp_path / "broken")) == 1
    finally:
        (run / "language" / "doer.safetensors").unlink()
    assert "is damaged, or no doer" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "broken").exists()
    story = read_json(tmp_path / "done" / "story.json")
    assert story["control_steps"] == 25 and story["believes_success"] is False


@pytest.mark.parametrize("planner", ["gflownet", "exact", "dijkstra"])
def test_a_sentence_is_planned_done_and_told(run: Path, tmp_path: Path, planner: str, capsys) -> None:
    words = ["put the red cube in the blue bin", "--env", ENV, "--run", str(run), "--output", str(tmp_path)]
    assert told_by(*words, "--budget", "25", "--planner", planner) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "I planned" in said and "I do not believe that it is done" in said and "The simulator: not done" in said
    story = read_json(tmp_path / "story.json")
    assert story["clauses"] == ["put the red cube in the blue bin"] and story["control_steps"] == 25
    assert len(story["probabilities"]) == 5 and story["true_success"] is False and story["believes_success"] is False
    assert story["plans"][0]["done_at"][-1] == [0] and story["events"][0]["kind"] == "plan"
    with Image.open(tmp_path / "subgoals.png") as strip:
        assert strip.size[0] > 500
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 26


@pytest.mark.parametrize(
    ("sentence", "why"),
    [("make coffee", "coffee"), ("put the purple cube in the blue bin", "There is no purple cube here")],
)
def test_what_cannot_be_done_is_refused(run: Path, tmp_path: Path, sentence: str, why: str, capsys) -> None:
    assert told_by(sentence, "--env", ENV, "--run", str(run), "--output", str(tmp_path)) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert why in said and "I see the blue cube" in said
    assert read_json(tmp_path / "story.json")["refused"] and not (tmp_path / "film.mp4").exists()


def test_a_plan_alone_changes_nothing(run: Path, tmp_path: Path, capsys) -> None:
    words = [
        "put the red cube in the blue bin",
        "--env",
        ENV,
        "--run",
        str(run),
        "--output",
        str(tmp_path),
        "--dry-run",
    ]
    assert told_by(*words) == 0
    assert "I would go through" in capsys.readouterr().out
    assert (tmp_path / "subgoals.png").is_file() and read_json(tmp_path / "story.json")["control_steps"] == 0


def test_the_prompt_goes_on_from_the_present_state(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    typed = (
        "put the red cube in the blue bin\n\nnow the green one\nmake coffee\nquit\nput the red cube in the red bin\n"
    )
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    words = ["--interactive", "--env", ENV, "--run", str(run), "--output", str(tmp_path), "--budget", "10", "--no-film"]
    assert told_by(*words) == 0
    stories = [read_json(tmp_path / f"{number:02d}" / "story.json") for number in (1, 3, 4)]
    assert stories[1]["clauses"] == ["put the green cube in the blue bin"]
    assert stories[2]["refused"] and not (tmp_path / "05").exists()
    assert "What shall I do?" in capsys.readouterr().out


def test_on_a_dataset_the_plan_is_shown(run: Path, tmp_path: Path, capsys) -> None:
    store = run.parent / "s.h5"
    words = ["put the red cube in the blue bin", "--run", str(run), "--dataset", str(store), "--dry-run"]
    assert told_by(*words, "--episode", "1", "--frame", "20", "--output", str(tmp_path)) == 0
    assert "I would go through" in capsys.readouterr().out
    story = read_json(tmp_path / "story.json")
    assert (story["episode"], story["frame"], story["dataset"]) == (1, 20, "s.h5")
    assert (tmp_path / "subgoals.png").is_file()


def test_bad_inputs_are_told_in_a_sentence(run: Path, tmp_path: Path, capsys) -> None:
    put, here = "put the red cube in the blue bin", ["--run", str(run)]
    bare = tmp_path / "bare"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("subgoals"))
    store = str(run.parent / "s.h5")
    for words, code, why in (
        (["", "--env", ENV, *here], 2, "You said nothing"),
        ([put, *here], 2, "Say where"),
        ([put, "--interactive", "--env", ENV, *here], 2, "not both"),
        ([put, "--dataset", store, *here], 2, "Add --dry-run"),
        ([put, "--env", "so101/cook", *here], 1, "no environment 'so101/cook'"),
        ([put, "--env", "two_room", *here], 1, "two_room has"),
        ([put, "--env", ENV, "--run", str(bare)], 1, "holds no sub-goals"),
        ([put, "--env", ENV, "--run", str(tmp_path)], 1, "is not a run folder"),
        ([put, "--dataset", str(tmp_path / "no.h5"), "--dry-run", *here], 1, "does not exist"),
        ([put, "--dataset", store, "--dry-run", "--episode", "9", *here], 1, "has no episode 9"),
        ([put, "--dataset", store, "--dry-run", "--frame", "900", *here], 1, "has no frame 900"),
    ):
        assert told_by(*words) == code, words
        said = " ".join(capsys.readouterr().err.split())
        assert why in said and "Traceback" not in said, (words, said)


def test_a_run_without_language_says_how_to_fit_it(run: Path, monkeypatch, capsys) -> None:
    from jepaflow.subgoals.language.grounding import load_language

    monkeypatch.setattr(commanded, "load_language", load_language)
    assert told_by("put the red cube in the blue bin", "--env", ENV, "--run", str(run)) == 1
    assert "jepaflow language fit" in " ".join(capsys.readouterr().err.split())


# The truth ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def desk() -> ArmEnv:
    world = ArmEnv(task="place", image_size=8)
    world.reset(seed=2)
    return world


def drop(world: ArmEnv, cube: int, which: int) -> None:
    """Lay a cube into a bin."""
    x, y, _ = world.desk.place(f"bin{which}")
    world.desk.put_cube(cube, float(x), float(y), 0.0)
    for _ in range(15):
        world.advance(world.still_action())


def named(world: ArmEnv, cube: int, which: int) -> Clause:
    return Clause("put", Thing(world.scene.colours[cube], "cube"), Thing(world.scene.bins[which], "bin"))


def test_the_judge_knows_what_lies_where_and_in_which_order_it_came(desk: ArmEnv) -> None:
    one, other = named(desk, 0, 0), named(desk, 1, 1)
    assert set(things_of(desk)) >= {one.object, other.object, one.place, other.place}
    first, wrong = Witness(desk, Request((one, other), ((0, 1),))), Witness(desk, Request((other, one), ((0, 1),)))
    for witness in (first, wrong):
        witness.see()
    for cube, which in ((0, 0), (1, 1)):
        drop(desk, cube, which)
        assert is_true(desk, named(desk, cube, which)) and not is_true(desk, named(desk, cube, 1 - which))
        for witness in (first, wrong):
            witness.see()
    assert first.success and first.ever and not wrong.success
    desk.desk.put_cube(0, 0.25, 0.0, 0.0)
    first.see()
    assert not first.success and first.ever


def test_the_judge_forgives_nothing_that_was_to_be_avoided(desk: ArmEnv) -> None:
    one = named(desk, 0, 0)
    witness = Witness(desk, Request((one,), (), (named(desk, 1, 1),)))
    witness.see()
    drop(desk, 1, 1)
    drop(desk, 0, 0)
    witness.see()
    assert is_true(desk, one) and not witness.success and witness.broken == [str(named(desk, 1, 1))]


def test_a_cube_slips_once_while_it_is_carried() -> None:
    from jepaflow.sims.arms.expert import ArmExpert

    found = []
    for slippery in (False, True):
        world = ArmEnv(task="pick_place", image_size=8)
        world.reset(seed=1)
        expert, slip = ArmExpert(world, np.random.default_rng(1)), Slip(world, np.random.default_rng(0))
        was = world.desk.model.geom_friction.copy()
        for step in range(240):
            if slippery:
                slip.before(step)
            world.advance(expert.act())
            if slippery:
                slip.after()
        np.testing.assert_array_equal(world.desk.model.geom_friction, was)
        found.append((slip.began, expert.tries, world.is_success()))
    assert found[0] == (None, 1, True)
    assert found[1][0] is not None and found[1][1] > 1 and found[1][2]


# Words ----------------------------------------------------------------------------------------------------------------


def test_the_story_is_told_in_plain_words() -> None:
    request = Request((Clause("put", CUBES[2], BINS[0]),))
    story = Story("put the red cube in the blue bin", request, ("the red cube",), 30.0, 5, (0.01,))
    story.chances, story.steps, story.truth, story.true_clauses = [[0.01], [0.98]], 120, True, (True,)
    story.foreseen = [2.0, 1.0]
    story.plans = [Made(0, [1, 2], [(), (0,)], 12.0), Made(9, [2], [(0,)], 4.0)]
    story.events = [Event(0, "plan", "plan 1"), Event(9, "not done", "again"), Event(20, "done", "done")]
    story.believed = True
    assert told(story) == (
        "I planned 2 sub-goals, about 2 s; I planned anew once when I saw that it was not done, and worked for 4.0 s. I believe "
        "that it is done, because I see that the red cube is in the blue bin (0.98; 0.01 when I began) (probability by my last 4 looks)."
    )
    assert true_words(story) == "The simulator: done (the red cube is in the blue bin: yes). I was right."
    assert told(Story("x", Refusal((), "No."), (), 30.0, 5)) == "No."
    json.dumps(story.as_json())
