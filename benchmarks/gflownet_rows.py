"""What `benchmarks.gflownet_exact` measures: divergence from the oracle, log Z, mass, cost and routes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.flow_models import NeuralFlow, TableFlow
from jepaflow.subgoals.gflownet import GFlowNetConfig, Loss, train
from jepaflow.subgoals.graph import FAR, Graph
from jepaflow.subgoals.rooms import Rooms, RoomsConfig, make_rooms
from jepaflow.subgoals.routes import entropy, routes
from jepaflow.subgoals.shortest import distances, k_shortest
from jepaflow.subgoals.towards import towards
from jepaflow.subgoals.verify import agree, learned, log_z_sampled, tv_enumerated, tv_sampled
from jepaflow.subgoals.walks import Walks

BETA = 1.0
OTHER_BETAS = (0.5, 2.0)
DIVERSE = 1.25
"""beta at which routes are counted: the oracle's plans then cost less than 1.15 of the optimum"""
SAMPLES = 100
"""plans of a pair whose routes are counted"""
MANY, FEW = 256, 32
"""walks that estimate log Z of a pair; as many as a planner draws for eight plans"""
PAIRS = 40
"""pairs of a far start and a held-out goal"""
BLOCKED = 0.05
"""share of the edges that are taken away"""
LOSSES: tuple[Loss, ...] = ("db", "tb", "subtb", "vargrad")


@dataclass(frozen=True)
class Cell:
    """One network: figures by name, one number per goal or pair."""

    figures: dict[str, ndarray]


def tabular_row(seeds: Sequence[int]) -> Row:
    """Greatest total variation over all pairs to two goals, over losses and seeds."""
    worst, each = [], []
    for loss in LOSSES:
        of_loss = []
        for seed in seeds:
            graph = make_rooms(RoomsConfig(12, neighbours=3, seed=seed)).graph
            goals, model = np.array([0, 7]), TableFlow(12, 6)
            torch.manual_seed(seed)
            config = GFlowNetConfig(loss=loss, steps=500, lr=0.3, goals=2, walks=128, explore=0.3, group=16, seed=seed)
            train(model, [towards(graph, goals)], config)
            ours, exact = learned(model, graph, goals, 1.0), solve(graph, goals, 6, 1.0)
            for column, goal in enumerate(goals):
                starts = np.flatnonzero(np.isfinite(exact.log_z[column]) & (np.arange(12) != goal))
                of_loss += [tv_enumerated(ours, exact, column, int(start)) for start in starts]
        worst += of_loss
        each.append(f"{loss} {max(of_loss):.1e}")
    note = (
        "12 landmarks, 2 goals, at most 6 edges, all walks of every pair enumerated; the value is the worst pair's, low the best's; "
        f"worst by loss: {', '.join(each)}"
    )
    return Row("gfn/tv_tabular", max(worst), min(worst), max(worst), len(worst), len(seeds), note=note)


def by_goal(values: ndarray) -> ndarray:
    """Mean over starts."""
    return np.asarray(np.nanmean(values, 1))


def measure_cell(
    model: NeuralFlow, alone: NeuralFlow, rooms: Rooms, new: Rooms, goals: ndarray, held: ndarray, seed: int
) -> Cell:
    """All figures of one network."""
    graph, rng = rooms.graph, np.random.default_rng(seed)
    figures: dict[str, ndarray] = {}
    worlds = {
        "train": (graph, goals),
        "heldout": (graph, held),
        "blocked": (blocked(graph, rng), goals),
        "new_landmarks": (new.graph, held),
    }
    for which, (world, of) in worlds.items():
        exact = solve(world, of, model.horizon, BETA)
        ours = learned(model, world, of, BETA)
        compared, hint = agree(ours, exact), agree(learned(alone, world, of, BETA), exact)
        figures[f"kl_{which}"] = by_goal(compared.kl)
        figures[f"kl_{which}/hint alone"] = by_goal(hint.kl)
        figures[f"kl_reverse_{which}"] = by_goal(compared.kl_reverse)
        figures[f"kl_early_{which}"] = by_goal(compared.early)
        figures[f"log_z_error_{which}"] = by_goal(np.abs(compared.log_z_error))
        figures[f"log_z_error_{which}/hint alone"] = by_goal(np.abs(hint.log_z_error))
        figures[f"mass_{which}"] = np.nanmin(compared.mass, 1)
        start, column = random_pairs(exact, 100, rng)
        sampled = log_z_sampled(ours, start, column, MANY, rng) - exact.log_z[column, start]
        figures[f"log_z_sampled_{which}"] = np.abs(sampled)
        few = log_z_sampled(
            ours, start, column, FEW, np.random.default_rng((seed, FEW))
        )  # leaves other figures as they were
        figures[f"log_z_drawn_{which}"] = np.abs(few - exact.log_z[column, start])
        many = np.repeat(np.arange(len(start)), 50)
        walks = exact.sample(start[many], column[many], rng)
        figures[f"tv_{which}"] = tv_sampled(ours, exact, walks, column[many]).reshape(-1, 50).mean(1)
        for beta in OTHER_BETAS:
            other = agree(learned(model, world, of, beta), solve(world, of, model.horizon, beta))
            figures[f"kl_{which}/beta {beta:g}"] = by_goal(other.kl)
    return Cell({**figures, **diversity(model, rooms, held, rng)})


