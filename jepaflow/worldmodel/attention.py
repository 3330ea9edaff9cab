"""Attention, by the path that is fastest on the device.

Two paths give the same result. On a GPU it is PyTorch's fused kernel. On a CPU it is an explicit softmax: the
backward of ``scaled_dot_product_attention`` is a flash kernel that is about twice as slow as three plain matrix
products for the few tokens (≤ 257) that this model has.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def attend(
    q: Float[Tensor, "B heads T d"],
    k: Float[Tensor, "B heads S d"],
    v: Float[Tensor, "B heads S d"],
    causal: bool,
    dropout: float = 0.0,
) -> Float[Tensor, "B heads T d"]:
    """Scaled dot-product attention (Vaswani et al. 2017).

    Args:
        q, k, v: queries, keys and values; ``d`` per head.
        causal: token t sees tokens ≤ t only (needs T = S).
        dropout: probability of dropping an attention weight.
    """
    if q.is_cuda:
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if causal:
        size = scores.shape[-1]
        scores = scores.masked_fill(torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1), float("-inf"))
    weights = scores.softmax(-1)
    if dropout:
        weights = nn.functional.dropout(weights, dropout)
    mixed: Tensor = weights @ v
    return mixed


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values."""

    def __init__(self, dim: int, heads: int, dim_head: int, qkv_bias: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=qkv_bias)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x: Float[Tensor, "B T C"], causal: bool) -> Float[Tensor, "B T C"]:
        """Mix tokens; ``causal`` hides the future."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v, causal, self.dropout if self.training else 0.0)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out
