"""The predictor: a causal transformer over past latents, driven by action blocks through AdaLN-zero.

Every layer's shift, scale and gate come from the action embedding of the same time step (Peebles & Xie 2023) and start
at zero, so an untrained predictor ignores the actions and passes its input on. Positions are learned and absolute:
the number of frames of history is fixed by training, fewer are allowed, more are not.

With ``prefix`` N > 1 it answers N steps in one pass (action-prefix prediction, Fast-LeWM, arXiv 2606.26217): behind the
last latent stand N − 1 learned query tokens, each conditioned on its own step's actions, and the n-th sees the history
and the actions up to its own. No forecast is fed back, so no error is either.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jepaflow.worldmodel.attention import SelfAttention, attend


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of the predictor; its token width is the latent size."""

    depth: int = 3
    heads: int = 4
    dim_head: int = 32
    mlp: int = 512
    dropout: float = 0.1


class ActionEncoder(nn.Module):
    """Action block ``[B, T, K·A]`` → embedding ``[B, T, D]``: a linear mix, then a two-layer perceptron (as LeWorldModel's)."""

    def __init__(self, block_dim: int, dim: int) -> None:
        super().__init__()
        self.mix = nn.Linear(block_dim, block_dim)
        self.mlp = nn.Sequential(nn.Linear(block_dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim))

    def forward(self, blocks: Float[Tensor, "B T KA"]) -> Float[Tensor, "B T D"]:
        """Embed scaled action blocks."""
        out: Tensor = self.mlp(self.mix(blocks))
        return out


class AdaLNLayer(nn.Module):
    """Transformer layer whose norms are modulated by a condition of the same shape as its input."""

    def __init__(self, dim: int, config: PredictorConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, config.heads, config.dim_head, qkv_bias=False, dropout=config.dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, config.mlp),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.mlp, dim),
            nn.Dropout(config.dropout),
        )
        self.modulation = nn.Linear(dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Float[Tensor, "B T D"], condition: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """One causal layer."""
        modulation = self.modulate(condition)
        q, k, v = self.project(x, modulation)
        dropout = self.attention.dropout if self.training else 0.0
        return self.advance(x, attend(q, k, v, True, dropout), modulation)

    def modulate(self, condition: Float[Tensor, "B T D"]) -> Float[Tensor, "B T 6*D"]:
        """Return shift, scale and gate of both halves of the layer."""
        out: Tensor = self.modulation(nn.functional.silu(condition))
        return out

    def project(
        self, x: Float[Tensor, "B T D"], modulation: Float[Tensor, "B T 6*D"]
    ) -> Float[Tensor, "3 B heads T d"]:
        """Return the tokens' queries, keys and values; keys and values depend on nothing that comes later."""
        shift, scale = modulation.chunk(6, -1)[:2]
        return self.attention.project(self.attention_norm(self.norm1(x) * (1 + scale) + shift))

    def advance(
        self, x: Float[Tensor, "B T D"], mixed: Float[Tensor, "B heads T d"], modulation: Float[Tensor, "B T 6*D"]
    ) -> Float[Tensor, "B T D"]:
        """Return the tokens after the layer, given what their attention found."""
        _, _, gate1, shift, scale, gate2 = modulation.chunk(6, -1)
        x = x + gate1 * self.attention.merge(mixed)
        out: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale) + shift)
        return out


class Predictor(nn.Module):
    """Latents and action embeddings of up to ``history`` steps → the raw forecast after each step."""

    def __init__(self, dim: int, history: int, config: PredictorConfig, prefix: int = 1) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, history, dim))
        self.queries = nn.Parameter(torch.randn(1, prefix - 1, dim)) if prefix > 1 else None
        self.layers = nn.ModuleList(AdaLNLayer(dim, config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, z: Float[Tensor, "B H D"], actions: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Forecast causally: output t depends on latents and actions ≤ t.

        Args:
            z: latents.
            actions: embedded blocks; those beyond the latents (L > H, at most ``prefix`` − 1) go to query tokens.
        """
        x = z + self.position[:, : z.shape[1]]
        ahead = actions.shape[1] - z.shape[1]
        if ahead and self.queries is not None:
            x = torch.cat([x, self.queries[:, :ahead].expand(len(z), -1, -1)], 1)
        for layer in self.layers:
            x = layer(x, actions)
        out: Tensor = self.norm(x)
        return out
