"""`jepaflow benchmark subgoals`: how long System 2 thinks, on 1,024 landmarks of 16 rooms.

Re-planning is what happens after an edge has failed: the edge is penalised, and the flows towards the goal from everywhere are
computed anew. Sampling draws 1,000 plans from one far start. The network is untrained: its speed does not depend on its weights.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from jepaflow.cli.benchmark import Subgoals
from jepaflow.common.console import console
from jepaflow.common.results import Row
from jepaflow.subgoals.exact import solve
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow
from jepaflow.subgoals.graph import FAR
from jepaflow.subgoals.rooms import RoomsConfig, make_rooms
from jepaflow.subgoals.shortest import k_shortest, shortest_walk
from jepaflow.subgoals.verify import learned


def milliseconds(work: Callable[[], object], repeats: int) -> np.ndarray:
    """Time of each repetition after one for warming up."""
    work()
    found = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        found.append(1e3 * (time.perf_counter() - begin))
    return np.array(found)


def subgoals_rows(args: Subgoals) -> list[Row]:
    """Measure what `jepaflow benchmark subgoals` asks for."""
    torch.set_num_threads(args.threads)
    graph = make_rooms(RoomsConfig(args.landmarks, 4, 4)).graph
    goal = np.array([args.landmarks - 1])
    hops = graph.hops(goal)[0]
    start = int(np.where((hops < FAR) & (hops <= args.horizon - 4), hops, -1).argmax())
    flows, rng = solve(graph, goal, args.horizon, 1.0), np.random.default_rng(0)
    first = shortest_walk(graph, start, int(goal[0])).as_lists()[0][:2]
    many, zero = np.full(1000, start), np.zeros(1000, np.int64)
    model = NeuralFlow(FlowConfig(2, args.horizon)).eval()
    model.fit_scaler(torch.from_numpy(graph.features))
    failed = [(first[0], first[1])]
    works: dict[str, tuple[str, Callable[[], object]]] = {
        "replan": (
            "edge penalised, exact flows to the goal from all nodes anew",
            lambda: solve(graph.penalised(failed, 10.0), goal, args.horizon, 1.0),
        ),
        "replan_without": (
            "edge removed, exact flows to the goal from all nodes anew",
            lambda: solve(graph.without(failed), goal, args.horizon, 1.0),
        ),
        "sample_1000": ("1,000 exact plans from one start", lambda: flows.sample(many, zero, rng)),
        "gflownet_1000": (
            "network asked for the flows of a new goal (hops and cheapest ways included), and 1,000 plans sampled",
            lambda: learned(model, graph, goal, 1.0).sample(many, zero, rng),
        ),
        "dijkstra": ("cheapest walk", lambda: shortest_walk(graph, start, int(goal[0]))),
        "yen_100": ("Yen's 100 shortest walks", lambda: k_shortest(graph, start, int(goal[0]), 100)),
    }
    rows = []
    about = (
        f"{graph.nodes} landmarks, {graph.edges} edges, K = {args.horizon}, {hops[start]} hops; {args.threads} thread"
    )
    for name, (what, work) in works.items():
        took = milliseconds(work, 3 if name == "yen_100" else args.repeats)
        note = f"{what}; {about}; median, least and greatest of the repeats"
        low, high = float(took.min()), float(took.max())
        rows.append(Row(f"speed/subgoals_{name}", float(np.median(took)), low, high, len(took), 1, "ms", note=note))
        console.print(f"{rows[-1].name}: {rows[-1].value:.1f} ms ({low:.1f} – {high:.1f})")
    return rows
