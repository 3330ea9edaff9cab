"""What a training run is: saved as ``config.json`` in its folder, compared when it is resumed."""

from dataclasses import dataclass, field
from pathlib import Path

from jepaflow.common.errors import JepaflowError
from jepaflow.training.objective import ObjectiveConfig


@dataclass(frozen=True)
class DatasetConfig:
    """Where the windows come from."""

    path: tuple[Path, ...] = ()
    """stores made by jepaflow convert; several are mixed"""
    val_fraction: float = 0.1
    """share of episodes held out"""
    split_seed: int = 0
    """of the draw of the held-out episodes"""
    episodes: int | None = None
    """train on this many episodes only (nested subsets)"""

    def __post_init__(self) -> None:
        if self.split_seed < 0:
            raise JepaflowError(f"--dataset.split-seed is {self.split_seed}; it must not be negative.")
        if self.episodes is not None and self.episodes < 1:
            raise JepaflowError(f"--dataset.episodes is {self.episodes}; it must be at least 1.")


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    lr: float = 5e-4
    weight_decay: float = 1e-3
    warmup: float = 0.02
    """share of the steps spent warming up"""
    clip: float = 1.0
    """largest gradient norm"""

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.clip <= 0 or not 0 <= self.warmup < 1 or self.weight_decay < 0:
            raise JepaflowError("--optim: lr and clip must be positive, warmup in [0, 1), weight-decay not negative.")


@dataclass(frozen=True)
class TrainConfig:
    """A whole run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    preset: str = "nano"
    """size of the model: nano, nano_fused, small, paper or lean"""
    block: int = 5
    """K, control steps in a model step"""
    history: int = 3
    """H, model steps that the predictor sees"""
    cameras: tuple[str, ...] = ("pixels",)
    """views to use; "pixels" is the store's primary camera"""
    proprio: bool = False
    """use observation.state as a second input"""
    proprio_dropout: float = 0.0
    """share of windows in which observation.state is withheld, so that the encoder learns to see the arm, and the object"""
    action_change: bool = False
    """tell the model each action's change from the one before as well (for absolute joint targets)"""
    prefix: int = 1
    """model steps that the predictor imagines in one pass; more than 1 needs --loss.rollout over as many steps"""
    latent_dim: int | None = None
    """D; the preset's when not given"""
    steps: int = 2000
    """optimizer steps"""
    batch_size: int = 64
    """windows in an optimizer step"""
    accumulate: int = 1
    """N: micro-batches that an optimizer step is computed in, one after the other, for lack of memory. SIGReg and BatchNorm
    then see one micro-batch of batch-size / N windows at a time; SIGReg counts N-fold, so that λ keeps its meaning"""
    loss: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    seed: int = 0
    """of the weights, the order of the windows, dropout and SIGReg's directions"""
    save_every: int = 250
    """steps between checkpoints"""
    log_every: int = 25
    """steps between lines of the log"""
    val_every: int = 250
    """steps between health checks on held-out episodes"""
    val_batches: int = 4
    """batches in a health check"""
    calibration_batches: int = 8
    """training batches over which BatchNorm statistics are taken anew before judging or saving"""
    keep: int = 2
    """checkpoints kept, at least 2"""
    precision: str = "auto"
    """auto, bf16 or float32; auto takes bf16 where the processor multiplies it natively"""
    device: str = "auto"
    """auto, cpu or cuda"""
    compile: str = "auto"
    """auto, on or off: compile encoder and predictor (torch.compile); auto compiles on a GPU, if it works there"""
    init: Path | None = None
    """begin from this run's weights and scalers (its newest checkpoint), not from random ones"""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise JepaflowError(f"--seed is {self.seed}; it must not be negative.")
        for name in ("steps", "save_every", "log_every", "val_every", "val_batches", "calibration_batches"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"--{name.replace('_', '-')} is {getattr(self, name)}; it must be at least 1.")
        if self.batch_size < 2:
            raise JepaflowError(f"--batch-size is {self.batch_size}; SIGReg and BatchNorm need at least 2.")
        if self.accumulate < 1 or self.batch_size % self.accumulate or self.batch_size < 2 * self.accumulate:
            raise JepaflowError(
                f"--accumulate {self.accumulate} does not divide --batch-size {self.batch_size} into micro-batches of at "
                "least 2 windows. Choose another of the two."
            )
        if not 1 <= self.prefix <= (self.loss.rollout_steps if self.loss.rollout else 1):
            raise JepaflowError(
                f"--prefix is {self.prefix}; it must be at least 1, and what lies beyond the next step is learned from "
                "the rollout alone: give --loss.rollout and --loss.rollout-steps of at least as many."
            )
        if self.keep < 2:
            raise JepaflowError(
                f"--keep is {self.keep}; keep at least 2 checkpoints, so that one is whole while the next is written."
            )
        if self.precision not in ("auto", "bf16", "float32") or self.device not in ("auto", "cpu", "cuda"):
            raise JepaflowError("--precision is auto, bf16 or float32; --device is auto, cpu or cuda.")
        if self.compile not in ("auto", "on", "off"):
            raise JepaflowError("--compile is auto, on or off.")

    @property
    def frames(self) -> int:
        """T, frames in a window: the history and the steps forecast after it."""
        return self.history + (self.loss.rollout_steps if self.loss.rollout else 1)
