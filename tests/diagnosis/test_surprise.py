"""Violation of expectation: the films are what they claim, the scores agree with other libraries, extremes come out right."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from torch import Tensor

from jepaflow.cli import surprise as command
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.diagnosis.surprise import (
    Surprise,
    SurpriseConfig,
    ask,
    calibration_takes,
    choose_kinds,
    make_stage,
    measure,
)
from jepaflow.diagnosis.surprise_answers import LEAD
from jepaflow.diagnosis.surprise_films import Stage, Take, visible
from jepaflow.diagnosis.surprise_rows import auroc_of, result_rows
from jepaflow.diagnosis.surprise_scores import Gauge, auroc, paired_p, paired_share
from jepaflow.diagnosis.surprise_seer import Seer, untrained
from jepaflow.sims.collect import CollectConfig, record_episode
from jepaflow.sims.edits import make_editor
from jepaflow.sims.registry import WorldOptions, find_world
from jepaflow.training.checkpoint import Run
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig

BLOCK, HISTORY, WINDOW = 5, 2, 3


@cache
def stage_of(env: str, size: int = 48) -> Stage:
    entry = find_world(env)
    if entry.optional:
        entry = entry.bound(WorldOptions(cameras=("laptop",), renderer="ray"))
    world = entry.make(size)
    config = CollectConfig(env, seed=4, image_size=size, mix={"expert": 1.0})
    return Stage(entry, world, make_editor(world, env), config, BLOCK, HISTORY, WINDOW)


@cache
def taken(env: str, index: int = 0) -> Take:
    return stage_of(env).play(index)


class Looker:
    """Sees a fixed random projection of the pixels; what it expects is a subclass's matter."""

    def encode(self, pixels: Tensor, proprio: Tensor | None = None) -> Tensor:
        flat = pixels.flatten(2).float() / 255
        return flat @ torch.randn(flat.shape[-1], 12, generator=torch.Generator().manual_seed(0))


class Oracle(Looker):
    """Has seen the episodes as they were and knows what comes next in them."""

    def __init__(self, takes: list[Take]) -> None:
        self.next: dict[bytes, Tensor] = {}
        for take in takes:
            z = Seer(self, HISTORY, False).encode(take.film)
            for t in range(HISTORY, len(z)):
                self.next[self._key(z[t - HISTORY : t], take.blocks[t - 1])] = z[t]

    @staticmethod
    def _key(z: Tensor, block: np.ndarray) -> bytes:
        return z.numpy().round(3).tobytes() + block.tobytes()

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        assert past.shape[1] == HISTORY - 1 and future.shape[1] == 1
        found = [self.next.get(self._key(a, b[0].numpy()), torch.zeros(12)) for a, b in zip(z, future)]
        return torch.stack(found)[:, None]


class Dreamer(Looker):
    """Expects anything."""

    def __init__(self) -> None:
        self.dice = torch.Generator().manual_seed(1)

    def rollout(self, z: Tensor, past: Tensor, future: Tensor) -> Tensor:
        return 1000 * torch.randn(len(z), 1, 12, generator=self.dice)


def asked(
    model: Oracle | Dreamer, stage: Stage, pairs: int, calibration: list[Take], kinds: tuple[str, ...] = ()
) -> Surprise:
    seer = Seer(model, HISTORY, False)
    seer.calibrate(calibration, "log")
    config = SurpriseConfig(stage.config.env, pairs=pairs, window=WINDOW, violations=kinds)
    return ask(stage, {"model": seer}, choose_kinds(stage, kinds), config)


# Films ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ["so101/pick_place", "two_room"])
def test_the_normal_film_is_the_episode_as_it_was_recorded(env: str) -> None:
    stage, take = stage_of(env), taken(env)
    recording = record_episode(stage.entry, stage.world, stage.config, 0)
    (pictures,) = recording.pictures.values()
    assert np.array_equal(take.film.frames[:, 0], pictures[list(take.rows)])
    assert np.array_equal(take.film.proprio, recording.rows["observation.state"][list(take.rows)])
    actions = recording.rows["action"]
    for t, block in enumerate(take.blocks):
        assert np.array_equal(block, actions[take.rows[t] : take.rows[t] + BLOCK])


