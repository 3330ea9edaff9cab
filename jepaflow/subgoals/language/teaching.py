"""Sentences that the reader is taught with, and what each word is in them: from the training lists only, never the test's.

Beside the grammar's training patterns (`more_patterns`, `more_words` have further ones), some sentences have two things in
either order between words that mean nothing, or a pattern with other words in it: then their nouns alone say which is the
object, which keeps the reader from learning the order, and a new word from being a reason to refuse. What must be refused
has one odd thing, place, colour or verb, of which we know what it should have been, or is odd as a whole.

The third split: every word and pattern belongs to one of some folds by its hash. A reader that was taught without a fold
is judged on sentences with that fold's patterns and words from everywhere, as the test's sentences are made. All choices
and thresholds come from there.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np

from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import VERBS, Clause, Thing
from jepaflow.subgoals.language.grammar import FRAMES, NOUNS, PATTERNS, SYNONYMS
from jepaflow.subgoals.language.more_patterns import (
    FILLERS,
    MORE_FRAMES,
    MORE_PATTERNS,
    ODD_DEEDS,
    ODD_TALK,
    ODD_VERBS_MORE,
)
from jepaflow.subgoals.language.more_words import AFTER, BEFORE, LOOKS, MORE, MORE_DEEDS, ODD, ODD_COLOURS
from jepaflow.subgoals.language.refusals import COLOURS, DEEDS, PLACES, TALK, THINGS
from jepaflow.subgoals.language.refusals import VERBS as ODD_VERBS

FOLDS = 4
Role = Literal["", "verb", "colour", "kind", "place colour", "place kind"]
"""what a word is in its sentence"""
Odd = Literal["object", "place", "colour", "verb", "deed", "talk"]
ODDS: tuple[Odd, ...] = ("object", "place", "colour", "colour", "verb", "deed", "talk")
Said = list[tuple[str, str]]
"""words with their roles"""
NOISE = 0.3
"""share of the other sentences about two things of which some words give way to any others"""
SALAD = 0.25
"""share of sentences about two things whose other words mean nothing"""

_FILLERS = FILLERS.split()


@dataclass(frozen=True)
class Taught:
    """One sentence."""

    text: str
    clause: Clause | None
    """None: it must be refused"""
    rest: Clause | None = None
    """of a sentence that must be refused for one word: what its other words say"""
    odd: Role = ""
    """what that one word would have to be"""


@dataclass(frozen=True)
class Lists:
    """All that sentences are made of; each entry of each list lies in one fold, the first entry of a list in none."""

    patterns: dict[str, tuple[str, ...]]
    synonyms: dict[str, tuple[str, ...]]
    nouns: dict[str, tuple[str, ...]]
    frames: dict[str, tuple[str, ...]]
    odd: dict[str, tuple[str, ...]]

    def part(self, keep: Callable[[str], bool], first: bool = True) -> "Lists":
        """Return the lists with the entries that are to be kept, and the first of each if wanted."""
        values = {}
        for one in fields(self):
            lists: dict[str, tuple[str, ...]] = getattr(self, one.name)
            values[one.name] = {
                name: tuple(entry for i, entry in enumerate(entries) if keep(entry) or (first and i == 0))
                for name, entries in lists.items()
            }
        return Lists(**values)


def fold(entry: str) -> int:
    """Return the fold of a list's entry: that of its last word, so that "block" and "toy block" share one; patterns: of all."""
    words = re.findall(r"\w+", entry)
    key = entry if "{" in entry and len(words) > 3 else words[-1].rstrip("s") if words else entry
    return zlib.crc32(f"45 {key}".encode()) % FOLDS


