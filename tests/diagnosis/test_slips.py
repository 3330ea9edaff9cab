"""A monitor's calibration and measurement: the promise kept by simulation, failures learned, mishaps real, files whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jepaflow.cli.main import main
from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis import slips
from jepaflow.diagnosis.calibration import (
    MEANING,
    WINDOW,
    imagine_episodes,
    label_free,
    labelled,
    maxima,
    scores,
    standing_still,
    threshold,
    with_failures,
    without_forecasts,
)
from jepaflow.diagnosis.ridge import Linear
from jepaflow.diagnosis.slip_study import SlipConfig
from jepaflow.diagnosis.watched import KINDS, Watched, act_out
from jepaflow.diagnosis.watched_file import kept, read_watched, save_watched
from jepaflow.planning.monitor import NAMES, Monitor
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.expert import ArmExpert
from jepaflow.sims.arms.mishaps import LASTS, MISHAPS, Mishap
from jepaflow.sims.registry import find_world
from tests.planning.conftest import LinearWorld
from tests.training.tiny_run import make_run, make_store

K, A, DIM = 2, 2, 2


def episode(rng: np.random.Generator, looks: int = 12, event: str | None = None, at: int = 6) -> Watched:
    """A walk that `LinearWorld` foretells but for a little noise; an event moves its first coordinate by 1 at look `at`."""
    blocks = rng.normal(size=(looks - 1, K, A))
    noise = 0.05 * rng.normal(size=(looks, DIM))
    z = np.concatenate([np.zeros((1, 2)), blocks.sum(1).cumsum(0)]) + noise
    if event is not None:
        z[at:, 0] += 1.0
    return Watched(
        z=torch.from_numpy(z).float(),
        other=torch.from_numpy(rng.normal(size=z.shape)).float(),
        blocks=torch.from_numpy(blocks).float(),
        joints=rng.normal(size=(looks, 3)).astype(np.float32),
        change=np.concatenate([[np.nan], rng.random(looks - 1)]),
        events=() if event is None else ((event, at * K),),
        held=np.ones(looks, dtype=np.int64),
        believes=np.ones(looks * K, dtype=np.int64),
        success=event is None,
        seed=(0, 1, 2),
    )


def episodes(count: int, seed: int, event: str | None = None) -> list[Watched]:
    rng = np.random.default_rng(seed)
    return [episode(rng, int(rng.integers(9, 15)), event) for _ in range(count)]


# The promise ----------------------------------------------------------------------------------------------------------


def test_episodes_that_never_raise_an_alarm_are_as_many_as_promised() -> None:
    """99 calibration episodes, 1 % promised: over many worlds the mean share of false alarms is 1 %, whatever the scores."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(150):
        draws = rng.standard_cauchy((199, 7))  # heavy tails, seven looks an episode
        above = threshold(list(draws[:99]), 0.01)
        assert above == maxima(list(draws[:99])).max()
        shares.append((maxima(list(draws[99:])) > above).mean())
    assert np.mean(shares) == pytest.approx(0.01, abs=3 * np.std(shares) / np.sqrt(150))


@pytest.mark.parametrize(("count", "rate"), [(98, 0.01), (0, 0.5), (10, 0.0), (10, 1.0)])
def test_too_few_calm_episodes_are_refused_in_one_sentence(count: int, rate: float) -> None:
    with pytest.raises(JepaflowError, match=rf"{count} calm episodes cannot promise"):
        threshold([np.zeros(3)] * count, rate)


def test_scores_that_do_not_exist_yet_are_no_alarm() -> None:
    assert maxima([np.array([np.nan, -2.0]), np.array([np.nan])]).tolist() == [-2.0, -np.inf]


# The score ------------------------------------------------------------------------------------------------------------


def test_whitened_differences_of_calm_looks_are_white() -> None:
    calm = imagine_episodes(LinearWorld(), episodes(200, 1), 3)
    judge = label_free(calm)
    white = torch.cat([judge.differences(one.z, one.forecasts)[1:, 0] for one in calm])
    assert torch.allclose(white.mean(0), torch.zeros(DIM), atol=1e-4)
    assert torch.allclose(torch.cov(white.T), torch.eye(DIM), atol=0.02)  # the ridge takes a little


def test_offline_scores_are_the_online_monitor_s() -> None:
    some = episodes(5, 2)
    known = imagine_episodes(LinearWorld(), some, 3)
    judge = label_free(known)
    for one, offline in zip(some, scores(judge, known), strict=True):
        monitor, online = Monitor(LinearWorld(), judge, 3), []
        for t, z in enumerate(one.z):
            online.append(monitor.see(z[None]).score.item())
            if t < len(one.blocks):
                monitor.did(one.blocks[None, t])
        assert np.allclose(online, offline, atol=1e-5)


