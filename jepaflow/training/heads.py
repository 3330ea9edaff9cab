"""Train the heads on a frozen latent: goal-conditioned inverse dynamics and temporal distance.

The world model is not touched: every row is encoded once (`cached_latents`), then two perceptrons are fitted in a minute.
Nothing of the run's held-out episodes enters: what the heads need to know about their own errors (calibration of the
distance, noise of the proposals) is measured on training episodes set aside, so that the held-out figures are honest.
One file, ``heads.safetensors``, holds weights and sizes (in its metadata), written atomically; ``heads.json`` says how
it was made and what it is worth. There is nothing to resume: an interrupted training is repeated, from cached latents.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.results import commit, hardware
from jepaflow.training.checkpoint import Run, saved_checkpoints
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.head_metrics import distance_figures, inverse_figures
from jepaflow.training.head_pairs import GoalPairs, distance_pairs, goal_pairs, halves
from jepaflow.training.latents import Latents, cached_latents
from jepaflow.worldmodel.distance import DistanceConfig, LatentDistance, TemporalDistance
from jepaflow.worldmodel.head_layers import fit_latent_scaler
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics

SCALER_PAIRS = 20_000
CALIBRATION_PAIRS = 8_000
TRACKS = 0.9
"""correlation with observation.state above which actions are taken for absolute targets"""


@dataclass(frozen=True)
class HeadsConfig:
    """How the heads are trained."""

    steps: int = 1000
    """optimizer steps of each head; about a minute for both on one core"""
    batch_size: int = 256
    """pairs in an optimizer step"""
    horizon: int = 5
    """N, blocks that the inverse head answers with"""
    reach: int = 20
    """the furthest hindsight goal, in model steps"""
    cap: int = 20
    """the largest temporal distance told apart, in model steps"""
    actions: Literal["auto", "raw", "change"] = "auto"
    """answer with actions, or with their change from the last one executed; auto: change where actions track the state"""
    last_action: bool = False
    """tell the inverse head the last executed action also where it answers with actions: a better guess of what the data did
    next, and a temptation to go on doing the same"""
    hidden: int = 256
    depth: int = 3
    lr: float = 2e-3
    weight_decay: float = 0.1
    noise: float = 0.1
    """of the latents while training, in their own deviations: imagined latents are not quite real ones"""
    unknown_steps: float = 0.2
    """share of the training in which the inverse head is not told the steps to go"""
    negatives: float = 0.2
    """share of pairs of two episodes in the distance's training"""
    aside: float = 0.1
    """share of the training episodes set aside for calibration"""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "horizon", "reach", "cap", "hidden", "depth"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name} is {getattr(self, name)}; it must be at least 1.")
        if self.batch_size < 2 or self.lr <= 0 or self.weight_decay < 0 or self.noise < 0 or self.seed < 0:
            raise JepaflowError("--batch-size must be at least 2, --lr positive, the other numbers not negative.")
        for name in ("unknown_steps", "negatives", "aside"):
            if not 0 <= getattr(self, name) < 1:
                raise JepaflowError(f"--{name.replace('_', '-')} must be at least 0 and below 1.")


@dataclass(frozen=True)
class Heads:
    """The heads of a run, in eval mode."""

    inverse: InverseDynamics
    distance: TemporalDistance
    latent_distance: LatentDistance
    """the symmetric baseline, calibrated on the same pairs"""
    checkpoint_step: int


def answers_with_changes(corpus: Corpus, wanted: str) -> bool:
    """Resolve ``actions = auto``: absolute joint targets are recognised by following observation.state."""
    if wanted != "auto":
        return wanted == "change"
    store = corpus.stores[0]
    if store.dim("proprio") != corpus.actions.shape[1] or len(corpus) < 3:
        return False
    state = store.read("proprio", corpus.row[corpus.store_of == 0]).astype(np.float64)
    action = corpus.actions[corpus.store_of == 0].astype(np.float64)
    moves = (state.std(0) > 1e-6) & (action.std(0) > 1e-6)
    if not moves.any():
        return False
    centred = (action - action.mean(0)) * (state - state.mean(0))
    correlation = centred.mean(0)[moves] / (action.std(0) * state.std(0))[moves]
    return bool(np.median(correlation) > TRACKS)