def everything() -> Lists:
    """Return all training lists."""
    nouns, synonyms = ({name: words["train"] for name, words in lists.items()} for lists in (NOUNS, SYNONYMS))
    patterns: dict[str, tuple[str, ...]] = {
        verb: (*PATTERNS[verb, "train"].orders, *PATTERNS[verb, "train"].statements, *MORE_PATTERNS[verb])
        for verb in VERBS
    }
    frames = {"order": (*FRAMES["train"], *MORE_FRAMES), "before": BEFORE, "after": AFTER, "looks": LOOKS}
    for kind, (_, words) in zip(("bin", "cube", "disc", "ball"), MORE, strict=True):
        nouns[kind] = (*nouns[kind], *(f"{{}} {word.replace('-', ' ')}" for word in words))
    for verb, pairs in MORE_DEEDS.items():
        synonyms[verb] = (*synonyms[verb], *(word.replace("-", " ") for _, words in pairs for word in words))
    named = {name.split()[-1] for names in nouns.values() for name in names}
    everyday = tuple(word for word in dict.fromkeys(ODD.split()) if word not in named)
    odd = {
        "object": (*THINGS["train"], *everyday),
        "place": (*PLACES["train"], *everyday),
        "colour": (*COLOURS["train"], *ODD_COLOURS.split()),
        "verb": (*ODD_VERBS["train"], *ODD_VERBS_MORE.split()),
        "deed": (*DEEDS["train"], *ODD_DEEDS),
        "talk": (*TALK["train"], *ODD_TALK),
    }
    return Lists(patterns, synonyms, nouns, frames, odd)


@dataclass(frozen=True)
class Teacher:
    """Makes sentences.

    Args:
        lists: whose words they have.
        patterns: whose patterns and odd words they have; the lists' own if None.
        salad: share of sentences about two things whose other words mean nothing.
    """

    lists: Lists = field(default_factory=everything)
    patterns: Lists | None = None
    salad: float = SALAD

    def say(self, clause: Clause, rng: np.random.Generator) -> Taught:
        """Draw one way to say a clause."""
        if clause.place is not None and rng.random() < self.salad:
            return _finished(self._salad(clause, rng), clause, rng)
        return _finished(self._framed(self._pattern(clause, rng), rng), clause, rng)

    def refused(self, clause: Clause, rng: np.random.Generator, odd: Odd | None = None) -> Taught:
        """Draw a request that must be refused; where one word of it is odd, the rest says the clause."""
        chosen: Odd = ODDS[int(rng.integers(len(ODDS)))] if odd is None else odd
        source = (self.patterns or self.lists).odd
        word = _one(source[chosen] or self.lists.odd[chosen], rng)
        if chosen in ("deed", "talk"):
            said = [(word, "")]
            return _finished(said if chosen == "talk" else self._framed(said, rng), None, rng, None, "verb")
        if chosen == "verb" or clause.verb == "sort" or (chosen == "place" and clause.place is None):
            word = word if chosen == "verb" else _one(source["verb"] or self.lists.odd["verb"], rng)
            thing = clause.object if clause.verb != "sort" else Thing(_one(tuple(PALETTE), rng), "cube")
            said = [(word, ""), ("the", ""), *self._thing(thing, "colour", "kind", rng)]
            return _finished(self._framed(said, rng), None, rng, Clause("reach", thing), "verb")
        salad = clause.place is not None and rng.random() < self.salad
        said = self._salad(clause, rng) if salad else self._framed(self._pattern(clause, rng), rng)
        roles: tuple[Role, ...] = ("colour", "place colour") if clause.place is not None else ("colour",)
        role: Role = roles[int(rng.integers(len(roles)))]
        if chosen != "colour":
            role = "kind" if chosen == "object" else "place kind"
        return _replaced(said, clause, role, word, rng)

    def _pattern(self, clause: Clause, rng: np.random.Generator) -> Said:
        own = self.patterns.patterns[clause.verb] if self.patterns is not None else ()
        pattern = _one(own or self.lists.patterns[clause.verb], rng)
        said = [word for part in pattern.split() for word in self._part(part, clause, rng)]
        return _noisy(said, rng) if self.salad and clause.place is not None and rng.random() < NOISE else said

    def _part(self, part: str, clause: Clause, rng: np.random.Generator) -> Said:
        """Words of one word of a pattern, which may be a slot."""
        found = re.search(r"{(\w+)}", part)
        if not found:
            return [(part, "")]
        slot = found[1]
        match slot:
            case "object" | "objects":
                words = self._thing(clause.object, "colour", "kind", rng)
            case "place" | "bin" | "bins":
                place = clause.place or Thing("", "bin")
                words = self._thing(place, "place colour", "place kind" if clause.place else "", rng)
            case _:
                role = "verb" if slot == clause.verb else ""
                words = [(word, role) for word in _one(self.lists.synonyms[slot], rng).split()]
        if slot in ("objects", "bins"):
            noun, role = words[-1]
            words[-1] = (f"{noun}{'es' if noun.endswith(('x', 'sh')) else 's'}", role)
        ending = part[found.end() :]
        return [*words[:-1], (words[-1][0] + ending, words[-1][1])]

    def _thing(self, thing: Thing, colour: str, kind: str, rng: np.random.Generator) -> Said:
        called = _one(self.lists.nouns.get(thing.kind, (f"{{}} {thing.kind}",)), rng)
        words = [(thing.colour, colour) if word == "{}" else (word, kind) for word in called.split()]
        words = [(word, role) for word, role in words if word]
        if rng.random() < 0.15:
            words.insert(int(rng.integers(2)) if len(words) > 1 else 0, (_one(self.lists.frames["looks"], rng), ""))
        return words

    def _salad(self, clause: Clause, rng: np.random.Generator) -> Said:
        assert clause.place is not None
        things = [
            self._thing(clause.object, "colour", "kind", rng),
            self._thing(clause.place, "place colour", "place kind", rng),
        ]
        if rng.random() < 0.5:
            things.reverse()
        said: Said = []
        for number, most in enumerate((4, 5, 3)):
            said += [(_one(_FILLERS, rng), "") for _ in range(int(rng.integers(number == 1, most)))]
            if number < 2:
                said += [("the", "")] * int(rng.random() < 0.8) + things[number]
        return said

    def _framed(self, said: Said, rng: np.random.Generator) -> Said:
        """Say something polite around it, before it, after it, or nothing."""
        frames = self.lists.frames
        if rng.random() < 0.4:
            before, after = _one(frames["order"], rng).split("{}")
            said = [*((word, "") for word in before.split()), *said, *((word, "") for word in after.split())]
        if rng.random() < 0.12:
            said = [*((word, "") for word in _one(frames["before"], rng).split()), *said]
        if rng.random() < 0.12:
            said = [*said, *((word, "") for word in _one(frames["after"], rng).split())]
        return said


