"""The monitor online: exact forecasts are calm, a jump is an alarm, its file is whole or refused, the controller listens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.monitor import CALM, CLASSES, NAMES, SURPRISED, Expectation, Judge, Monitor, tally
from jepaflow.planning.monitor_file import load_judge, load_monitor, save_judge
from jepaflow.training.checkpoint import Run, load_run
from tests.training.tiny_run import make_run, make_store

from .conftest import LinearWorld
from .test_controller import BOX, Abacus, frame

K, A = 2, 2


def plain(dim: int = 2, ahead: int = 1, above: float = 0.0) -> Judge:
    """A label-free judge to whom a difference of length one in each direction is an alarm at exp(above)."""
    return Judge(
        centre=torch.zeros(ahead, dim),
        whiten=torch.eye(dim).expand(ahead, dim, dim).contiguous(),
        scale=torch.stack([torch.zeros(dim), torch.ones(dim)]),
        layers=None,
        units=torch.tensor([[0.0, 1.0], [0.0, 1.0]]),
        threshold=above,
    )


def walk(steps: int, envs: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Latents (E, T, 2) and blocks (E, T - 1, K, A) that `LinearWorld` foretells exactly."""
    blocks = torch.randn(envs, steps - 1, K, A, generator=torch.Generator().manual_seed(seed))
    return torch.cat([torch.zeros(envs, 1, 2), blocks.sum(2).cumsum(1)], 1), blocks


