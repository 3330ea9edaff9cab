"""Sentences in, frozen token features out: the interface of all encoders.

Design decisions:
- Features of single tokens, not only of whole sentences: between whole sentences, "go to the red room" is nearer to "do
  not go to the red room" (cosine .82) than to "go to the blue room" (.76). A head that attends to tokens can tell.
- Frozen, on the processor, without randomness; sentences are remembered, so that a training on thousands of paraphrases
  costs one reading of each.
- Sentences of equal length are read together, so that no padding enters a feature.
"""

from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError

REMEMBERED = 8192
"""sentences; ten tokens of 384 numbers each make 130 MB"""
TOGETHER = 64
"""sentences that are read at once"""

Read = tuple[tuple[str, ...], Tensor]
"""tokens of one sentence and their features, L D"""


@dataclass(frozen=True)
class Encoded:
    """B sentences of at most L tokens, as D numbers per token."""

    tokens: tuple[tuple[str, ...], ...]
    """of each sentence, start and end included, without padding"""
    features: Float[Tensor, "B L D"]
    """0 beyond a sentence's end"""
    mask: Bool[Tensor, "B L"]
    """True where there is a token"""
    pooled: Float[Tensor, "B D"]
    """mean over a sentence's tokens, of length 1"""


class TextEncoder(ABC):
    """What all encoders share: remembering, putting together, pooling. Subclasses cut into tokens and give their features."""

    name = ""
    """as `make_encoder` takes it; heads that were trained on one encoder's features must not get the other's"""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._remembered: OrderedDict[str, Read] = OrderedDict()

    def shallow(self) -> "TextEncoder":
        """Return the encoder whose features are more of single words and less of the sentence; this one, if it has no layers."""
        return self

    def vocabulary(self) -> tuple[str, ...]:
        """Return the whole words that it was made with, the most frequent first; none where it has no list of them."""
        return ()

    @abstractmethod
    def tokens(self, sentence: str) -> tuple[str, ...]:
        """Cut a sentence into tokens: at least one, whatever the sentence."""

    @abstractmethod
    def _features(self, tokens: Sequence[tuple[str, ...]]) -> Float[Tensor, "B L D"]:
        """Return features of sentences of one length."""

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Read sentences; any text will do, also none at all.

        Raises:
            JepaflowError: one sentence was given in place of a sequence of them.
        """
        if isinstance(sentences, str):
            raise JepaflowError(f"encode takes a list of sentences. Give [{sentences!r}].")
        read = self._read(sentences)
        length = max((len(read[sentence][0]) for sentence in sentences), default=0)
        features = torch.zeros(len(sentences), length, self.dim)
        mask = torch.zeros(len(sentences), length, dtype=torch.bool)
        for row, sentence in enumerate(sentences):
            one = read[sentence][1]
            features[row, : len(one)], mask[row, : len(one)] = one, True
        # The length of the mean does not depend on the count, so the sum will do.
        pooled = F.normalize(features.sum(1), dim=-1)
        return Encoded(tuple(read[sentence][0] for sentence in sentences), features, mask, pooled)

    def _read(self, sentences: Sequence[str]) -> dict[str, Read]:
        """Return tokens and features of each different sentence: remembered ones, and new ones by length."""
        read: dict[str, Read] = {}
        new: defaultdict[int, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
        for sentence in dict.fromkeys(sentences):
            if sentence in self._remembered:
                self._remembered.move_to_end(sentence)
                read[sentence] = self._remembered[sentence]
            else:
                tokens = self.tokens(sentence)
                new[len(tokens)].append((sentence, tokens))
        for group in new.values():
            for start in range(0, len(group), TOGETHER):
                part = group[start : start + TOGETHER]
                features = self._features([tokens for _, tokens in part])
                # Copies: a row of the group would keep the whole group in memory.
                read |= {said: (tokens, row.clone()) for (said, tokens), row in zip(part, features, strict=True)}
        for sentence, value in read.items():
            self._remembered.setdefault(sentence, value)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return read
