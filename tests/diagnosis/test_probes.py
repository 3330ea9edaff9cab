"""Probes: checked against scikit-learn, closed forms and a world whose latents are known; then the command as a whole."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from diagnosis_worlds import LinearWorld, random_world, simulate, write_store
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, roc_auc_score
from test_diagnose_command import make_run

from jepaflow.cli import probe as probe_command
from jepaflow.cli.probe import Args, DatasetArgs, run
from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis.foresight import carrying, foresee
from jepaflow.diagnosis.mlp import MLPConfig, fit_mlp
from jepaflow.diagnosis.probe_data import encode, gather
from jepaflow.diagnosis.probe_figure import draw_probes
from jepaflow.diagnosis.probe_floors import quadratic, shrunk
from jepaflow.diagnosis.probe_scores import auroc_statistic, score
from jepaflow.diagnosis.probe_targets import find_targets, read_targets, slices
from jepaflow.diagnosis.probes import ProbeOptions, linear_score, probe_run
from jepaflow.diagnosis.ridge import FOLDS, STRENGTHS, ridge, ridges
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.training.checkpoint import load_run
from jepaflow.worldmodel.encoder import EncoderConfig

SMALL = MLPConfig(width=32, steps=30, batch_size=64, choices=3)


# Ridge --------------------------------------------------------------------------------------------------------------


def made(n: int = 200, episodes: int = 10, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of different sizes, quantities that depend on some of them, and episodes with an offset each."""
    rng = np.random.default_rng(seed)
    episode = np.repeat(np.arange(episodes), n // episodes)
    x = rng.normal(size=(n, 6)) * np.array([1, 10, 0.1, 1, 1, 1]) + np.array([0, 5, 0, -2, 0, 0])
    y = x[:, :3] @ rng.normal(size=(3, 3)) + rng.normal(size=(n, 3)) + rng.normal(size=(episodes, 3))[episode]
    return x, y, episode


def by_scikit(x: np.ndarray, y: np.ndarray, strength: float) -> Ridge:
    """Ridge on z-scored features; a strength counts per frame."""
    return Ridge(alpha=strength * len(x)).fit((x - x.mean(0)) / x.std(0), y)


def test_ridge_is_scikit_learns_with_the_strength_that_reads_unseen_episodes_best() -> None:
    x, y, episode = made()
    errors = np.zeros(len(STRENGTHS))
    for fold in np.array_split(np.random.default_rng(3).permutation(np.unique(episode)), FOLDS):
        aside = np.isin(episode, fold)
        for i, strength in enumerate(STRENGTHS):
            model = by_scikit(x[~aside], y[~aside], strength)
            z = (x[aside] - x[~aside].mean(0)) / x[~aside].std(0)
            errors[i] += np.square(model.predict(z) - y[aside]).sum()
    fit = ridge((x, y, episode), seed=3)
    assert fit.strength == STRENGTHS[errors.argmin()]
    expected = by_scikit(x, y, fit.strength).predict((x - x.mean(0)) / x.std(0))
    np.testing.assert_allclose(fit.read(x), expected, rtol=1e-8, atol=1e-8)


def test_each_group_has_the_strength_that_it_would_have_alone() -> None:
    x, y, episode = made()
    y[:, 2] = np.random.default_rng(1).normal(size=10)[episode]  # nothing to read: only a strong ridge does no harm
    together = ridges((x, y, episode), [slice(0, 2), slice(2, 3)])
    for fit, group in zip(together, [slice(0, 2), slice(2, 3)]):
        alone = ridge((x, y[:, group], episode))
        assert fit.strength == alone.strength
        np.testing.assert_allclose(fit.weight, alone.weight)
    assert together[1].strength > together[0].strength


def test_ridge_needs_folds_and_survives_features_that_say_nothing() -> None:
    x, y, episode = made(40, 4)
    with pytest.raises(JepaflowError, match="cannot be fitted on 4 episodes"):
        ridge((x, y, episode))
    x, y, episode = made(10, 5)  # fewer frames a fold than features
    x[:, 0], x[:, 1] = 3.0, x[:, 2]  # one constant, two alike
    assert np.isfinite(ridge((x, y, episode)).read(x)).all()


def test_features_of_one_unit_are_scaled_alike() -> None:
    """As scikit-learn's ridge does without z-scores; a pixel that never changed in training spoils nothing then."""
    x, y, episode = made()
    fit = ridges((x, y, episode), [slice(None)], common=True)[0]
    model = Ridge(alpha=fit.strength * len(x) * x.std(0).dot(x.std(0)) / 6).fit(x, y)
    np.testing.assert_allclose(fit.read(x), model.predict(x), rtol=1e-6, atol=1e-6)
    rng, quiet = np.random.default_rng(0), x.copy()
    quiet[:, 5] = 1e-5 * rng.normal(size=len(x))
    shifted = quiet + np.array([0, 0, 0, 0, 0, 1.0])
    alike, apart = (ridges((quiet, y, episode), [slice(None)], common=c)[0] for c in (True, False))
    assert (
        np.abs(alike.read(shifted) - alike.read(quiet)).max()
        < 0.1
        < np.abs(apart.read(shifted) - apart.read(quiet)).max()
    )
    read = fit_mlp((quiet, y, episode), [slice(None)], SMALL, common=True)
    assert np.abs(read.read(shifted) - read.read(quiet)).max() < 1


# Scores -------------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_numpy_and_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(90, 2))
    read, episode = true + rng.normal(size=(90, 2)) * [0.3, 1.0], np.repeat([4, 7, 9], 30)
    found = score(read, true, episode, draws=200)
    each = [np.corrcoef(read[:, i], true[:, i])[0, 1] for i in range(2)]
    np.testing.assert_allclose(found.each, each)
    assert found.r.value == pytest.approx(np.mean(each))
    assert found.mse.value == pytest.approx(np.square(read - true).mean())
    assert found.r2.value == pytest.approx(r2_score(true, read, multioutput="variance_weighted"))
    assert found.r.low <= found.r.value <= found.r.high and (found.r.n, found.r.episodes) == (90, 3)
    assert found.auroc is None


def test_auroc_is_scikit_learns_also_when_episodes_are_drawn_twice_or_never() -> None:
    rng = np.random.default_rng(0)
    read, yes, where = rng.integers(0, 6, 80).astype(float), rng.random(80) < 0.3, np.repeat(np.arange(4), 20)
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 1, 0]], float)
    found = auroc_statistic(read, yes, where, 4)(weights)[:, 0]
    expected = [roc_auc_score(yes, read, sample_weight=w[where]) for w in weights]
    np.testing.assert_allclose(found, expected)
    only_yes = auroc_statistic(read, np.ones(80, bool), where, 4)(weights)
    assert np.isnan(only_yes).all()


