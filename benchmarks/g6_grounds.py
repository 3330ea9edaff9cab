"""What `benchmarks.gate_g6` is measured on: a prior, tasks to train on, other pairs to be judged on, a reward and route labels."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from benchmarks.reachability import states
from jepaflow.common.errors import JepaflowError
from jepaflow.sims.maze import MazeEnv
from jepaflow.sims.registry import action_bounds, find_world
from jepaflow.subgoals.aside import set_aside
from jepaflow.subgoals.build import build_graph
from jepaflow.subgoals.exact import Flows, solve
from jepaflow.subgoals.graph import Graph
from jepaflow.subgoals.imagined import Imagination
from jepaflow.subgoals.imagined_chain import Chain
from jepaflow.subgoals.landmarks import LandmarkConfig, choose_landmarks
from jepaflow.subgoals.reachability import Reachability
from jepaflow.subgoals.rewards import Automaton, Novelty, Reward, avoid, before, surroundings
from jepaflow.subgoals.rooms import Rooms, RoomsConfig, make_rooms
from jepaflow.subgoals.routes import routes
from jepaflow.subgoals.shortest import distances, shortest_walk
from jepaflow.subgoals.tasks import Tasks, far_pairs
from jepaflow.subgoals.walks import Walks
from jepaflow.training.checkpoint import load_run
from jepaflow.training.heads import load_heads
from jepaflow.training.latents import cached_latents

LANDMARKS, SIDE, HORIZON = 128, 3, 22
DETOUR = 3
TRIED = 3
"""plans that a novel one must differ from"""
MAZE_LANDMARKS, MAZE_HORIZON = 192, 20
IN_TIME = 0.9
"""share of the model steps of the cheapest way in which an imagined chain must arrive"""


@dataclass(frozen=True, eq=False)
class Ground:
    """One reward on one graph."""

    flows: Flows
    tasks: Tasks
    """to train on, then `tests` to be judged on"""
    tests: int
    reward: Reward
    label: ndarray
    """room of each node"""
    tried: list[set[tuple[int, ...]]] | None = None
    """route classes of each task that count as failures"""

    @property
    def automaton(self) -> Automaton | None:
        """The reward, where its posterior is known exactly."""
        return self.reward if isinstance(self.reward, Automaton) else None

    def success(self, walks: Walks, task: ndarray, log_r: ndarray) -> ndarray:
        """Whether walks do what the task asks."""
        if self.tried is None:
            return np.asarray(log_r == 0)
        classes = routes(walks, self.label)
        return np.array([each not in self.tried[int(t)] for each, t in zip(classes, task, strict=True)])


def order(seed: int, train: int, tests: int) -> Ground:
    """Visit A, then B, which lie at most `DETOUR` edges off the shortest way."""
    rooms, flows, rng = _rooms(seed)
    hops = flows.graph.hops(np.arange(flows.graph.nodes)).T
    start, goal = far_pairs(flows, train + tests, 4, 4, rng)
    marks = np.zeros((len(start), 2, flows.graph.nodes), bool)
    for mark, one, end in zip(marks, start, goal, strict=True):
        way = hops[one][:, None] + hops + hops[:, end][None]
        fits = (way <= min(HORIZON - 3, hops[one, end] + DETOUR)) & ~np.eye(len(hops), dtype=bool)
        fits[[one, end]] = fits[:, [one, end]] = False
        a, b = np.argwhere(fits)[rng.integers(fits.sum())]
        mark[0, a] = mark[1, b] = True
    return Ground(flows, Tasks(start, goal, marks), tests, before(), rooms.room)


def avoidance(seed: int, train: int, tests: int) -> Ground:
    """Keep off what lies around the middle of the cheapest way, where a way round it is left."""
    rooms, flows, rng = _rooms(seed)
    start, goal = far_pairs(flows, 2 * (train + tests), 5, 8, rng)
    marks = np.zeros((len(start), 1, flows.graph.nodes), bool)
    left = np.zeros(len(start), bool)
    for k, (one, end) in enumerate(zip(start, goal, strict=True)):
        way = shortest_walk(flows.graph, int(one), int(end)).nodes[0]
        middle = Walks(way[len(way) // 2 : len(way) // 2 + 1][None])
        marks[k] = surroundings(flows.graph, middle)
        marks[k, 0, [one, end]] = False
        left[k] = _hops_without(flows.graph, marks[k, 0], int(one), int(end)) <= HORIZON - 2
    keep = np.flatnonzero(left)[: train + tests]
    if len(keep) < train + tests:
        raise JepaflowError(f"Only {len(keep)} pairs have a way round. Ask for fewer tasks.")
    return Ground(flows, Tasks(start[keep], goal[keep], marks[keep]), tests, avoid(), rooms.room)


def novelty(seed: int, train: int, tests: int) -> Ground:
    """Take a route that none of the plans already tried has taken."""
    rooms, flows, rng = _rooms(seed)
    start, goal = far_pairs(flows, train + tests, 5, 6, rng)
    drawn = flows.sample(np.repeat(start, TRIED), np.repeat(goal, TRIED), rng)
    marks = surroundings(flows.graph, drawn).reshape(len(start), TRIED, -1)
    classes = routes(drawn, rooms.room)
    tried = [set(classes[TRIED * k : TRIED * (k + 1)]) for k in range(len(start))]
    return Ground(flows, Tasks(start, goal, marks), tests, Novelty(), rooms.room, tried)


def imagined(run_path: Path) -> Callable[[int, int, int], Ground]:
    """Arrive in time in the imagination of a maze's model."""

    def make(seed: int, train: int, tests: int) -> Ground:
        run, heads = load_run(run_path, "cpu"), load_heads(run_path)
        world = find_world("maze").make(8)
        assert isinstance(world, MazeEnv)
        latents, _ = cached_latents(run)
        known = states(latents)
        config = LandmarkConfig(MAZE_LANDMARKS, seed=seed)
        marks = choose_landmarks(latents, config, ~(known[:, 4:] > 0.5).any(1))
        graph, _ = build_graph(marks, Reachability(heads.distance), latents, run.model.config.block)
        low, high = (torch.from_numpy(bound) for bound in action_bounds(world))
        imagination = Imagination(run.model, heads.inverse, 3, low, high)
        aside = set_aside(run_path, latents)
        threshold = imagination.threshold(aside, 2000, np.random.default_rng(0))
        flows = solve(graph, np.arange(graph.nodes), MAZE_HORIZON, 1.0)
        start, goal = far_pairs(flows, train + tests, 7, 4, np.random.default_rng(seed))
        allowed = IN_TIME * distances(graph, np.arange(graph.nodes)).T
        where = {
            (int(s), int(r)): i
            for i, (s, r) in enumerate(zip(latents.corpus.store_of, latents.corpus.row, strict=True))
        }
        rows = [where[int(s), int(r)] for s, r in zip(marks.store, marks.row, strict=True)]
        label = np.array([world.config.room((float(x), float(y))) for x, y in known[rows, :2]])
        tasks = Tasks(start, goal, np.zeros((len(start), 0, graph.nodes), bool))
        return Ground(flows, tasks, tests, Chain(imagination, marks.z, threshold, allowed), label)

    return make


def _rooms(seed: int) -> tuple[Rooms, Flows, np.random.Generator]:
    rooms = make_rooms(RoomsConfig(LANDMARKS, SIDE, SIDE, seed=seed))
    flows = solve(rooms.graph, np.arange(LANDMARKS), HORIZON, 1.0)
    return rooms, flows, np.random.default_rng((seed, 6))


def _hops_without(graph: Graph, gone: ndarray, one: int, end: int) -> int:
    lost = gone[graph.source] | gone[graph.indices]
    edges = list(zip(graph.source[lost].tolist(), graph.indices[lost].tolist(), strict=True))
    return int(graph.without(edges).hops(np.array([end]))[0, one])
