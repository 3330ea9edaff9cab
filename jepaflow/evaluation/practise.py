"""A run practises: its planner acts towards goals, and what it does becomes data to train the next model on.

Demonstrations show what a planner's own actions lead to only where the two happen to agree, and a planner seeks out the
actions whose forecast errs in its favour. So plan, record, retrain (as DAgger does for imitation, arXiv 1011.0686): the
attempts are recorded as `jepaflow collect` records, with the behaviour label "planner", and mixed with the old data.

Starts and goals come from the run's *training* episodes, by the same rule as an evaluation's from held-out ones: no
held-out state is ever visited. Each attempt lasts the whole budget, also after its goal is reached: staying there is part
of what a planner does. Attempts are planned a batch at a time, and a batch is a pure function of the run, the settings
and its number: an interrupted practice is continued by repeating the batch it was in and ends with the same episodes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.data.writer import DatasetWriter
from jepaflow.diagnosis.forecast import Forecast
from jepaflow.evaluation.closed_loop import planner_policy, world_of
from jepaflow.evaluation.foresight import Foresight, own_foresight, summarise_foresight
from jepaflow.evaluation.planner import PlannerConfig
from jepaflow.evaluation.protocol import ProtocolConfig
from jepaflow.evaluation.run import PlannerPolicy, already_solved, run_trials
from jepaflow.evaluation.trials import Trials, held_out_trials
from jepaflow.sims.record import EpisodeRecorder, Recording, claim_folder, features, finished_episodes
from jepaflow.sims.registry import World, WorldEntry, find_world
from jepaflow.training.checkpoint import Run
from jepaflow.training.latents import weights_digest

RECORD = "meta/practise.json"
"""What the dataset was made with, so that a rerun continues only the same practice."""
BEHAVIOUR = "planner"
"""Label of planned episodes, after the world's own behaviours."""
TASK = "Do what the goal picture shows."
"""Their sentence: the world's own would ask for something that the planner was not told."""


@dataclass(frozen=True)
class PractiseConfig:
    """What to practise."""

    env: str = "two_room"
    episodes: int = 100
    """Attempts that the dataset shall have."""
    offset: int = 25
    """The goal lies this many control steps after the start in its training episode."""
    budget: int = 50
    """Control steps of an attempt."""
    seed: int = 0
    batch: int = 25
    """Attempts that are planned together."""

    def __post_init__(self) -> None:
        """Refuse a practice of nothing."""
        find_world(self.env)
        for name in ("episodes", "offset", "budget", "batch"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name} is {getattr(self, name)}. Give at least 1.")
        if self.seed < 0:
            raise JepaflowError(f"the seed is {self.seed}. Give a number that is not negative.")


@dataclass(frozen=True)
class Practice:
    """What came of it."""

    episodes: int
    """In the dataset."""
    new: int
    """Recorded now."""
    reached: int
    """Of the new ones, how many were at their goal at some time."""
    forecast: Forecast | None
    """Skill of the model under the planner's actions on the new ones; None where none is long enough."""


class RecordingPolicy:
    """A planner whose every frame and action is kept. It is shown the recorded frames: nothing is drawn twice."""

    def __init__(self, entry: WorldEntry, planner: PlannerPolicy) -> None:
        self._entry, self._planner = entry, planner
        self._recorders: list[EpisodeRecorder] = []

    def begin(self, worlds: Sequence[World], goals: Float[np.ndarray, "n d"]) -> None:
        """Begin new episodes."""
        self._planner.begin(worlds, goals)
        self._recorders = [EpisodeRecorder(self._entry, world) for world in worlds]

    def act(self, step: int, worlds: Sequence[World]) -> Float[np.ndarray, "n A"]:
        """Return the plan's next actions, having recorded them."""
        for recorder in self._recorders:
            recorder.watch()
        seen = [world.observation() for world in worlds]
        actions = self._planner.decide(seen)
        for recorder, action, frame in zip(self._recorders, actions, seen, strict=True):
            recorder.take(action.copy(), frame)
        return actions

    def recordings(self) -> list[Recording]:
        """Return the episodes so far."""
        label = len(self._entry.behaviours)
        return [recorder.recording(BEHAVIOUR, label, TASK) for recorder in self._recorders]