def test_what_does_not_vary_has_no_r() -> None:
    rng = np.random.default_rng(0)
    true = np.stack([rng.normal(size=20), np.zeros(20)], 1)
    found = score(np.stack([np.ones(20), rng.normal(size=20)], 1), true, np.repeat([0, 1], 10))
    assert found.each[0] == 0 and math.isnan(found.each[1]) and found.r.value == 0
    one = score(true[:1], true[:1], np.zeros(1, int))  # a single frame
    assert math.isnan(one.r.value) and math.isnan(one.mse.low) and one.mse.value == 0


def test_intervals_resample_episodes_not_frames() -> None:
    """Copies of the same frames within an episode tell nothing new: the interval stays."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=(40, 1))
    read, episode = true + rng.normal(size=(40, 1)), np.repeat(np.arange(8), 5)
    few = score(read, true, episode, draws=300)
    many = score(*(np.repeat(part, 10, 0) for part in (read, true, episode)), draws=300)
    assert (many.r.low, many.r.high) == pytest.approx((few.r.low, few.r.high))


# MLP ----------------------------------------------------------------------------------------------------------------


def test_an_mlp_reads_what_a_ridge_cannot_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    x, episode = rng.normal(size=(1200, 3)), np.repeat(np.arange(30), 40)
    noise = rng.normal(size=(1200, 1))
    y = np.concatenate([100 + 5 * x[:, :1] * x[:, 1:2], noise], 1)  # a product far from 0; nothing at all
    known = (x[:800], y[:800], episode[:800])
    groups = [slice(0, 1), slice(1, 2)]
    before = torch.random.get_rng_state()
    read = fit_mlp(known, groups, MLPConfig(width=64, steps=400), seed=1).read(x[800:])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.corrcoef(read[:, 0], y[800:, 0])[0, 1] > 0.95
    assert abs(np.corrcoef(ridge(known).read(x[800:])[:, 0], y[800:, 0])[0, 1]) < 0.3
    # What is not there is hardly overfitted: its state was chosen early, by episodes set aside.
    assert np.square(read[:, 1] - y[800:, 1]).mean() < 1.15 * y[800:, 1].var()
    again = fit_mlp(known, groups, MLPConfig(width=64, steps=400), seed=1).read(x[800:])
    np.testing.assert_array_equal(read, again)


def test_an_mlp_needs_two_episodes() -> None:
    with pytest.raises(JepaflowError, match="one episode"):
        fit_mlp((np.zeros((3, 2)), np.zeros((3, 1)), np.zeros(3, int)), [slice(0, 1)])
    two = fit_mlp((np.zeros((2, 2)), np.zeros((2, 1)), np.arange(2)), [slice(0, 1)], SMALL)
    np.testing.assert_allclose(two.read(np.zeros((1, 2))), 0, atol=0.1)
    with pytest.raises(JepaflowError, match="steps is 0"):
        MLPConfig(steps=0)


# Targets ------------------------------------------------------------------------------------------------------------


class Told(Store):
    """A store of one episode that holds given columns."""

    def __init__(self, data: dict[str, np.ndarray], names: list[str], fps: float) -> None:
        self.data, self.columns, self.fps, self.path = data, set(data), fps, Path("made.h5")
        self.meta = {"features": {"state": {"names": names}} if names else {}}

    def dim(self, column: str) -> int:
        return self.data[column].shape[1] if column in self.data else 0

    def episode_rows(self, episode: int) -> np.ndarray:
        return np.arange(len(next(iter(self.data.values()))))

    def read(self, column: str, rows: np.ndarray) -> np.ndarray:
        return self.data[column][rows]


def told(
    names: list[str], state: np.ndarray | None = None, proprio: np.ndarray | None = None, fps: float = 10.0
) -> Store:
    columns = {"state": state if state is not None or not names else np.zeros((4, len(names))), "proprio": proprio}
    data = {key: value for key, value in columns.items() if value is not None}
    return Told(data, names, fps)


CUBE = ["x", "y", "z", "yaw", "touched", "held"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["agent_x", "agent_y", "target_x", "target_y"], ["agent", "target"]),
        (
            [
                "agent_x",
                "agent_y",
                "block_x",
                "block_y",
                "block_angle",
                "agent_vx",
                "agent_vy",
                "block_vx",
                "block_vy",
                "block_turn",
            ],
            ["agent", "block", "block_angle", "agent_velocity", "block_velocity", "block_turn"],
        ),
        (["shoulder", "wrist", "shoulder_velocity", "wrist_velocity"], ["shoulder", "wrist", "joint_velocity"]),
        (
            ["tcp_x", "tcp_y", "tcp_z", "gripper_opening", *(f"cube{i}_{w}" for i in (0, 1) for w in CUBE), "qpos_0"],
            [
                "joints",
                "joint_velocity",
                "gripper",
                "opening",
                "gripper_velocity",
                "object",
                "object_yaw",
                "object_velocity",
                "contact",
                "held",
                "object2",
                "object2_yaw",
                "object2_velocity",
                "contact2",
                "held2",
            ],
        ),
        ([], ["joints", "joint_velocity"]),
    ],
    ids=["two_room", "push_t", "reacher", "two cubes", "real robot"],
)
def test_every_world_tells_its_targets_by_name(names: list[str], expected: list[str]) -> None:
    store = told(names, proprio=np.zeros((4, 6)))
    targets = find_targets(store)
    assert [t.name for t in targets] == expected
    values = read_targets(store, targets, 0, 0, 1)
    assert values.shape == (4, slices(targets)[-1].stop)
    for target, at in zip(targets, slices(targets)):
        assert len(target.coordinates) == at.stop - at.start
    for target in targets:
        assert target.column == "proprio" or [names[i] for i in target.at] == list(target.names)


def test_a_store_that_tells_nothing_is_refused() -> None:
    with pytest.raises(JepaflowError, match="neither joints"):
        find_targets(told(["mood"]))
    with pytest.raises(JepaflowError, match="neither joints"):
        find_targets(told([]))


def test_a_cube_looks_the_same_after_a_quarter_turn_and_a_block_does_not() -> None:
    yaws = np.array([0.3, 0.3 + math.pi / 2, 0.3 - math.pi, 0.3 + math.pi / 4])[:, None]
    names = [f"cube0_{what}" for what in CUBE]
    state = np.zeros((4, 6))
    state[:, 3:4] = yaws
    store = told(["tcp_x", "tcp_y", "tcp_z", *names], np.concatenate([np.zeros((4, 3)), state], 1))
    found = [t for t in find_targets(store) if t.name == "object_yaw"]
    values = read_targets(store, found, 0, 0, 1)
    np.testing.assert_allclose(values[:3], np.repeat([[math.sin(1.2), math.cos(1.2)]], 3, 0), atol=1e-12)
    np.testing.assert_allclose(values[3], -values[0], atol=1e-12)
    assert found[0].coordinates == ("sin(4 cube0_yaw)", "cos(4 cube0_yaw)")
    block = told(["block_angle"], yaws)
    angle = read_targets(block, find_targets(block), 0, 0, 1)
    np.testing.assert_allclose(angle, np.concatenate([np.sin(yaws), np.cos(yaws)], 1), atol=1e-12)


@pytest.mark.parametrize(("block", "phase"), [(1, 0), (4, 0), (5, 2)])
def test_velocities_are_per_second_and_their_own_frame_is_in_the_middle(block: int, phase: int) -> None:
    time = np.arange(23) / 30.0
    place = np.stack([2 * time, -time, time**2], 1)
    names = ["tcp_x", "tcp_y", "tcp_z"]
    store = told(names, place, fps=30.0)
    velocity = [t for t in find_targets(store) if t.rate]
    values, frames = read_targets(store, velocity, 0, phase, block), np.arange(phase, 23, block)
    np.testing.assert_allclose(values[:, :2], np.repeat([[2.0, -1.0]], len(frames), 0))  # at both ends too
    half = (block + 1) // 2
    inside = (frames >= half) & (frames + half < 23)
    np.testing.assert_allclose(values[inside, 2], 2 * time[frames[inside]])  # centred: exact for a parabola
    alone = told(names, place[:1], fps=30.0)
    np.testing.assert_array_equal(read_targets(alone, velocity, 0, 0, block), np.zeros((1, 3)))


def test_a_state_that_is_not_finite_names_its_episode() -> None:
    store = told(["agent_x", "agent_y"], np.array([[0.0, np.nan]]))
    with pytest.raises(JepaflowError, match=r"episode 0 of made\.h5 is not finite"):
        read_targets(store, find_targets(store), 0, 0, 1)


# Floors and foresight -----------------------------------------------------------------------------------------------


def test_floor_features_are_what_they_say() -> None:
    np.testing.assert_array_equal(quadratic(np.array([[2.0, 3.0]])), [[2, 3, 4, 6, 9]])
    frames = np.random.default_rng(0).integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8)
    means = frames.reshape(2, 2, 8, 2, 8, 2, 3).mean((3, 5)) / 255  # [n, V, 8, 8, 3]
    np.testing.assert_allclose(shrunk(frames), means.transpose(0, 1, 4, 2, 3).reshape(2, -1), atol=1e-6)
    assert shrunk(frames[:, :1, :4, :4]).shape == (2, 48)


def test_the_untrained_encoder_is_new_and_knows_the_units(tmp_path: Path) -> None:
    model = load_run(make_run(tmp_path / "a", tmp_path / "x.h5", proprio_dim=3)).model
    model.proprio_scaler.mean.fill_(7.0)
    before = torch.random.get_rng_state()
    fresh, again = untrained_twin(model, 5), untrained_twin(model, 5)
    assert torch.equal(torch.random.get_rng_state(), before)
    own, new, same = (list(m.encoder.parameters()) for m in (model, fresh, again))
    assert not any(torch.equal(a, b) for a, b in zip(own, new) if a.ndim > 1 and a.any())
    assert all(torch.equal(a, b) for a, b in zip(new, same)) and not fresh.training
    assert torch.equal(fresh.proprio_scaler.mean, model.proprio_scaler.mean)


def test_foresight_lines_up_imagined_and_real() -> None:
    a, b = random_world()
    known = simulate(a, b, [9, 4, 1])
    world = LinearWorld(torch.zeros(1), a, b)
    times = iter(np.arange(len(t.z))[:, None].astype(float) for t in known)
    windows = foresee(world, carrying(known, lambda _: next(times)), 4, 2, (1, 3, 5))
    assert sorted(windows) == [1, 3, 5]
    for steps, one in windows.items():
        torch.testing.assert_close(one.imagined, one.then[:, :4], rtol=1e-3, atol=1e-3)
        assert (one.then[:, 4] - one.now[:, 4] == steps).all()
    assert (windows[1].episode == np.repeat([0, 1], [7, 2])).all() and len(windows[5].episode) == 3
    assert foresee(world, simulate(a, b, [2, 1]), 4, 2) == {}


# The whole ----------------------------------------------------------------------------------------------------------

LENGTHS = [40, 34, 28, 46] * 4
VAL = [2, 5, 8, 15]


def write_told_store(path: Path, seed: int = 0) -> Path:
    """The pushed square: where it is, whether on the right, a cube that never moves, and joints that are noise."""
    write_store(path, LENGTHS, seed=seed)
    with h5py.File(path, "r+") as file:
        bright = file["pixels"][:, :, :, 0] > 0
        y, x = ((bright.sum(axis) * np.arange(32)).sum(1) / bright.sum((1, 2)) for axis in (2, 1))
        still = np.full(len(x), 0.5)
        file["state"] = np.stack([x, y, still, still, still, still, x > 16], 1).astype(np.float32)
        file["proprio"] = np.random.default_rng(seed).normal(size=(len(x), 2)).astype(np.float32)
        names = ["tcp_x", "tcp_y", "tcp_z", "cube0_x", "cube0_y", "cube0_z", "cube0_touched"]
        meta = json.loads(file.attrs["jepaflow"])
        meta["features"] = {"state": {"names": names}, "proprio": {"names": ["pan", "lift"]}}
        file.attrs["jepaflow"] = json.dumps(meta)
    return path


def make_told_run(path: Path, store: Path) -> Path:
    """An untrained run: random convolutions keep where a bright square is."""
    encoder = EncoderConfig(kind="conv", width=64, channels=(8, 16))
    make_run(path, store, val=VAL, latent_dim=48, projector_hidden=128, encoder=encoder)
    train = [e for e in range(len(LENGTHS)) if e not in VAL]
    (path / "split.json").write_text(json.dumps({"train": [train], "val": [VAL]}))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_told_store(tmp_path / "push.h5")


@pytest.fixture
def folder(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probe_command, "ProbeOptions", partial(ProbeOptions, mlp=SMALL))
    return make_told_run(tmp_path / "runs" / "a", store)


OPTIONS = ProbeOptions(draws=50, mlp=SMALL)


def test_the_command_writes_every_figure_with_its_floors(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "probes.json"
    assert run(Args(folder, draws=100, json=out, name="push/probe")) == 0
    assert (folder / "diagnosis" / "probes.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "diagnosis" / "probes.json").read_text())
    rows = {row["name"]: row for row in result["rows"]}
    targets = ["joints", "joint_velocity", "gripper", "gripper_velocity", "contact"]  # the cube never moves
    expected = {f"probe/{t}/{k}/{f}" for t in targets for k in ("linear", "mlp") for f in ("r", "mse")}
    expected |= {f"probe/{t}/{k}/ahead{n}/r" for t in targets for k in ("linear", "mlp") for n in (1, 3, 5)}
    assert set(rows) == expected | {f"probe/contact/{kind}/auroc" for kind in ("linear", "mlp")}
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"] and str(tmp_path) not in row["note"]
    gripper = rows["probe/gripper/linear/r"]
    assert gripper["value"] > 0.5 and gripper["n"] == sum(-(-LENGTHS[e] // 2) for e in VAL)
    assert set(gripper["floors"]) == {"time", "random", "pixels", "proprio"}
    assert abs(gripper["floors"]["proprio"]) < 0.3 and gripper["floors"]["pixels"] > 0.9
    assert "tcp_x 0." in gripper["note"] and "tcp_z" not in gripper["note"]  # a height that never varies
    assert set(rows["probe/joints/linear/r"]["floors"]) == {"time", "random", "pixels"}
    contact, error = rows["probe/contact/linear/auroc"], rows["probe/gripper/linear/mse"]
    assert contact["value"] > 0.7 and contact["floors"]["chance"] == 0.5
    assert error["floors"]["mean"] > 1.2 * error["value"] > 5 * error["floors"]["pixels"]
    ahead = rows["probe/gripper/linear/ahead5/r"]
    assert set(ahead["floors"]) == {"still"} and ahead["ceilings"]["real"] == pytest.approx(gripper["value"], abs=0.15)
    named = json.loads(out.read_text())
    assert {row["name"] for row in named["rows"]} == {f"push/{name}" for name in rows}
    assert named["command"].startswith(f"jepaflow probe {folder} --draws 100 --name push/probe --json")


def test_labels_of_held_out_episodes_only_judge(folder: Path, store: Path) -> None:
    """Wrong labels there: the figures fall to nothing, and what was learnt stays."""
    good = probe_run(load_run(folder), None, OPTIONS).get("gripper")
    assert good is not None and good.r.value > 0.5
    with h5py.File(store, "r+") as file:
        state = file["state"][:]
        held = np.isin(file["episode_idx"][:], VAL)
        file["state"][...] = np.where(held[:, None], np.random.default_rng(0).permutation(state), state)
    opened, loaded = Store(store), load_run(folder)
    parts = [encode(loaded, opened, e) for e in (loaded.train_episodes, VAL)]
    assert abs(linear_score(opened, *parts, "gripper").r.value) < 0.3
    train = linear_score(opened, parts[0], parts[0], "gripper")
    assert train.r.value > 0.5


def test_the_light_probe_gives_the_figure_of_the_full_one(folder: Path, store: Path) -> None:
    loaded, opened = load_run(folder), Store(store)
    full = probe_run(loaded, None, OPTIONS)
    parts = [encode(loaded, opened, e) for e in (loaded.train_episodes, VAL)]
    for target in ("gripper", "contact"):
        light, known = linear_score(opened, *parts, target), full.get(target)
        assert known is not None
        assert light.r.value == pytest.approx(known.r.value) and light.r2.value == pytest.approx(known.r2.value)
    with pytest.raises(JepaflowError, match=r"tells no ball\. Choose one of joints"):
        linear_score(opened, *parts, "ball")
    with pytest.raises(JepaflowError, match="The object does not vary"):
        linear_score(opened, *parts, "object")


def test_same_seed_same_rows(folder: Path) -> None:
    one, two = (probe_run(load_run(folder), None, OPTIONS).rows() for _ in range(2))
    assert one == two


def test_what_another_world_or_recording_tells(folder: Path, store: Path, tmp_path: Path) -> None:
    """Another recording of the world judges probes of the run's own; another world is refused; none to fit on as well."""
    loaded, foreign = load_run(folder), write_told_store(tmp_path / "foreign.h5", seed=1)
    material = gather(loaded, foreign, 100, 100, 0)
    assert sorted(np.unique(material.train.episode)) == loaded.train_episodes
    assert len(np.unique(material.held.episode)) == len(LENGTHS)
    assert material.left_out == ("object", "object_velocity")
    with h5py.File(foreign, "r+") as file:
        del file["state"]
    with pytest.raises(JepaflowError, match="tells other things"):
        gather(loaded, foreign, 100, 100, 0)
    with h5py.File(store, "r+") as file:
        del file["state"], file["proprio"]
    with pytest.raises(JepaflowError, match="neither joints"):
        run(Args(folder, DatasetArgs(store)))


def test_too_few_episodes_and_senseless_options_are_refused(folder: Path) -> None:
    with pytest.raises(JepaflowError, match="cannot be fitted on 3 episodes"):
        run(Args(folder, episodes=3))
    for name in ("episodes", "held", "draws"):
        with pytest.raises(JepaflowError, match=f"--{name} is 0"):
            ProbeOptions(**{name: 0})  # type: ignore[arg-type]
    with pytest.raises(JepaflowError, match="--seed is -1"):
        ProbeOptions(seed=-1)


def test_one_held_out_episode_has_no_interval(folder: Path) -> None:
    probes = probe_run(load_run(folder), None, ProbeOptions(held=1, draws=20, mlp=SMALL))
    row = next(row for row in probes.rows() if row.name == "probe/gripper/linear/r")
    assert row.low == row.value == row.high and "no interval" in row.note
    assert draw_probes(probes).startswith(b"\x89PNG")
