"""Is the graph of landmarks true? Edges against the simulator's shortest ways, and how it hangs together.

    python -m benchmarks.landmark_graph runs/maze --env maze [--count 256 1024] [--imagine] [--json results/system2.json]

Landmarks are chosen among training frames without a shut door. An edge is true when the shortest way round walls is no
longer than what System 1 walks in h model steps at full speed. Ways on the graph (Dijkstra) are compared with the
shortest ones, both in px.

Rows: ``graph/<env>/<N>/true_edges``, ``connected_pairs``, ``detour`` (median), ``seconds``; ``_imagined`` with a veto.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from benchmarks.reachability import states
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.intervals import bootstrap, wilson
from jepaflow.common.results import Row, write_results
from jepaflow.sims.disc_env import DiscEnv
from jepaflow.sims.geodesic import Geodesic
from jepaflow.sims.registry import action_bounds, find_world
from jepaflow.subgoals.aside import set_aside
from jepaflow.subgoals.build import BuildConfig, build_graph
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.imagined import Imagination
from jepaflow.subgoals.landmarks import LandmarkConfig, choose_landmarks
from jepaflow.subgoals.reachability import Reachability
from jepaflow.training.checkpoint import load_run
from jepaflow.training.heads import load_heads
from jepaflow.training.latents import cached_latents

WAYS = 400
"""pairs of landmarks whose ways are compared"""


@dataclass(frozen=True)
class Args:
    """Judge graphs."""

    run: Annotated[Path, tyro.conf.Positional]
    """run with heads"""
    env: str = "maze"
    count: tuple[int, ...] = (256, 1024)
    """landmarks"""
    method: str = "farthest"
    imagine: bool = False
    """let the model's imagination veto edges"""
    json: Path | None = None


def judge(
    prefix: str, graph: Graph, report: dict[str, float], places: np.ndarray, world: DiscEnv, reach_px: float
) -> list[Row]:
    """Return the rows of one graph; ``places`` are its landmarks' (N, 2)."""
    if not graph.edges:
        raise JepaflowError(f"The graph of {graph.nodes} landmarks has no edge to judge. Ask for more landmarks.")
    ways = Geodesic(world.config)
    length = ways.distance(places[graph.source], places[graph.indices])
    true = int((length <= reach_px).sum())
    note = f"{graph.nodes} landmarks, {graph.edges} edges, {report['components']:.0f} strongly connected parts"
    rows = [
        Row(
            f"{prefix}/true_edges",
            true / graph.edges,
            *wilson(true, graph.edges),
            graph.edges,
            note=f"{note}; at most {reach_px:g} px",
        ),
        Row(
            f"{prefix}/connected_pairs",
            report["connected_pairs"],
            0.0,
            1.0,
            graph.nodes,
            note=f"{note}; bounds, no interval",
        ),
    ]
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, graph.nodes, (2, WAYS))
    px = csr_array((length, graph.indices, graph.indptr), shape=(graph.nodes,) * 2)
    _, before = dijkstra(graph.matrix, indices=one, return_predecessors=True)
    walked = np.array([_along(before[k], px, int(one[k]), int(other[k])) for k in range(WAYS)])
    shortest = ways.distance(places[one], places[other])
    known = np.isfinite(walked) & (shortest > 20.0)
    ratio = walked[known] / shortest[known]
    low, high = bootstrap(ratio, lambda r: float(np.median(r)), draws=200)
    rows.append(
        Row(
            f"{prefix}/detour",
            float(np.median(ratio)),
            low,
            high,
            int(known.sum()),
            unit="ratio",
            note=f"{note}; walked / shortest",
        )
    )
    return rows


def _along(before: np.ndarray, px: csr_array, one: int, other: int) -> float:
    total, node = 0.0, other
    while node != one:
        if before[node] < 0:
            return float("inf")
        total, node = total + px[int(before[node]), node], int(before[node])
    return total


def main(args: Args) -> None:
    """Build, judge and show."""
    world = find_world(args.env).make(8)
    if not isinstance(world, DiscEnv):
        raise JepaflowError(f"the shortest ways of {args.env} are not known. Choose two_room or maze.")
    run, heads, config = load_run(args.run, "cpu"), load_heads(args.run), BuildConfig()
    train, _ = cached_latents(run)
    known, block, reach = states(train), run.model.config.block, Reachability(heads.distance)
    where = {(int(s), int(r)): i for i, (s, r) in enumerate(zip(train.corpus.store_of, train.corpus.row, strict=True))}
    rows: list[Row] = []
    for count in args.count:
        began = time.perf_counter()
        marks = choose_landmarks(train, LandmarkConfig(count, args.method), ~(known[:, 4:] > 0.5).any(1))  # type: ignore[arg-type]
        chosen = time.perf_counter() - began
        veto = None
        if args.imagine:
            low, high = (torch.from_numpy(bound) for bound in action_bounds(world))
            imagination = Imagination(run.model, heads.inverse, config.within, low, high)
            aside = set_aside(args.run, train)
            veto = imagination.veto(marks.z, imagination.threshold(aside, 2000, np.random.default_rng(0)))
        began = time.perf_counter()
        graph, report = build_graph(marks, reach, train, block, config, veto)
        seconds = time.perf_counter() - began
        places = known[[where[(int(s), int(r))] for s, r in zip(marks.store, marks.row, strict=True)], :2].astype(float)
        prefix = f"graph/{args.env}/{count}" + ("_imagined" if args.imagine else "")
        rows += judge(prefix, graph, report, places, world, config.within * block * world.config.speed)
        note = f"built; the landmarks took {chosen:.1f} s; {report['degree']:.1f} edges a landmark, {report['dead_ends']:.0f} dead ends"
        rows.append(Row(f"{prefix}/seconds", seconds, seconds, seconds, 1, unit="s", note=note))
    for row in rows:
        console.print(f"{row.name} {row.value:.3f} ({row.low:.3f} – {row.high:.3f}), n {row.n}; {row.note}")
    if args.json is not None:
        write_results(args.json, shlex.join(["python -m benchmarks.landmark_graph", *sys.argv[1:]]), rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
