"""A session of `jepaflow command`: one desk, sentence after sentence; or one frame of a dataset and a plan that nobody carries out.

Everything that a person is told is said here. Files of each sentence: ``subgoals.png``, ``film.mp4``, ``story.json``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import write_json
from jepaflow.data.store import Store
from jepaflow.evaluation.command_picture import Painter, draw_film, draw_strip
from jepaflow.evaluation.command_story import Story, carry_out
from jepaflow.evaluation.command_words import heard, told, true_words
from jepaflow.evaluation.commanded import Commanded, Knowledge, load_knowledge, make_robot
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.commander import Event
from jepaflow.subgoals.language.proposing import Kind
from jepaflow.subgoals.language.request import Refusal, Request
from jepaflow.subgoals.language.understanding import listed, understand

SLACK = 1.5
"""times what the world's own task may take, for each clause"""


class Session:
    """One simulated desk.

    Args:
        path: the run's folder.
        env: the world.
        planner: gflownet, exact or dijkstra.
        seed: of desk and planner.
        stores: where the run's stores lie now.

    Raises:
        JepaflowError: the run lacks something, or does not fit the world.
    """

    def __init__(self, path: Path, env: str, planner: Kind, seed: int, stores: tuple[Path, ...] = ()) -> None:
        self.env, self.seed = env, seed
        self.robot = make_robot(load_knowledge(path, stores), env)
        self.world = self.robot.entry.make(self.robot.size)
        self.world.reset(seed=seed)
        self.policy = Commanded(self.robot, planner, seed)
        self.policy.meet([self.world])
        self.painter = Painter(self.robot.mind)
        self.before: Request | None = None
        self.heard = 0

    def greeting(self) -> str:
        """Return what is seen before anything is said."""
        return f'I see {listed(self.policy.beliefs.there(0)) or "nothing that I know"}. What shall I do? ("quit" ends)'

    def hear(self, sentence: str, folder: Path, budget: int | None, slip: bool, film: bool, dry: bool = False) -> int:
        """Do what a sentence asks, tell about it, and write its files; 1 where it was refused.

        Args:
            sentence: what was said.
            folder: for the files.
            budget: control steps; None: enough for the world's own task, for each clause.
            slip: let an object slip on purpose.
            film: write the film.
            dry: plan, do not act.
        """
        self.heard += 1
        start = np.asarray(self.world.observation()[self.robot.views[0]])
        chance = np.random.default_rng((self.seed, self.heard)) if slip else None
        answer = self._understood(sentence)
        if isinstance(answer, Request) and not dry:
            console.print(heard(answer, self.policy.beliefs.there(0)))
        steps = 0 if dry else budget or self._budget(answer)
        story = carry_out(
            self.policy, self.world, sentence, steps, self.before, chance, film and not dry, _say(self.robot.block, self.world.fps)
        )  # fmt: skip
        if isinstance(story.answer, Refusal):
            console.print(str(story.answer))
            write_json(folder / "story.json", {**story.as_json(), "env": self.env, "seed": self.seed})
            return 1
        self.before = story.answer
        words = _would(story, self.policy.beliefs.there(0)) if dry else told(story)
        console.print(f"{words}\n{'' if dry else true_words(story)}".rstrip())
        _write(folder, self.painter, story, start, {"env": self.env, "seed": self.seed, "words": words})
        if film and not dry and story.frames and story.imagined:
            draw_film(folder / "film.mp4", self.painter, story, self.env, self.seed, words)
            console.print(f"Film: {folder / 'film.mp4'}")
        return 0

    def _understood(self, sentence: str) -> Request | Refusal:
        beliefs, language = self.policy.beliefs, self.robot.mind.language
        return understand(sentence, language.ground, language.seer, beliefs.there(0), self.before)

    def _budget(self, answer: Request | Refusal) -> int:
        """Return the control steps for a request: the world's own task may be one clause or a whole desk."""
        clauses = len(answer.must) if isinstance(answer, Request) else 1
        own = self.world.rules.steps if isinstance(self.world, ArmEnv) else self.robot.entry.longest
        return round(SLACK * own * clauses)


