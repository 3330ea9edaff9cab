"""The whole measurement of a run's monitor: record, calibrate, save, test; beside floors that get the same calibration.

Floors: *pixels*, how much the pictures changed; *copy_last*, the length of the whitened change of the latent; *gripper*, what
a person would watch: the motor's position against what it usually is after such commands (boosted trees); *joints*, the
same monitor on all six motors' positions, with the trees as its model; *untrained*, the same on a model that has learned
nothing; *recogniser*, the monitor's network told of the latents but of no forecast; *label_free*, the monitor without
the network that has seen failures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingRegressor

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.diagnosis import slips
from jepaflow.diagnosis.calibration import (
    Imagined,
    imagine_episodes,
    label_free,
    scores,
    standing_still,
    with_failures,
    without_forecasts,
)
from jepaflow.diagnosis.ridge import Linear, ridge
from jepaflow.diagnosis.slips import Measured, Scores, Share
from jepaflow.diagnosis.untrained import untrained_twin
from jepaflow.diagnosis.watched import EVENTFUL, KINDS, LABELS, Watched, Watcher
from jepaflow.diagnosis.watched_file import kept
from jepaflow.planning.monitor import Forecasts, Judge
from jepaflow.planning.monitor_file import save_judge
from jepaflow.sims.registry import World, WorldEntry, WorldOptions, find_world
from jepaflow.training.checkpoint import Run
from jepaflow.training.latents import weights_digest

FITTING, CALIBRATING, TESTING = range(3)
LOSSES = ("slip", "drop", "slippery")
FOLDS = 5
"""Of the calm fitting episodes, for the trees of the motors' floor."""


@dataclass(frozen=True)
class SlipConfig:
    """What to record and what to promise."""

    env: str = "so101/pick_place"
    """An arm's task with deliberate failures: lift, pick_place, sort, stack."""
    episodes: int = 250
    """Calm successes that set the threshold, as many others that count false alarms, and 1.6 times as many to fit on."""
    failures: int = 600
    """Test episodes with deliberate failures, and a quarter as many of each mishap; to learn from, a third and a sixth as many."""
    false_alarms: float = 0.01
    """Share of calm episodes in which any alarm may be raised."""
    seed: int = 0
    """Of all episodes, and of the network."""

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not 0.0 < self.false_alarms < 1.0:
            raise JepaflowError(
                f"a share of {self.false_alarms:g} false alarms is impossible. Give one between 0 and 1."
            )
        if self.episodes < (needed := int(np.ceil(1.0 / self.false_alarms)) - 1):
            raise JepaflowError(
                f"{self.episodes} calm episodes cannot promise {self.false_alarms:g} false alarms an episode. "
                f"Give --episodes {needed} or more."
            )
        if self.failures < 12:
            raise JepaflowError(f"{self.failures} episodes with failures show nothing. Give --failures 12 or more.")
        if self.seed < 0:
            raise JepaflowError(f"the seed is {self.seed}. Give a number that is not negative.")


@dataclass(frozen=True)
class Belief:
    """Who still believes, `slips.LATE` control steps after a loss, that the cube is held."""

    script: Share
    lasts: float
    """Median control steps for which the script believes it."""
    imagination: Share
    seen: Share
    """The same reading of the latents that came."""


@dataclass(frozen=True)
class SlipStudy:
    """What came out."""

    config: SlipConfig
    block: int
    judge: Judge
    monitor: Measured
    floors: dict[str, Measured]
    names: dict[str, tuple[str | None, ...]]
    """What the monitor called each event; None where it raised no alarm."""
    beliefs: dict[str, Belief]
    episodes: dict[str, list[Watched]]
    """The test episodes: calm, failures, mishaps."""
    scores: dict[str, Scores]


