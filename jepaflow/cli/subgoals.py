"""``jepaflow subgoals fit|verify|plan|show RUN``: landmarks, graph and flows of a run; checked, asked and looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.subgoals.ask import Answer, answer
from jepaflow.subgoals.check import check, result_rows
from jepaflow.subgoals.fitted import SubgoalsConfig, fit_subgoals, folder_of, load_subgoals
from jepaflow.training.checkpoint import load_run
from jepaflow.training.device import choose_device

STRIPS = 24
"""plans in a picture"""

RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


@dataclass(frozen=True)
class Fit:
    """Choose landmarks, build the graph, train the flows: RUN/subgoals/. About two minutes; what is there is kept."""

    run: RunFolder
    """Run folder of jepaflow train, with heads."""
    config: Annotated[SubgoalsConfig, tyro.conf.arg(name="")] = field(default_factory=SubgoalsConfig)
    """What to fit."""
    dataset: tuple[Path, ...] = ()
    """Where the run's stores lie now; where they lay when it was trained if not given."""
    device: str = "auto"
    """auto, cpu or cuda: where the flows are trained"""

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda"):
            raise JepaflowError("--device is auto, cpu or cuda.")


@dataclass(frozen=True)
class Verify:
    """Compare the fitted flows with the exact ones on this graph, on goals trained on and held out."""

    run: RunFolder
    """Run folder with sub-goals."""
    betas: tuple[float, ...] = (1.0, 2.0)
    """inverse temperatures"""
    goals: int = 40
    """goals of each kind at most"""
    seed: int = 0
    json: Path | None = None
    """Write the rows to this file; its other rows stay."""

    def __post_init__(self) -> None:
        if self.goals < 2 or self.seed < 0 or not self.betas:
            raise JepaflowError("--goals must be at least 2, --seed not negative, and --betas given.")
        if not all(0 < beta < float("inf") for beta in self.betas):
            raise JepaflowError("--betas must be positive and finite.")


@dataclass(frozen=True)
class Asked:
    """What plan and show ask."""

    run: RunFolder
    """Run folder with sub-goals."""
    start: tuple[int, int]
    """Episode (of the dataset) and control step of the frame to start from."""
    goal: tuple[int, int]
    """Episode and control step of the frame to reach."""
    count: int = 5
    """plans"""
    planner: str = "gflownet"
    """gflownet, exact or dijkstra"""
    beta: float = 2.0
    """inverse temperature: low wanders, high takes the cheapest way"""
    draws: int = 400
    """walks drawn; routes' shares are counted among them"""
    seed: int = 0
    dataset: tuple[Path, ...] = ()
    """Where the run's stores lie now."""

    def __post_init__(self) -> None:
        if self.planner not in ("gflownet", "exact", "dijkstra"):
            raise JepaflowError(f"There is no planner {self.planner!r}. Choose gflownet, exact or dijkstra.")
        if self.count < 1 or self.draws < self.count or not 0 < self.beta < float("inf"):
            raise JepaflowError("--count must be at least 1, --draws at least --count, --beta positive.")
        if self.seed < 0:
            raise JepaflowError("--seed must not be negative.")


@dataclass(frozen=True)
class Plan(Asked):
    """Propose plans between two frames: probability, cost, route, landmarks."""

    json: Path | None = None
    """Write the plans to this file as well."""


