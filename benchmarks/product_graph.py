"""Does a request of several clauses leave the GFlowNet checkable? On product graphs of 64 landmarks, beside the exact flows.

    python -m benchmarks.product_graph [--seeds 0 1 2] [--json results/language.json]

Four rooms without a simulator. A request is "reach A, then B, and keep away from C": three random places, A and B satisfied by the
landmarks near them, C priced in nats. One network per seed is trained on the product graphs of some requests and judged on those, and
on others that it has never seen, from all landmarks. The floor `hint alone` is the same policy before it has learned anything.

Rows: ``language/product/kl_train``, ``kl_heldout`` (KL(learned || exact) over whole walks), ``log_z_error_heldout``, ``tv_heldout``,
and ``milliseconds@m`` (building and solving the product of 1,024 landmarks with m clauses in any order).
"""

import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.gflownet_exact import hint_alone
from jepaflow.common.console import console
from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.exact import Flows
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.gflownet import GFlowNetConfig, train
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.language.automaton import Automaton, in_turn
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.product import ProductGraph, product
from jepaflow.subgoals.rooms import Rooms, RoomsConfig, make_rooms
from jepaflow.subgoals.towards import towards
from jepaflow.subgoals.verify import agree, learned, tv_sampled

BETA = 1.0
NEAR = 0.2
"""sides of a room within which a landmark satisfies a clause"""
PRICE = 3.0
"""nats that a landmark at the place to avoid costs; it falls off over `NEAR`"""
WALKS = 1000
"""exact walks of a request from which total variation is estimated"""
TIMED = {"landmarks": 1024, "side": 4, "horizon": 32, "repeats": 5}