def inverse_loss(head: InverseDynamics, answer: Tensor, pairs: GoalPairs) -> Tensor:
    """Huber loss of z-scored answers, over the blocks up to the goal."""
    wanted = head.scaled(pairs.actions, pairs.start)
    each = nn.functional.huber_loss(answer, wanted, reduction="none").view(len(answer), head.config.horizon, -1)
    counts = (~head.beyond(pairs.steps)).to(each.dtype)
    return (each.mean(-1) * counts).sum() / counts.sum()


def train_inverse(fitted: Latents, aside: Latents, config: HeadsConfig, block: int, change: bool) -> InverseDynamics:
    """Fit the inverse head, then measure its residuals on the episodes set aside."""
    corpus, z, rng = fitted.corpus, fitted.z, np.random.default_rng([config.seed, 1])
    torch.manual_seed(config.seed)
    shape = {"latent_dim": z.shape[1], "action_dim": corpus.actions.shape[1], "block": block, "change": change}
    shape["last_action"] = config.last_action
    head = InverseDynamics(
        InverseConfig(**shape, horizon=config.horizon, reach=config.reach, hidden=config.hidden, depth=config.depth)
    )
    sizes, steps = (block, config.horizon), np.arange(1, config.reach + 1)
    sample = goal_pairs(corpus, SCALER_PAIRS, steps, sizes, head.config.needs_start, rng)
    head.fit_scalers(z, sample.actions, sample.start)

    def loss(step: int) -> Tensor:
        own = np.random.default_rng([config.seed, 1, step])
        pairs = goal_pairs(corpus, config.batch_size, steps, sizes, head.config.needs_start, own)
        told = pairs.steps * torch.from_numpy(own.random(len(pairs.steps)) >= config.unknown_steps)
        spread = config.noise * head.latent_scaler.std
        now, then = (_noisy(z[rows], spread, own) for rows in (pairs.row, pairs.goal))
        return inverse_loss(head, head(now, then, told, pairs.start), pairs)

    fit(head, loss, FitConfig(config.steps, config.lr, config.weight_decay), "Train inverse dynamics")
    fit_noise(head, aside, steps, rng)
    return head


@torch.no_grad()
def fit_noise(head: InverseDynamics, aside: Latents, steps: np.ndarray, rng: np.random.Generator) -> None:
    """Residuals of whole plans, from goals at least the horizon away where the episodes are that long."""
    size, longest = head.config.block, int(aside.corpus.length.max(initial=0)) - int(head.config.needs_start) - 1
    possible = steps[steps * size <= longest]
    if len(possible) == 0:
        return  # no episode set aside is long enough: no diversity is known, proposals equal the mean
    whole = possible[possible >= min(head.config.horizon, int(possible[-1]))]
    pairs = goal_pairs(
        aside.corpus, CALIBRATION_PAIRS, whole, (size, head.config.horizon), head.config.needs_start, rng
    )
    answer = head(aside.z[pairs.row], aside.z[pairs.goal], pairs.steps, pairs.start)
    head.fit_residual(answer - head.scaled(pairs.actions, pairs.start))


def train_distance(
    fitted: Latents, aside: Latents, config: HeadsConfig, block: int
) -> tuple[TemporalDistance, LatentDistance]:
    """Fit the distance head, then calibrate it and its baseline on the episodes set aside."""
    corpus, z, rng = fitted.corpus, fitted.z, np.random.default_rng([config.seed, 2])
    torch.manual_seed(config.seed)
    head = TemporalDistance(DistanceConfig(z.shape[1], config.cap, config.hidden, config.depth))
    fit_latent_scaler(head.latent_scaler, z)

    def loss(step: int) -> Tensor:
        own = np.random.default_rng([config.seed, 2, step])
        pairs = distance_pairs(corpus, config.batch_size, config.cap, block, config.negatives, own)
        spread = config.noise * head.latent_scaler.std
        a, b = (_noisy(z[torch.from_numpy(rows)], spread, own) for rows in (pairs.a, pairs.b))
        return head.loss(a, b, torch.from_numpy(pairs.steps))

    fit(head, loss, FitConfig(config.steps, config.lr, config.weight_decay), "Train temporal distance")
    baseline = LatentDistance()
    pairs = distance_pairs(aside.corpus, CALIBRATION_PAIRS, config.cap, block, 0.0, rng)
    for each in (head, baseline):
        each.calibrate(aside.z[torch.from_numpy(pairs.a)], aside.z[torch.from_numpy(pairs.b)], pairs.steps)
    return head, baseline.eval()