def _noisy(said: Said, rng: np.random.Generator) -> Said:
    """Let a third of the words that name nothing give way to any others, or to none."""
    noisy = [
        (_one(_FILLERS, rng) if rng.random() < 0.7 else "", role) if not role and rng.random() < 0.33 else (word, role)
        for word, role in said
    ]
    return [pair for pair in noisy if pair[0]]


def _replaced(said: Said, clause: Clause, role: Role, word: str, rng: np.random.Generator) -> Taught:
    """Put an odd word in the place of a thing's noun, or of its colour, or before its noun if it has none."""
    is_noun = role.endswith("kind")
    noun, colour = (role, role.replace("kind", "colour")) if is_noun else (role.replace("colour", "kind"), role)
    at = next((i for i, (_, one) in enumerate(said) if one == role), None)
    if at is None:
        at = next((i for i, (_, one) in enumerate(said) if one == noun), 0)
        said = [*said[:at], (word, "odd"), *said[at:]]
    else:
        said = [(word, "odd") if i == at else pair for i, pair in enumerate(said) if i == at or pair[1] != role]
    if is_noun and rng.random() < 0.4:  # often an odd thing has no colour
        said = [pair for pair in said if pair[1] != colour]
        if role == "kind":
            clause = replace(clause, object=Thing("", clause.object.kind))
        elif clause.place is not None:
            clause = replace(clause, place=Thing("", clause.place.kind))
    return _finished(said, None, rng, clause, role)


def _finished(
    said: Said, clause: Clause | None, rng: np.random.Generator, rest: Clause | None = None, odd: Role = ""
) -> Taught:
    """Draw the case and the end mark."""
    text = " ".join(word for word, _ in said if word)
    case = rng.random()
    text = text.upper() if case < 0.05 else text[:1].upper() + text[1:] if case < 0.5 else text
    text = text if rng.random() < 0.5 or text.endswith("?") else f"{text}."
    return Taught(text, clause, rest, odd)


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