def dry_run(
    path: Path, sentence: str, dataset: Path, where: tuple[int, int], planner: Kind, seed: int, stores: tuple[Path, ...], folder: Path
) -> int:  # fmt: skip
    """Plan a sentence from a frame of a dataset, show the sub-goals, say what would be done; 1 where it was refused.

    Args:
        path: the run's folder.
        sentence: what was said.
        dataset: a store, or a LeRobot folder.
        where: episode and control step.
        planner: gflownet, exact or dijkstra.
        seed: of the planner.
        stores: where the run's stores lie now.
        folder: for the files.

    Raises:
        JepaflowError: there is no such frame, or the dataset does not fit the run.
    """
    mind = load_knowledge(path, stores)
    with tempfile.TemporaryDirectory() as scratch:
        store, episode = _opened(dataset, mind, where[0], Path(scratch))
        frames, proprio = _frames(store, mind, (episode, where[1]))
    config = mind.run.model.config
    beliefs = mind.beliefs(frames[:1])
    beliefs.see(frames[1:])
    beliefs.forget()
    answer = understand(sentence, mind.language.ground, mind.language.seer, beliefs.there(0))
    there = tuple(str(thing) for thing in beliefs.there(0))
    story = Story(sentence, answer, there, store.fps, config.block)
    about = {"dataset": dataset.name, "episode": where[0], "frame": where[1]}
    if isinstance(answer, Refusal):
        console.print(str(answer))
        write_json(folder / "story.json", {**story.as_json(), **about})
        return 1
    commander = mind.commander(planner, seed)
    commander.command(mind.encode(frames[1:], proprio), beliefs, [answer])
    story.before = tuple(commander.chances(0).tolist())
    story.planned(commander.made[0], mind)
    story.events = list(commander.events[0])
    words = _would(story, beliefs.there(0))
    console.print(words)
    _write(folder, Painter(mind), story, frames[1, 0], {**about, "words": words})
    return 0


def _opened(dataset: Path, mind: Knowledge, episode: int, scratch: Path) -> tuple[Store, int]:
    """Open a store and say which of its episodes is meant; of a LeRobot folder that one alone is converted, for the moment."""
    if not dataset.exists():
        raise JepaflowError(f"{dataset} does not exist. Check --dataset.")
    if not dataset.is_dir():
        return Store(dataset), episode
    from jepaflow.data.conversion_plan import ConvertConfig
    from jepaflow.data.convert import convert
    from jepaflow.data.hub import open_dataset

    source = open_dataset(dataset)
    numbers = [one.index for one in source.episodes]
    if episode not in numbers:
        raise JepaflowError(f"{dataset} has no episode {episode}. Choose one of its {len(numbers)} with --episode.")
    source.episodes, source.problems = [one for one in source.episodes if one.index == episode], []
    config = ConvertConfig(image_size=mind.run.model.config.image_size, verify=0)
    convert(source, scratch / "dataset.h5", config)
    return Store(scratch / "dataset.h5"), 0


def _frames(store: Store, mind: Knowledge, where: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pictures (2, V, S, S, 3) of an episode's first frame and of the one asked for, and the robot state (1, P) there."""
    config, (episode, step) = mind.run.model.config, where
    if not 0 <= episode < store.num_episodes:
        raise JepaflowError(
            f"{store.path.name} has no episode {episode}; it has 0 … {store.num_episodes - 1}. Choose with --episode."
        )
    if step >= store.ep_len[episode]:
        raise JepaflowError(
            f"Episode {episode} of {store.path.name} has no frame {step}; it has 0 … {store.ep_len[episode] - 1}."
        )
    if store.image_size != config.image_size:
        raise JepaflowError(
            f"{store.path.name} has frames of {store.image_size} px, the run takes {config.image_size} px. Convert anew."
        )
    if store.dim("proprio") != config.proprio_dim and config.proprio_dim:
        raise JepaflowError(
            f"The run takes robot states of size {config.proprio_dim}, {store.path.name} has {store.dim('proprio')}."
        )
    rows = store.ep_offset[episode] + np.array([0, step])
    proprio = np.asarray(store.read("proprio", rows[1:])) if config.proprio_dim else None
    return store.pixels(rows, config.cameras), proprio


def _would(story: Story, there: Sequence[Thing]) -> str:
    """Return what would be done."""
    assert isinstance(story.answer, Request)
    said = heard(story.answer, there)
    if not story.plans:
        lost = [event.words for event in story.events if event.kind == "no way"]
        return f"{said} {lost[-1] if lost else 'There is nothing to do: it is so already.'}"
    count = len(story.plans[0].nodes)
    return f"{said} I would go through {count} sub-goal{'' if count == 1 else 's'} in about {story.foreseen[0]:.0f} s."


def _write(folder: Path, painter: Painter, story: Story, start: np.ndarray, more: dict[str, Any]) -> None:
    """Write the story and the strip of its plans."""
    write_json(folder / "story.json", {**story.as_json(), **more})
    console.print(f"Story: {folder / 'story.json'}")
    if any(plan.nodes for plan in story.plans):
        draw_strip(folder / "subgoals.png", painter, story, start)
        console.print(f"Sub-goals: {folder / 'subgoals.png'}")


def _say(block: int, fps: float) -> Callable[[Event], None]:
    """Return what tells of events while they happen."""

    def say(event: Event) -> None:
        console.print(f"{event.block * block / fps:6.1f} s  {event.words}")

    return say