def _noisy(z: Tensor, spread: Tensor, rng: np.random.Generator) -> Tensor:
    return z + spread * torch.from_numpy(rng.standard_normal(tuple(z.shape), np.float32))


def train_heads(run: Run, config: HeadsConfig, command: str, dataset: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Train both heads of a run, save them in its folder, and return what ``heads.json`` says.

    Args:
        run: the run, on any device; the heads are trained on the CPU.
        config: sizes and training.
        command: what a reader types to make them again, for the record.
        dataset: where the run's stores lie now; empty = where they lay.

    Raises:
        JepaflowError: for stores without actions or not the run's, and for episodes too short for any goal.
    """
    begin = datetime.now(UTC)
    train, val = cached_latents(run, dataset)
    fitted, aside = halves(train, config.aside, np.random.default_rng([config.seed, 0]))
    block = run.model.config.block
    inverse = train_inverse(fitted, aside, config, block, answers_with_changes(train.corpus, config.actions))
    distance, baseline = train_distance(fitted, aside, config, block)
    rows = inverse_figures(inverse, val, config.seed) + distance_figures(distance, baseline, val, block, config.seed)
    save_heads(run.path, Heads(inverse, distance, baseline, run.step))
    record = {
        "command": command,
        "commit": commit(),
        "date": begin.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "seconds": round((datetime.now(UTC) - begin).total_seconds(), 1),
        "checkpoint_step": run.step,
        "training": asdict(config),
        "inverse": asdict(inverse.config),
        "distance": asdict(distance.config),
        "episodes": {
            "fitted": len(fitted.corpus.length),
            "aside": len(aside.corpus.length),
            "held_out": len(val.corpus.length),
        },
        "rows": [asdict(row) for row in rows],
    }
    write_json(run.path / "heads.json", record)
    return record


def save_heads(folder: Path, heads: Heads) -> None:
    """Write ``heads.safetensors``: weights, and in the metadata the sizes and the checkpoint they belong to."""
    modules = {"inverse": heads.inverse, "distance": heads.distance, "latent_distance": heads.latent_distance}
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in sorted(module.state_dict().items())
    }
    about = {
        "inverse": asdict(heads.inverse.config),
        "distance": asdict(heads.distance.config),
        "checkpoint_step": heads.checkpoint_step,
    }
    with atomic_path(folder / "heads.safetensors") as temporary:
        save_file(tensors, temporary, {"jepaflow_heads": json.dumps(about)})


def load_heads(folder: Path, device: str | torch.device = "cpu") -> Heads:
    """Load the heads of a run, in eval mode.

    Args:
        folder: the run folder.
        device: where to put them.

    Raises:
        JepaflowError: when there are none, they are damaged, or they belong to another checkpoint than the newest one.
    """
    path = Path(folder) / "heads.safetensors"
    if not path.is_file():
        raise JepaflowError(f"{folder} has no heads yet. Train them with: jepaflow heads {folder}")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["jepaflow_heads"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)
        heads = Heads(
            InverseDynamics(InverseConfig.from_dict(about["inverse"])),
            TemporalDistance(DistanceConfig.from_dict(about["distance"])),
            LatentDistance(),
            int(about["checkpoint_step"]),
        )
        for name in ("inverse", "distance", "latent_distance"):
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            module: nn.Module = getattr(heads, name)
            module.load_state_dict(own)
            module.to(device).eval().requires_grad_(False)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise JepaflowError(f"{path} is damaged ({error}). Train the heads anew: jepaflow heads {folder}") from error
    newest = saved_checkpoints(Path(folder))
    if newest and int(newest[-1].name) != heads.checkpoint_step:
        raise JepaflowError(
            f"The heads of {folder} belong to its checkpoint of step {heads.checkpoint_step}, the newest is of step "
            f"{int(newest[-1].name)}. Train them anew: jepaflow heads {folder}"
        )
    return heads
