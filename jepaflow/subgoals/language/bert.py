"""The BERT encoder, for reading only: frozen weights in, token features out.

Sentences of one batch have one length, so that there is no padding and no attention mask. Legend: B sentences, L tokens,
D features, h heads.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-12
"""of the layer norms, as the weights were trained"""


@torch.no_grad()
def bert(weights: Mapping[str, Tensor], ids: Int[Tensor, "B L"], heads: int) -> Float[Tensor, "B L D"]:
    """Return the last layer's features of tokens.

    Args:
        weights: by the names of BERT's published files (`embeddings.…`, `encoder.layer.0.…`); the layers are counted.
        ids: rows of the vocabulary; no more tokens than the weights have positions.
        heads: attention heads; they share D.
    """

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)

    def split(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)  # B h L D/h

    parts = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    word, position, kind = (weights[f"embeddings.{part}.weight"] for part in parts)
    x = norm(word[ids] + position[: ids.shape[1]] + kind[0], "embeddings.LayerNorm")
    for layer in range(sum(name.endswith("attention.self.query.weight") for name in weights)):
        at = f"encoder.layer.{layer}"
        query, key, value = (split(linear(x, f"{at}.attention.self.{part}")) for part in ("query", "key", "value"))
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = norm(x + linear(seen, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        wide = F.gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x