@pytest.mark.parametrize("env", ["so101/pick_place", "two_room"])
def test_the_films_share_what_came_before_and_differ_visibly_from_the_judged_frame_on(env: str) -> None:
    stage, found = stage_of(env), set()
    for index in range(3):
        take = taken(env, index)
        for kind in choose_kinds(stage, ()):
            violation, _ = stage.violate(take, kind)
            if violation is None:
                continue
            found.add(kind)
            edit, judged, film = violation.edit, violation.judged, violation.film
            assert HISTORY <= edit <= judged and judged + WINDOW <= len(take.film)
            assert len(film) == judged + WINDOW - edit
            assert visible(take.film.frames[judged], film.frames[judged - edit])
            if kind != "vanish":  # which may leave a little out before
                assert not any(visible(take.film.frames[f], film.frames[f - edit]) for f in range(edit, judged))
    assert {"teleport", "colour", "vanish_seen", "pass", "frozen", "reversed"} <= found
    assert env == "two_room" or {"float", "ghost"} <= found


def test_violating_an_episode_changes_neither_it_nor_the_world() -> None:
    stage = stage_of("so101/pick_place")
    first = stage.play(1)
    for kind in choose_kinds(stage, ()):
        stage.violate(first, kind)
    again = stage.play(1)
    assert np.array_equal(first.film.frames, again.film.frames)
    assert np.array_equal(first.states, again.states)


def test_frozen_and_reversed_films() -> None:
    stage, take = stage_of("two_room"), taken("two_room")
    frozen, _ = stage.violate(take, "frozen")
    reversed_, _ = stage.violate(take, "reversed")
    assert frozen is not None and reversed_ is not None
    for step in range(WINDOW):
        assert np.array_equal(frozen.film.frames[step], take.film.frames[frozen.edit - 1])
        assert np.array_equal(reversed_.film.frames[step], take.film.frames[reversed_.edit - 2 - step])


def test_calibration_episodes_are_others() -> None:
    stage = stage_of("two_room")
    assert not np.array_equal(stage.play(0, calibration=True).states[0], taken("two_room").states[0])


# Scores -----------------------------------------------------------------------------------------------------------------


def test_auroc_and_pairs_agree_with_other_libraries() -> None:
    rng = np.random.default_rng(0)
    violated, normal = rng.integers(0, 6, 40) + 1.0, rng.integers(0, 6, 40) + 0.0
    labels = np.repeat([1, 0], 40)
    assert auroc(violated, normal) == pytest.approx(roc_auc_score(labels, np.concatenate([violated, normal])))
    assert auroc(normal, normal) == 0.5
    assert paired_p(violated, normal) == pytest.approx(ttest_rel(violated, normal, alternative="greater").pvalue)
    assert paired_p(normal, normal) == 1.0
    assert paired_share(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.0, 4.0])) == 0.5


def test_the_gauge_is_a_z_score_on_calibration() -> None:
    residual = np.random.default_rng(0).normal(size=(300, 5)) * [1, 2, 3, 0.1, 5]
    gauge = Gauge.fit(residual, "log")
    z = gauge(residual)
    assert z.mean() == pytest.approx(0) and z.std() == pytest.approx(1)
    log_error = np.log((residual**2).mean(1))
    assert z == pytest.approx((log_error - log_error.mean()) / log_error.std())
    assert np.isfinite(gauge(np.zeros((1, 5)))).all()


def test_mahalanobis_weighs_directions_by_the_shrunk_covariance() -> None:
    residual = np.random.default_rng(0).normal(size=(300, 4)) @ np.diag([1, 2, 3, 0.1]) + 0.5
    gauge = Gauge.fit(residual, "mahalanobis")
    centred = residual - residual.mean(0)
    squares = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(LedoitWolf().fit(residual).covariance_), centred) / 4
    assert gauge(residual) * gauge.deviation + gauge.mean == pytest.approx(np.log(squares))


# Models -----------------------------------------------------------------------------------------------------------------


def test_who_foretells_exactly_is_surprised_by_every_violation_alone() -> None:
    stage = stage_of("so101/pick_place")
    normal = [stage.play(i, calibration=True) for i in range(2)]
    takes = [taken("so101/pick_place", i) for i in range(4)]
    kinds = ("teleport", "vanish_seen", "float", "pass", "ghost", "colour", "frozen", "reversed")
    found = asked(Oracle([*takes, *normal]), stage, 2, normal, kinds)
    assert found.episodes <= 4
    for answer in found.answers:
        assert len(answer) == 2, answer.kind
        normal_z, violated_z = answer.judged("model", "max").T
        assert auroc(violated_z, normal_z) == 1.0, answer.kind
        for curves, wait in zip(answer.curves["model"], answer.waits):
            shared = slice(0, max(0, LEAD - wait))  # frames before the event
            assert np.array_equal(curves[0, shared], curves[1, shared], equal_nan=True), answer.kind


