"""How near to a cube does the pointer put the hand, and how far is it turned? Judged in the simulator, on desks that nobody recorded.

    python -m benchmarks.pointing checkpoints/so101_place [--json results/language.json]

The run's pointer (`jepaflow language fit RUN`) looks at the start frames of a protocol's trials; the arm is put where it points, and the
fingertips' distance to the named cube is measured, and the angle between jaws and cube, within a quarter turn. Beside it stands what
pointing to the mean of grasps and releases would have missed by, and the distance to the cube that was not named.

Rows: ``pointer/<world>/xy``, ``pointer/<world>/turn``, ``pointer/<world>/within_6_mm``, ``pointer/<world>/right_cube``. With jaws turned
rightly nearly all cubes are gripped that are missed by less than 6 mm, and two thirds at 10 mm.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, write_results
from jepaflow.evaluation.closed_loop import views_of, world_of
from jepaflow.evaluation.named import load_protocol
from jepaflow.sims.arms.env import ArmEnv
from jepaflow.sims.arms.kinematics import Kinematics
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.doing import load_doer
from jepaflow.subgoals.language.grounding import load_language
from jepaflow.subgoals.language.lessons import numbers_of
from jepaflow.training.checkpoint import load_run

NEAR = 0.006
"""m"""


@dataclass(frozen=True)
class Args:
    """Judge a pointer."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with language and a doer"""
    protocol: str = "so101/place_home"
    trials: int = 210
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise JepaflowError("--trials must be at least 1.")


def main(args: Args) -> None:
    """Measure and show."""
    torch.set_num_threads(1)
    run = load_run(args.run, "cpu")
    language, doer = load_language(run), load_doer(args.run)
    if doer is None:
        raise JepaflowError(f"{args.run} has no doer, and so no pointer. Fit it: jepaflow language fit {args.run}")
    pointer = doer.pointer
    usual = torch.zeros(1, 2 * len(pointer.mean))

    trials = load_protocol(args.protocol).first(args.trials)
    world = world_of(run, trials.env).make(run.model.config.image_size)
    if not isinstance(world, ArmEnv):
        raise JepaflowError(f"{args.protocol} is no protocol of an arm.")
    views, away = views_of(run, world), []
    for state in trials.starts:
        world.set_state(state)
        seen, scene, desk = world.observation(), world.scene, world.desk
        frames = np.stack([seen[view] for view in views])[None]
        cubes, yaw = [desk.cube(i).copy() for i in range(scene.cubes)], desk.cube_yaw(0)
        clause = Clause("put", Thing(scene.colours[0], "cube"), Thing(scene.bins[0], "bin"))
        thing, place = numbers_of(language.seer, clause)
        mine = []
        for aim in (pointer.point(frames, np.array([thing]), np.array([place])), usual):
            pose = world.arm.to_radians((aim[0, : len(pointer.mean)] * pointer.std + pointer.mean).numpy())
            desk.put_arm(pose)
            desk.update()
            turn = Kinematics(desk).forward(pose)[1]
            off = np.degrees(np.arctan2(turn[1, 0], turn[0, 0]) - yaw)
            off -= 90 * np.round(off / 90)
            mine.append([abs(float(off)), *(float(np.linalg.norm((desk.tcp() - one)[:2])) for one in cubes)])
        away.append((mine[0][1], mine[1][1], min(mine[0][2:], default=np.inf), mine[0][0], mine[1][0]))
    found, floor, other, turned, unturned = np.array(away).T
    name, n = f"pointer/{trials.env}", len(found)
    note = "one trained pointer"

    def row(suffix: str, values: np.ndarray, unit: str, floors: dict[str, float], of: str = "mean") -> Row:
        def middle(x: np.ndarray) -> float:
            return float(np.median(x) if of == "median" else x.mean())

        return Row(f"{name}/{suffix}", middle(values), *bootstrap(values, middle), n, 1, unit, floors, {}, note)

    rows = [
        row("xy", found, "m", {"mean of grasps and releases": float(np.median(floor))}, "median"),
        row(
            "turn",
            turned,
            "degree",
            {"mean of grasps and releases": float(np.median(unturned)), "chance": 22.5},
            "median",
        ),
        row(
            "within_6_mm",
            (found < NEAR) * 1.0,
            "fraction",
            {"mean of grasps and releases": float((floor < NEAR).mean())},
        ),
        row("right_cube", (found < other) * 1.0, "fraction", {"either": 0.5}),
    ]
    for one in rows:
        console.print(f"{one.name} {one.value:.4f} ({one.low:.4f} – {one.high:.4f}), {one.floors}, {note}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.pointing", *sys.argv[1:]]), rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
