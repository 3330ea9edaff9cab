"""G6: on rewards that do not add up along edges, does the GFlowNet beat re-ranking the prior's plans, evaluation for evaluation?

    python -m benchmarks.gate_g6 [--only order avoid novelty imagined] [--json results/system2.json]

Rewards: ``order`` (visit A, then B) and ``avoid``, whose posterior is known exactly; ``novelty`` (a route that none of three plans
took) and ``imagined`` (the JEPA's chain arrives in time, runs/maze). The residual is trained on some pairs and judged on others,
never seen; goals are shared. Every method may evaluate n plans of a query: re-ranking and importance-resampling take them from the
prior, the GFlowNet from its own samples; what its training evaluated is charged to the queries it is used for.

Rows: ``gfn/g6/<reward>/rtb`` (success of the best of n; floors: re-ranking at n, and at n plus the training's evaluations
shared by 1,000 queries), ``rerank``, ``resample``, ``one_plan``, ``log_r``, ``classes`` (distinct successful routes among n),
``break_even`` (queries), ``log_z_error``, ``ess``, and where the posterior is known ``kl`` and ``tv``.
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.g6_grounds import Ground, avoidance, imagined, novelty, order
from benchmarks.g6_rows import Cell, measure, rows_of
from benchmarks.rows import choose
from jepaflow.common.console import console
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.residual import Prior, Residual, ResidualConfig
from jepaflow.subgoals.rewards import Counted
from jepaflow.subgoals.rtb import Posterior, RTBConfig, train_rtb
from jepaflow.subgoals.tasks import Tasks
from jepaflow.training.device import choose_device


@dataclass(frozen=True)
class Args:
    """Measure the gate G6."""

    only: tuple[str, ...] = ()
    """rewards; all of them"""
    run: Path = Path("runs/maze")
    """of the reward that the JEPA imagines"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of the graph, the tasks and the network"""
    tasks: int = 256
    """pairs to train on"""
    tests: int = 40
    """other pairs, to be judged on"""
    steps: int = 400
    evaluations: int = 16
    """n: plans of a query that may be evaluated"""
    device: str = "auto"
    json: Path | None = field(default=Path("results/system2.json"))


@dataclass(frozen=True)
class Setting:
    """A reward and what its training may cost."""

    make: Callable[[int, int, int], Ground]
    config: RTBConfig
    tasks: int
    tests: int
    draws: int
    """of prior and policy, for each test, from which figures are computed"""


def settings(args: Args) -> dict[str, Setting]:
    """All rewards; imagination is dear, so it is asked less often."""
    usual = RTBConfig(steps=args.steps)
    dear = RTBConfig(steps=args.steps // 2, tasks=8, walks=8, pool=8, prior_share=0.5)
    return {
        "order": Setting(order, usual, args.tasks, args.tests, 1000),
        "avoid": Setting(avoidance, usual, args.tasks, args.tests, 1000),
        "novelty": Setting(novelty, usual, args.tasks, args.tests, 1000),
        "imagined": Setting(imagined(args.run), dear, args.tasks, args.tests // 2, 64),
    }


def fitted(setting: Setting, seed: int, device: str) -> tuple[Ground, Posterior, Counted]:
    """Train the residual of a reward and seed."""
    torch.manual_seed(seed)
    ground = setting.make(seed, setting.tasks, setting.tests)
    graph, marks = ground.flows.graph, ground.tasks.marks.shape[1]
    residual = Residual(ResidualConfig(graph.features.shape[1], graph.nodes, marks)).to(device)
    residual.fit_scaler(torch.from_numpy(graph.features).to(device))
    posterior = Posterior(Prior(ground.flows, device), residual)
    shown: Tasks = ground.tasks.some(np.arange(setting.tasks))
    reward = Counted(ground.reward, shown)
    config = RTBConfig(**{**vars(setting.config), "seed": seed})
    train_rtb(posterior, reward, config)
    return ground, posterior, reward


def main(args: Args) -> None:
    """Train and judge, reward by reward; rows are written after every seed."""
    torch.set_num_threads(1)
    device, _ = choose_device(args.device)
    command = shlex.join(["python", "-m", "benchmarks.gate_g6", *sys.argv[1:]])
    known = settings(args)
    choose(known, args.only)
    for name, setting in known.items():
        if args.only and name not in args.only:
            continue
        cells, rows = list[Cell](), list[Row]()
        for seed in args.seeds:
            ground, posterior, reward = fitted(setting, seed, str(device))
            cells.append(measure(ground, posterior, reward.evaluations, setting.draws, args.evaluations, seed))
            rows = rows_of(
                name, cells, args.evaluations, f"{setting.tasks} training pairs, {setting.tests} others a seed"
            )
            if args.json is not None:
                write_results(args.json, command, rows, keep=True)
        for row in rows:
            console.print(
                f"{row.name}: {row.value:.4g} ({row.low:.4g} – {row.high:.4g}) {row.floors} {row.ceilings} {row.note}"
            )


if __name__ == "__main__":
    main(tyro.cli(Args))
