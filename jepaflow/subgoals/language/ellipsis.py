"""What a part of a sentence leaves out, taken over from its neighbours, in words.

"Put the red cube in the blue bin, then the green one in the white one" has one verb and two nouns for two requests. Each piece is
read as verb, object and place by the words that begin them; what is missing comes from the piece before, or, within a list, from the
one behind ("the red and the blue cube in the white bin"). A piece that lacks nothing is left as it was said.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.grammar import SYNONYMS
from jepaflow.subgoals.language.lexicon import (
    BUNCHES,
    COLOUR,
    COLOURS,
    DETERMINERS,
    KINDS,
    POLITE,
    PREPOSITIONS,
    SIZES,
    singular,
)

PRONOUNS = ("it", "that", "this")
ONES = ("one", "ones")
BEGINS = (*DETERMINERS, *COLOURS, *SIZES, *ONES, *PRONOUNS)
"""words that a thing begins with"""
STATES = (
    "belongs", "belong", "goes", "go", "should", "needs", "must", "has", "is", "are", "gets", "lives", "live", "where", "want",
)  # fmt: skip
"""words of statements; these are left as they are"""
TO_A_PLACE = (*SYNONYMS["put"]["train"], *SYNONYMS["push"]["train"], "stack", "carry", "get")
"""verbs that need a place"""
PLACELESS = (*SYNONYMS["reach"]["train"], *SYNONYMS["lift"]["train"], "reach for", "go to", "grab", "pick")
"""verbs that have none"""
BOUND = ("its", "their", "own", "like", "match", "colour", "color")
"""words that tie several things to places of their own: such a piece is one request"""

EMPTY = rf"^also | (?:too|also|as well)$|^(?:{POLITE} )+(?=(?:the|{COLOUR}) )"
"""words that add nothing to a piece that leaves something out"""


class Refused(JepaflowError):
    """What was not understood.

    Args:
        words: those that were not.
        why: a sentence.
    """

    def __init__(self, words: tuple[str, ...], why: str) -> None:
        super().__init__(why)
        self.words = words


@dataclass(frozen=True)
class _Said:
    """A piece by its parts, each a phrase."""

    verb: tuple[str, ...]
    object: tuple[str, ...]
    place: tuple[str, ...]
    whole: bool = False
    """a statement, or a shape that is not ours: to be left as it is"""

    @property
    def text(self) -> str:
        return " ".join((*self.verb, *self.object, *self.place))


def refers(text: str) -> bool:
    """Whether a piece is about "it", and so may belong to the piece before."""
    return re.search(r"\b(?:it|its|their)\b(?! (?:is|that)\b)", text) is not None


def has_thing(text: str) -> bool:
    """Whether a piece names something."""
    return any(word in BEGINS or singular(word) in KINDS for word in text.split())


def complete(pieces: Sequence[str], things: Sequence[Thing], before: str = "") -> list[list[str]]:
    """Complete every piece to a request of its own; several where it speaks of several things.

    Args:
        pieces: in the order of the sentence.
        things: what is on the desk.
        before: the last part of what was said earlier, complete.

    Raises:
        Refused: something is missing that no neighbour has.
    """
    said = [_read(re.sub(EMPTY, "", piece)) for piece in pieces]
    last = _heard(_read(before)) if before else None
    done = []
    for k, piece in enumerate(said):
        behind = _behind(said[k + 1 :])
        if not piece.whole:
            piece = _with_place(_with_object(_with_verb(piece, last), last, behind), last, behind, not said[k].verb)
        done.append([one.text for one in _each(piece, things)])
        last = _heard(piece)
    return done


def _read(piece: str) -> _Said:
    """Part a piece at the first word of a thing and at the first preposition after it."""
    words = tuple(piece.split())
    start = next((i for i, word in enumerate(words) if word in BEGINS or singular(word) in KINDS), len(words))
    verb, rest = words[:start], words[start:]
    end = next((i for i, word in enumerate(rest) if word in PREPOSITIONS), len(rest))
    odd = not rest or any(word in PREPOSITIONS and word not in ("up", "to") for word in verb)
    statement = any(word in STATES for word in (verb[1:] if verb[:2] == ("go", "to") else words))
    statement = statement or (not verb and any(word not in BEGINS for word in rest[:end][:-1]))
    bound = bool({"and", "without", "of", *BOUND} & set(words))
    return _Said(verb, rest[:end], rest[end:], odd or statement or bound)


def _behind(said: Sequence[_Said]) -> _Said | None:
    """The pieces behind as far as they have no verb: the first place and the first noun among them."""
    following = list(takewhile(lambda other: not other.verb and not other.whole, said))
    if not following:
        return None
    place = next((other.place for other in following if other.place), ())
    return _Said((), next((other.object for other in following if _called(other.object)), ()), place)


def _heard(piece: _Said) -> _Said:
    """What later pieces may take over: in "pick up the cube and place it in the bin" the verb is "place"."""
    text = piece.text.removesuffix(" without lifting it")
    if match := re.match(r"(.+?) and (?:(\w+(?: \w+)?) it ((?:in|into|inside|onto|on|to) .+)|.* it .*)$", text):
        first = _read(match.group(1))
        if match.group(2) is None:
            return first
        return _Said(tuple(match.group(2).split()), first.object, tuple(match.group(3).split()))
    if match := re.match(r"(.+?) (?:is|belongs?|goes|should be|should go|needs to go|must go) (.+)$", text):
        return _Said(("put",), _read(match.group(1)).object, tuple(match.group(2).split()))
    again = _read(text)
    return again if not again.whole else _Said((), (), ())


def _with_verb(piece: _Said, last: _Said | None) -> _Said:
    if piece.verb:
        return piece
    if last is not None and last.verb and (last.place or not piece.place or " ".join(last.verb) in PLACELESS):
        return replace(piece, verb=last.verb)
    if piece.place and piece.object:
        return replace(piece, verb=("put",))
    raise Refused(tuple(piece.text.split()), f'"{piece.text}" does not say what to do with it.')


def _with_object(piece: _Said, last: _Said | None, behind: _Said | None) -> _Said:
    """Replace "it", "the green one" and "the red" by what they stand for."""
    known = last.object if last is not None else ()
    words = piece.object
    if len(words) == 1 and words[0] in PRONOUNS:
        if not known:
            raise Refused(words, f'I do not know what "{words[0]}" is. Name it.')
        return replace(piece, object=known)
    noun = _noun(words)
    if noun or (words and singular(words[-1]) not in (*ONES, *COLOURS, *BUNCHES)):
        return piece
    taken = (behind is not None and _called(behind.object)) or _called(known)
    if not taken:
        raise Refused(words, f'I do not know what "{" ".join(words)}" is. Say "cube", "ball" or the like.')
    kept = words[:-1] if words[-1] in ONES else words
    return replace(piece, object=(*kept, taken))


def _with_place(piece: _Said, last: _Said | None, behind: _Said | None, elliptical: bool) -> _Said:
    """Take the place over from a list's end or from before, and name "there" and "the white one"."""
    known = last.place if last is not None else ()
    if "there" in (*piece.object, *piece.place):
        if not known:
            raise Refused(("there",), 'I do not know where "there" is. Name the place.')
        return replace(piece, object=tuple(word for word in piece.object if word != "there"), place=known)
    if not _called(piece.object):
        return piece
    if not piece.place and " ".join(piece.verb) not in PLACELESS and behind is not None and behind.place:
        piece = replace(piece, place=behind.place)
    elif not piece.place and (elliptical or piece.verb[0] in TO_A_PLACE):
        piece = replace(piece, place=known)
    if piece.place and piece.place[-1] in ONES:
        noun = _called(known[1:])
        if not noun:
            raise Refused(piece.place, f'I do not know what "{" ".join(piece.place)}" is. Say "bin" or the like.')
        return replace(piece, place=(*piece.place[:-1], noun))
    return piece