@dataclass(frozen=True)
class Args:
    """Verify the GFlowNet on product graphs."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """of rooms, requests and network"""
    requests: int = 48
    """to train on"""
    tests: int = 16
    """others, to be judged on"""
    horizon: int = 20
    """most edges of a landmark walk"""
    steps: int = 3000
    walks: int = 64
    """in a step"""
    lr: float = 5e-3
    json: Path | None = field(default=Path("results/language.json"))


def clauses(count: int) -> tuple[Clause, ...]:
    """Balls to touch."""
    return tuple(Clause("reach", Thing(colour, "ball")) for colour in ("red", "blue", "green", "white")[:count])


def request(graph: Graph, count: int, ordered: bool, rng: np.random.Generator) -> ProductGraph:
    """Draw places, and multiply the graph with having been near each of them."""
    places = graph.features[rng.choice(graph.nodes, count + 1, replace=False)]
    away = np.linalg.norm(graph.features[:, None] - places, axis=-1)
    automaton = Automaton(clauses(count), in_turn(count) if ordered else ())
    avoid = PRICE * np.exp(-((away[:, -1] / NEAR) ** 2)).astype(float)
    return product(graph, automaton, away[:, :-1] < NEAR, np.arange(graph.nodes), BETA, avoid)


def judged(model: NeuralFlow, made: ProductGraph, rng: np.random.Generator) -> dict[str, float]:
    """Figures of one request, means over starts from which it can be done in time."""
    goal = np.array([made.goal])
    exact, ours = made.flows(model.horizon - 1), learned(model, made.graph, goal, BETA)
    found, start = agree(ours, exact), starts(made, exact)
    drawn = rng.choice(start, WALKS)
    zero = np.zeros(WALKS, np.int64)
    return {
        "kl": float(found.kl[0, start].mean()),
        "log_z_error": float(np.abs(found.log_z_error[0, start]).mean()),
        "mass": float(found.mass[0, start].min()),
        "tv": float(tv_sampled(ours, exact, exact.sample(drawn, zero, rng), zero).mean()),
    }


def starts(made: ProductGraph, exact: Flows) -> np.ndarray:
    """Product nodes at which walks begin."""
    begin = np.array([made.begin(landmark) for landmark in range(len(made.first))])
    return np.asarray(begin[np.isfinite(exact.log_z[0, begin])])


def trained(args: Args, seed: int, worlds: list[ProductGraph]) -> NeuralFlow:
    """Fit a network to the flows of some requests."""
    torch.manual_seed(seed)
    width = worlds[0].graph.features.shape[1]
    model = NeuralFlow(FlowConfig(width, args.horizon + 1, fourier=4))
    model.fit_scaler(torch.from_numpy(worlds[0].graph.features))
    config = GFlowNetConfig(steps=args.steps, goals=1, walks=args.walks, lr=args.lr, betas=(BETA, BETA), seed=seed)
    train(model, [towards(made.graph, np.array([made.goal]), BETA) for made in worlds], config)
    return model.eval()


def kl_rows(args: Args) -> list[Row]:
    """Train and judge."""
    found: dict[str, list[dict[str, float]]] = {"train": [], "heldout": []}
    alone: dict[str, list[dict[str, float]]] = {"train": [], "heldout": []}
    sizes = []
    for seed in args.seeds:
        rng = np.random.default_rng((seed, 8))
        graph = make_rooms(RoomsConfig(64, 2, 2, seed=seed)).graph
        made = [request(graph, 2, True, rng) for _ in range(args.requests + args.tests)]
        sizes += [one.graph.nodes for one in made]
        model = trained(args, seed, made[: args.requests])
        bare = hint_alone(model, Rooms(made[0].graph, made[0].landmark))
        for which, some in (("train", made[: args.tests]), ("heldout", made[args.requests :])):
            found[which] += [judged(model, one, rng) for one in some]
            alone[which] += [judged(bare, one, rng) for one in some]
    about = (
        f"64 landmarks, 4 rooms, two clauses in turn and a place to avoid: products of {min(sizes)} to {max(sizes)} nodes, "
        f"K = {args.horizon}, beta {BETA:g}; {args.requests} requests to train on, {args.tests} of them and {args.tests} others "
        "judged a seed, means over all starts; the interval is over requests"
    )
    rows = []
    for figure, unit in (("kl", "nats"), ("log_z_error", "nats"), ("tv", "fraction")):
        for which, cells in found.items():
            values = np.array([cell[figure] for cell in cells])
            floors = {"hint alone": float(np.mean([cell[figure] for cell in alone[which]]))}
            seeds = values.reshape(len(args.seeds), -1).mean(1)
            note = f"{about}; by seed {', '.join(f'{value:.4f}' for value in seeds)}; least mass {min(c['mass'] for c in cells):.6f}"
            span = bootstrap(values, lambda sample: float(sample.mean()))
            name = f"language/product/{figure}_{which}"
            rows.append(Row(name, float(values.mean()), *span, len(values), len(args.seeds), unit, floors, note=note))
    return rows


def time_rows() -> list[Row]:
    """How long an exact answer takes at full size."""
    graph = make_rooms(RoomsConfig(TIMED["landmarks"], TIMED["side"], TIMED["side"])).graph
    rows = []
    for count in (1, 2, 4):
        took, nodes = [], 0
        for repeat in range(TIMED["repeats"] + 1):
            rng = np.random.default_rng(repeat)
            began = time.perf_counter()
            made = request(graph, count, False, rng)
            made.flows(TIMED["horizon"])
            took.append(1e3 * (time.perf_counter() - began))
            nodes = max(nodes, made.graph.nodes)
        note = (
            f"{TIMED['landmarks']} landmarks, {graph.edges} edges, products of up to {nodes} nodes, K = {TIMED['horizon']}, one thread; "
            "median, least and most"
        )
        low, middle, high = np.percentile(took[1:], [0, 50, 100])
        name = f"language/product/milliseconds@{count}"
        rows.append(Row(name, float(middle), float(low), float(high), TIMED["repeats"], unit="ms", note=note))
    return rows


def main(args: Args) -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    rows = kl_rows(args) + time_rows()
    for row in rows:
        console.print(f"{row.name}: {row.value:.4g} ({row.low:.4g} – {row.high:.4g}) {row.floors} {row.note}")
    if args.json is not None:
        command = shlex.join(["python", "-m", "benchmarks.product_graph", *sys.argv[1:]])
        write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
