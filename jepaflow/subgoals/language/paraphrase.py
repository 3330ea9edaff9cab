"""Many ways to say one thing, for training, and other ways to say it, for the test; what must be refused; what is held out.

Everything is drawn from `grammar`: a pattern, a synonym for each slot, something polite around an order, upper or lower
case, a full stop or none. No test sentence is a training sentence, whatever its case and punctuation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeVar, assert_never, get_args

import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.sims.arms.tasks import PLACE_BINS, PLACE_CUBES
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.grammar import FRAMES, NOUNS, PATTERNS, SYNONYMS, Split
from jepaflow.subgoals.language.refusals import COLOURS, DEEDS, PLACES, TALK, THINGS, VERBS, Kind

Choice = TypeVar("Choice")

HELD_OUT = (("red", "blue"), ("blue", "white"), ("green", "red"))
"""(cube's colour, bin's colour) never seen together in training; each colour is seen with the other two partners"""
PLAIN = 0.5
"""share of orders without anything polite"""
CASES = (0.5, 0.4, 0.1)
"""shares of sentences with a capital first letter, all in lower case, all in upper case"""
KINDS: tuple[Kind, ...] = get_args(Kind)
"""of impossible requests"""


def puts() -> tuple[Clause, ...]:
    """Return every cube into every bin of the world `place`."""
    return tuple(
        Clause("put", Thing(cube, "cube"), Thing(place, "bin")) for cube in PLACE_CUBES for place in PLACE_BINS
    )


def held_in(clause: Clause) -> bool:
    """Whether a clause may be trained on: its cube and bin are not a held-out pair."""
    place = clause.place.colour if clause.place is not None else ""
    return clause.verb != "put" or (clause.object.colour, place) not in HELD_OUT


def paraphrases(clause: Clause, rng: np.random.Generator, split: Split = "train") -> Iterator[str]:
    """Yield ways to say a clause, without end; they may repeat.

    Raises:
        JepaflowError: there are no patterns for such a clause.
    """
    while True:
        yield paraphrase(clause, rng, split)


def paraphrase(clause: Clause, rng: np.random.Generator, split: Split = "train") -> str:
    """Draw one way to say a clause; every pattern is as likely as any other.

    Raises:
        JepaflowError: there are no patterns for such a clause.
    """
    pattern = _one(_patterns(clause, split), rng)
    words = {slot: _one(choices, rng) for slot, choices in _slots(clause, pattern, split).items()}
    said = pattern.format(**words)
    if pattern in PATTERNS[clause.verb, split].orders:
        said = _framed(said, rng, split)
    return _styled(said, rng)


def wordings(clause: Clause, split: Split = "train") -> Iterator[str]:
    """Yield every way to say a clause, in a fixed order, without politeness and style."""
    for pattern in _patterns(clause, split):
        slots = _slots(clause, pattern, split)
        for words in product(*slots.values()):
            yield pattern.format(**dict(zip(slots, words, strict=True)))


def normal(sentence: str) -> str:
    """Return a sentence in lower case without punctuation: two that are equal then are the same sentence."""
    return " ".join(re.findall(r"\w+", sentence.lower()))


def impossible(rng: np.random.Generator, split: Split = "train", kind: Kind | None = None) -> str:
    """Draw a request that cannot be understood or done on any desk.

    Args:
        rng: draws everything.
        split: the test's unknown words and patterns are none of the training's.
        kind: what is unknown, one of `KINDS`; drawn if None.
    """
    chosen = _one(KINDS, rng) if kind is None else kind
    colour, other = _one(tuple(PALETTE), rng), _one(tuple(PALETTE), rng)
    put = Clause("put", Thing(colour, "cube"), Thing(other, "bin"))
    match chosen:
        case "object":
            painted = _one(("", colour, _one(COLOURS[split], rng)), rng)
            put = replace(put, object=Thing(painted, _one(THINGS[split], rng)))
        case "place":
            put = replace(put, place=Thing("", _one(PLACES[split], rng)))
        case "colour" if rng.random() < 0.5:
            put = replace(put, object=Thing(_one(COLOURS[split], rng), "cube"))
        case "colour":
            put = replace(put, place=Thing(_one(COLOURS[split], rng), "bin"))
        case "talk":
            return _styled(_one(TALK[split], rng), rng)
        case "deed":
            return _styled(_framed(_one(DEEDS[split], rng), rng, split), rng)
        case "verb":
            thing = Thing(colour, _one(tuple(NOUNS), rng))
            return _styled(_framed(f"{_one(VERBS[split], rng)} {thing}", rng, split), rng)
        case unknown:
            assert_never(unknown)
    return paraphrase(put, rng, split)


def _patterns(clause: Clause, split: Split) -> tuple[str, ...]:
    """Return all patterns for a clause."""
    place = clause.place.kind if clause.place is not None else ""
    if clause.verb == "put" and place in ("cube", "disc", "ball"):
        raise JepaflowError(f"there are no ways to say '{clause}': things are put into bins here. Name a bin.")
    patterns = PATTERNS[clause.verb, split]
    return (*patterns.orders, *patterns.statements)


def _slots(clause: Clause, pattern: str, split: Split) -> dict[str, tuple[str, ...]]:
    """Return what may stand in each slot of a pattern."""
    place = clause.place or Thing("", "bin")
    things = {
        "object": _called(clause.object, split),
        "objects": tuple(f"{name}s" for name in _called(clause.object, split)),
        "place": _called(place, split),
        "bin": _called(Thing("", "bin"), split),
        "bins": tuple(f"{name}{'es' if name.endswith('x') else 's'}" for name in _called(Thing("", "bin"), split)),
    }
    slots = dict.fromkeys(re.findall(r"{(\w+)}", pattern))
    return {slot: things[slot] if slot in things else _both(SYNONYMS[slot], split) for slot in slots}


def _called(thing: Thing, split: Split) -> tuple[str, ...]:
    """Return what a thing may be called, without an article."""
    nouns = _both(NOUNS[thing.kind], split) if thing.kind in NOUNS else (f"{{}} {thing.kind}",)
    return tuple(" ".join(noun.format(thing.colour).split()) for noun in nouns)


def _both(words: Mapping[Split, tuple[str, ...]], split: Split) -> tuple[str, ...]:
    """Return a split's words: the test's sentences have the training's words too, in other patterns."""
    return words["train"] if split == "train" else (*words["train"], *words["test"])


def _framed(order: str, rng: np.random.Generator, split: Split) -> str:
    """Say something polite around an order, or nothing."""
    return order if rng.random() < PLAIN else _one(FRAMES[split], rng).format(order)


def _styled(sentence: str, rng: np.random.Generator) -> str:
    """Draw the case and whether the sentence has an end mark."""
    case = rng.choice(len(CASES), p=CASES)
    said = (sentence[0].upper() + sentence[1:], sentence.lower(), sentence.upper())[int(case)]
    if rng.random() < 0.5:
        return said.rstrip("?")
    return said if said.endswith("?") else f"{said}."


def _one(choices: Sequence[Choice], rng: np.random.Generator) -> Choice:
    return choices[int(rng.integers(len(choices)))]