def _each(piece: _Said, things: Sequence[Thing]) -> list[_Said]:
    """One piece for each of "both cubes"; "every red cube" is the red cube."""
    words = piece.object
    noun = _noun(words)
    bunch = next((word for word in words if word in BUNCHES), "")
    many = bool(noun) and singular(noun) != noun and not any(word in COLOURS for word in words)
    known = piece.place or " ".join(piece.verb) in (*TO_A_PLACE, *PLACELESS)
    if piece.whole or not known or not noun or not (bunch or many):
        return [piece]
    kind = KINDS[singular(noun)]
    colour = next((word for word in words if word in COLOURS), "")
    if colour:
        return [replace(piece, object=("the", colour, singular(noun)))]
    meant = [thing for thing in dict.fromkeys(things) if thing.kind == kind]
    if not meant or (bunch == "both" and len(meant) != 2):
        seen = ", ".join(str(thing) for thing in meant) or f"no {kind}"
        raise Refused(words, f'I do not know which "{" ".join(words)}" are meant: I see {seen}. Name them.')
    return [replace(piece, object=tuple(f"{thing} ".split()[:-1]) + (singular(noun),)) for thing in meant]


def _noun(words: Sequence[str]) -> str:
    """The noun that a phrase ends in, as it was said; empty where there is none."""
    return words[-1] if words and singular(words[-1]) in KINDS else ""


def _called(words: Sequence[str]) -> str:
    """What a thing is called, in any word: the last, where nothing but article, size and colour stands before it."""
    known = all(word in BEGINS for word in words[:-1])
    return words[-1] if words and known and words[-1] not in (*BEGINS, *PREPOSITIONS) else ""