def test_a_jump_is_noticed_at_once_and_calm_episodes_are_left_alone() -> None:
    model, calm = LinearWorld(), episodes(300, 3)
    known = imagine_episodes(model, calm, 3)
    judge = label_free(known[:100])
    jumps = episodes(50, 4, "slip")
    eventful = {"slip": (jumps, scores(judge, imagine_episodes(model, jumps, 3)))}
    found = slips.measure(scores(judge, known[100:200]), scores(judge, known[200:]), eventful, 0.01, K)
    assert found.false.value <= 0.05
    assert found.noticed["slip"].within(WINDOW).value == 1.0
    assert set(found.noticed["slip"].delay) == {0.0}
    assert found.curve["slip"][:, 1].min() == 1.0
    # What stands still in the latent's own eyes is no expectation: with copy-last the walk's own steps hide the jump.
    still = [[standing_still(one) for one in part] for part in (known, imagine_episodes(model, jumps, 3))]
    copy = label_free(still[0][:100])
    eventful = {"slip": (jumps, scores(copy, still[1]))}
    floor = slips.measure(scores(copy, still[0][100:200]), scores(copy, still[0][200:]), eventful, 0.01, K)
    assert floor.noticed["slip"].within(WINDOW).value < 0.3


def test_what_was_learned_from_failures_is_named_and_needs_forecasts() -> None:
    model, seed = LinearWorld(), 5
    calm = imagine_episodes(model, episodes(60, seed), 3)
    train, test = episodes(30, 6, "blocked"), episodes(30, 7, "blocked")
    plain = label_free(calm)
    judge = with_failures(plain, calm, imagine_episodes(model, train, 3), train, K, 0)
    known = imagine_episodes(model, test, 3)
    above = threshold(scores(judge, imagine_episodes(model, episodes(99, 8), 3)), 0.01)
    found = slips.noticed("blocked", test, scores(judge, known), above, K)
    assert found.within(WINDOW).value > 0.95
    said = slips.names(judge, found, known)
    assert said.count("blocked") > 0.9 * (len(said) - said.count(None))
    again = with_failures(plain, calm, imagine_episodes(model, train, 3), train, K, 0)
    assert all(torch.equal(a, b) for a, b in zip(judge.layers or (), again.layers or (), strict=True))
    blind = [without_forecasts(one) for one in known]
    assert torch.equal(judge.differences(blind[0].z, blind[0].forecasts), torch.zeros(len(blind[0].z), 1, DIM))