@dataclass(frozen=True)
class Show(Asked):
    """Draw plans as film strips of landmark frames, and the graph with its routes."""

    output: Path | None = None
    """Folder for plans.png and graph.png; RUN/subgoals if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count > STRIPS:
            raise JepaflowError(
                f"A picture shows {STRIPS} plans at most. Lower --count, or use jepaflow subgoals plan."
            )


Options = Fit | Verify | Plan | Show

Args = (
    Annotated[Fit, tyro.conf.subcommand("fit", prefix_name=False)]
    | Annotated[Verify, tyro.conf.subcommand("verify", prefix_name=False)]
    | Annotated[Plan, tyro.conf.subcommand("plan", prefix_name=False)]
    | Annotated[Show, tyro.conf.subcommand("show", prefix_name=False)]
)


def run(args: Options) -> int:
    """Run the sub-command."""
    match args:
        case Fit():
            return _fit(args)
        case Verify():
            return _verify(args)
        case Plan():
            return _plan(args)
        case Show():
            return _show(args)


def _fit(args: Fit) -> int:
    device, _ = choose_device(args.device)
    fitted = fit_subgoals(load_run(args.run, "cpu"), args.config, args.dataset, device)
    report = fitted.report
    console.print(
        f"{len(fitted.landmarks)} landmarks, {fitted.graph.edges} edges ({report['degree']:.1f} a landmark, "
        f"{100 * report['edges_in_data']:.0f} % shown by the data); {100 * report['connected_pairs']:.0f} % of pairs have a "
        f"way, {report['dead_ends']:.0f} dead ends.\nP(within {fitted.config.build.within} model steps) on episodes set aside, "
        f"beside the time that the data took: AUC {report['reach_auc']:.3f}, calibration error {report['reach_ece']:.3f}.\n"
        f"Sub-goals: {folder_of(args.run)}"
    )
    return 0


def _verify(args: Verify) -> int:
    import shlex
    import sys

    from jepaflow.common.results import write_results

    fitted = load_subgoals(load_run(args.run, "cpu"))
    found = check(fitted, args.betas, args.goals, args.seed)
    title = "GFlowNet beside the exact flows: nats, means over goals and starts; cost beside the cheapest walk's"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("goals", "beta", "KL (95 %)", "early", "log Z", "cost", "exact"):
        table.add_column(column, justify="right" if column != "goals" else "left", no_wrap=True)
    for one in found:
        kl = "{:.3f} [{:.3f}, {:.3f}]".format(*one.kl)
        cells = (kl, f"{one.early:.3f}", f"{one.log_z_sampled:.3f}")
        ratios = (f"{one.cost_ratio:.3f}", f"{one.exact_cost_ratio:.3f}")
        table.add_row(one.goals, f"{one.beta:g}", *cells, *ratios)
    console.print(table)
    least = min(one.mass for one in found)
    console.print(
        f"early: KL of the first 3 steps; log Z: |error|, from own walks; least chance to arrive: {least:.6f}"
    )
    if args.json is not None:
        write_results(args.json, shlex.join(["jepaflow", *sys.argv[1:]]), result_rows(found, fitted), keep=True)
    return 0


def _ask(args: Asked) -> Answer:
    return answer(
        load_run(args.run, "cpu"),
        args.start,
        args.goal,
        args.planner,
        args.count,
        args.beta,
        args.draws,
        args.seed,
        args.dataset,
    )


def _plan(args: Plan) -> int:
    found = _ask(args)
    table = Table(title=f"{found.title}\n{found.routes_words}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("plan", "probability", "cost", "/ least", "route", "landmarks"):
        table.add_column(column, justify="left" if column in ("route", "landmarks") else "right")
    for number, plan in enumerate(found.plans):
        cells = (
            f"{plan.probability:.2g}",
            f"{plan.cost:.1f}",
            f"{plan.cost / found.least:.2f}",
            "ABCDEFGH"[plan.route],
        )
        table.add_row(str(number + 1), *cells, " ".join(map(str, plan.nodes)))
    console.print(table)
    if args.json is not None:
        write_json(args.json, found.as_json())
    return 0


def _show(args: Show) -> int:
    from jepaflow.diagnosis.subgoal_figure import draw_graph, draw_plans

    found = _ask(args)
    folder = args.output or folder_of(args.run)
    for name, picture in (("plans.png", draw_plans(found)), ("graph.png", draw_graph(found))):
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(picture)
        console.print(f"Picture: {folder / name}")
    return 0