def run_study(run: Run, config: SlipConfig) -> SlipStudy:
    """Measure a run's monitor, and leave the calibrated monitor in its folder.

    Raises:
        JepaflowError: the run does not fit the world, or too little was recorded.
    """
    entry, views = _world(run, config.env)
    twin = untrained_twin(run.model, config.seed)
    recorded = _recorded(run, config, Watcher(entry, run.model, twin, views, config.seed))
    block, history = run.model.config.block, run.model.config.history

    def imagined(other: bool) -> dict[tuple[str, int], list[Imagined]]:
        model = twin if other else run.model
        return {key: imagine_episodes(model, some, history, other=other) for key, some in recorded.items()}

    def learned(known: dict[tuple[str, int], list[Imagined]], plain: Judge) -> Judge:
        failures = [one for kind in EVENTFUL for one in known[kind, FITTING]]
        episodes = [one for kind in EVENTFUL for one in recorded[kind, FITTING]]
        return with_failures(plain, known["calm", FITTING], failures, episodes, block, config.seed)

    def tested(score: Callable[[tuple[str, int]], Scores]) -> tuple[Measured, dict[str, Scores]]:
        found = {kind: score((kind, TESTING)) for kind in ("calm", *EVENTFUL)}
        eventful = {kind: (recorded[home(kind), TESTING], found[home(kind)]) for kind in KINDS}
        rate = config.false_alarms
        return slips.measure(score(("calm", CALIBRATING)), found["calm"], eventful, rate, block), found

    known = imagined(other=False)
    plain = label_free(known["calm", FITTING])
    judge = learned(known, plain)
    monitor, found = tested(lambda key: scores(judge, known[key]))
    judge = replace(judge, threshold=monitor.above)
    blind = {key: [without_forecasts(one) for one in some] for key, some in known.items()}
    still = {key: [standing_still(one) for one in some] for key, some in known.items()}
    other = imagined(other=True)
    copy, recogniser = label_free(still["calm", FITTING]), learned(blind, plain)
    untrained = learned(other, label_free(other["calm", FITTING]))
    feel = _joints(recorded["calm", FITTING])
    motors = {key: [feel(one) for one in some] for key, some in recorded.items()}
    joints = learned(motors, label_free(motors["calm", FITTING]))
    floors = {
        "pixels": lambda key: [one.change for one in recorded[key]],
        "copy_last": lambda key: scores(copy, still[key]),
        "gripper": lambda key: [_gripper(one) for one in motors[key]],
        "joints": lambda key: scores(joints, motors[key]),
        "untrained": lambda key: scores(untrained, other[key]),
        "recogniser": lambda key: scores(recogniser, blind[key]),
        "label_free": lambda key: scores(plain, known[key]),
    }
    held = _held([one for key, some in recorded.items() if key[1] == FITTING for one in some])
    study = SlipStudy(
        config,
        block,
        judge,
        monitor,
        {name: tested(score)[0] for name, score in floors.items()},
        {kind: slips.names(judge, one, known[home(kind), TESTING]) for kind, one in monitor.noticed.items()},
        {kind: _belief(run, held, kind, recorded[home(kind), TESTING]) for kind in LOSSES},
        {kind: recorded[kind, TESTING] for kind in ("calm", *EVENTFUL)},
        found,
    )
    save_judge(run, judge, {**asdict(config), "block": block, "history": history})
    return study


def home(kind: str) -> str:
    """Return the kind of episodes in which such events happen."""
    return "failures" if kind in LABELS else kind


def _world(run: Run, env: str) -> tuple[WorldEntry, list[str]]:
    """Return the world with the model's cameras, and the observation's keys of these.

    Raises:
        JepaflowError: the model's actions or cameras are not the world's.
    """
    entry, config = find_world(env), run.model.config
    if config.action_dim != len(entry.action_names) or not entry.optional:
        raise JepaflowError(
            f"{run.path} was trained on {config.action_dim} action dimensions; watching {env} is not possible with it. "
            "Name the arm's task that its data come from with --env."
        )
    if run.store_path.is_file():
        entry = entry.bound(WorldOptions(cameras=Store(run.store_path).cameras))
    world: World = entry.make(config.image_size)
    views = ["pixels" if name == world.cameras[0] else name for name in config.cameras]
    if unknown := [view for view in views if view != "pixels" and view not in world.cameras]:
        raise JepaflowError(
            f"{run.path} looks through the camera '{unknown[0]}', which {env} has not. Name its own task."
        )
    return entry, views


