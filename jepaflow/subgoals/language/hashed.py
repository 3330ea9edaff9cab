"""The encoder that needs nothing: words and their letters, hashed to fixed random vectors.

It knows no synonyms; words that share letters are alike ("cube" and "cubes"), and each token feels its neighbours, turned
by their distance, so that "red" beside "cube" differs from "red" beside "bin". Good for tests and for machines without the
sentence encoder. A hash function's output bits are the signs of a vector, so that no version of anything can change it.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from jepaflow.subgoals.language import wordpiece
from jepaflow.subgoals.language.text_encoder import TextEncoder

LETTERS = 3
"""length of the pieces of words"""
NEIGHBOURS = {1: 0.5, 2: 0.25}
"""weight of the words that are this many places away"""


class Hashed(TextEncoder):
    """Hashed words with 384 features, as many as MiniLM has."""

    name = "hashed"

    def __init__(self) -> None:
        super().__init__(dim=384)

    def tokens(self, sentence: str) -> tuple[str, ...]:
        """Cut a sentence into words between [CLS] and [SEP], at most 256."""
        return (wordpiece.START, *wordpiece.words(sentence)[: wordpiece.LONGEST - 2], wordpiece.END)

    def _features(self, tokens: Sequence[tuple[str, ...]]) -> Float[Tensor, "B L D"]:
        alone = torch.stack([torch.stack([_word(token, self.dim) for token in sentence]) for sentence in tokens])
        mixed = alone.clone()
        for away, weight in NEIGHBOURS.items():
            # Rolled along the features, a neighbour on the left is another vector than the same one on the right.
            mixed[:, away:] += weight * alone[:, :-away].roll(away, dims=-1)
            mixed[:, :-away] += weight * alone[:, away:].roll(-away, dims=-1)
        return F.normalize(mixed, dim=-1)


@lru_cache(maxsize=8192)
def _word(word: str, dim: int) -> Float[Tensor, " D"]:
    """Return a word's vector of length 1: half the word as a whole, half its pieces."""
    spelled = f"<{word}>"
    parts = [spelled[start : start + LETTERS] for start in range(len(spelled) - LETTERS + 1)]
    letters = sum((_signs(f"letters {part}", dim) for part in parts), start=torch.zeros(dim))
    return F.normalize(_signs(f"word {word}", dim) + F.normalize(letters, dim=0), dim=0)


def _signs(text: str, dim: int) -> Float[Tensor, " D"]:
    """Return a vector of length 1 whose signs are the text's hash; `dim` is a multiple of 8."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_128(text.encode()).digest(dim // 8), dtype=np.uint8))
    return torch.from_numpy((bits * 2.0 - 1.0).astype(np.float32)) / math.sqrt(dim)