def test_looks_are_labelled_by_what_they_show() -> None:
    one = replace(episode(np.random.default_rng(0), 20), events=(("missed", 16), ("moved", 30)))
    label = labelled(one, 2)
    shows = {name: 1 + NAMES.index(MEANING[name]) for name in KINDS}
    assert label[: (16 - WINDOW) // 2].tolist() == [0, 0, 0]
    assert label[3:8].tolist() == [-1] * 5
    assert label[8:14].tolist() == [shows["missed"]] * 6
    assert label[14].item() == -1
    assert label[15:].tolist() == [shows["moved"]] * 5


# The measures ---------------------------------------------------------------------------------------------------------


def test_delays_count_from_the_event_to_the_first_alarm_in_its_window() -> None:
    one = replace(episode(np.random.default_rng(0), 50), events=(("slip", 11), ("slip", 60), ("drop", 4)))
    score = np.zeros(50)
    score[[2, 9, 46]] = 1  # looks at control steps 4, 18 and 92
    found = slips.noticed("slip", [one], [score], 0.5, 2)
    assert found.delay[0] == 7.0
    assert np.isnan(found.delay[1])  # 92 is too late for 60
    assert (found.look, found.where) == ((9, None), (0, 0))
    assert (found.within(6).value, found.within(7).value, found.within(30).n) == (0.0, 0.5, 2)
    assert slips.noticed("drop", [one], [score], 0.5, 2).delay.tolist() == [0.0]
    assert slips.noticed("moved", [one], [score], 0.5, 2).within(10).n == 0


def test_beliefs_are_read_from_imagination_from_what_came_and_from_the_script() -> None:
    """The first coordinate says held; the world lets it go, the model, told of still actions, does not know."""
    held = Linear(np.array([[1.0, 0.0]]), np.array([0.0]), 0.0)
    z = torch.ones(30, 2)
    z[10:, 0] = 0.0
    lost = replace(
        episode(np.random.default_rng(0), 30),
        z=z,
        blocks=torch.zeros(29, K, A),
        events=(("slip", 20),),
        believes=np.concatenate([np.ones(45), np.zeros(15)]).astype(np.int64),
    )
    dreamt, seen = slips.imagined_belief(LinearWorld(), held, "slip", [lost], 3, K)
    assert (dreamt.value, dreamt.n, seen.value) == (1.0, 1, 0.0)
    assert slips.scripted_belief("slip", [lost]).tolist() == [25.0]
    assert slips.scripted_belief("slip", [replace(lost, believes=np.ones(60, dtype=np.int64))]).tolist() == [40.0]
    late = replace(lost, events=(("slip", 50),))
    assert slips.imagined_belief(LinearWorld(), held, "slip", [late], 3, K)[0].n == 0


def test_watched_episodes_survive_their_file_and_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    some, path = [*episodes(2, 1), *episodes(1, 2, "moved")], tmp_path / "kept.safetensors"
    save_watched(path, some)
    for before, after in zip(some, read_watched(path), strict=True):
        for name in Watched.__dataclass_fields__:
            was, is_now = getattr(before, name), getattr(after, name)
            same = np.array_equal(was, is_now, equal_nan=True) if hasattr(was, "shape") else was == is_now
            assert same, name
    calls: list[int] = []

    def record() -> list[Watched]:
        calls.append(1)
        return some

    assert len(kept(path, record)) == 3
    assert not calls
    path.write_bytes(path.read_bytes()[:-10])
    assert len(kept(path, record)) == 3
    assert len(kept(path, record)) == 3
    assert len(calls) == 1


# Mishaps in the simulator ---------------------------------------------------------------------------------------------


def acted(kind: str, seed: int) -> tuple[list[dict[str, np.ndarray]], int | None, ArmEnv]:
    """Act an expert's episode with a mishap; return the world's words per control step, and when it struck."""
    env = ArmEnv("so101", "pick_place", 8, renderer="ray")
    env.reset(seed=seed)
    policy = ArmExpert(env, np.random.default_rng(seed))
    mishap = Mishap(env, policy, kind, np.random.default_rng(seed))
    rows = []
    for step in range(170):
        mishap.before(step)
        action = policy.act()
        env.advance(action)
        mishap.after()
        joints, cube = env.desk.joints()[:5].copy(), env.desk.cube(0).copy()
        wanted = env.arm.to_radians(action.astype(np.float64))[:5]
        rows.append({"joints": joints, "wanted": wanted, "cube": cube, "held": np.array(env.desk.held(0))})
    mishap.end()
    return rows, mishap.began, env


@pytest.mark.parametrize("kind", MISHAPS)
def test_a_mishap_does_what_it_says_and_wears_off(kind: str) -> None:
    rows, struck, env = acted(kind, 3)
    assert struck is not None
    after = struck + LASTS[kind]
    if kind == "blocked":
        moved = np.abs(rows[after - 1]["joints"] - rows[struck + 6]["joints"]).max()
        wanted = np.abs(rows[after - 1]["wanted"] - rows[struck + 6]["wanted"]).max()
        assert moved < 0.02 < wanted
        assert np.abs(rows[after + 25]["joints"] - rows[after + 25]["wanted"]).max() < 0.1
    elif kind == "moved":
        way = np.hypot(*(rows[after - 1]["cube"] - rows[struck]["cube"])[:2])
        assert 0.03 < way < 0.09
    else:
        assert rows[struck - 1]["held"]
        assert not any(row["held"] for row in rows[after : after + 20])
    fresh = ArmEnv("so101", "pick_place", 8, renderer="ray").desk.model
    assert np.array_equal(env.desk.model.dof_damping, fresh.dof_damping)
    assert np.array_equal(env.desk.model.geom_friction, fresh.geom_friction)


def test_an_unknown_mishap_and_one_without_a_cube_are_refused() -> None:
    env = ArmEnv("so101", "reach", 8, renderer="ray")
    policy = ArmExpert(env, np.random.default_rng(0))
    for kind, words in (("lightning", "no mishap"), ("moved", "no cube")):
        with pytest.raises(JepaflowError, match=words):
            Mishap(env, policy, kind, np.random.default_rng(0))


def test_the_same_seed_acts_the_same_episode_and_looks_once_a_model_step() -> None:
    entry, found = find_world("so101/pick_place"), []
    world = entry.make(8)
    for _ in range(2):
        looks: list[int] = []
        rows = act_out(entry, world, "slippery", (0, 1), 5, lambda step, _, looks=looks: looks.append(step))  # type: ignore[misc]
        assert looks == list(range(0, len(rows["actions"]), 5))
        found.append(rows)
    assert np.array_equal(found[0]["actions"], found[1]["actions"])
    assert found[0]["struck"] == found[1]["struck"]


# The command ----------------------------------------------------------------------------------------------------------


def test_bad_words_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(make_run(tmp_path / "run", make_store(tmp_path / "store.h5", [9, 9]), [0], [1]))
    cases = (
        (["--episodes", "98"], 2, "98 calm episodes cannot promise 0.01"),
        (["--false-alarms", "0"], 2, "a share of 0 false alarms is impossible"),
        (["--failures", "3"], 2, "3 episodes with failures show nothing"),
        (["--env", "nowhere"], 1, "no environment 'nowhere'"),
        ([], 1, "was trained on 2 action dimensions"),
    )
    for words, code, sentence in cases:
        assert main(["monitor", run, *words]) == code
        assert sentence in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "run" / "monitor.json").exists()


def test_the_promise_needs_enough_episodes() -> None:
    SlipConfig(episodes=99)
    SlipConfig(episodes=19, false_alarms=0.05)
    with pytest.raises(JepaflowError, match="Give --episodes 99 or more"):
        SlipConfig(episodes=98)
