"""How near to a cube does the pointer put the hand? Judged in the simulator, on desks that nobody recorded.

    python -m benchmarks.pointing runs/place [--json results/language.json]

The pointer is trained on the run's training episodes, then looks at the start frames of a protocol's trials; the arm is put where
it points, and the fingertips' distance to the named cube is measured. Beside it stands what pointing to the mean grasp
would have missed by, and the distance to the cube that was not named. Needs `jepaflow language fit RUN`.

Rows: ``pointer/<world>/xy``, ``pointer/<world>/within_15_mm``, ``pointer/<world>/right_cube``.
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
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.doing import make_pointer
from jepaflow.subgoals.language.grounding import labelled, load_language
from jepaflow.subgoals.language.lessons import numbers_of, parts_of
from jepaflow.subgoals.language.pointing import grasps_of, train_pointer
from jepaflow.training.checkpoint import load_run
from jepaflow.training.corpus import open_corpora

NEAR = 0.015
"""m"""


@dataclass(frozen=True)
class Args:
    """Train a pointer and judge it."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with joints as input, and language"""
    protocol: str = "so101/place_home"
    trials: int = 210
    steps: int = 800
    seed: int = 0
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.trials < 1 or self.steps < 1 or self.seed < 0:
            raise JepaflowError("--trials and --steps must be at least 1, --seed not negative.")


def main(args: Args) -> None:
    """Measure and show."""
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    run = load_run(args.run, "cpu")
    language = load_language(run)
    train, _ = open_corpora(run)
    parts = parts_of(train, language, labelled(train.stores, train.where))
    pointer = make_pointer(language.seer.things(), train, language.cameras, parts)
    grasps = grasps_of(pointer, train, language.cameras, parts)
    train_pointer(grasps, pointer, args.steps, seed=args.seed)
    mean = grasps.closed[np.unique(grasps.grasp, return_index=True)[1]].mean(0)

    trials = load_protocol(args.protocol).first(args.trials)
    world = world_of(run, trials.env).make(run.model.config.image_size)
    if not isinstance(world, ArmEnv):
        raise JepaflowError(f"{args.protocol} is no protocol of an arm.")
    views, away = views_of(run, world), []
    for state in trials.starts:
        world.set_state(state)
        seen = world.observation()
        maps = pointer.maps(np.stack([seen[view] for view in views])[None])
        (cube, which), cubes = (0, 0), [world.desk.cube(i).copy() for i in range(world.scene.cubes)]
        clause = Clause("put", Thing(world.scene.colours[cube], "cube"), Thing(world.scene.bins[which], "bin"))
        thing, _ = numbers_of(language.seer, clause)
        with torch.no_grad():
            centres, _ = pointer.centres(maps)
            joints = pointer.joints(centres[:, thing], False)[0] * pointer.std + pointer.mean
        mine = []
        for pose in (joints, mean):
            world.desk.put_arm(world.arm.to_radians(pose.numpy()))
            world.desk.update()
            mine.append([float(np.linalg.norm((world.desk.tcp() - one)[:2])) for one in cubes])
        away.append((mine[0][0], mine[1][0], min(mine[0][1:], default=np.inf)))
    found, floor, other = np.array(away).T
    name, n = f"pointer/{trials.env}", len(found)
    note = f"{len(np.unique(grasps.grasp))} grasps, {args.steps} steps, seed {args.seed}; one trained pointer"

    def row(suffix: str, values: np.ndarray, unit: str, floors: dict[str, float], of: str = "mean") -> Row:
        def middle(x: np.ndarray) -> float:
            return float(np.median(x) if of == "median" else x.mean())

        return Row(f"{name}/{suffix}", middle(values), *bootstrap(values, middle), n, 1, unit, floors, {}, note)

    rows = [
        row("xy", found, "m", {"mean grasp": float(np.median(floor))}, "median"),
        row("within_15_mm", (found < NEAR) * 1.0, "fraction", {"mean grasp": float((floor < NEAR).mean())}),
        row("right_cube", (found < other) * 1.0, "fraction", {"either": 0.5}),
    ]
    for one in rows:
        console.print(f"{one.name} {one.value:.4f} ({one.low:.4f} – {one.high:.4f}), {one.floors}, {note}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.pointing", *sys.argv[1:]]), rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
