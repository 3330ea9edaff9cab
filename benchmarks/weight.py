"""How heavy is this model, beside what is published of ACT and of vision-language-action models?

Ours is measured: parameters and bytes of the files that a robot needs, arithmetic counted from the sizes (the tests compare it
with what PyTorch counts), decisions timed through the controller, from the frame to the action. Two ways to decide: the
inverse-dynamics head alone, and the search that `jepaflow evaluate` makes by default. How long either takes does not depend
on the weights, so a model that was never trained, with heads of the usual sizes, stands in where no run is given.

Rows ``weight/<model>/{parameters,bytes,flops,decisions_per_second}``; each note begins with measured, counted, quoted or
estimated. ``weight/<model>/times_ours``: its parameters over ours.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from safetensors.torch import save

from benchmarks import flops
from benchmarks.pairs import value_row
from benchmarks.plan_heads import INVERSE, decisions, head_proposals, random_heads
from benchmarks.plan_setup import awake
from benchmarks.published import MODELS, Published
from jepaflow.cli.benchmark import Weight
from jepaflow.cli.evaluate import CPU_SOLVER
from jepaflow.common.console import console
from jepaflow.common.results import Row
from jepaflow.planning.config import SolverConfig
from jepaflow.planning.controller import Controller, ControllerConfig
from jepaflow.planning.cost import CostConfig, GoalCost
from jepaflow.planning.planner import Planner
from jepaflow.planning.space import ActionSpace
from jepaflow.training.checkpoint import load_run, saved_checkpoints
from jepaflow.training.device import choose_device
from jepaflow.training.heads import load_heads
from jepaflow.worldmodel.distance import TemporalDistance
from jepaflow.worldmodel.inverse import InverseDynamics
from jepaflow.worldmodel.jepa import JEPA
from jepaflow.worldmodel.presets import preset

ROUTES = {
    "inverse": (INVERSE, 0.0, "inverse head", "encoder and inverse head"),
    "search": (CPU_SOLVER, 1.0, "CEM", "encoder and CEM as evaluate's default"),
}
"""Solver, path cost, name, and what works together."""


@dataclass(frozen=True)
class Ours:
    """A model, its heads, and the bytes of the files that hold them."""

    what: str
    model: JEPA
    heads: tuple[InverseDynamics, TemporalDistance]
    model_bytes: int
    head_bytes: int

    def parameters(self, route: str) -> int:
        """Of what has to be on the robot."""
        parts = [self.model, *(self.heads if route == "inverse" else ())]
        return sum(p.numel() for part in parts for p in part.parameters())

    def bytes(self, route: str) -> int:
        """Of the files that hold it."""
        return self.model_bytes + (self.head_bytes if route == "inverse" else 0)

    def flops(self, route: str) -> int:
        """Of one decision: the new frame, and what follows from it."""
        config, (inverse, distance) = self.model.config, self.heads
        seen = flops.encoded(config)
        if route == "inverse":
            return seen + flops.answered(inverse.config, distance.config)
        return seen + flops.searched(config, CPU_SOLVER)


def weight_rows(args: Weight) -> list[Row]:
    """Measure ours, quote the others, print the table."""
    device, _ = choose_device(args.device)
    ours = _of_run(args.run, device) if args.run is not None else _made(args.preset, device)
    rows = [row for route in ROUTES for row in our_rows(ours, route, args.decisions)]
    base = ours.parameters("inverse")
    rows += [row for model in MODELS for row in published_rows(model, base)]
    console.print(table(rows, device))
    return rows


def _of_run(folder: Path, device: torch.device) -> Ours:
    """A trained run; heads of the usual sizes where it has none."""
    run = load_run(folder, str(device))
    file = saved_checkpoints(folder)[-1] / "pretrained_model" / "model.safetensors"
    path = folder / "heads.safetensors"
    if path.is_file():
        known = load_heads(folder, device)
        return Ours(
            f"the run {folder.name}",
            run.model,
            (known.inverse, known.distance),
            file.stat().st_size,
            path.stat().st_size,
        )
    heads = random_heads(run.model, run.model.config.action_change)
    return Ours(f"the run {folder.name}, untrained heads", run.model, heads, file.stat().st_size, _size(*heads))


def _made(name: str, device: torch.device) -> Ours:
    """A model that was never trained, as an SO-101 needs it: two cameras, six joints, pixels alone as input."""
    model = awake(preset(name, cameras=("pixels", "phone"), action_dim=6, action_change=True), device)
    heads = random_heads(model, change=True)
    return Ours(f"an untrained {name} with two cameras and six joints", model, heads, _size(model), _size(*heads))


def _size(*modules: torch.nn.Module) -> int:
    """Bytes of the file that would hold them."""
    tensors = {
        f"{i}.{key}": value.detach().cpu().contiguous()
        for i, one in enumerate(modules)
        for key, value in one.state_dict().items()
    }
    return len(save(tensors))


def controller(ours: Ours, route: str) -> Controller:
    """The controller that decides for one arm, as `jepaflow evaluate` makes it, with bounds three deviations wide."""
    solver, path, *_ = ROUTES[route]
    model = ours.model
    mean, std = model.action_scaler.mean, model.action_scaler.std
    change = model.change_scaler.std if model.config.action_change else None
    limit = None if change is None else 8 * change
    space = ActionSpace.from_bounds(mean - 3 * std, mean + 3 * std, mean, std, limit, change)
    control = ControllerConfig(solver, CostConfig(path=path))
    if route == "search":
        return Controller(model, space, control)
    planner = Planner(model, GoalCost(), space, model.config.block, solver)
    return Controller(model, space, control, None, head_proposals(model, planner.parameterisation, ours.heads))


def our_rows(ours: Ours, route: str, count: int) -> list[Row]:
    """One way of deciding: its rows."""
    stem, (solver, _, _, what), config = f"weight/jepaflow_{route}", ROUTES[route], ours.model.config
    about = f"{what}, {ours.what} ({config.image_size} px)"
    if route == "search":
        about += f", {_budget(solver)}"
    seconds = [one / 1e3 for one in decisions(controller(ours, route), count)]
    threads = f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() != 1)}"
    where = threads if ours.model.device.type == "cpu" else torch.cuda.get_device_name(ours.model.device)
    rate = value_row(
        f"{stem}/decisions_per_second",
        [1 / one for one in seconds],
        "1/s",
        f"measured: from the frame to the first of {config.block} actions, {about}, {where}, float32 or bf16 as evaluate chooses",
    )
    parameters, size, work = ours.parameters(route), ours.bytes(route), ours.flops(route)
    return [
        _row(f"{stem}/parameters", parameters, "parameters", f"measured: {about}"),
        _row(f"{stem}/bytes", size, "bytes", f"measured: safetensors in float32, {about}"),
        _row(
            f"{stem}/flops",
            work,
            "FLOP",
            f"counted from the sizes: matrix products and convolutions of a decision, {about}",
        ),
        rate,
        _row(f"{stem}/actions", config.block, "control steps", "measured: actions that a decision answers with"),
    ]


def _budget(solver: SolverConfig) -> str:
    return f"{solver.samples} samples × {solver.iterations} iterations × {solver.horizon} blocks"


def published_rows(model: Published, ours: int) -> list[Row]:
    """What is published of a model; ``ours``: our parameters, for the ratio."""
    stem = f"weight/{model.key}"
    figures = (
        ("parameters", model.parameters, "parameters", ""),
        ("bytes", model.bytes, "bytes", ""),
        ("flops", model.flops, "FLOP", ", a decision"),
        ("decisions_per_second", model.rate, "1/s", f", on one {model.hardware}"),
    )
    rows = [
        _row(f"{stem}/{name}", one.value, unit, f"{one.kind}: {one.source}{extra}")
        for name, one, unit, extra in figures
    ]
    rows.append(_row(f"{stem}/actions", model.actions, "control steps", "quoted: actions that a decision answers with"))
    ratio = model.parameters.value / ours
    note = f"{model.parameters.kind} over measured: parameters of {model.title} over ours with the inverse head"
    return [*rows, _row(f"{stem}/times_ours", ratio, "ratio", note)]


def _row(name: str, value: float, unit: str, note: str) -> Row:
    return Row(name, float(value), float(value), float(value), 1, 1, unit, note=note)


def table(rows: list[Row], device: torch.device) -> Table:
    """All models, one a line, in 80 columns; a ~ marks what is estimated."""
    known = {row.name: row for row in rows}
    here = "this machine" if device.type == "cpu" else torch.cuda.get_device_name(device)
    lines = [(f"jepaflow_{route}", f"measured: {name}", here) for route, (_, _, name, _) in ROUTES.items()]
    lines += [(model.key, f"quoted: {model.title}", model.hardware) for model in MODELS]
    title = "A decision of each, and how many actions it answers with (~: estimated)"
    found = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, title_justify="left")
    for column in ("model", "weights", "bytes", "FLOP", "per s", "actions", "on"):
        found.add_column(column, justify="left" if column in ("model", "on") else "right", no_wrap=True)
    for key, name, hardware in lines:
        figures = ("parameters", "bytes", "flops", "decisions_per_second", "actions")
        found.add_row(name, *(_short(known[f"weight/{key}/{figure}"]) for figure in figures), hardware)
    return found


def _short(row: Row) -> str:
    """A number with a prefix: 1.8 M."""
    mark = "~" if row.note.startswith("estimated") else ""
    if row.unit in ("1/s", "control steps"):
        return f"{row.value:.3g}"
    prefix = min(int(np.log10(max(row.value, 1.0)) // 3), 4)
    return f"{mark}{row.value / 1000**prefix:.3g} {['', 'k', 'M', 'G', 'T'][prefix]}".rstrip()
