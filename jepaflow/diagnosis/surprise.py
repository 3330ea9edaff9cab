"""Violation of expectation: is the model surprised by the impossible, and only by that?

Each pair is an episode and the same with one impossible event (`surprise_films`). Every frame of both films is foretold
from the H real frames before it and the actions; the forecast's error becomes a z-score, calibrated on other episodes of
normal motion (`surprise_scores`). AUROC asks whether the violated films' windows surprise more than the normal ones'.

The floors see the same frames in the same windows: *pixels* is the mean absolute difference to the frame before, *copy
last* the model's own latent with the forecast that nothing moves, *untrained* a model of the same architecture before its
training. The latter two are calibrated as the model is.

Encoding is what takes time, so an episode serves every violation that it has a moment for, once each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.diagnosis.surprise_answers import STATISTICS, Answers, judge
from jepaflow.diagnosis.surprise_films import FILM_KINDS, STREAM, Stage, Take, Violation
from jepaflow.diagnosis.surprise_scores import SCORES
from jepaflow.diagnosis.surprise_seer import Seer, untrained
from jepaflow.sims.collect import CollectConfig
from jepaflow.sims.edits import make_editor
from jepaflow.sims.registry import WorldOptions, find_world
from jepaflow.worldmodel.jepa import JEPA

MOST_EPISODES = 15
"""Episodes per wanted pair after which a rare violation is given up."""


@dataclass(frozen=True)
class SurpriseConfig:
    """What to violate, and how often."""

    env: str = "so101/pick_place"
    """the world that the run's data comes from"""
    pairs: int = 200
    """pairs of films per violation"""
    violations: tuple[str, ...] = ()
    """which; all that the world knows when not given"""
    window: int = 4
    """W, model steps that are judged"""
    calibration: int = 80
    """episodes of normal motion that surprise is calibrated on"""
    statistic: str = "max"
    """of a window's z-scores: max, mean, or first (its first frame alone)"""
    score: str = "log"
    """how an error becomes surprise: log (of the squared error), mahalanobis (each direction weighed)"""
    seed: int = 0
    """of episodes and edits"""
    vary: tuple[str, ...] = ()
    """factors of variation to draw, as in `collect`"""
    fix: tuple[str, ...] = ()
    """factors with a given value, as in `collect`: obstacle=wall gives cubes something to hide behind"""

    def __post_init__(self) -> None:
        for name, least in (("pairs", 2), ("window", 1), ("calibration", 5), ("seed", 0)):
            if getattr(self, name) < least:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least {least}.")
        for name, known in (("statistic", STATISTICS), ("score", SCORES)):
            if getattr(self, name) not in known:
                raise JepaflowError(f"there is no {name} '{getattr(self, name)}'. Choose one of: {', '.join(known)}.")


@dataclass(frozen=True)
class Surprise:
    """The whole measurement."""

    config: SurpriseConfig
    answers: tuple[Answers, ...]
    episodes: int
    block: int
    fps: float


def measure(model: JEPA, config: SurpriseConfig, primary: str = "laptop") -> Surprise:
    """Measure a model's surprise, beside the floors.

    Args:
        model: in eval mode.
        config: what to measure.
        primary: the camera that the model calls ``pixels``, by its name in an arm's world.

    Raises:
        JepaflowError: the model does not fit the world, or the world knows no such violation.
    """
    stage = make_stage(model, config, primary)
    kinds = choose_kinds(stage, config.violations)
    normal = calibration_takes(stage, config.calibration)
    history, proprio = model.config.history, model.config.proprio_dim > 0
    seers = {"model": Seer(model, history, proprio)}
    seers["untrained"] = Seer(untrained(model, normal, config.seed), history, proprio)
    for seer in seers.values():
        seer.calibrate(normal, config.score)
    return ask(stage, seers, kinds, config)


def make_stage(model: JEPA, config: SurpriseConfig, primary: str) -> Stage:
    """Return the stage, filmed by the cameras that the model sees.

    Raises:
        JepaflowError: the model does not fit the world.
    """
    entry, shape = find_world(config.env), model.config
    if entry.optional:
        names = tuple(primary if name == "pixels" else name for name in shape.cameras)
        entry = entry.bound(WorldOptions(cameras=names, vary=config.vary, fix=config.fix))
    elif config.vary or config.fix or len(shape.cameras) > 1:
        raise JepaflowError(
            f"{config.env} has one camera and nothing to vary or fix. Leave --vary and --fix out, and name a model of one camera."
        )
    sizes = shape.action_dim, shape.proprio_dim or len(entry.proprio_names)
    if sizes != (len(entry.action_names), len(entry.proprio_names)):
        raise JepaflowError(
            f"the model takes {sizes[0]} actions and {sizes[1]} joints, {config.env} has {len(entry.action_names)} and "
            f"{len(entry.proprio_names)}. Name the world that its data comes from with --env."
        )
    world = entry.make(shape.image_size)
    collecting = CollectConfig(config.env, seed=STREAM * 10**6 + 2 * config.seed, image_size=shape.image_size)
    return Stage(entry, world, make_editor(world, config.env), collecting, shape.block, shape.history, config.window)


def calibration_takes(stage: Stage, episodes: int) -> list[Take]:
    """Play the episodes of normal motion that surprise is calibrated on."""
    takes = []
    with progress("Play calibration episodes", episodes) as advance:
        for index in range(episodes):
            takes.append(stage.play(index, calibration=True))
            advance()
    return takes


def choose_kinds(stage: Stage, wanted: Sequence[str]) -> dict[str, str]:
    """Return the violations to show, each with what a person would see.

    Raises:
        JepaflowError: the world does not know one.
    """
    known = {**stage.editor.kinds, **FILM_KINDS}
    if unknown := [kind for kind in wanted if kind not in known]:
        raise JepaflowError(f"{stage.config.env} knows no violation '{unknown[0]}'. Choose among: {', '.join(known)}.")
    return {kind: what for kind, what in known.items() if not wanted or kind in wanted}


def ask(stage: Stage, seers: Mapping[str, Seer], kinds: Mapping[str, str], config: SurpriseConfig) -> Surprise:
    """Play pairs until there are enough of each violation, or their moments prove too rare, and judge them.

    Args:
        stage: where they are played.
        seers: "model" and, if it is to be a floor, "untrained"; calibrated.
        kinds: violations.
        config: how many.
    """
    answers = {kind: Answers(kind, what) for kind, what in kinds.items()}
    episodes = 0
    with progress("Show the impossible", config.pairs * len(kinds)) as advance:
        for index in count():
            open_kinds = [kind for kind, answer in answers.items() if len(answer) < config.pairs]
            if not open_kinds or index >= MOST_EPISODES * config.pairs:
                break
            episodes = index + 1
            take = stage.play(index)
            found: list[Violation] = []
            for kind in open_kinds:
                violation, dropped = stage.violate(take, kind)
                answers[kind].dropped += dropped
                found += [] if violation is None else [violation]
            if found:
                judge(seers, take, found, answers, stage.window)
                advance(len(found), note=", ".join(k for k in open_kinds if len(answers[k]) < config.pairs))
    return Surprise(config, tuple(answers.values()), episodes, stage.block, stage.world.fps)
