"""`jepaflow benchmark plan`: how long a plan takes, ours over plain references.

Both sides encode and search the same budget. Ours encodes the new frame, as the controller does, which keeps the latents of
all others; the plain one encodes history and goal once a plan; the DINO-WM-sized one is spared that. `--budget.part` runs
a part of the iterations and scales the search, not the encoding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks import flops
from benchmarks.limits import Limits, Shape, measure
from benchmarks.pairs import Pairs, alternate, ratio_row, timed
from benchmarks.plan_growth import growth_rows
from benchmarks.plan_heads import inverse_row, useful_rows
from benchmarks.plan_setup import OurPlanner, awake, compare, longest, made_scene, plain_planner
from benchmarks.reference.dino_wm import DinoSize, DinoWM
from benchmarks.reference.lewm_planning import LewmPlanner
from benchmarks.rows import choose
from jepaflow.cli.benchmark import Budget, Plan
from jepaflow.common.console import console
from jepaflow.common.results import Row
from jepaflow.training.device import choose_device
from jepaflow.worldmodel.jepa import JEPAConfig
from jepaflow.worldmodel.presets import preset

SEEN = 3
"""Context frames."""


@dataclass(frozen=True)
class Bench:
    """What every row needs."""

    args: Plan
    device: torch.device
    limits: Limits

    @property
    def budget(self) -> Budget:
        """The search."""
        return self.args.budget


def shapes(config: JEPAConfig, samples: int) -> list[Shape]:
    """The products that one imagined step of all samples consists of."""
    dim, inner, mlp = config.latent_dim, config.predictor.heads * config.predictor.dim_head, config.predictor.mlp
    pairs = [(dim, 6 * dim), (dim, 3 * inner), (inner, dim), (dim, mlp), (mlp, dim)]
    return [(samples, k, n) for k, n in pairs]


def plan_rows(args: Plan) -> list[Row]:
    """Measure the rows asked for.

    Raises:
        JepaflowError: a row is not known.
    """
    makers: dict[str, Callable[[Bench], list[Row]]] = {
        "lewm_weights": lambda bench: [lewm_row(bench, SEEN)],
        "lewm_weights_1": lambda bench: [lewm_row(bench, 1)],
        "vs_plain_lewm": lambda bench: [plain_row(bench, *_longest(bench))],
        "vs_plain_lewm_same_predictor": lambda bench: [same_predictor_row(bench)],
        "vs_dino_wm": lambda bench: [dino_row(bench)],
        "gc_idm_vs_cem": lambda bench: [inverse_row(_ours(bench), bench.budget, bench.device)],
        "useful_plan_ms": lambda bench: useful_rows(bench.budget.repeats, bench.device),
        "scaling": lambda bench: growth_rows(bench.args.preset, bench.budget, bench.device),
    }
    chosen = choose(makers, args.rows)
    device, why = choose_device(args.device)
    limits = measure(device, shapes(preset(args.preset), args.budget.samples))
    console.print(f"{device} ({why}). {limits.describe()}", markup=False)
    bench, rows = Bench(args, device, limits), limits.rows()
    for make in chosen:
        rows += make(bench)
    return rows


def _longest(bench: Bench) -> tuple[JEPAConfig, str]:
    """Our model at LeWorldModel's size, and what it is called."""
    return longest(bench.args.preset, SEEN, bench.budget.horizon)


def _ours(bench: Bench, config: JEPAConfig | None = None) -> OurPlanner:
    """Our planner of our model at LeWorldModel's size, or of another."""
    config = config or _longest(bench)[0]
    return OurPlanner(awake(config, bench.device), bench.budget, made_scene(config, SEEN, bench.device))


def seconds_of(planner: OurPlanner, budget: Budget, device: torch.device) -> Callable[[], float]:
    """A measure of a whole plan from the new frame on; a part of the iterations is scaled to all."""
    latents, look = planner.encode(), timed(planner.look, device)
    search = timed(lambda: planner.plan(latents), device)
    return lambda: look() + search() * budget.iterations / budget.measured


def plain_seconds_of(
    reference: LewmPlanner, planner: OurPlanner, budget: Budget, device: torch.device
) -> Callable[[], float]:
    """The same of the plain search, which encodes history and goal for each plan."""
    scene, generator = planner.scene, torch.Generator(device).manual_seed(0)
    latents, encode = reference.encode(scene), timed(lambda: reference.encode(scene), device)
    search = timed(lambda: reference.plan(scene, generator, latents), device)
    return lambda: encode() + search() * budget.iterations / budget.measured


def lewm_row(bench: Bench, seen: int) -> Row:
    """LeWorldModel's own weights and semantics: a window of 3 over learned absolute positions."""
    config = preset(bench.args.preset)
    model, scene = awake(config, bench.device), made_scene(config, seen, bench.device)
    ours, reference = OurPlanner(model, bench.budget, scene), plain_planner(model, bench.budget)
    agreement = compare(ours, reference)  # warms both up as well
    pairs = _alternate(bench, ours, reference)
    name = "speed/lewm_weights" if seen == SEEN else f"speed/lewm_weights_{seen}"
    note = (
        f"preset {bench.args.preset} on both sides, ours in {_bits(ours)}, history {config.history}, {_frames(seen)}; "
        f"{agreement.describe()}"
    )
    return ratio_row(name, pairs, f"{note}; {_described(bench, pairs, config, config, seen)}")