def blocked(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph without some of its edges: what is left after failures, without training again."""
    count = round(BLOCKED * graph.edges)
    lost = np.sort(rng.permutation(graph.edges)[:count])
    return graph.without(list(zip(graph.source[lost].tolist(), graph.indices[lost].tolist(), strict=True)))


def random_pairs(exact: Flows, count: int, rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Starts and positions of goals, among pairs with a walk."""
    column, start = np.nonzero(np.isfinite(exact.log_z) & (np.arange(exact.graph.nodes) != exact.goals[:, None]))
    chosen = rng.integers(0, len(start), count)
    return start[chosen], column[chosen]


def far_pairs(rooms: Rooms, held: ndarray, horizon: int, rng: np.random.Generator) -> tuple[ndarray, ndarray]:
    """Starts in the room opposite to a held-out goal's, at least half the greatest hops away, and positions of goals."""
    opposite = rooms.room.max() - rooms.room[held]
    hops = rooms.graph.hops(held)
    far = (hops <= horizon - 2) & (hops > hops[hops < FAR].max() / 2)
    column, start = np.nonzero((rooms.room == opposite[:, None]) & far)
    chosen = rng.permutation(len(start))[:PAIRS]
    return start[chosen], column[chosen]


def diversity(model: NeuralFlow, rooms: Rooms, held: ndarray, rng: np.random.Generator) -> dict[str, ndarray]:
    """Cost and routes of 100 plans to the opposite room, beside the oracle's, Yen's and the reference walk's."""
    graph = rooms.graph
    start, column = far_pairs(rooms, held, model.horizon, rng)
    best = distances(graph, held)[column, start]
    exact = solve(graph, held, model.horizon, DIVERSE)
    makers = {
        "": learned(model, graph, held, DIVERSE),
        "/exact": exact,
        "/reference walk": solve(graph, held, model.horizon, 0.0),
    }
    found: dict[str, ndarray] = {}
    many = np.repeat(np.arange(len(start)), SAMPLES)
    for name, flows in makers.items():
        walks = flows.sample(start[many], column[many], rng)
        found[f"cost_ratio{name}"] = walks.cost(graph).reshape(-1, SAMPLES).mean(1) / best
        found |= _routes(name, [Walks(block) for block in walks.nodes.reshape(len(start), SAMPLES, -1)], rooms.room)
    yen = [k_shortest(graph, int(s), int(held[c]), SAMPLES) for s, c in zip(start, column, strict=True)]
    found["cost_ratio/yen"] = np.array([w.cost(graph).mean() for w in yen]) / best
    return found | _routes("/yen", yen, rooms.room)


def _routes(name: str, each: Sequence[Walks], room: ndarray) -> dict[str, ndarray]:
    classes = [routes(walks, room) for walks in each]
    return {
        f"route_classes{name}": np.array([len(set(c)) for c in classes], float),
        f"route_entropy{name}": np.array([entropy(c) for c in classes]),
    }


def neural_rows(suffix: str, cells: Sequence[Cell], about: str) -> list[Row]:
    """Rows over all networks of a size; the interval resamples goals or pairs."""
    pooled = {name: np.concatenate([cell.figures[name] for cell in cells]) for name in cells[0].figures}
    rows = []
    for name, values in pooled.items():
        if "/" in name:
            continue
        beside = {key.partition("/")[2]: float(v.mean()) for key, v in pooled.items() if key.startswith(name + "/")}
        ceilings = {"exact": beside.pop("exact")} if "exact" in beside else {}
        floors = {key: value for key, value in beside.items() if not key.startswith("beta")}
        low, high = bootstrap(values, lambda sample: float(sample.mean()))
        note = f"{about}; by seed: {', '.join(f'{c.figures[name].mean():.4f}' for c in cells)}"
        if name.startswith(("cost", "route")):
            note += f"; beta {DIVERSE:g}, {SAMPLES} plans to a held-out goal in the opposite room, {PAIRS} pairs a seed"
        if name.startswith("log_z_drawn"):
            note += f"; from {FEW} weighted walks, as many as are drawn for 8 plans"
        if betas := [f"{key} {value:.4f}" for key, value in beside.items() if key.startswith("beta")]:
            note += f"; at {', '.join(betas)}"
        rows.append(
            Row(
                f"gfn/{name}{suffix}",
                float(values.mean()),
                low,
                high,
                len(values),
                len(cells),
                unit(name),
                floors,
                ceilings,
                note,
            )
        )
    return rows


def unit(name: str) -> str:
    """Unit of a figure."""
    if name.startswith(("kl", "log_z", "route_entropy")):
        return "nats"
    return {"route_classes": "classes in 100 plans", "cost_ratio": "mean cost over the cheapest"}.get(name, "fraction")
