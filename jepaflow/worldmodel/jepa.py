"""JEPA: pixels and actions → latents and forecasts of latents (LeWorldModel, arXiv 2603.19312).

Three verbs. ``encode`` turns frames into one latent each, ``predict`` forecasts the next latent after every step of a
history, ``rollout`` imagines many steps. One *model step* is ``block`` = K control steps. Actions and proprioception
enter in the units of the dataset: their scalers are buffers of the model, so a checkpoint cannot be used with the
wrong ones. There is no target network and no stop-gradient; SIGReg alone prevents collapse.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.colours import ColourHead
from jepaflow.worldmodel.encoder import EncoderConfig, make_encoder
from jepaflow.worldmodel.predictor import ActionEncoder, Predictor, PredictorConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class JEPAConfig:
    """Everything that shapes the model; saved beside the weights."""

    image_size: int = 64
    cameras: tuple[str, ...] = ("pixels",)
    """names of the views, in the order in which they are stacked"""
    action_dim: int = 2
    proprio_dim: int = 0
    """size of ``observation.state`` when it is an input; 0 = pixels alone"""
    proprio_dropout: float = 0.0
    """share of windows that are trained on without ``observation.state``. What the joints tell exactly, the encoder need not
    see, and then it learns to see nothing: not the object either"""
    block: int = 5
    """K: control steps in a model step (frame skip)"""
    history: int = 3
    """H: model steps that the predictor sees"""
    action_change: bool = False
    """give the predictor each action's change from the one before as well; absolute joint targets hardly differ otherwise"""
    prefix: int = 1
    """N: model steps that one pass of the predictor imagines from the history and the actions up to each; 1: step by step"""
    inverse: bool = False
    """carry an inverse-dynamics head, for a training that asks which actions lie between two latents"""
    grounding: bool = False
    """carry a linear head that reads ``observation.state`` from the latent, for a training that asks it to be there"""
    colours: int = 0
    """colours whose places a head reads from the latent, for a training that asks them to be there; 0 = no such head"""
    latent_dim: int = 128
    projector_hidden: int = 256
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)

    def __post_init__(self) -> None:
        for name in ("image_size", "action_dim", "block", "history", "prefix", "latent_dim", "projector_hidden"):
            if getattr(self, name) < 1:
                raise JepaflowError(f"The model's {name} is {getattr(self, name)}; it must be at least 1.")
        if not 0 <= self.proprio_dropout < 1:
            raise JepaflowError(
                f"The model's proprio_dropout is {self.proprio_dropout:g}; it must be at least 0 and below 1."
            )
        if not self.cameras:
            raise JepaflowError("The model has no camera. Name at least one with --cameras.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "JEPAConfig":
        """Rebuild from the JSON of ``dataclasses.asdict``."""
        encoder = dict(values["encoder"])
        encoder["channels"] = tuple(encoder["channels"])
        return cls(
            **{
                **values,
                "cameras": tuple(values["cameras"]),
                "encoder": EncoderConfig(**encoder),
                "predictor": PredictorConfig(**values["predictor"]),
            }
        )


class Projector(nn.Sequential):
    """Linear, BatchNorm, GELU, Linear: frees the latent from the encoder's last norm, which would block SIGReg."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, outputs))


class Scaler(nn.Module):
    """z-score with fixed statistics, kept in the checkpoint."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def forward(self, x: Float[Tensor, "... A"]) -> Float[Tensor, "... A"]:
        """Dataset units → z-scores."""
        return (x - self.mean) / self.std


class JEPA(nn.Module):
    """The world model. Module names follow LeWorldModel's: encoder, projector, action_encoder, predictor, pred_proj."""

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        self.config = config
        width, dim = config.encoder.width, config.latent_dim
        self.encoder = make_encoder(config.encoder, config.image_size, len(config.cameras))
        self.projector = Projector(width, config.projector_hidden, dim)
        entries = config.block * config.action_dim * (2 if config.action_change else 1)
        self.action_encoder = ActionEncoder(entries, dim)
        self.predictor = Predictor(dim, config.history, config.predictor, config.prefix)
        self.pred_proj = Projector(dim, config.projector_hidden, dim)
        self.action_scaler = Scaler(config.action_dim)
        if config.action_change:
            self.change_scaler = Scaler(config.action_dim)
        if config.grounding:
            if not config.proprio_dim:
                raise JepaflowError("Grounding reads observation.state from the latent. Train with --proprio.")
            self.grounding = nn.Linear(dim, config.proprio_dim)
        if config.colours:
            self.colours = ColourHead(dim, len(config.cameras), config.image_size, config.colours)
        if config.inverse:
            self.inverse = nn.Sequential(
                nn.Linear(2 * dim, 2 * config.projector_hidden),
                nn.GELU(),
                nn.Linear(2 * config.projector_hidden, entries),
            )
        if config.proprio_dim:
            self.proprio_scaler = Scaler(config.proprio_dim)
            self.proprio_encoder = nn.Sequential(
                nn.Linear(config.proprio_dim, width), nn.SiLU(), nn.Linear(width, width)
            )
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255, persistent=False)

    def __repr__(self) -> str:
        parts = {name: sum(p.numel() for p in module.parameters()) for name, module in self.named_children()}
        listed = ", ".join(f"{name} {count:,}" for name, count in parts.items() if count)
        return f"JEPA({sum(parts.values()):,} parameters: {listed})"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pixel_mean.device  # type: ignore[return-value]

    def encode(
        self, pixels: UInt8[Tensor, "B T V S S 3"], proprio: Float[Tensor, "B T P"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """One latent per frame.

        Args:
            pixels: frames of every view, RGB.
            proprio: robot state in dataset units; needed exactly when the model was trained with it.
        """
        batch, time = pixels.shape[:2]
        flat = pixels.flatten(0, 1).permute(0, 1, 4, 2, 3)  # [BT, V, 3, S, S]
        x = ((flat.float() - self.pixel_mean) / self.pixel_std).flatten(1, 2)  # type: ignore[operator]
        features = self.encoder(x)
        if self.config.proprio_dim:
            if proprio is None:
                raise JepaflowError(
                    "This model was trained with observation.state: give it the robot's state as well as its pixels."
                )
            told = self.proprio_encoder(self.proprio_scaler(proprio))
            if self.training and self.config.proprio_dropout:
                told = told * (torch.rand(batch, 1, 1, device=told.device) >= self.config.proprio_dropout)
            features = features + told.flatten(0, 1)
        z: Tensor = self.projector(features)
        return z.float().view(batch, time, -1)

    def predict(self, z: Float[Tensor, "B H D"], blocks: Float[Tensor, "B L K A"]) -> Float[Tensor, "B L D"]:
        """Forecast ``z`` one model step after each step of the history; causal, so every prefix is a forecast too.

        Args:
            z: latents, 1 ≤ H ≤ ``config.history``.
            blocks: the K actions executed after each latent's frame, in dataset units; up to ``config.prefix`` − 1
                more of them (L > H) are forecast in the same pass.
        """
        actions = self.action_encoder(self.scale_blocks(blocks))
        raw = self.predictor(z, actions)
        forecast: Tensor = self.pred_proj(raw.flatten(0, 1))
        return forecast.float().view(raw.shape)

    def scale_blocks(self, blocks: Float[Tensor, "B H K A"]) -> Float[Tensor, "B H C"]:
        """Return what the predictor is told of action blocks: z-scores, and z-scored changes if the model takes them.

        What preceded the first action given is unknown to the model: that change reads as the mean change.
        """
        scaled: Tensor = self.action_scaler(blocks)
        if self.config.action_change:
            steps = blocks.flatten(1, 2)
            first = self.change_scaler.mean.expand_as(steps[:, :1])
            change = torch.cat([first, steps[:, 1:] - steps[:, :-1]], 1).view(blocks.shape)
            scaled = torch.cat([scaled, self.change_scaler(change)], -1)
        return scaled.flatten(2)

    def rollout(
        self, z: Float[Tensor, "B H D"], past: Float[Tensor, "B P K A"], future: Float[Tensor, "B N K A"]
    ) -> Float[Tensor, "B N D"]:
        """Imagine N model steps open loop.

        Args:
            z: latents of the frames seen; only the last ``config.history`` are used.
            past: the H − 1 blocks executed between those frames (P = H − 1; may be empty).
            future: the N blocks to imagine, the first follows the last frame.
        """
        window = self.config.history
        blocks = torch.cat([past, future], 1)
        first = z.shape[1]
        states = z
        for step in range(0, future.shape[1], self.config.prefix):
            end = first + step
            begin, ahead = max(0, end - window), min(self.config.prefix, future.shape[1] - step)
            forecast = self.predict(states[:, begin:end], blocks[:, begin : end + ahead - 1])[:, -ahead:]
            states = torch.cat([states, forecast], 1)
        return states[:, first:]