def test_who_expects_anything_tells_nothing_apart() -> None:
    stage = stage_of("two_room")
    normal = [stage.play(i, calibration=True) for i in range(5)]
    found = asked(Dreamer(), stage, 60, normal, ("teleport", "colour"))
    for answer in found.answers:
        assert len(answer) == 60
        assert 0.35 < auroc_of(answer.judged("model", "max")) < 0.65


def small(**more: int) -> JEPA:
    torch.manual_seed(3)
    return JEPA(
        JEPAConfig(image_size=32, block=BLOCK, history=HISTORY, latent_dim=16, projector_hidden=16, **more)
    ).eval()


def test_the_untrained_twin_has_the_data_s_scale_and_weights_of_its_own() -> None:
    model = small()
    model.action_scaler.mean += 1.5
    stage = make_stage(model, SurpriseConfig("two_room"), "top")
    takes = calibration_takes(stage, 6)
    twin = untrained(model, takes, 0)
    assert not twin.training
    assert torch.equal(twin.action_scaler.mean, model.action_scaler.mean)
    assert not torch.equal(twin.projector[0].weight, model.projector[0].weight)
    norm = twin.projector[1]
    assert isinstance(norm, torch.nn.BatchNorm1d) and norm.running_mean is not None
    assert not torch.equal(norm.running_mean, torch.zeros_like(norm.running_mean))
    assert torch.equal(untrained(model, takes, 0).projector[0].weight, twin.projector[0].weight)


def test_a_whole_measurement_is_a_function_of_its_seed() -> None:
    config = SurpriseConfig("two_room", pairs=3, calibration=5, window=2, seed=1)
    one, two = (measure(small(), config) for _ in range(2))
    assert [len(answer) for answer in one.answers] == [3] * 6
    for a, b in zip(one.answers, two.answers):
        for subject in ("model", "pixels", "copy_last", "untrained"):
            assert np.array_equal(a.judged(subject, "mean"), b.judged(subject, "mean"))
    names = [row.name for row in result_rows(one, "x")]
    assert "x/surprise/two_room/pass/auroc" in names and "x/surprise/two_room/frozen/paired" in names
    assert set(result_rows(one)[0].floors) == {"coin", "pixels", "copy_last", "untrained"}


# The command ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "run"
    folder.mkdir()
    loaded = Run(folder, small(), {}, tmp_path / "gone.h5", [], [], 1)
    monkeypatch.setattr(command, "load_run", lambda path, device: loaded)
    yield folder


def test_the_command_writes_figures_and_pictures(run: Path, tmp_path: Path) -> None:
    config = SurpriseConfig("two_room", pairs=2, calibration=5, violations=("teleport", "frozen"))
    json, picture = tmp_path / "surprise.json", tmp_path / "strip.png"
    assert command.run(command.Args(run, config, json=json, picture=picture)) == 0
    rows = read_json(json)["rows"]
    assert {row["name"] for row in rows} == {
        f"surprise/two_room/{kind}/{word}" for kind in ("teleport", "frozen") for word in ("auroc", "paired")
    }
    assert read_json(run / "diagnosis" / "surprise.json")["rows"] == rows
    for made in (picture, run / "diagnosis" / "surprise.png"):
        assert made.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_measured_is_said(run: Path) -> None:
    with pytest.raises(JepaflowError, match="no violation 'levitate'"):
        measure(small(), SurpriseConfig("two_room", violations=("levitate",)))
    with pytest.raises(JepaflowError, match="takes 2 actions"):
        measure(small(), SurpriseConfig("so101/pick_place"))
    with pytest.raises(JepaflowError, match="one camera"):
        measure(small(), SurpriseConfig("two_room", fix=("obstacle=wall",)))
    with pytest.raises(JepaflowError, match="--pairs is 1"):
        SurpriseConfig(pairs=1)
    with pytest.raises(JepaflowError, match="no statistic 'median'"):
        SurpriseConfig(statistic="median")
