"""Which finding calls for which advice, one line a rule; and every command that is advised can be typed."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from diagnosis_runs import LENGTHS, QUICK, errors_of, make_run
from diagnosis_worlds import write_store

from jepaflow.cli.main import COMMANDS
from jepaflow.cli.train import Args as TrainArgs
from jepaflow.common.results import Row
from jepaflow.diagnosis.advice import Advice, advise
from jepaflow.diagnosis.measure import Diagnosis, Options, diagnose_run
from jepaflow.diagnosis.resample import Estimate
from jepaflow.diagnosis.topics import KINDS, Topic
from jepaflow.diagnosis.verdict import judge

ASTRAY = "What lies near in the latent need not be near in the world"
HARD = "Hard to read from the latent"
Make = Callable[..., Diagnosis]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Diagnosis:
    root = tmp_path_factory.mktemp("advice")
    return diagnose_run(
        make_run(root / "a", write_store(root / "push.h5", LENGTHS)), options=Options(draws=20, skip=QUICK)
    )


@pytest.fixture
def make(measured: Diagnosis) -> Make:
    """A sound model of many episodes, with whatever a test spoils."""

    def made(
        lows: tuple[float, ...] = (0.5,) * 10,
        listening: float = 0.3,
        rank: float = 4.0,
        spread: float = 1.0,
        episodes: int = 40,
        width: float = 0.1,
        bad: int = 0,
        normal: float = 0.1,
        proprio: bool = False,
        training: dict[str, Any] | None = None,
    ) -> Diagnosis:
        skill = tuple(Estimate(low + width / 2, low, low + width, 50, episodes) for low in lows)
        ear = Estimate(listening, listening - 0.1, listening + 0.1, 50, episodes)
        forecast = replace(measured.forecast, skill=skill, shuffled=skill, gain=skill, listening=ear)
        geometry = measured.geometry
        geometry = replace(
            geometry,
            effective_rank=replace(geometry.effective_rank, value=rank),
            normality=replace(geometry.normality, share=normal),
        )
        copy = np.ones((episodes, len(lows)))
        model = np.full_like(copy, 0.5)
        model[:bad] = 2.0
        errors = errors_of(model, copy)
        facts = {**measured.facts, "train_episodes": 400, "proprio": proprio}
        known = {
            "preset": "nano",
            "steps": 800,
            "sigreg": 0.05,
            "stores": ["data/x.h5", "my data/y.h5"],
            **(training or {}),
        }
        facts["training"] = {**facts["training"], **known}
        size = Estimate(spread, spread, spread, 50, episodes)
        verdict = judge(forecast, rank, geometry.latent_dim, 0.5, spread)
        return replace(
            measured, verdict=verdict, forecast=forecast, geometry=geometry, errors=errors, facts=facts, spread=size
        )

    return made


def topic(*rows: Row) -> Topic:
    return Topic(KINDS[0], rows, {}, "")


def row(name: str, value: float, **floors: float) -> Row:
    return Row(name, value, value - 0.02, value + 0.02, 50, floors=floors)


def findings(diagnosis: Diagnosis, *rows: Row) -> list[str]:
    return [one.finding for one in advise(diagnosis, (topic(*rows),), "runs/a")]


def test_a_sound_model_is_told_to_act(make: Make) -> None:
    (one,) = advise(make(), (), "runs/a")
    assert one.urgency == "fine" and "jepaflow heads runs/a" in one.commands


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        ({"spread": 0.001}, "The latents have collapsed"),
        ({"rank": 1.2}, "The latents have collapsed"),
        ({"lows": (-0.1,) * 10}, "It forecasts no better than “nothing moves”"),
        ({"listening": 0.0}, "It does not listen to its actions"),
        ({"lows": (0.5,) * 3 + (-0.1,) * 7}, "It sees only 3 model steps ahead"),
        ({"episodes": 3}, "Too few episodes to judge on"),
        ({"bad": 10}, "Some episodes it cannot forecast"),
        ({"width": 0.4}, "The intervals are wide"),
        ({"normal": 0.9}, "The latents are not Gaussian"),
    ],
)
def test_a_finding_calls_for_its_advice(make: Make, spoil: dict[str, Any], finding: str) -> None:
    assert finding not in findings(make())
    found = advise(make(**spoil), (), "runs/a")
    (one,) = [each for each in found if each.finding == finding]
    assert any(letter.isdigit() for letter in one.figure), "it says which figure"
    assert one.what and one.commands
    urgencies = [each.urgency for each in found]
    assert urgencies == sorted(urgencies, key=("first", "then", "fine").index)


@pytest.mark.parametrize(
    ("bad", "good", "finding"),
    [
        (row("probe/object/linear/r", 0.6, pixels=0.7), row("probe/object/linear/r", 0.95, pixels=0.7), f"{HARD}: object"),
        (row("probe/object/linear/r", 0.6, pixels=0.1), row("probe/gripper/linear/r", 0.6, pixels=0.7), f"{HARD}: object"),
        (row("probe/object_yaw/linear/r", 0.1, pixels=0.2), row("probe/object_yaw/linear/r", 0.5, pixels=0.2), f"{HARD}: object yaw"),
        (row("decoder/psnr", 20.0, nearest=25.0), row("decoder/psnr", 28.0, nearest=25.0), "The decoder draws worse than its floor"),
        (row("surprise/float/auroc", 0.5, pixels=0.5), row("surprise/float/auroc", 1.0, pixels=0.5),
            "Some impossible events leave it cold"),
        (row("isometry_near", 0.1, pixels=0.2), row("isometry_near", 0.6, pixels=0.2), ASTRAY),
        (row("slip/recall@1%", 0.4), row("slip/recall@1%", 0.9), "It misses failures"),
    ],
)  # fmt: skip
def test_rows_of_other_commands_call_for_theirs(make: Make, bad: Row, good: Row, finding: str) -> None:
    assert finding in findings(make(), bad)
    assert findings(make(), good) == ["It sees: let it act"]


def test_joints_as_input_are_to_be_withheld_only_where_they_are_one(make: Make) -> None:
    blind = row("probe/object/linear/r", 0.6, pixels=0.7)

    def commands(**changes: Any) -> str:
        return "\n".join(c for one in advise(make(**changes), (topic(blind),), "runs/a") for c in one.commands)

    assert "--proprio-dropout 0.5" in commands(proprio=True)
    assert "--proprio-dropout" not in commands()
    assert "--proprio-dropout 0.5" not in commands(proprio=True, training={"proprio_dropout": 0.3})


def test_a_collapsed_model_gets_a_larger_weight_than_it_had(make: Make) -> None:
    for had, wanted in ((0.0, "0.09"), (0.05, "0.1"), (0.2, "0.4"), (None, "0.09")):
        one = advise(make(spread=0.0, training={"sigreg": had}), (), "runs/a")[0]
        assert f"--loss.sigreg {wanted} " in one.commands[0]


def test_every_command_can_be_typed(make: Make) -> None:
    """Train commands through the real parser, the others by the name of their command."""
    spoiled = [
        make(spread=0.0), make(lows=(-0.1,) * 10), make(listening=0.0), make(lows=(0.5,) * 3 + (-0.1,) * 7),
        make(episodes=3), make(bad=10), make(width=0.4), make(normal=0.9), make(),
        make(proprio=True, training={"action_change": True, "rollout": 0.5, "rollout_steps": 2, "inverse": 0.2}),
        make(training=dict.fromkeys(("preset", "steps", "sigreg", "rollout", "rollout_steps", "inverse"))),
    ]  # fmt: skip
    rows = (row("probe/object/linear/r", 0.6, pixels=0.7), row("decoder/psnr", 2.0, mean=3.0), row("slip/recall", 0.1))
    advice: list[Advice] = [one for each in spoiled for one in advise(each, (topic(*rows),), "my runs/a")]
    typed = {tuple(shlex.split(command)) for one in advice for command in one.commands}
    assert len(typed) > 15
    for words in typed:
        assert words[0] == "jepaflow" and words[1] in COMMANDS
        if words[1] == "train":
            args = tyro.cli(TrainArgs, args=list(words[2:]))
            assert args.output_dir == Path("my runs/a-b")
