"""Behaviour cloning of the same size: the floor that a world model with a planner must beat.

The clone has the world model's encoder, untrained, and the inverse head in place of the predictor, as wide as makes both
models equally large; it learns end to end, from the same training episodes with hindsight goals, to answer with the next
block's actions (GCBC). By default it sees as many frames in as many steps, with the same learning rate. Its steps are
functions of (seed, step), and every few minutes all is saved, so that an interrupted training goes on.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import atomic_path, write_json
from jepaflow.common.results import commit, hardware
from jepaflow.training.checkpoint import Run
from jepaflow.training.corpus import Corpus, open_corpora
from jepaflow.training.device import choose_precision
from jepaflow.training.fitting import FitConfig, fit
from jepaflow.training.head_metrics import inverse_figures
from jepaflow.training.head_pairs import GoalPairs, goal_pairs
from jepaflow.training.heads import answers_with_changes, inverse_loss
from jepaflow.training.latents import Latents, encode_corpus
from jepaflow.worldmodel.inverse import InverseConfig, InverseDynamics
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig

SEEING = {"encoder", "projector", "proprio_encoder", "proprio_scaler"}
"""modules of the world model that `JEPA.encode` uses"""
SCALER_PAIRS = 20_000
CALIBRATION_BATCHES = 8


@dataclass(frozen=True)
class CloneConfig:
    """How the clone is trained."""

    steps: int | None = None
    """optimizer steps; as many as the run's when not given"""
    batch_size: int | None = None
    """pairs in a step; as many as the run's batch has frames when not given (a pair is two frames)"""
    reach: int = 20
    """the furthest hindsight goal, in model steps"""
    unknown_steps: float = 0.5
    """share of the training in which the policy is not told the steps to go"""
    actions: str = "auto"
    """raw, change or auto, as for the heads"""
    seed: int = 0
    save_seconds: float = 120.0
    """time between saves of an unfinished training"""

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 1) or (self.batch_size is not None and self.batch_size < 2):
            raise JepaflowError("A clone needs at least 1 step and batches of at least 2 pairs.")
        if self.reach < 1 or self.seed < 0 or not 0 <= self.unknown_steps <= 1:
            raise JepaflowError("A clone's reach must be at least 1, its seed not negative, unknown_steps in [0, 1].")
        if self.actions not in ("auto", "raw", "change"):
            raise JepaflowError(f"A clone's actions are auto, raw or change, not {self.actions!r}.")