@pytest.mark.parametrize(("history", "ahead"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_every_forecast_is_told_the_history_then_and_the_blocks_since(history: int, ahead: int) -> None:
    z, blocks = walk(7)
    expectation = Expectation(LinearWorld(), history, ahead)
    for t in range(7):
        forecasts = expectation.see(z[:, t])
        for w in range(ahead):
            if t - w - 1 < 0:
                assert torch.isnan(forecasts.now[:, w]).all()
            else:
                assert torch.allclose(forecasts.now[:, w], z[:, t], atol=1e-5)
        assert torch.isnan(forecasts.before).all() if t == 0 else torch.equal(forecasts.before, z[:, t - 1])
        if t < 6:
            expectation.did(blocks[:, t])


def test_looks_and_blocks_must_alternate() -> None:
    expectation = Expectation(LinearWorld(), 2, 1)
    expectation.see(torch.zeros(1, 2))
    with pytest.raises(JepaflowError, match="do not alternate"):
        expectation.see(torch.zeros(1, 2))


def test_exact_forecasts_are_calm_and_a_jump_is_an_alarm_where_and_when_it_happens() -> None:
    z, blocks = walk(9)
    z[1, 5:] += torch.tensor([3.0, -4.0])  # somebody moves the second world's point, once
    monitor = Monitor(LinearWorld(), plain(), 3)
    verdicts = []
    for t in range(9):
        verdicts.append(monitor.see(z[:, t]))
        if t < 8:
            monitor.did(blocks[:, t])
    assert [v.any for v in verdicts] == [False] * 5 + [True] + [False] * 3
    assert verdicts[5].names == (CALM, SURPRISED)
    assert verdicts[5].loud.tolist() == [False, True]
    assert verdicts[5].score[1].item() == pytest.approx(np.log(25 / 2), abs=1e-4)  # mean square of (3, -4), logarithm
    assert tally(verdicts) == {"surprised": 1}


def test_an_episode_begins_with_nothing_to_expect() -> None:
    monitor = Monitor(LinearWorld(), plain(above=-1e9), 3)
    assert monitor.see(torch.randn(3, 2)).names == (CALM,) * 3
    monitor.did(torch.zeros(3, K, A))
    monitor.begin()
    assert monitor.see(torch.randn(3, 2) + 100).names == (CALM,) * 3


def test_the_network_s_likeliest_event_is_the_name() -> None:
    judge = plain()
    features = judge.centre.shape[0] * 3 + 4
    for said in range(CLASSES - 1):
        first, last = torch.zeros(1, features), torch.zeros(CLASSES, 1)
        first[0, 0], last[0, 0], last[1 + said, 0] = 1.0, -1.0, 2.0  # the first difference counts
        named = replace(judge, layers=(first, torch.zeros(1), last, torch.zeros(CLASSES)), threshold=5.0)
        monitor = Monitor(LinearWorld(), named, 1)
        monitor.see(torch.zeros(2, 2))
        monitor.did(torch.zeros(2, K, A))
        verdict = monitor.see(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
        assert verdict.names == (CALM, said)
        assert list(tally([verdict])) == [NAMES[said]]


def test_parts_that_do_not_belong_together_are_refused() -> None:
    judge = plain()
    layers = (torch.zeros(1, 6), torch.zeros(1), torch.zeros(CLASSES, 1), torch.zeros(CLASSES))  # one feature too few
    few = (torch.zeros(1, 7), torch.zeros(1), torch.zeros(CLASSES - 1, 1), torch.zeros(CLASSES - 1))
    for broken in ({"layers": layers}, {"layers": few}, {"threshold": float("nan")}):
        with pytest.raises(JepaflowError, match="do not fit together"):
            replace(judge, **broken)


# Files ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    make_run(tmp_path / "run", make_store(tmp_path / "store.h5", [9, 9]), [0], [1])
    return load_run(tmp_path / "run", "cpu")


@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_saved_is_what_is_loaded(run: Run, labelled: bool) -> None:
    judge = plain(6, above=1.5)
    if labelled:
        parts = (torch.randn(4, 7 + 12), torch.randn(4), torch.randn(CLASSES, 4), torch.randn(CLASSES))
        judge = replace(judge, layers=parts)
    save_judge(run, judge, {"env": "nowhere"})
    loaded = load_judge(run)
    z, forecasts = torch.randn(3, 6), Expectation(run.model, 3, 1).see(torch.randn(3, 6))
    forecasts = replace(forecasts, now=torch.randn(3, 1, 6), before=torch.randn(3, 6))
    assert torch.equal(judge.judge(z, forecasts)[0], loaded.judge(z, forecasts)[0])
    assert (loaded.threshold, loaded.layers is None) == (1.5, not labelled)
    assert load_monitor(run).see(torch.zeros(1, 6)).names == (CALM,)


def test_a_missing_a_damaged_and_a_foreign_file_are_one_sentence(run: Run) -> None:
    with pytest.raises(JepaflowError, match="has no calibrated monitor"):
        load_judge(run)
    save_judge(run, plain(6), {})
    path = run.path / "monitor.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:50], whole[:-3]):
        path.write_bytes(damaged)
        with pytest.raises(JepaflowError, match=r"is damaged .* Calibrate it with: jepaflow monitor"):
            load_judge(run)
    path.write_bytes(whole)
    facts = run.path / "monitor.json"
    said = facts.read_text()
    facts.unlink()
    with pytest.raises(JepaflowError, match="has no calibrated monitor"):
        load_judge(run)
    for damaged, words in ((said[:20], "cannot be read as JSON"), ("[]", "another checkpoint")):
        facts.write_text(damaged)
        with pytest.raises(JepaflowError, match=words):
            load_judge(run)
    facts.write_text(said)
    with torch.no_grad():
        next(run.model.parameters()).add_(1.0)
    with pytest.raises(JepaflowError, match="another checkpoint"):
        load_judge(run)


# The controller -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [0, 40])
def test_the_controller_plans_anew_on_an_alarm(jump: int) -> None:
    model = Abacus(block=1)
    solver = SolverConfig(samples=32, elites=8, iterations=3, horizon=4)
    monitor = Monitor(
        model, plain(above=3.0), 3
    )  # a mean square beyond e^3: 4.5 units; the picture is rounded to whole ones
    controller = Controller(model, BOX, ControllerConfig(solver, execute=4), monitor=monitor)
    for _ in range(2):  # and a second episode begins clean
        controller.reset(frame((200, 200)))
        before, here = controller.plans, np.array([100.0, 100.0])
        for step in range(4):
            here = here + (jump if step == 2 else 0)
            x, y = (int(v) for v in np.rint(here))
            here = here + controller.act(frame((x, y)))[0]
        assert controller.plans - before == (2 if jump else 1)
        assert [v.any for v in controller.verdicts] == [False, False, bool(jump), False]


def test_without_a_monitor_nothing_is_judged() -> None:
    controller = Controller(Abacus(block=1), BOX, ControllerConfig(SolverConfig(samples=16, elites=4, iterations=2)))
    controller.reset(frame((3, 3)))
    controller.act(frame((1, 1)))
    assert controller.verdicts == []
