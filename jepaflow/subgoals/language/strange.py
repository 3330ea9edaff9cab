"""Thousands of things that no desk has: the text encoder's own vocabulary, less what may mean something known.

A reader that learns from a few hundred odd words what must be refused takes the next odd word for a synonym of "cube". A frozen encoder
brings the words that it was made with; whichever of them does not lie near a known noun is as good a thing to refuse as any, be it a noun
or not. (Readers judged on words and patterns that they never met refused .67 to .92 of impossible requests at 5 % false refusals
without these words, .90 to .95 with them; on the test's wordings they gave nothing, docs/language.md.)

Legend: w words, D features.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.grammar import NOUNS, SYNONYMS
from jepaflow.subgoals.language.refusals import COLOURS, DEEDS, PLACES, TALK, THINGS, VERBS
from jepaflow.subgoals.language.teaching import Lists
from jepaflow.subgoals.language.text_encoder import TextEncoder
from jepaflow.subgoals.language.wordpiece import words

NEAR = 0.5
"""cosine with a known noun from which on a word may be another name for it"""
TOGETHER = 256


def with_strange(lists: Lists, encoder: TextEncoder, count: int, seed: int = 0) -> Lists:
    """Return lists with some of an encoder's words among the odd things and places.

    Args:
        lists: of all that is known.
        encoder: whose words; one without a vocabulary adds none.
        count: words at most.
        seed: of the choice.
    """
    known = {word for one in (lists.nouns, lists.synonyms, lists.frames, lists.patterns, lists.odd)
             for entries in one.values() for entry in entries for word in words(entry)}  # fmt: skip
    known |= set(PALETTE) | {word for entry in _tested() for word in words(entry)}
    new = [word for word in encoder.vocabulary() if word not in known]
    if not new:
        return lists
    nouns = sorted({noun.split()[-1] for names in lists.nouns.values() for noun in names})
    near = (_alone(encoder, new) @ _alone(encoder, nouns).T).amax(1)
    far = [word for word, cosine in zip(new, near.tolist(), strict=True) if cosine < NEAR]
    some = tuple(far[i] for i in np.random.default_rng(seed).permutation(len(far))[:count])
    return replace(lists, odd={**lists.odd, **{kind: (*lists.odd[kind], *some) for kind in ("object", "place")}})


def _tested() -> list[str]:
    """Everything that the test says: it must stay unknown, be it a name of something or nothing."""
    named = [name for lists in (NOUNS, SYNONYMS) for names in lists.values() for name in names["test"]]
    return [*named, *(entry for lists in (DEEDS, VERBS, THINGS, PLACES, COLOURS, TALK) for entry in lists["test"])]


def _alone(encoder: TextEncoder, some: Sequence[str]) -> Float[Tensor, "w D"]:
    """Return the features of words that stand alone, of length 1."""
    parts = [encoder.encode(some[start : start + TOGETHER]).pooled for start in range(0, len(some), TOGETHER)]
    return torch.cat(parts)
