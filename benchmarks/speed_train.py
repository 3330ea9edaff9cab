"""`jepaflow benchmark train`: our trainer's step over the plain PyTorch module's, equal configuration, equal batches.

A step is everything between a batch in memory and changed weights: forward, backward, clipping, AdamW. Ours is the trainer's
own, in the precision that it chooses on this machine. The plain one is `PlainJEPA` (fused attention, default memory
format) under bf16 autocast, as published recipes have it, and again in float32: where bf16 is emulated the first is a
straw man, the second is not, and the note says which is the case.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import flops
from benchmarks.limits import Limits, measure
from benchmarks.made_store import make_store
from benchmarks.pairs import alternate, growth_row, ratio_row, shown, timed
from benchmarks.reference.plain_model import PlainJEPA
from benchmarks.reference.plain_step import plain_loss
from benchmarks.rows import choose
from jepaflow.cli.benchmark import Train
from jepaflow.common.console import console
from jepaflow.common.results import Row
from jepaflow.data.windows import Window
from jepaflow.training.config import DatasetConfig, TrainConfig
from jepaflow.training.device import choose_device, choose_precision
from jepaflow.training.objective import ObjectiveConfig, losses
from jepaflow.training.trainer import Trainer, learning_rate
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.presets import preset

FRAMES, BLOCK = 4, 5


class PlainTrainer:
    """The plain twin of a trainer: same weights, batches, seeds and optimizer, in a given precision."""

    def __init__(self, trainer: Trainer, precision: torch.dtype) -> None:
        self.config, self.device, self.precision = trainer.config, trainer.device, precision
        self.model = PlainJEPA.of(trainer.model)
        parameters, optim = list(self.model.parameters()), trainer.config.optim
        decays = [(True, optim.weight_decay), (False, 0.0)]  # matrices decay, vectors do not
        groups = [
            {"params": [p for p in parameters if (p.ndim > 1) == matrices], "weight_decay": decay}
            for matrices, decay in decays
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=optim.lr)

    def update(self, step: int, window: Window) -> float:
        """One optimizer step; returns the loss before it."""
        self.model.train()
        torch.manual_seed(self.config.seed * 1_000_003 + step)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + step)
        loss, window = self.config.loss, window.to(self.device)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            total = plain_loss(self.model, window, loss.sigreg, loss.directions, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip)
        self.optimizer.step()
        return float(total.detach())


@dataclass(frozen=True)
class Bench:
    """What every row needs."""

    args: Train
    device: torch.device
    limits: Limits
    folder: Path

    def trainer(self, name: str, seed: int = 0, steps: int = 1000) -> Trainer:
        """Our trainer of a preset on a made-up store."""
        store, size = self.folder / f"{name}.h5", preset(name).image_size
        if not store.exists():
            make_store(store, max(2000, 2 * self.args.batch_size), size)
        config = TrainConfig(
            DatasetConfig((store,), val_fraction=0.0),
            name,
            BLOCK,
            FRAMES - 1,
            steps=steps,
            batch_size=self.args.batch_size,
            seed=seed,
            device=self.device.type,
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it introduces itself once for every row
            return Trainer(config, self.folder / "run")


def train_rows(args: Train) -> list[Row]:
    """Measure the rows asked for.

    Raises:
        JepaflowError: a row or preset is not known.
    """
    makers: dict[str, Callable[[Bench], list[Row]]] = {
        "vs_plain_step": lambda bench: [step_row(bench, name, torch.bfloat16) for name in args.presets],
        "vs_plain_step_float32": lambda bench: [step_row(bench, name, torch.float32) for name in args.presets],
        "loss_difference": lambda bench: [curve_row(bench)],
        "scaling": lambda bench: growth_rows(args, bench.device),
    }
    chosen = choose(makers, args.rows)
    for name in args.presets:
        preset(name)
    device, why = choose_device(args.device)
    tokens = args.batch_size * (FRAMES - 1)
    limits = measure(device, [(tokens, 128, 768), (tokens, 512, 128)])
    console.print(f"{device} ({why}). {limits.describe()}", markup=False)
    with tempfile.TemporaryDirectory() as folder:
        bench, rows = Bench(args, device, limits, Path(folder)), limits.rows()
        for make in chosen:
            rows += make(bench)
    return rows


def row_name(name: str, precision: torch.dtype) -> str:
    """``train/vs_plain_step``, with ``_<preset>`` where it is not nano, and ``_float32``."""
    return (
        "train/vs_plain_step"
        + ("" if name == "nano" else f"_{name}")
        + ("_float32" if precision == torch.float32 else "")
    )


def step_row(bench: Bench, name: str, precision: torch.dtype) -> Row:
    """Our step over the plain one in some precision."""
    args, ours = bench.args, bench.trainer(name)
    plain, window, config = PlainTrainer(ours, precision), ours.read(0), ours.model.config
    counts = iter(range(10**9))
    times = args.steps if precision == torch.float32 or bench.limits.bf16 > bench.limits.float32 else 1
    mine = timed(lambda: ours._update(next(counts), window), bench.device, args.steps)
    other = timed(lambda: plain.update(next(counts), window), bench.device, times)
    mine(), other()
    pairs = alternate(mine, other, args.repeats)
    frames = args.batch_size * FRAMES
    work = flops.trained(config, args.batch_size, FRAMES, ours.config.loss.directions)
    autocast = "float32" if precision == torch.float32 else "bf16 autocast"
    emulated = bench.limits.bf16 < bench.limits.float32 and precision != torch.float32
    note = (
        f"preset {name}, batch {args.batch_size} × {FRAMES} frames of {config.image_size} px, forward, backward, clipping, AdamW; "
        f"ours in {str(ours.precision)[6:]}, plain in {autocast}{' (emulated: this processor has no bf16)' if emulated else ''}; "
        f"median {frames / pairs.ours_median:,.0f} over {frames / pairs.reference_median:,.0f} frames/s; {work / 1e9:,.1f} GFLOP a "
        f"step, ours {bench.limits.share(work / pairs.ours_median)}; plain "
        f"{bench.limits.share(work / pairs.reference_median)}; {bench.limits.where}"
    )
    return ratio_row(row_name(name, precision), pairs, note)


def curve_row(bench: Bench) -> Row:
    """How far apart the loss curves of ours and plain are, beside how far apart two seeds are."""
    args, name = bench.args, bench.args.presets[0]
    ours, plain = [], []
    for seed in range(args.seeds):
        trainer = bench.trainer(name, seed, args.curve)
        other = PlainTrainer(trainer, trainer.precision)
        windows = [trainer.read(step) for step in range(args.curve)]
        ours.append([float(trainer._update(step, window)[0].total.detach()) for step, window in enumerate(windows)])
        plain.append([other.update(step, window) for step, window in enumerate(windows)])
    a, b = np.array(ours), np.array(plain)
    half = args.curve // 2
    differences = [abs(x[half:].mean() / y[half:].mean() - 1) for x, y in zip(a, b, strict=True)]
    means = b[:, half:].mean(1)
    between = float(means.std() / means.mean())
    note = (
        f"preset {name}, {args.curve} steps in {str(trainer.precision)[6:]} on both sides, same weights, batches and seeds, dropout "
        f"drawn by each on its own; relative difference of the mean loss over the last {args.curve - half} steps, median, min "
        f"and max of the seeds; at the first step {np.abs(a[:, 0] / b[:, 0] - 1).max():.1e} at most; floor: standard deviation "
        f"between seeds of the plain one; loss from {b[:, 0].mean():.3f} to {b[:, -1].mean():.3f}"
    )
    value = float(np.median(differences))
    return shown(
        Row(
            "train/loss_difference",
            value,
            float(min(differences)),
            float(max(differences)),
            args.seeds,
            args.seeds,
            "fraction",
            floors={"between_seeds": between},
            note=note,
        )
    )


def growth_rows(args: Train, device: torch.device) -> list[Row]:
    """Return ``speed/scaling/pixels`` and ``speed/scaling/parameters`` of our training step's forward and backward."""
    nano, batch = preset("nano"), max(2, args.batch_size // 2)
    sides = (32, 64, 96, 128)
    widths = [_widened(nano, factor) for factor in (0.5, 1.0, 1.5, 2.0)]
    note = f"forward and backward of nano, batch {batch} × {FRAMES} frames, one size changed; {torch.get_num_threads()} threads"
    by_pixels = [_step(replace(nano, image_size=side), batch, device) for side in sides]
    by_width = [_step(config, batch, device) for config in widths]
    parameters = [sum(p.numel() for p in JEPA(config).parameters()) for config in widths]
    rounds = max(2, args.repeats)
    return [
        growth_row("pixels", [side**2 for side in sides], by_pixels, rounds, note),
        growth_row("parameters", parameters, by_width, rounds, f"{note}; all widths by a factor"),
    ]


def _widened(config: JEPAConfig, factor: float) -> JEPAConfig:
    """A configuration whose widths are all multiplied."""

    def wide(size: int) -> int:
        return max(8, round(size * factor / 8) * 8)

    encoder, predictor = config.encoder, config.predictor
    return replace(
        config,
        latent_dim=wide(config.latent_dim),
        projector_hidden=wide(config.projector_hidden),
        encoder=replace(encoder, width=wide(encoder.width), channels=tuple(wide(c) for c in encoder.channels)),
        predictor=replace(predictor, dim_head=wide(predictor.dim_head), mlp=wide(predictor.mlp)),
    )


def _step(config: JEPAConfig, batch: int, device: torch.device) -> Callable[[], float]:
    """A measure of one forward and backward pass on random frames."""
    torch.manual_seed(0)
    model, loss = JEPA(config).to(device).train(), ObjectiveConfig()
    precision, _ = choose_precision("auto", device)
    side = config.image_size
    window = Window(
        torch.randint(0, 256, (batch, FRAMES, 1, side, side, 3), dtype=torch.uint8),
        torch.randn(batch, FRAMES, config.block, config.action_dim),
        None,
        np.zeros((batch, 3), np.int64),
    ).to(device)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            total = losses(model, window, loss, torch.Generator().manual_seed(0)).total
        total.backward()

    return timed(step, device)
