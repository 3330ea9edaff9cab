"""`python -m benchmarks.gflownet_exact`: is the GFlowNet's distribution over walks the right one?

On landmark graphs of 4, 9 and 16 rooms (no simulator) every figure is exact: the soft dynamic programme is the oracle. A network is
trained on most goals of a graph and judged on those, on goals held out, with a twentieth of the edges gone, and on another
landmark set of the same rooms.
`--hint` says what the network is told of the graph as it is, `--ahead` how many edges it looks ahead exactly (rows of other choices
than the usual carry their names); `--draws` adds further landmark sets to the training. The floor `hint alone` is the same
policy before it has learned anything. Networks are kept in `--runs`; run again, it goes on.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro

from benchmarks.gflownet_rows import Cell, measure_cell, neural_rows, tabular_row
from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.results import write_results
from jepaflow.subgoals.flow_models import FlowConfig, NeuralFlow, load_flow, save_flow
from jepaflow.subgoals.gflownet import GFlowNetConfig, train
from jepaflow.subgoals.rooms import Rooms, RoomsConfig, make_rooms
from jepaflow.subgoals.towards import Hint, towards
from jepaflow.training.device import choose_device

HORIZONS = {64: 12, 128: 16, 256: 24}
"""most edges of a walk, by landmarks"""
SIDE = {64: 2, 128: 3, 256: 4}
"""rooms along each side"""
HELD_OUT = 12 / 64
"""share of the goals"""
NEW = 10_000
"""seed of a landmark set that no training sees"""


@dataclass(frozen=True)
class Args:
    """Verify the GFlowNet exactly."""

    sizes: tuple[int, ...] = (64, 128, 256)
    """landmarks"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of doors, landmarks, held-out goals and network"""
    steps: int = 2500
    """of training, for each network"""
    goals: int = 4
    """in a step"""
    lr: float = 5e-3
    hidden: int = 256
    hint: Hint = "distance"
    fourier: int = 4
    ahead: int = 2
    """edges that the network looks ahead exactly"""
    draws: int = 1
    """landmark sets trained on; the first is the one that is judged"""
    betas: tuple[float, float] = (0.5, 2.0)
    """range of inverse temperatures trained on; judged at 1"""
    tabular: bool = True
    """also fit tables of 12 landmarks by every loss"""
    runs: Path = Path("runs/gflownet_exact")
    device: str = "auto"
    json: Path | None = field(default=Path("results/system2.json"))

    @property
    def name(self) -> str:
        """What was trained, in a word: what is kept under it is not trained again."""
        low, high = self.betas
        about = f"{self.hint}-f{self.fourier}-h{self.hidden}-d{self.draws}-b{low:g}-{high:g}"
        about += f"-a{self.ahead}" * (self.ahead > 0)
        return f"{about}-{self.steps}x{self.goals}-{self.lr:g}"


def world(size: int, seed: int, draw: int = 0) -> Rooms:
    """The rooms of a size and seed, with one of their landmark sets."""
    return make_rooms(RoomsConfig(size, SIDE[size], SIDE[size], seed=seed, draw=draw))


def split(nodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training goals and held-out goals."""
    order = np.random.default_rng(seed).permutation(nodes)
    held = round(HELD_OUT * nodes)
    return np.sort(order[held:]), np.sort(order[:held])


def trained(args: Args, size: int, seed: int, rooms: Rooms, goals: np.ndarray) -> NeuralFlow:
    """The network of a size and seed, trained unless it is there."""
    path = args.runs / f"n{size}-s{seed}-{args.name}.safetensors"
    device, _ = choose_device(args.device)
    if path.is_file():
        return load_flow(path).to(device)
    torch.manual_seed(seed)
    sizes = FlowConfig(2, HORIZONS[size], hidden=args.hidden, hint=args.hint, fourier=args.fourier, ahead=args.ahead)
    model = NeuralFlow(sizes)
    model.fit_scaler(torch.from_numpy(rooms.graph.features))
    worlds = [towards(rooms.graph, goals, device=device)]
    for draw in range(1, args.draws):
        worlds.append(towards(world(size, seed, draw).graph, np.arange(size), device=device))
    config = GFlowNetConfig(steps=args.steps, goals=args.goals, lr=args.lr, betas=args.betas, seed=seed)
    train(model.to(device), worlds, config, path.with_suffix(".partial"), path.stem)
    save_flow(path, model)
    path.with_suffix(".partial").unlink(missing_ok=True)
    return model


def hint_alone(model: NeuralFlow, rooms: Rooms) -> NeuralFlow:
    """The same network before it has learned anything: the policy that the hint alone makes."""
    alone = NeuralFlow(model.config)
    alone.fit_scaler(torch.from_numpy(rooms.graph.features))
    for parameter in alone.parameters():
        torch.nn.init.zeros_(parameter)
    return alone.eval()


def main(args: Args) -> None:
    """Train and judge, size by size; rows are written as soon as a size is done."""
    torch.set_num_threads(1)
    unknown = [size for size in args.sizes if size not in HORIZONS]
    if unknown:
        raise JepaflowError(f"There is no horizon for {unknown[0]} landmarks. Choose among {list(HORIZONS)}.")
    command = shlex.join(["python", "-m", "benchmarks.gflownet_exact", *sys.argv[1:]])
    if args.tabular and args.json is not None:
        write_results(args.json, command, [tabular_row(args.seeds)], keep=True)
    for size in args.sizes:
        cells: list[Cell] = []
        for seed in args.seeds:
            rooms = world(size, seed)
            goals, held = split(size, seed)
            model = trained(args, size, seed, rooms, goals).eval()
            new = world(size, seed, NEW)
            cells.append(measure_cell(model, hint_alone(model, rooms), rooms, new, goals, held, seed))
            suffix = f"_{args.hint}" * (args.hint != "distance") + f"_ahead{args.ahead}" * (args.ahead != 2)
            about = f"{size} landmarks, {SIDE[size] ** 2} rooms, K = {model.horizon}; {args.name}"
            rows = neural_rows(f"{suffix}@{size}", cells, about)
            for row in rows:
                console.print(
                    f"{row.name}: {row.value:.4f} ({row.low:.4f} – {row.high:.4f}) {row.floors} {row.ceilings}"
                )
            if args.json is not None:
                write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
