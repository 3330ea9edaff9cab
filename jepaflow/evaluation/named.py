"""Named protocols: `--protocol so101/push_25`. Each is a committed file of trials that stays the same for all models.

The episodes are acted by the world's own mix of behaviours (expert, failures, play, babble) under a seed of their own
that no collection uses, without drawing a picture. A trial is a start and the state 25 (or 50) control steps later; a
recipe says what must have happened in between, so that "pick" means a picked cube and not a waving arm. Trials whose
goal is reached at the start do not count, and are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.evaluation.trials import Trials
from jepaflow.sims.collect import CollectConfig, record_episode
from jepaflow.sims.disc import WORLD
from jepaflow.sims.maze_geometry import MazeConfig
from jepaflow.sims.registry import World, find_world

FOLDER = Path(__file__).parent / "protocols"
SEED = 9_000_001
"""Seed of the protocols' episodes; collections use small ones."""
TRIALS = 210
"""Three evaluation seeds of 70 starts."""

Values = dict[str, float]


@dataclass(frozen=True)
class Recipe:
    """How a protocol's trials are chosen."""

    env: str
    offset: int
    budget: int
    what: str
    """What makes a trial, in words."""
    wanted: Callable[[Values, Values], bool] = lambda start, goal: True
    """Whether a pair of named states is one."""
    whole: bool = False
    """Whether a trial is a whole episode that did its task: from the first state to the last, `offset` the longest allowed."""
    per_episode: int = 2
    mix: Mapping[str, float] | None = None
    """Share of each behaviour; None: the world's."""


def _moved(name: str, least: float) -> Callable[[Values, Values], bool]:
    def wanted(start: Values, goal: Values) -> bool:
        return float(np.linalg.norm([goal[f"{name}_{a}"] - start[f"{name}_{a}"] for a in "xyz"])) >= least

    return wanted


def _picked(start: Values, goal: Values) -> bool:
    """The cube has moved at least 3 cm and is held, or in the air, at the goal."""
    in_air = goal["cube0_z"] > goal["cube0_half"] + 0.01
    return _moved("cube0", 0.03)(start, goal) and bool(goal["cube0_held"] or in_air)


def _doors_away(least: int) -> Callable[[Values, Values], bool]:
    """The goal is at least so many doors away in the standard maze."""
    maze = MazeConfig()

    def wanted(start: Values, goal: Values) -> bool:
        one, other = (maze.room((state["agent_x"], state["agent_y"])) for state in (start, goal))
        return maze.doors_between(one, other) >= least

    return wanted


def _other_room(start: Values, goal: Values) -> bool:
    """The goal is in the other of the two rooms."""
    return (start["agent_x"] < WORLD / 2) != (goal["agent_x"] < WORLD / 2)


def _maze(env: str, far: int) -> dict[str, Recipe]:
    """A maze with all doors open; a far goal is in another room, several doors away, by two routes or more."""
    expert = {"expert": 1.0}
    return {
        f"{env}_25": Recipe(env, 25, 50, "any", mix=expert),
        f"{env}_50": Recipe(env, 50, 100, "any", mix=expert),
        f"{env}_far": Recipe(env, far, 2 * far, "the goal is at least four doors away", _doors_away(4), mix=expert),
    }


def _arm(arm: str) -> dict[str, Recipe]:
    kinds = {
        "reach": ("reach", "the fingertips move at least 5 cm", _moved("tcp", 0.05)),
        "far_reach": ("reach", "the fingertips move at least 12 cm", _moved("tcp", 0.12)),
        "push": ("push", "the cube moves at least 3 cm", _moved("cube0", 0.03)),
        "pick": ("pick_place", "the cube moves at least 3 cm and is held or in the air", _picked),
    }
    return {
        f"{arm}/{kind}_{offset}": Recipe(f"{arm}/{task}", offset, 2 * offset, what, wanted)
        for kind, (task, what, wanted) in kinds.items()
        for offset in (25, 50)
    } | {
        f"{arm}/{kind}_home": Recipe(
            f"{arm}/{task}", longest, 2 * longest, "from home until the task is done", whole=True, mix={"expert": 1.0}
        )
        for kind, (task, longest) in {
            "pick": ("pick_place", 200),
            "place": ("place", 200),
            "sort": ("sort", 450),
        }.items()
    }


PROTOCOLS: dict[str, Recipe] = {
    "two_room_25": Recipe("two_room", 25, 50, "any"),
    "two_room_far": Recipe("two_room", 50, 100, "the goal is in the other room", _other_room),
    **{f"push_t_{offset}": Recipe("push_t", offset, 2 * offset, "any") for offset in (25, 50, 75)},
    **_maze("maze", 100),
    **_maze("maze_slow", 200),
    "reacher_25": Recipe("reacher", 25, 50, "any"),
    **_arm("so101"),
}


def protocol_file(name: str) -> Path:
    """Return where a protocol's trials are kept."""
    return FOLDER / f"{name.replace('/', '_')}.safetensors"


def load_protocol(name: str) -> Trials:
    """Return a named protocol's trials.

    Raises:
        JepaflowError: there is no protocol of that name, or its file is damaged.
    """
    if name not in PROTOCOLS:
        raise JepaflowError(f"there is no protocol '{name}'. Choose one of: {', '.join(PROTOCOLS)}.")
    return Trials.load(protocol_file(name))


def draw_protocol(name: str, trials: int = TRIALS) -> Trials:
    """Act episodes and choose a protocol's trials from them; a pure function of the name.

    Raises:
        JepaflowError: the world's behaviours hardly ever do what the recipe asks for.
    """
    recipe = PROTOCOLS[name]
    entry = find_world(recipe.env)
    world = entry.make(16)
    config = CollectConfig(env=recipe.env, episodes=1, seed=SEED, image_size=16, mix=recipe.mix)
    rng = np.random.default_rng(SEED)
    found: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
    excluded = 0
    for index in range(40 * trials):
        rows = record_episode(entry, world, config, index, look=False).rows
        states, actions = rows["observation.environment_state"], rows["action"]
        taken = 0
        if recipe.whole:
            if world.is_success() and len(states) <= recipe.offset:
                recorded = np.concatenate([actions, np.repeat(actions[-1:], recipe.offset - len(actions), axis=0)])
                found.append((index, states[0], states[-1], recorded))
            steps = np.zeros(0, int)
        else:
            steps = rng.permutation(max(0, len(states) - recipe.offset))
        for step in steps:
            start, goal = states[step], states[step + recipe.offset]
            if not recipe.wanted(_named(world, start), _named(world, goal)):
                continue
            world.set_state(start)
            world.set_goal(goal)
            if world.is_success():
                excluded += 1
                continue
            found.append((index, start, goal, actions[step : step + recipe.offset]))
            taken += 1
            if taken == recipe.per_episode:
                break
        if len(found) >= trials:
            order = rng.permutation(len(found))[:trials]
            episode, starts, goals, acted = zip(*(found[i] for i in order), strict=True)
            made = f"scripts/make_protocols.py {name} (episodes of seed {SEED}; {recipe.what})"
            return Trials(
                recipe.env, recipe.offset, recipe.budget, np.stack(starts), np.stack(goals), np.stack(acted),
                np.array(episode), excluded, made, recipe.whole,
            )  # fmt: skip
    raise JepaflowError(f"{recipe.env}'s behaviours hardly ever give a trial of {name} ({recipe.what}).")


def _named(world: World, state: np.ndarray) -> Values:
    return dict(zip(world.state_names, map(float, state), strict=True))
