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
        causal: the queries are the last T of the S tokens, and each sees itself and what is before it.
        dropout: probability of dropping an attention weight.
    """
    tokens, seen = q.shape[-2], k.shape[-2]
    causal = causal and tokens > 1  # the last token sees all
    if q.is_cuda and (not causal or tokens == seen):  # without an explicit mask the fastest kernel is allowed
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)
    hidden = torch.ones(tokens, seen, dtype=torch.bool, device=q.device).triu(1 + seen - tokens) if causal else None
    if q.is_cuda:
        assert hidden is not None
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=~hidden, dropout_p=dropout)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, float("-inf"))
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
        q, k, v = self.project(x)
        return self.merge(attend(q, k, v, causal, self.dropout if self.training else 0.0))

    def project(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "3 B heads T d"]:
        """Return queries, keys and values."""
        qkv: Tensor = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return qkv

    def merge(self, mixed: Float[Tensor, "B heads T d"]) -> Float[Tensor, "B T C"]:
        """Return the heads' answers as one."""
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out
