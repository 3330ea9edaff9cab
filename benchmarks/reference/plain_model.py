"""LeWorldModel as plain PyTorch: one module per line of the paper, fused attention, nothing shared, cached or fused by hand.

It stands beside `jepaflow.worldmodel` and uses none of it, so that no speed-up there makes the reference faster too. Its
parameters bear the same names, and `PlainJEPA.of` takes a model's weights over; the tests hold both to the same answers.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from jepaflow.worldmodel.encoder import EncoderConfig
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.predictor import PredictorConfig


class Attention(nn.Module):
    """Multi-head self-attention by PyTorch's own kernel."""

    def __init__(self, dim: int, heads: int, dim_head: int, bias: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=bias)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x: Tensor, causal: bool) -> Tensor:
        """[B T C] → [B T C]."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2).contiguous() for part in self.to_qkv(x).chunk(3, -1)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)
        return self.to_out(mixed.transpose(1, 2).flatten(2))


class ViTLayer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, dim: int, heads: int, mlp: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.attention = Attention(dim, heads, dim // heads, bias=True)
        self.mlp = nn.Sequential(nn.Linear(dim, mlp), nn.GELU(), nn.Linear(mlp, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B T C] → [B T C]."""
        x = x + self.attention(self.norm1(x), causal=False)
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Vision transformer, class token."""

    def __init__(self, config: EncoderConfig, size: int, channels: int) -> None:
        super().__init__()
        dim = config.width
        self.patchify = nn.Conv2d(channels, dim, config.patch, config.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, (size // config.patch) ** 2 + 1, dim))
        self.layers = nn.ModuleList(ViTLayer(dim, config.heads, config.mlp_ratio * dim) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """[B C S S] → [B F]."""
        x = self.patchify(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)[:, 0]


class Residual(nn.Module):
    """Two 3×3 convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B C S S] → [B C S S]."""
        return torch.relu(x + self.conv2(torch.relu(self.conv1(x))))


class ConvNet(nn.Module):
    """Patchifying stem, stride-2 stages, residual blocks, flatten, linear."""

    def __init__(self, config: EncoderConfig, size: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(zip((channels, *config.channels[:-1]), config.channels, strict=True)):
            layers += [nn.Conv2d(before, after, 4, 4) if i == 0 else nn.Conv2d(before, after, 3, 2, 1), nn.ReLU()]
        layers += [Residual(config.channels[-1]) for _ in range(config.blocks)]
        self.trunk = nn.Sequential(*layers)
        side = math.ceil(size / (4 * 2 ** (len(config.channels) - 1)))
        self.head = nn.Linear(config.channels[-1] * side * side, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B C S S] → [B F]."""
        return self.head(self.trunk(x).flatten(1))


class AdaLNLayer(nn.Module):
    """Transformer layer whose norms are shifted, scaled and gated by the action of the same step."""

    def __init__(self, dim: int, config: PredictorConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, config.heads, config.dim_head, bias=False, dropout=config.dropout)
        drop = config.dropout
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, config.mlp), nn.GELU(), nn.Dropout(drop), nn.Linear(config.mlp, dim), nn.Dropout(drop)
        )  # fmt: skip
        self.modulation = nn.Linear(dim, 6 * dim)

    def forward(self, x: Tensor, action: Tensor) -> Tensor:
        """[B T D], [B T D] → [B T D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(torch.nn.functional.silu(action)).chunk(6, -1)
        x = x + gate1 * self.attention(self.attention_norm(self.norm1(x) * (1 + scale1) + shift1), causal=True)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class Predictor(nn.Module):
    """Latents and action embeddings → raw forecasts."""

    def __init__(self, dim: int, history: int, config: PredictorConfig) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, history, dim))
        self.layers = nn.ModuleList(AdaLNLayer(dim, config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, z: Tensor, actions: Tensor) -> Tensor:
        """[B T D], [B T D] → [B T D]."""
        x = z + self.position[:, : z.shape[1]]
        for layer in self.layers:
            x = layer(x, actions)
        return self.norm(x)


class ActionEncoder(nn.Module):
    """Block → embedding."""

    def __init__(self, entries: int, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(entries, entries)
        self.mlp = nn.Sequential(nn.Linear(entries, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """[B T KA] → [B T D]."""
        return self.mlp(self.mix(x))


class Scaler(nn.Module):
    """z-scores."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        """Raw → z-scores."""
        return (x - self.mean) / self.std


class PlainJEPA(nn.Module):
    """Encoder, projector, action encoder, predictor, projector: pixels and actions alone, one step per pass."""

    def __init__(self, config: JEPAConfig) -> None:
        super().__init__()
        self.config = config
        width, hidden, dim = config.encoder.width, config.projector_hidden, config.latent_dim
        kind = ViT if config.encoder.kind == "vit" else ConvNet
        self.encoder = kind(config.encoder, config.image_size, 3 * len(config.cameras))
        self.projector = self._projector(width, hidden, dim)
        self.action_encoder = ActionEncoder(config.block * config.action_dim, dim)
        self.predictor = Predictor(dim, config.history, config.predictor)
        self.pred_proj = self._projector(dim, hidden, dim)
        self.action_scaler = Scaler(config.action_dim)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.register_buffer("pixel_mean", 255 * mean.view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", 255 * std.view(3, 1, 1), persistent=False)

    @staticmethod
    def _projector(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, outputs))

    @classmethod
    def of(cls, model: JEPA) -> "PlainJEPA":
        """Return the plain twin of a model: same weights, same mode, same device.

        Raises:
            RuntimeError: the model has parts that LeWorldModel has not.
        """
        twin = cls(model.config)
        twin.load_state_dict(model.state_dict())
        return twin.to(model.device).train(model.training)

    def encode(self, pixels: Tensor) -> Tensor:
        """[B T V S S 3] uint8 → [B T D]."""
        x = pixels.flatten(0, 1).permute(0, 1, 4, 2, 3).contiguous()
        x = ((x.float() - self.pixel_mean) / self.pixel_std).flatten(1, 2)
        return self.projector(self.encoder(x)).float().unflatten(0, pixels.shape[:2])

    def predict(self, z: Tensor, blocks: Tensor) -> Tensor:
        """[B T D], [B T K A] → the forecast after each step [B T D]."""
        raw = self.predictor(z, self.action_encoder(self.action_scaler(blocks).flatten(2)))
        return self.pred_proj(raw.flatten(0, 1)).float().view(raw.shape)