class Clone(nn.Module):
    """A policy from pixels: the encoder of a world model, then an inverse head with a horizon of one block."""

    def __init__(self, config: JEPAConfig, inverse: InverseConfig) -> None:
        super().__init__()
        self.config = config
        self.eyes = JEPA(config)
        for name in [name for name, _ in self.eyes.named_children() if name not in SEEING]:
            delattr(self.eyes, name)  # `encode` is all that is asked of it
        self.policy = InverseDynamics(inverse)

    def encode(self, pixels: UInt8[Tensor, "B V S S 3"], proprio: Float[Tensor, "B P"] | None) -> Float[Tensor, "B D"]:
        """Features of single frames."""
        return self.eyes.encode(pixels[:, None], None if proprio is None else proprio[:, None])[:, 0]

    @torch.no_grad()
    def act(
        self,
        pixels: UInt8[Tensor, "B V S S 3"],
        proprio: Float[Tensor, "B P"] | None,
        goal_pixels: UInt8[Tensor, "B V S S 3"],
        goal_proprio: Float[Tensor, "B P"] | None,
        last_action: Float[Tensor, "B A"] | None = None,
        steps: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B K A"]:
        """Return the next block's actions, dataset units, not clipped.

        Args:
            pixels, proprio: frames and robot states now; states exactly when the run has them as input.
            goal_pixels, goal_proprio: the same of the goal.
            last_action: the action executed before; needed when the clone answers with changes.
            steps: model steps to go, None = unknown.
        """
        z, goal = self.encode(pixels, proprio), self.encode(goal_pixels, goal_proprio)
        return self.policy.act(z, goal, steps, last_action)


def parameters(module: nn.Module) -> int:
    """Number of weights."""
    return sum(p.numel() for p in module.parameters())


def equal_width(config: JEPAConfig, reach: int, change: bool) -> int:
    """The policy's hidden width that makes clone and world model equally large, as nearly as can be."""
    with torch.device("meta"):
        size = parameters(JEPA(config))
        eyes = parameters(Clone(config, _sizes(config, reach, change, 1)).eyes)

        def excess(width: int) -> int:
            return eyes + parameters(InverseDynamics(_sizes(config, reach, change, width))) - size

        low, high = 1, 2
        while excess(high) < 0:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        return low if abs(excess(low)) <= abs(excess(high)) else high


def _sizes(config: JEPAConfig, reach: int, change: bool, hidden: int) -> InverseConfig:
    return InverseConfig(
        config.latent_dim, config.action_dim, config.block, horizon=1, reach=reach, change=change, hidden=hidden
    )


def train_clone(run: Run, config: CloneConfig, command: str, dataset: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Train a clone of the run's size on its training episodes, save it in its folder, return what ``clone.json`` says.

    Args:
        run: the run; its weights are not used.
        config: training.
        command: what a reader types to make it again, for the record.
        dataset: where the run's stores lie now; empty = where they lay.

    Raises:
        JepaflowError: for stores without actions or not the run's, and for episodes too short for any goal.
    """
    begin, device = time.monotonic(), run.model.device
    train, val = open_corpora(run, dataset)
    change = answers_with_changes(train, config.actions)
    model_config = run.model.config
    steps, batch = config.steps or int(run.config["steps"]), config.batch_size or _run_pairs(run)
    torch.manual_seed(config.seed)
    width = equal_width(model_config, config.reach, change)
    clone = Clone(model_config, _sizes(model_config, config.reach, change, width))
    _fit_scalers(clone, train, run, config)
    clone.to(device)
    optim = run.config["optim"]
    fitting = FitConfig(steps, optim["lr"], optim["weight_decay"], optim["clip"])
    loss = _loss(clone, train, config, batch, str(run.config["precision"]))
    about = json.dumps([asdict(config), steps, batch, asdict(model_config), len(train)], sort_keys=True)
    partial = run.path / "clone.partial"
    fit(clone, loss, fitting, "Train behaviour cloning", partial, about, config.save_seconds)
    _calibrate(clone, loss, range(max(0, steps - CALIBRATION_BATCHES), steps))
    clone.cpu()
    rows = inverse_figures(clone.policy, Latents(val, encode_corpus(clone.eyes, val, "Encode held-out episodes")))
    save_clone(run.path, clone)
    partial.unlink(missing_ok=True)
    record = {
        "command": command,
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "seconds": round(time.monotonic() - begin, 1),
        "training": {**asdict(config), "steps": steps, "batch_size": batch},
        "parameters": {"clone": parameters(clone), "world_model": parameters(run.model)},
        "policy": asdict(clone.policy.config),
        "rows": [asdict(row) | {"name": row.name.replace("inverse/", "clone/")} for row in rows],
    }
    write_json(run.path / "clone.json", record)
    return record


def _run_pairs(run: Run) -> int:
    """Pairs with as many frames as the run's batch."""
    loss = run.config["loss"]
    frames = int(run.config["history"]) + (int(loss["rollout_steps"]) if loss["rollout"] else 1)
    return max(2, int(run.config["batch_size"]) * frames // 2)


def _fit_scalers(clone: Clone, corpus: Corpus, run: Run, config: CloneConfig) -> None:
    """Statistics of actions from the training episodes; those of the state are the run's."""
    sizes, steps = (clone.config.block, 1), np.arange(1, config.reach + 1)
    rng = np.random.default_rng([config.seed, 5])
    sample = goal_pairs(corpus, SCALER_PAIRS, steps, sizes, clone.policy.config.change, rng)
    neutral = torch.tensor([[-1.0], [1.0]]).expand(
        2, clone.config.latent_dim
    )  # mean 0, deviation 1: trained end to end
    clone.policy.fit_scalers(neutral, sample.actions, sample.start)
    if clone.config.proprio_dim:
        clone.eyes.proprio_scaler.load_state_dict(run.model.proprio_scaler.state_dict())


def _loss(clone: Clone, corpus: Corpus, config: CloneConfig, batch: int, precision: str) -> Callable[[int], Tensor]:
    """The loss of a step."""
    device, steps = clone.eyes.device, np.arange(1, config.reach + 1)
    dtype, _ = choose_precision(precision, device)
    sizes, change = (clone.config.block, 1), clone.policy.config.change

    def loss(step: int) -> Tensor:
        rng = np.random.default_rng([config.seed, 6, step])
        pairs = goal_pairs(corpus, batch, steps, sizes, change, rng)
        told = pairs.steps * torch.from_numpy(rng.random(batch) >= config.unknown_steps)
        rows = torch.cat([pairs.row, pairs.goal]).numpy()
        pixels = torch.from_numpy(corpus.frames(rows, clone.config.cameras)).to(device)
        state = None if corpus.proprio is None else torch.from_numpy(corpus.proprio[rows]).to(device)
        moved = GoalPairs(
            pairs.row, pairs.goal, pairs.steps.to(device), pairs.actions.to(device),
            None if pairs.start is None else pairs.start.to(device),
        )  # fmt: skip
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            z, goal = clone.encode(pixels, state).chunk(2)
            answer = clone.policy(z, goal, told.to(device), moved.start)
        return inverse_loss(clone.policy, answer.float(), moved)

    return loss


@torch.no_grad()
def _calibrate(clone: Clone, loss: Callable[[int], Tensor], steps: range) -> None:
    """Take BatchNorm's averages anew with the final weights, as the world model's are before it is judged."""
    norms = [module for module in clone.modules() if isinstance(module, nn.BatchNorm1d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
        norm.train()
    for step in steps:
        loss(step)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    clone.eval()


def save_clone(folder: Path, clone: Clone) -> None:
    """Write ``clone.safetensors``: weights, and in the metadata the sizes."""
    about = {"model": asdict(clone.config), "policy": asdict(clone.policy.config)}
    tensors = {key: value.detach().cpu().contiguous() for key, value in sorted(clone.state_dict().items())}
    with atomic_path(folder / "clone.safetensors") as temporary:
        save_file(tensors, temporary, {"jepaflow_clone": json.dumps(about)})


def has_clone(folder: Path) -> bool:
    """Return whether a run has a behaviour clone."""
    return (Path(folder) / "clone.safetensors").is_file()


def load_clone(folder: Path, device: str | torch.device = "cpu") -> Clone:
    """Load the clone of a run, in eval mode.

    Raises:
        JepaflowError: when there is none or it is damaged.
    """
    path = Path(folder) / "clone.safetensors"
    if not path.is_file():
        raise JepaflowError(f"{folder} has no behaviour clone yet. Train one with: jepaflow heads {folder} --clone")
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["jepaflow_clone"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (the file is no mapping)
        clone = Clone(JEPAConfig.from_dict(about["model"]), InverseConfig.from_dict(about["policy"]))
        clone.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise JepaflowError(f"{path} is damaged ({error}). Train it anew: jepaflow heads {folder} --clone") from error
    return clone.to(device).eval().requires_grad_(False)
