"""A sentence cut into atomic parts, their order, and what is to be avoided: a small explicit grammar, because sentence encoders do
not see these words ("go to" and "do not go to" are as near as paraphrases, reference section 9).

Order: "A, then B", "first A, then B", "A before B" and "B after A" give A before B; so do "B, but before that A" and "before B, A". "A
and B" gives none. Avoidance: "without touching X", "avoid X", "stay away from X", "do not …", "… but not X"; it holds from the first
step to the last, wherever it was said. What a part leaves out is taken over from its neighbours in words ("the green one in the white
bin"), so that each part is a sentence of its own. What could be read in two ways is refused, and so is each word of logic that the
grammar does not know; a part that it left whole may be worded in any way.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jepaflow.subgoals.language.avoiding import avoided
from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.ellipsis import Refused, complete, has_thing, refers

Link = Literal["and", "then", "earlier", "not"]

Follows = Literal["", "deed", "order"]
"""what follows a link: anything; a noun or an "-ing" (and with it a list of such); an order that comes first"""
LINKS: tuple[tuple[Link, Follows, str], ...] = (
    ("not", "", r"(?: ,)? (?:but|and) not "),
    ("earlier", "order", r"(?: [,;])?(?: but| and)? (?:before that|before this|beforehand|but first)(?: ,)? "),
    ("then", "", r"(?: [,;])?(?: and| but)? (?:only then|then|next(?! to)|after (?:that|this))(?: ,)? "),
    ("then", "", r"(?: [,;])?(?: and| but)? (?:afterwards|finally|lastly)(?: ,)? "),
    ("earlier", "deed", r"(?: ,)?(?: but| only)? after "),
    ("then", "deed", r"(?: ,)?(?: but)? before "),
    ("and", "", r" ; (?:and |but )?| ,(?: and| but|) | as well as | and | but "),
)
"""tried in turn where they begin at one place"""
LOGIC = (
    "or", "if", "unless", "either", "neither", "nor", "except", "while", "twice", "times", "again", "instead", "only", "not",
    "never", "nothing", "avoid", "first", "before", "after", "then", "them", "whichever", "cannot", "but", "nowhere", "none", "otherwise",
)  # fmt: skip
"""words that change a meaning; where they remain in a part, it was not understood"""


@dataclass(frozen=True)
class Part:
    """One atomic request, in words."""

    text: str
    avoid: bool = False
    stage: int = 0
    """parts of a lower stage come first; those of one stage in any order"""


def split(sentence: str, things: Sequence[Thing] = (), before: str = "") -> list[Part]:
    """Cut a sentence into atomic parts.

    Args:
        sentence: what was said.
        things: what is on the desk, for "both cubes" and "every cube".
        before: the last part of the sentence before, complete, for "now the blue one".

    Raises:
        Refused: what was not understood, in its words.
    """
    text = plain(sentence)
    if not text:
        raise Refused((), "Nothing was said.")
    if text.endswith((" and", " then", " but")):
        raise Refused((text.split()[-1],), f'Something is missing after "{text.split()[-1]}".')
    text, never = avoided(text, things)
    parts = [Part(name, True) for name in never]
    if text:
        parts += _ordered(_fronted(text), things, before)
    for part in parts:
        _require_no_logic(part.text)
    return parts


def plain(sentence: str) -> str:
    """Lower case, one space between words, commas and ends of sentences as words of their own, no contractions."""
    text = sentence.lower().replace("’", "'").replace("&", " and ")
    text = re.sub(r"\b(do|must|should|can)n'?t\b", r"\1 not", text)
    text = re.sub(r"\btidy up ?:", "put", text).replace(":", " ")
    text = " ".join(re.findall(r"[\w'-]+|[,;.!?]", text))
    text = re.sub(r"[;.!?]( [,;.!?])*", ";", text)
    return text.strip(" ,;")


def _fronted(text: str) -> str:
    """Bring "after A, B" and "before B, A" into the order of their words' cousins."""
    if match := re.match(r"(after|before) (.+?) , (.+)$", text):
        which, one, other = match.groups()
        if which == "before" and re.search(r" (?:then|before|after) ", other):
            raise Refused(
                ("before",), 'More than one "before" or "then" can be read in two ways. Say what comes first.'
            )
        return f"{one} then {other}" if which == "after" else f"{other} before {one}"
    return re.sub(r"^(?:first|then|next|after that)(?: ,)? ", "", text)


def _ordered(text: str, things: Sequence[Thing], before: str) -> list[Part]:
    """Cut at the links, complete each piece, and number the stages."""
    pieces, links = _pieces(text)
    pieces, links = _merged(pieces, links)
    stages: list[list[int]] = [[0]]
    main = here = 0
    fronted = False
    for k, link in enumerate(links, 1):
        if link == "then" and fronted:
            raise Refused(("then",), '"Before that" and "then" together can be read in two ways. Say what comes first.')
        if link == "then":
            main = here = main + 1
            stages.insert(here, [k])
        elif link == "earlier":
            stages.insert(main, [k])
            here, main = main, main + 1
            fronted = fronted or pieces[k].follows == "order"
        else:
            stages[here].append(k)
    completed = complete([piece.text for piece in pieces], things, before)
    stage_of = {k: stage for stage, members in enumerate(stages) for k in members}
    avoid = [False, *(link == "not" for link in links)]
    return [Part(said, avoid[k], 0 if avoid[k] else stage_of[k]) for k, texts in enumerate(completed) for said in texts]


