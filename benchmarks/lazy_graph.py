"""Plans on graphs of 20,000 nodes whose edges are asked for one by one: how many questions, how good, how fast.

    python -m benchmarks.lazy_graph [--grounds rooms maze] [--device cuda] [--json results/system2.json]

``rooms``: nodes scattered in 25 rooms, walls asked about. ``maze``: frames of runs/maze, the distance head asked about. The
GFlowNet learns on a coarse draw of the nodes (`lazy_flow`) and is then asked at the frontier of 16 walks a query. Nothing is
remembered between queries, but which nodes lie near each other is looked up beforehand, for all methods. Beside it, asking as
lazily: greedy descent and A* by the straight way, A* by the learned cost to go; the yardstick is Dijkstra on the whole graph.

Rows: ``gfn/lazy/<ground>/reached`` (by any of 16 walks), ``reached_walk``, ``cost_ratio`` (best of 16), ``edges`` (questions of a
query over those that the whole graph takes), ``training_edges``, ``seconds``.
"""

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from numpy import ndarray

from benchmarks.reachability import states
from benchmarks.rows import choose
from jepaflow.common.console import console
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.build import BuildConfig, priced
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.lazy import LazyGraph
from jepaflow.subgoals.lazy_flow import LazyConfig, LazyFlow, coarse_draw, train_lazy
from jepaflow.subgoals.lazy_rooms import lazy_rooms
from jepaflow.subgoals.lazy_search import a_star, greedy
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.rooms import RoomsConfig
from jepaflow.subgoals.shortest import distances
from jepaflow.training.checkpoint import load_run
from jepaflow.training.device import choose_device
from jepaflow.training.heads import load_heads
from jepaflow.training.latents import cached_latents

CANDIDATES = 24
WALKS = 16
"""plans of a query"""
STRIDE = 20
"""of the maze's candidates: the nearest frames are one place"""
SURE = 0.05
"""quantile of an edge's cost over its length in features that the straight way counts with"""
SLACK = 3.0
"""times the learned cost to go, in edges as training met them: the bound of a walk"""


@dataclass(frozen=True)
class Args:
    """Measure lazy graphs."""

    grounds: tuple[str, ...] = ("rooms", "maze")
    run: Path = Path("runs/maze")
    nodes: int = 20_000
    coarse: int = 3000
    """nodes of the draw that is learnt on"""
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: int = 8
    """queries a seed"""
    steps: int = 1000
    device: str = "auto"
    json: Path | None = field(default=Path("results/system2.json"))


def rooms(args: Args, seed: int) -> tuple[LazyGraph, dict[str, int]]:
    """Scattered nodes in rooms."""
    graph, _ = lazy_rooms(RoomsConfig(args.nodes, 5, 5, step=10.0, seed=seed, draw=seed), CANDIDATES)
    return graph, {"fourier": 16}


def maze(args: Args, seed: int) -> tuple[LazyGraph, dict[str, int]]:
    """Frames of a maze without a shut door."""
    run, heads = load_run(args.run, "cpu"), load_heads(args.run)
    latents, _ = cached_latents(run)
    open_ = np.flatnonzero(~(states(latents)[:, 4:] > 0.5).any(1))
    rows = np.sort(np.random.default_rng(seed).choice(open_, min(args.nodes, len(open_)), replace=False))
    z, reach, config = latents.z[torch.from_numpy(rows)], Reachability(heads.distance), BuildConfig()

    def ask(pairs: ndarray) -> tuple[ndarray, ndarray]:
        some, place = np.unique(pairs, return_inverse=True)  # the head's first layer would be applied to all of z
        asked = z[torch.from_numpy(some)]
        edges = priced(reach, asked, asked, place.reshape(pairs.shape), config)
        steps = edges.cost + config.eta * np.log(edges.p)
        return (edges.p > config.tau) & (steps >= config.least_steps), edges.cost

    return LazyGraph(z.numpy(), ask, CANDIDATES, CANDIDATES, STRIDE), {"fourier": 0}


GROUNDS: dict[str, Callable[[Args, int], tuple[LazyGraph, dict[str, int]]]] = {"rooms": rooms, "maze": maze}


def trained(args: Args, graph: LazyGraph, sizes: dict[str, int], seed: int) -> tuple[LazyFlow, dict[str, float]]:
    """The flow, and what it took."""
    torch.manual_seed(seed)
    begin, (device, _) = time.perf_counter(), choose_device(args.device)
    draw = np.sort(np.random.default_rng((seed, 20)).choice(graph.nodes, args.coarse, replace=False))
    small, _ = coarse_draw(graph, draw)
    length = np.linalg.norm(small.features[small.source] - small.features[small.indices], axis=1)
    typical, rate = float(np.median(small.cost)), float(np.quantile(small.cost / length, SURE))
    config = LazyConfig(20.0 / typical, rate, 10 * typical, args.coarse, args.steps, 512, seed=seed)
    network = FlowConfig(graph.features.shape[1], 1, hidden=192, surroundings=0, ahead=0, hint="none", **sizes)  # type: ignore[arg-type]
    flow = LazyFlow(NeuralFlow(network).to(device), graph, config)
    asked = train_lazy(flow, most_goals=1000)
    return flow, {"asked": asked, "seconds": time.perf_counter() - begin}