def _recorded(run: Run, config: SlipConfig, watcher: Watcher) -> dict[tuple[str, int], list[Watched]]:
    """Record all episodes, or read those that were kept."""
    counts = {("calm", FITTING): round(1.6 * config.episodes)}
    counts |= {("calm", part): config.episodes for part in (CALIBRATING, TESTING)}
    for kind in EVENTFUL:
        share, again = (1.0, 1 / 3) if kind == "failures" else (0.25, 1 / 6)
        counts |= {(kind, TESTING): round(share * config.failures), (kind, FITTING): round(again * config.failures)}
    digest = weights_digest(run.model)
    found = {}
    for (kind, part), count in counts.items():
        facts = repr((digest, config.env, config.seed, kind, part, count))
        path = (
            run.path
            / "diagnosis"
            / "watched"
            / f"{kind}-{part}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.safetensors"
        )
        for old in path.parent.glob(f"{kind}-{part}-*.safetensors"):
            if old != path:
                old.unlink(missing_ok=True)
        make = watcher.calm if kind == "calm" else _maker(watcher, kind)
        found[kind, part] = kept(path, lambda make=make, count=count, part=part: make(count, part))  # type: ignore[misc]
    return found


def _maker(watcher: Watcher, kind: str) -> Callable[[int, int], list[Watched]]:
    return lambda count, part: watcher.eventful(kind, count, part)


def _gripper(one: Imagined) -> Float[np.ndarray, " T"]:
    """How far the gripper's motor is from where it was expected."""
    return np.asarray((one.z - one.forecasts.now[:, 0])[:, -1].abs().numpy().astype(np.float64))


def _joints(calm: Sequence[Watched]) -> Callable[[Watched], Imagined]:
    """Learn where the motors usually are after such commands; return an episode's joints and what was expected of them."""

    def told(one: Watched) -> np.ndarray:
        before = one.joints[:-1]
        earlier = np.concatenate([one.joints[:1], one.joints[:-2]])
        return np.concatenate([before, before - earlier, one.blocks[..., -1].numpy(), one.blocks[:, -1].numpy()], 1)

    def usual(some: Sequence[Watched]) -> list[HistGradientBoostingRegressor]:
        x = np.concatenate([told(one) for one in some])
        change = np.concatenate([np.diff(one.joints, axis=0) for one in some])
        return [HistGradientBoostingRegressor(random_state=0).fit(x, y) for y in change.T]

    # Of episodes that they learned from, trees are surer than of any other: each of those is foretold by trees of the others.
    fold = {one.seed: i % FOLDS for i, one in enumerate(calm)}
    aside = [usual([one for one in calm if fold[one.seed] != part]) for part in range(FOLDS)]
    every = usual(calm)

    def imagined(one: Watched) -> Imagined:
        z = torch.from_numpy(one.joints)
        before = torch.cat([torch.full_like(z[:1], torch.nan), z[:-1]])
        trees = aside[fold[one.seed]] if one.seed in fold else every
        change = torch.from_numpy(np.stack([tree.predict(told(one)) for tree in trees], 1)).float()
        now = torch.cat([before[:1], z[:-1] + change])
        return Imagined(z, Forecasts(now[:, None], before))

    return imagined


def _held(episodes: Sequence[Watched]) -> Linear:
    """Learn to read from a latent whether the cube is held."""
    owner = np.repeat(np.arange(len(episodes)), [len(one.z) for one in episodes])
    z, held = (np.concatenate([np.asarray(getattr(one, name)) for one in episodes]) for name in ("z", "held"))
    return ridge((z, held[:, None].astype(np.float64), owner))


def _belief(run: Run, held: Linear, kind: str, episodes: Sequence[Watched]) -> Belief:
    config = run.model.config
    imagination, seen = slips.imagined_belief(run.model, held, kind, episodes, config.history, config.block)
    lasts = slips.scripted_belief(kind, episodes)
    script = Share(int((lasts >= slips.LATE).sum()), len(lasts))
    return Belief(script, float(np.median(lasts)) if len(lasts) else float("nan"), imagination, seen)


__all__ = ["Belief", "SlipConfig", "SlipStudy", "home", "run_study"]
