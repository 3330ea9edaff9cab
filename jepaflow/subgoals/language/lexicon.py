"""The plain wordings that are read by rule: a small lexicon, and patterns that must account for every word of a part.

It is the fallback of the learned grounding head and the reference in tests; it never guesses, so what it reads is meant so.
Verbs and nouns are the training words of `grammar`: the test's words must not be known here.
"""

import re

from matplotlib.colors import CSS4_COLORS

from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import Clause, Thing, Verb
from jepaflow.subgoals.language.grammar import NOUNS, SYNONYMS

COLOURS = tuple(PALETTE)
KINDS: dict[str, str] = {
    **{name.split()[-1]: kind for kind, names in NOUNS.items() for name in names["train"]},
    "disk": "disc",
    "post": "post",
    "wall": "wall",
}
"""what a noun means"""
BUNCHES = ("both", "all", "every", "each")
DETERMINERS = ("the", "a", "an", "this", "that", "any", *BUNCHES)
SIZES = ("little", "small")
PREPOSITIONS = ("in", "into", "inside", "onto", "on", "to", "over", "at", "off", "from", "up", "along")
"""words with which the place of a part begins"""
CARRIED = ("cube", "ball")
"""kinds that can be put, pushed and lifted"""
POLITE = r"(?:please|could you|can you|now|i want you to|you should|also)"


def any_of(*words: str) -> str:
    """Pattern of one of some words, the longest first."""
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


NOUN = any_of(*KINDS, *(f"{noun}s" for noun in KINDS), "boxes")
COLOUR = any_of(*COLOURS)
NAMED = rf"(?:{any_of(*DETERMINERS)} )*(?:{any_of(*SIZES)} )?(?:{COLOUR} )?{NOUN}"
"""a thing as it is named"""

_PUT = any_of(*SYNONYMS["put"]["train"], "get", "carry", "stack")
_TAKE = any_of("pick up", "take", "grab", "get", "find", "lift", "go to")
_LIFT = any_of(*SYNONYMS["lift"]["train"], "hold up")
_IN = any_of("in", "into", "inside", "to", "over to", "on", "onto", "on top of")
_HAND = any_of("gripper", "fingertips", "hand", "arm")
_GOES = any_of("belongs", "goes", "should be", "should go", "needs to go", "must go", "has to go")
_OBJECT, _PLACE = rf"(?P<object>{NAMED})", rf"(?P<place>{NAMED})"
_CUBES = rf"(?:(?:the|all|all the) )?(?:{COLOUR} (?:(?:and|&) )?(?:the )?)*(?:cubes|blocks)"
_OWN_BIN = (
    rf"(?:(?:in|into) the {any_of('bin', 'bins', 'box', 'boxes')} )?(?:by colou?r|of (?:its|their) colou?r|that match)"
)

PATTERNS: tuple[tuple[Verb, str], ...] = (
    ("sort", rf"(?:{any_of(*SYNONYMS['sort']['train'])}|tidy up) {_CUBES} {_OWN_BIN}"),
    ("sort", rf"sort {_CUBES}"),
    ("sort", rf"put (?:every|each) (?:cube|block) {_OWN_BIN}"),
    ("push", rf"move {_OBJECT} {_IN} {_PLACE} without lifting it"),
    (
        "push",
        rf"{any_of(*SYNONYMS['push']['train'])} {_OBJECT}(?: along the table)? {_IN} {_PLACE}(?: without lifting it)?",
    ),
    ("put", rf"{_PUT} {_OBJECT} {_IN} {_PLACE}"),
    ("put", rf"{_PUT} {_IN} {_PLACE} {_OBJECT}"),
    ("put", rf"{_TAKE} {_OBJECT} and {_PUT} it {_IN} {_PLACE}"),
    ("put", rf"{_OBJECT} (?:{_GOES} )?{_IN} {_PLACE}"),
    ("reach", rf"(?:move|bring) the {_HAND} to {_OBJECT}"),
    ("reach", rf"{any_of(*SYNONYMS['reach']['train'], 'reach for', 'go to')} {_OBJECT}"),
    ("lift", rf"{_LIFT} {_OBJECT}(?: up)?(?: off the table)?"),
    ("lift", rf"pick {_OBJECT} up"),
    ("lift", rf"(?:grab|take|pick up) {_OBJECT} and (?:hold|lift) it(?: up)?"),
)
"""tried in turn; each must match all words"""


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return re.findall(r"\w+", text.lower())


def thing(text: str) -> Thing | None:
    """Read a thing ("the red cube"); None where there is more or less than one."""
    said = " ".join(words(text))
    if not re.fullmatch(NAMED, said):
        return None
    colour = next((word for word in said.split() if word in COLOURS), "")
    return Thing(colour, KINDS[singular(said.split()[-1])])


def singular(noun: str) -> str:
    """A noun of the lexicon without its plural's ending; other words as they are."""
    for ending in ("s", "es"):
        if noun not in KINDS and noun.removesuffix(ending) in KINDS:
            return noun.removesuffix(ending)
    return noun


def literal(part: str) -> Clause | None:
    """Read one atomic request in plain wording; None where a word or the whole is not understood."""
    said = " ".join(words(part))
    while said != (less := re.sub(rf"^{POLITE} | {POLITE}$", "", said)):
        said = less
    for verb, pattern in PATTERNS:
        if found := re.fullmatch(pattern, said):
            return _clause(verb, found.groupdict())
    return None


def _clause(verb: Verb, named: dict[str, str]) -> Clause | None:
    """A clause of what a pattern found, if it makes sense."""
    if verb == "sort":
        return Clause("sort", Thing("", "cube"))
    what, where = thing(named["object"]), thing(named["place"]) if "place" in named else None
    if what is None or (verb != "reach" and what.kind not in CARRIED):
        return None
    if verb in ("put", "push") and (where is None or where.kind not in ("bin", "cube", "disc") or where == what):
        return None
    if where is not None and where.kind == "disc":
        verb = "push"  # whatever the word: it shall lie there, and things are pushed onto discs
    return Clause(verb, what, where)


def foreign_colours(part: str) -> tuple[str, ...]:
    """Return the words of a part that name a colour which nothing here has, by the web's list of colour names (CSS 4), or are made of
    one ("golden", "reddish")."""
    own = {*KINDS, *COLOURS, *PREPOSITIONS, *DETERMINERS}
    names = {name for name in CSS4_COLORS if name not in COLOURS}
    found = []
    for word in words(part):
        stem = re.sub("(?:en|ish|y|s)$", "", word)
        if singular(word) not in own and (
            {word, stem} & names or (word.endswith("ish") and stem.removesuffix("d") in COLOURS)
        ):
            found.append(word)
    return tuple(dict.fromkeys(found))


def unknown(part: str) -> tuple[str, ...]:
    """Words of a part that no plain wording has."""
    known = {*KINDS, *COLOURS, *DETERMINERS, *SIZES, *PREPOSITIONS, "one", "it", "and", "there", "top", "of"}
    known |= {"color", "colour", *words(" ".join(pattern for _, pattern in PATTERNS) + POLITE)}
    return tuple(dict.fromkeys(word for word in words(part) if singular(word) not in known))
