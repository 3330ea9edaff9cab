"""`python -m benchmarks.hypergrid`: our trajectory balance on the textbook's 8 x 8 hyper-grid, judged exactly.

The grid (Bengio et al. 2021, arXiv 2106.04399; R0 = .01, R1 = .5, R2 = 2) is no tree: many ways lead to a cell, and a uniform backward
policy shares its reward among them. That makes the target a product over edges, so the grid is one of our graphs: cells, edges
that raise a coordinate, and an edge from each cell to a sink, which pays the reward. Costs must be positive; a constant added
to each edge is given back at the end, so that it only shifts log Z.
"""

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.gflownet import GFlowNetConfig, Loss, train
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.towards import towards
from jepaflow.subgoals.verify import learned

SCRIPT = Path(__file__).parent / "reference" / "torchgfn_hypergrid.py"
TOLL = 3.0
"""added to the cost of every edge"""


@dataclass(frozen=True)
class Args:
    """Check TB on the hyper-grid."""

    side: int = 8
    steps: int = 1000
    walks: int = 64
    """a step"""
    lr: float = 5e-3
    seeds: tuple[int, ...] = (0, 1, 2)
    losses: tuple[Loss, ...] = ("tb", "db")
    torchgfn: str | None = None
    """a Python that has torchgfn, in an environment of its own: its trajectory balance is judged too"""
    json: Path | None = field(default=Path("results/system2.json"))


def reward(side: int) -> np.ndarray:
    """Reward of every cell (side, side)."""
    x = np.abs(np.arange(side) / (side - 1) - 0.5)
    ring, mode = x > 0.25, (x > 0.3) & (x < 0.4)
    return np.asarray(0.01 + 0.5 * (ring[:, None] & ring) + 2 * (mode[:, None] & mode))


def grid(side: int) -> tuple[Graph, float]:
    """The graph (cells row by row, the sink last), and what to add to its log Z."""
    row, column = np.divmod(np.arange(side * side), side)
    edges: list[tuple[int, int, float]] = []
    shift = TOLL * 2 * side
    for cell, (i, j) in enumerate(zip(row, column, strict=True)):
        steps = [(a, b) for a, b in ((int(i) + 1, int(j)), (int(i), int(j) + 1)) if max(a, b) < side]
        log_ref = -np.log(len(steps) + 1)
        for a, b in steps:
            parents = int(a > 0) + int(b > 0)
            edges.append((cell, a * side + b, log_ref + np.log(parents) + TOLL))
        edges.append((cell, side * side, log_ref - np.log(reward(side)[i, j]) + shift - TOLL * (i + j)))
    source, target, cost = (np.array(values) for values in zip(*edges, strict=True))
    hot = np.concatenate([np.eye(side)[row], np.eye(side)[column]], 1)
    return Graph.from_edges(source, target, cost, np.concatenate([hot, np.zeros((1, 2 * side))])), shift


def terminating(flows: Flows, side: int) -> np.ndarray:
    """Exact probability that a walk from the origin ends at each cell."""
    graph = flows.graph
    ends = graph.edge_ids(np.arange(side * side), np.full(side * side, side * side))
    return np.array([flows.expected(np.eye(graph.edges)[end])[0, 0] for end in ends])


def torchgfn_row(args: Args) -> Row:
    """torchgfn's trajectory balance, same steps and walks."""
    found = []
    for seed in args.seeds:
        words = [args.side, args.steps, args.walks, seed]
        command = [str(args.torchgfn), "-W", "ignore", str(SCRIPT), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise JepaflowError(
                f"torchgfn did not run: {done.stderr.strip().splitlines()[-1]}. Install torchgfn there."
            )
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    tv = [each["tv"] for each in found]
    note = f"torchgfn itself, {args.steps} steps of {args.walks} walks; |log Z error| {max(e['log_z_error'] for e in found):.1e} at most"
    return Row("gfn/hypergrid/torchgfn_tb/tv", max(tv), min(tv), max(tv), len(tv), len(tv), note=note)


def main(args: Args) -> None:
    """Train, judge, write."""
    torch.set_num_threads(1)
    (graph, shift), sink = grid(args.side), np.array([args.side**2])
    target = reward(args.side).flatten()
    log_z, target = float(np.log(target.sum())), target / target.sum()
    horizon = 2 * args.side - 1
    exact = solve(graph, sink, horizon, 1.0)
    check = float(0.5 * np.abs(terminating(exact, args.side) - target).sum())
    console.print(f"Oracle: TV {check:.1e}, log Z {exact.log_z[0, 0] + shift:.7f}, from the rewards {log_z:.7f}")
    origin = torch.arange(graph.nodes) == 0
    rows = []
    for loss in args.losses:
        found, errors, before = [], [], []
        for seed in args.seeds:
            torch.manual_seed(seed)
            model = NeuralFlow(FlowConfig(graph.features.shape[1], horizon, hint="none", surroundings=0))
            before.append(float(0.5 * np.abs(terminating(learned(model, graph, sink, 1.0), args.side) - target).sum()))
            config = GFlowNetConfig(
                loss=loss, steps=args.steps, goals=1, walks=args.walks, lr=args.lr, backward=0.0, temper=1.0, seed=seed
            )
            train(model, [towards(graph, sink)], config, starts=origin)
            ours = learned(model, graph, sink, 1.0)
            found.append(float(0.5 * np.abs(terminating(ours, args.side) - target).sum()))
            errors.append(abs(float(ours.log_z[0, 0]) + shift - log_z))
        note = (
            f"{args.side} x {args.side}, R0 .01, R1 .5, R2 2, uniform backward policy; one-hot coordinates, no hint; {args.steps} "
            f"steps of {args.walks} walks; low and high are the least and greatest of the seeds; |log Z error| {max(errors):.1e} at most"
        )
        floor = {"untrained": float(np.mean(before))}
        rows.append(
            Row(
                f"gfn/hypergrid/{loss}/tv",
                max(found),
                min(found),
                max(found),
                len(found),
                len(found),
                floors=floor,
                note=note,
            )
        )
        console.print(f"{rows[-1].name}: {found}, log Z errors {errors}, untrained {before}")
    if args.torchgfn is not None:
        rows.append(torchgfn_row(args))
        console.print(f"{rows[-1].name}: {rows[-1].low:.1e} – {rows[-1].high:.1e}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python", "-m", "benchmarks.hypergrid", *sys.argv[1:]]), rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