def same_predictor_row(bench: Bench) -> Row:
    """LeWorldModel's own sizes with a context as long as history and plan: what is gained without another model."""
    length = SEEN + bench.budget.horizon
    config = preset(bench.args.preset, history=length)
    called = f"preset {bench.args.preset} with a history of {length}"
    return plain_row(bench, config, called, "speed/vs_plain_lewm_same_predictor")


def plain_row(bench: Bench, config: JEPAConfig, called: str, name: str = "speed/vs_plain_lewm") -> Row:
    """A model in which nothing slides, over LeWorldModel at equal parameters."""
    theirs, ours = preset(bench.args.preset), _ours(bench, config)
    plain = awake(theirs, bench.device)
    counts = [sum(p.numel() for p in model.parameters()) for model in (ours.model, plain)]
    reference = plain_planner(plain, bench.budget)
    _warm(ours, reference)
    pairs = _alternate(bench, ours, reference)
    note = (
        f"{called} ({counts[0]:,} parameters, {_bits(ours)}) over preset {bench.args.preset} ({counts[1]:,}, float32, history "
        f"{theirs.history}), {_frames(SEEN)}; {_described(bench, pairs, config, theirs, SEEN)}"
    )
    return ratio_row(name, pairs, note)


def dino_row(bench: Bench) -> Row:
    """Our model over a predictor of DINO-WM's size, a part of whose budget is run."""
    budget, size = bench.budget, DinoSize()
    ours = _ours(bench)
    config, called = _longest(bench)
    entries = config.block * config.action_dim
    torch.manual_seed(0)
    other = DinoWM(size, entries).to(bench.device).eval()
    x = torch.randn(1, SEEN, size.patches, size.width, device=bench.device)
    goal, past = x[:, 0], torch.randn(1, SEEN - 1, entries, device=bench.device)
    plans = torch.randn(budget.dino_samples, budget.horizon, entries, device=bench.device)
    price = timed(lambda: other.price(x, past, goal, plans), bench.device)
    share = budget.samples * budget.iterations / budget.dino_samples
    ours.plan(ours.encode())
    other.price(x, past, goal, plans[:1, :1])
    pairs = alternate(seconds_of(ours, budget, bench.device), lambda: price() * share, budget.repeats)
    work = budget.samples * budget.iterations * budget.horizon * size.predicted(size.frames)
    note = (
        f"{called} in {_bits(ours)} over a predictor of DINO-WM's size ({sum(p.numel() for p in other.parameters()):,} parameters, "
        f"{size.patches} patch tokens of {size.width} a frame, {size.frames} frames, float32, without its encoder), of whose "
        f"{budget.samples} × {budget.iterations} plans {budget.dino_samples} were imagined and their time scaled; "
        f"{_work(bench, pairs, 'ours', _needed(bench, config, SEEN))}; {_work(bench, pairs, 'theirs', work)}"
    )
    return ratio_row("speed/vs_dino_wm", pairs, f"{note}; {_budget(bench)}")


def _warm(ours: OurPlanner, reference: LewmPlanner) -> None:
    """Let both allocate and choose kernels; the plain one for a single iteration."""
    ours.plan(ours.encode())
    z, goal = reference.encode(ours.scene)
    config, search = reference.model.config, reference.search
    shape = (search.samples, search.horizon, config.block, config.action_dim)
    reference.price(z, ours.scene.past, goal, torch.randn(shape, device=z.device))


def _alternate(bench: Bench, ours: OurPlanner, reference: LewmPlanner) -> Pairs:
    budget, device = bench.budget, bench.device
    return alternate(
        seconds_of(ours, budget, device), plain_seconds_of(reference, ours, budget, device), budget.repeats
    )


def _needed(bench: Bench, config: JEPAConfig, seen: int) -> int:
    """FLOP that our plan needs."""
    budget = bench.budget
    return budget.samples * budget.iterations * flops.imagined(config, seen, budget.horizon) + flops.encoded(config)


def _bits(ours: OurPlanner) -> str:
    """Precision of our products."""
    return str(ours.precision).removeprefix("torch.").replace("bfloat16", "bf16")


def _frames(seen: int) -> str:
    return f"{seen} context frame{'s' * (seen != 1)}"


def _work(bench: Bench, pairs: Pairs, who: str, work: int) -> str:
    """Say one side's time and rate."""
    seconds = pairs.ours_median if who == "ours" else pairs.reference_median
    return f"{who} {seconds:.3g} s a plan, {work / 1e12:.3g} TFLOP, {bench.limits.share(work / seconds)}"


def _budget(bench: Bench) -> str:
    budget = bench.budget
    part = "" if budget.part is None else f" ({budget.part} of the iterations run, the search scaled to all)"
    return (
        f"{budget.samples} samples × {budget.iterations} iterations × {budget.horizon} blocks{part}, encoding included "
        f"(ours: the new frame, latents of the others are kept; plain: history and goal once a plan); {bench.limits.where}"
    )


def _described(bench: Bench, pairs: Pairs, config: JEPAConfig, theirs: JEPAConfig, seen: int) -> str:
    """Say both sides' times and rates, and the budget."""
    budget, ours = bench.budget, _needed(bench, config, seen)
    plain = budget.samples * budget.iterations * flops.windowed(theirs, seen, budget.horizon)
    plain += (seen + 1) * flops.encoded(theirs)
    return f"{_work(bench, pairs, 'ours', ours)}; {_work(bench, pairs, 'plain', plain)}; {_budget(bench)}"