def practise(run: Run, root: Path, config: PractiseConfig, settings: PlannerConfig) -> Practice:
    """Practise into the dataset folder `root`, continuing what the same run and settings began.

    Raises:
        JepaflowError: `root` holds something else; the run does not fit the world, or its training episodes are not at
            hand or offer too few goals.
    """
    entry = world_of(run, config.env)
    trials = practice_trials(run, config)
    size = run.model.config.image_size
    world = entry.make(size)
    if size < 8 or size % 2:
        raise JepaflowError(
            f"{run.path} sees pictures of {size} px, which cannot be recorded as video. Train at an even size."
        )
    begun = claim_folder(root, RECORD, _record(run, world, config, settings), "jepaflow practise")
    if (finished := finished_episodes(root)) >= config.episodes:
        return Practice(finished, 0, 0, None)
    if begun:
        writer = DatasetWriter.resume(root)
    else:
        written = features(entry, world, (BEHAVIOUR,))
        writer = DatasetWriter(root, world.fps, written, robot_type=config.env.partition("/")[0], codec=entry.codec)
    done, new, reached, foreseen = writer.finished(), 0, 0, []
    with writer:
        for first in range(0, config.episodes, config.batch):
            numbers = range(first, min(first + config.batch, config.episodes))
            missing = [number - first for number in numbers if number not in done]
            if not missing:
                continue
            recordings, ever, foresight = _attempt(run, entry, trials, numbers, settings, config.seed)
            for place in missing:
                recordings[place].stage(root, first + place)
            new, reached = new + len(missing), reached + int(ever[missing].sum())
            foreseen += [] if foresight is None else [foresight]
    return Practice(max(len(done), config.episodes), new, reached, summarise_foresight(foreseen))


def practice_trials(run: Run, config: PractiseConfig) -> Trials:
    """Draw starts and goals from the run's training episodes; asking for more keeps the first ones.

    Raises:
        JepaflowError: the run's store is not there, or its training episodes offer too few.
    """
    if not run.store_path.is_file():
        raise JepaflowError(
            f"Practice starts and aims at states of the training episodes of {run.path}, but its store {run.store_path} "
            "is not there. Bring it back, or train a run on a store that you have."
        )
    protocol = ProtocolConfig(config.offset, config.budget, config.episodes, config.seed)
    solved = already_solved(find_world(config.env).make(8))
    return held_out_trials(Store(run.store_path), run.train_episodes, config.env, protocol, solved, which="training")


def _attempt(
    run: Run, entry: WorldEntry, trials: Trials, numbers: range, settings: PlannerConfig, seed: int
) -> tuple[list[Recording], np.ndarray, Foresight | None]:
    """Let the planner attempt a batch of trials; return the episodes, whether each reached its goal, and the foresight."""
    drawn = int(np.random.SeedSequence([seed, numbers.start]).generate_state(1)[0])
    control = replace(settings.control, seed=drawn, remember=True)
    planner, controller = planner_policy(run, entry, replace(settings, control=control))
    policy = RecordingPolicy(entry, planner)
    starts, goals = (part[numbers.start : numbers.stop] for part in (trials.starts, trials.goals))
    phase = f"practise {numbers.start} to {numbers.stop - 1}"
    outcome = run_trials(entry, run.model.config.image_size, policy, starts, goals, trials.budget, phase)
    foresight = own_foresight(run.model, controller, str(run.path), starts, goals)
    return policy.recordings(), outcome.ever, foresight


def _record(run: Run, world: World, config: PractiseConfig, settings: PlannerConfig) -> dict[str, Any]:
    """Return what an episode is a function of, flat, as JSON; how many there are is not part of it."""
    heads = run.path / "heads.safetensors"
    uses_heads = settings.distance == "temporal" or "inverse" in settings.proposals
    values: dict[str, Any] = {key: value for key, value in asdict(config).items() if key != "episodes"}
    values |= {
        "run": run.path.name,
        "weights": weights_digest(run.model),
        "heads": hashlib.sha256(heads.read_bytes()).hexdigest()[:16] if uses_heads and heads.is_file() else None,
        "store": run.store_path.name,
        "renderer": getattr(world, "backend", None),  # pictures of two renderers must not be mixed
        **_flat(asdict(settings)),
    }
    kept: dict[str, Any] = json.loads(json.dumps(values))
    return kept


def _flat(values: dict[str, Any], prefix: str = "planner.") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