@dataclass(frozen=True)
class _Piece:
    text: str
    follows: Follows = ""
    listed: bool = False
    """in a list that began with such a piece"""
    joint: str = ""
    """what was said between it and the piece before"""


def _pieces(text: str) -> tuple[list[_Piece], list[Link]]:
    """Cut at the links, the first that matches at each place."""
    pieces, links, rest, piece = list[_Piece](), list[Link](), _protected(text), _Piece("")
    while found := [
        (match.start(), rank, match)
        for rank, (_, _, pattern) in enumerate(LINKS)
        if (match := re.search(pattern, rest))
    ]:
        _, rank, match = min(found, key=lambda one: one[:2])
        link, follows, _ = LINKS[rank]
        pieces.append(replace(piece, text=rest[: match.start()]))
        links.append(link)
        listed = link == "and" and piece.follows == "deed"
        piece = _Piece("", piece.follows if listed else follows, listed, match.group())
        rest = rest[match.end() :]
    pieces.append(replace(piece, text=rest))
    if any(not piece.text.strip(" ,;") for piece in pieces):
        raise Refused(tuple(text.split()), f'{text!r} lacks something before or after a link such as "and" or "then".')
    pieces = [replace(piece, text=_imperative(piece).replace(" & ", " and ")) for piece in pieces]
    return _said_first(pieces, links)


def _protected(text: str) -> str:
    """Hide each "and" that joins no requests."""
    text = re.sub(r"\bboth (?=the .* and )", "", text)
    sorting = r"(?:sort|separate|arrange|tidy up) [^,;]*?colou?r"
    return re.sub(sorting, lambda match: match.group().replace(" and ", " & "), text)


def _said_first(pieces: list[_Piece], links: list[Link]) -> tuple[list[_Piece], list[Link]]:
    """Read "A first, then B" and "B, but A first"."""
    pieces, links = list(pieces), list(links)
    for k, piece in enumerate(pieces):
        said = re.sub(r"^first(?: ,)? | first$", "", piece.text)
        if said == piece.text:
            continue
        followed = k < len(links) and links[k] == "then"
        if piece.text.endswith(" first") and k == 1 and len(pieces) == 2 and links[0] == "and":
            links[0] = "earlier"
        elif not followed and len(pieces) > 1:
            raise Refused(("first",), '"First" needs a "then". Say what comes after it.')
        pieces[k] = replace(piece, text=said)
    return pieces, links


def _imperative(piece: _Piece) -> str:
    """Turn "putting the cube …" and "you have put the cube …" after "before" and "after" into an order."""
    text = piece.text.strip(" ,;")
    if piece.follows == "deed":
        text = re.sub(r"^(?:you have |you've |you |having )", "", text)
    first, _, rest = text.partition(" ")
    if first in GERUNDS:
        return f"{GERUNDS[first]} {rest}"
    if piece.listed and not has_thing(first):
        why = f'"{text}" can be read in two ways after "before" or "after". Say what comes first.'
        raise Refused((first,), why)
    return text


GERUNDS = {
    "putting": "put", "placing": "place", "dropping": "drop", "moving": "move", "setting": "set", "bringing": "bring",
    "pushing": "push", "sliding": "slide", "shoving": "shove", "touching": "touch", "reaching": "reach", "lifting": "lift",
    "raising": "raise", "picking": "pick", "sorting": "sort", "stowing": "stow", "stacking": "stack", "taking": "take",
}  # fmt: skip
"""as they follow "before" and "after" """


def _merged(pieces: list[_Piece], links: list[Link]) -> tuple[list[_Piece], list[Link]]:
    """Put together what was one request: "pick up the cube and place it …", "go ahead and …"."""
    kept, left = [pieces[0]], list[Link]()
    for piece, link in zip(pieces[1:], links, strict=True):
        before = kept[-1]
        if link == "and" and (refers(piece.text) or not has_thing(before.text)):
            kept[-1] = replace(before, text=f"{before.text}{piece.joint}{piece.text}")
        else:
            kept.append(piece)
            left.append(link)
    return kept, left


def _require_no_logic(text: str) -> None:
    """Refuse words of logic that no rule took out."""
    said = re.sub(r"without \w+ it\b", "", text).split()
    found = [word for word in said if word in LOGIC or (word == "no" and "outside" not in said)]
    if found or "without" in said:
        words = tuple(found) or ("without",)
        raise Refused(words, f'I do not understand "{words[0]}" in "{text}".')