def query(
    flow: LazyFlow, whole: Graph, start: int, goal: int, best: float, rng: np.random.Generator
) -> dict[str, float]:
    """Answer one query by every method, each from nothing."""
    graph, found = flow.graph, dict[str, float]()

    def straight(nodes: ndarray) -> ndarray:
        gap = np.linalg.norm(graph.features[nodes] - graph.features[goal], axis=1)
        return np.asarray(flow.config.rate * gap, np.float64)

    def learned(nodes: ndarray) -> ndarray:
        return flow.ask(nodes, np.full(len(nodes), goal))

    bound = int(SLACK * learned(np.array([start]))[0] / flow.typical) + 10

    def flows() -> list[list[int]]:
        many = np.full(WALKS, start)
        walks = flow.sample(many, np.full(WALKS, goal), np.full(WALKS, bound), rng).as_lists()
        return [walk for walk in walks if walk[-1] == goal]

    def one(search: Callable[[], list[int] | None]) -> Callable[[], list[list[int]]]:
        return lambda: [walk for walk in [search()] if walk is not None]

    methods = {
        "flow": flows,
        "greedy": one(lambda: greedy(graph, start, goal, straight, bound)),
        "a_star": one(lambda: a_star(graph, start, goal, straight)),
        "a_star_learned": one(lambda: a_star(graph, start, goal, learned)),
    }
    for name, method in methods.items():
        graph.forget()
        begin = time.perf_counter()
        walks = method()
        found[f"{name}/seconds"], found[f"{name}/asked"] = time.perf_counter() - begin, graph.evaluated
        costs = [float(whole.cost[whole.edge_ids(np.array(w[:-1]), np.array(w[1:]))].sum()) for w in walks]
        found[f"{name}/reached"], found[f"{name}/share"] = float(bool(walks)), len(walks) / WALKS
        found[f"{name}/ratio"] = min(costs) / best if costs else np.nan
    return found


def cell(args: Args, name: str, seed: int) -> tuple[list[dict[str, float]], dict[str, float]]:
    """All queries of one ground and seed."""
    graph, sizes = GROUNDS[name](args, seed)
    begin = time.perf_counter()
    whole = graph.eager()
    total = {"total": graph.evaluated, "edges": whole.edges}
    rng = np.random.default_rng((seed, 21))
    goals = rng.choice(graph.nodes, args.pairs, replace=False)
    cost = distances(whole, goals)
    total["whole"] = time.perf_counter() - begin
    graph.forget()
    flow, took = trained(args, graph, sizes, seed)
    found = []
    for goal, row in zip(goals, cost, strict=True):
        start = int(rng.choice(np.flatnonzero(np.isfinite(row) & (row > 0))))
        found.append(query(flow, whole, start, int(goal), float(row[start]), rng))
    return found, total | took


def rows_of(name: str, cells: list[tuple[list[dict[str, float]], dict[str, float]]], args: Args) -> list[Row]:
    """Make the rows of a ground."""
    all_ = {key: np.array([q[key] for found, _ in cells for q in found]) for key in cells[0][0][0]}
    mean = {key: float(np.mean([total[key] for _, total in cells])) for key in cells[0][1]}
    about = f"{args.nodes} nodes, {mean['edges']:.0f} edges; {WALKS} walks a query"
    about += f"; learnt on {args.coarse} nodes in {mean['seconds']:.0f} s"
    others = ("greedy", "a_star", "a_star_learned")

    def row(key: str, of: str, unit: str, scale: float = 1.0, words: str = "", **more: float) -> Row:
        each = {method: all_[f"{method}/{of}"] * scale for method in ("flow", *others)}
        own = each["flow"][np.isfinite(each["flow"])]
        low, high = bootstrap(own, lambda v: float(v.mean()), draws=1000)
        floors = {method: float(np.nanmean(each[method])) for method in others if np.isfinite(each[method]).any()}
        note = about + words
        return Row(
            f"gfn/lazy/{name}/{key}", float(own.mean()), low, high, len(own), len(cells), unit, floors | more, note=note
        )

    share = mean["asked"] / mean["total"]
    walk = row("reached_walk", "share", "fraction")
    return [
        row("reached", "reached", "fraction"),
        Row(walk.name, walk.value, walk.low, walk.high, walk.n, walk.seeds, note=about),
        row("cost_ratio", "ratio", "ratio", words="; best walk over the cheapest, only where one arrived"),
        row(
            "edges",
            "asked",
            "share",
            1 / mean["total"],
            f"; of {mean['total']:.0f} questions that the whole graph takes",
        ),
        row(
            "seconds",
            "seconds",
            "s",
            words="; whole: all edges and Dijkstra to all goals of a seed",
            whole=mean["whole"],
        ),
        Row(f"gfn/lazy/{name}/training_edges", share, share, share, len(cells), len(cells), "share", note=about),
    ]


def main(args: Args) -> None:
    """Measure; rows are written after every seed."""
    torch.set_num_threads(1)
    choose(GROUNDS, args.grounds)
    for name in args.grounds:
        cells, rows = [], list[Row]()
        for seed in args.seeds:
            cells.append(cell(args, name, seed))
            rows = rows_of(name, cells, args)
            if args.json is not None:
                command = shlex.join(["python", "-m", "benchmarks.lazy_graph", *sys.argv[1:]])
                write_results(args.json, command, rows, keep=True)
        for row in rows:
            console.print(f"{row.name}: {row.value:.4g} ({row.low:.4g} – {row.high:.4g}) {row.floors} {row.note}")


if __name__ == "__main__":
    main(tyro.cli(Args))
