"""Push-T and the Reacher: how fast they draw and step, and what their experts' data is like.

    python -m benchmarks.small_worlds [--json results/small_worlds.json]

Rows: ``<world>/draw@<px>`` (observations a second), ``<world>/steps`` (control steps a second without drawing),
``<world>/replay@25`` (recorded actions, replayed from a recorded state, solve the goal 25 steps later),
``<world>/solved@25`` (goals that are already reached at the start), ``expert/<world>`` (the scripted expert alone reaches
the goal), and for Push-T ``push_t/block_moves@25``: windows of 25 steps in which the block moves > 20 px or > 20 degrees.
"""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.sims.push_t import CANONICAL_GOAL, PushTEnv
from jepaflow.sims.push_t_expert import Pusher, PushTExpert
from jepaflow.sims.reacher import ReacherEnv
from jepaflow.sims.reacher_expert import ReacherExpert, pursue

OFFSET = 25
STEPS = 196
Episode = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Args:
    """Measure Push-T and the Reacher."""

    episodes: int = 100
    """episodes of the collectors, and of the experts alone"""
    repeats: int = 5
    """how often a speed is measured"""
    json: Path | None = None


def rate(name: str, act: Callable[[], object], count: int, repeats: int, unit: str) -> Row:
    """Call `act` count times, repeatedly; return calls a second."""
    act()
    rates = []
    for _ in range(repeats):
        begun = time.perf_counter()
        for _ in range(count):
            act()
        rates.append(count / (time.perf_counter() - begun))
    note = f"median, min and max of {repeats} times {count} calls; one process"
    return Row(name, float(np.median(rates)), min(rates), max(rates), repeats, 1, unit, note=note)


def share(name: str, hits: int, count: int, note: str) -> Row:
    """Return a share with its Wilson interval (95 %)."""
    p, z = hits / count, 1.96
    middle, wide = (p + z * z / 2 / count), z * np.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    low, high = ((middle + sign * wide) / (1 + z * z / count) for sign in (-1, 1))
    return Row(name, p, min(float(low), p), max(float(high), p), count, 1, "fraction", note=note)


def speeds(name: str, make: Callable[[int], PushTEnv | ReacherEnv], args: Args) -> list[Row]:
    """Drawing at three sizes, and physics under random actions."""
    rows = []
    for size in (64, 96, 224):
        env = make(size)
        env.reset(seed=1)
        rows.append(rate(f"{name}/draw@{size}", env.observation, 500, args.repeats, "pictures/s"))
    env = make(8)
    env.reset(seed=1)
    actions = iter(np.random.default_rng(0).uniform(-1, 1, (10_000, 2)))
    rows.append(rate(f"{name}/steps", lambda: env.advance(next(actions)), 1000, args.repeats, "steps/s"))
    return rows


def record(
    make: Callable[[int], PushTEnv | ReacherEnv], expert: Callable[..., PushTExpert | ReacherExpert], count: int
) -> list[Episode]:
    """Return `count` episodes of the collector: states (T, d) and actions (T, 2)."""
    episodes = []
    for seed in range(count):
        env = make(8)
        env.reset(seed=seed)
        actor = expert(env, np.random.default_rng(seed))
        states, actions = [], []
        for _ in range(STEPS):
            actions.append(actor.act())
            states.append(env.get_state())
            env.advance(actions[-1])
        episodes.append((np.stack(states), np.stack(actions)))
    return episodes


def replays(name: str, env: PushTEnv | ReacherEnv, episodes: list[Episode]) -> list[Row]:
    """Replay each episode's actions from its middle; count solved goals, and goals solved before the first action."""
    solved, before = 0, 0
    start = STEPS // 2
    for states, actions in episodes:
        env.set_state(states[start])
        env.set_goal(states[start + OFFSET])
        before += env.is_success()
        for action in actions[start : start + OFFSET]:
            env.advance(action)
        solved += env.is_success() and np.array_equal(env.get_state(), states[start + OFFSET])
    return [
        share(f"{name}/replay@{OFFSET}", solved, len(episodes), "final state bit-equal to the recorded one"),
        share(f"{name}/solved@{OFFSET}", before, len(episodes), "solved before the first action"),
    ]


def block_moves(episodes: list[Episode]) -> Row:
    """Share of windows in which the block moves; the interval's trials overlap, so it is too narrow."""
    moved = []
    for states, _ in episodes:
        shift = np.hypot(*(states[OFFSET:, 2:4] - states[:-OFFSET, 2:4]).T)
        turn = np.abs(np.angle(np.exp(1j * (states[OFFSET:, 4] - states[:-OFFSET, 4]))))
        moved += ((shift > 20.0) | (turn > np.pi / 9)).tolist()
    return share(f"push_t/block_moves@{OFFSET}", sum(moved), len(moved), "all windows of the episodes; they overlap")


def experts(count: int) -> list[Row]:
    """The experts without noise: Push-T's canonical goal in 300 steps, the Reacher's random target in 100."""
    placed, arrived, reached, steps = 0, 0, 0, []
    for seed in range(count):
        push = PushTEnv(image_size=8)
        push.reset(seed=seed)
        push.set_goal(np.array(CANONICAL_GOAL))
        pusher = Pusher(push, np.random.default_rng(seed))
        there = False
        for step in range(300):
            push.advance(pusher.toward(CANONICAL_GOAL[2:5], CANONICAL_GOAL[:2]))
            off = np.abs(np.angle(np.exp(1j * (push.block[2] - CANONICAL_GOAL[4]))))
            there |= np.hypot(*np.subtract(push.block[:2], CANONICAL_GOAL[2:4])) < 20.0 and off < np.pi / 9
            if push.is_success():
                steps.append(step + 1)
                break
        placed, arrived = placed + there, arrived + push.is_success()
        reach = ReacherEnv(image_size=8)
        reach.reset(seed=seed)
        for _ in range(100):
            reach.advance(pursue(reach, 10.0))
            if reach.is_success():
                reached += 1
                break
    return [
        share("expert/push_t", arrived, count, f"canonical goal, block and agent; mean {np.mean(steps):.0f} steps"),
        share("expert/push_t_block", placed, count, "canonical goal, the block alone"),
        share("expert/reacher", reached, count, "random target, .05 rad, 100 steps"),
    ]


def main(args: Args) -> None:
    """Measure everything and write the rows."""
    pushes, reaches = (
        record(PushTEnv, PushTExpert, args.episodes),
        record(ReacherEnv, ReacherExpert, args.episodes),
    )
    rows = [
        *speeds("push_t", PushTEnv, args),
        *speeds("reacher", ReacherEnv, args),
        *replays("push_t", PushTEnv(image_size=8), pushes),
        *replays("reacher", ReacherEnv(image_size=8), reaches),
        block_moves(pushes),
        *experts(args.episodes),
    ]
    for row in rows:
        console.print(f"{row.name}: {row.value:,.3g} ({row.low:,.3g} – {row.high:,.3g}) {row.unit}; {row.note}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.small_worlds", *sys.argv[1:]]), rows)


if __name__ == "__main__":
    main(tyro.cli(Args))
