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

from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.ellipsis import Refused, complete, has_thing, refers
from jepaflow.subgoals.language.lexicon import COLOURS, KINDS, NAMED, any_of, thing

Link = Literal["and", "then", "earlier", "not"]

SPOILS = any_of("touch", "hit", "move", "bump into", "knock over", "disturb", "go near", "brush against", "use")
SPOILING = any_of(
    "touching",
    "hitting",
    "moving",
    "bumping into",
    "knocking over",
    "disturbing",
    "going near",
    "brushing against",
    "using",
)
NEVER = r"(?:do not|never|must not|should not|may not)(?: ever)?"
LIST = rf"{NAMED}(?:(?: ,)?(?: and| or| nor|) {NAMED})*"
AVOIDED = (
    (rf"without (?:ever )?{SPOILING}", False),
    (rf"avoid(?:ing)?(?: {SPOILING})?", False),
    (r"(?:stay|staying|keep|keeping) (?:away from|clear of|off)", False),
    (rf"{NEVER} {SPOILS}", True),
)
"""what comes before the things to avoid, and whether "and" after them could belong to it"""
LINKS: tuple[tuple[Link, str], ...] = (
    ("not", r"(?: ,)? (?:but|and) not "),
    ("earlier", r"(?: [,;])?(?: but| and)? (?:before that|before this|beforehand|but first)(?: ,)? "),
    (
        "then",
        r"(?: [,;])?(?: and| but)? (?:only then|then|next(?! to)|afterwards|after that|after this|finally|lastly)(?: ,)? ",
    ),
    ("earlier", r"(?: ,)?(?: but| only)? after "),
    ("then", r"(?: ,)?(?: but)? before "),
    ("and", r" ; (?:and |but )?| ,(?: and| but|) | as well as | and | but "),
)
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


def split(sentence: str, things: Sequence[Thing] = ()) -> list[Part]:
    """Cut a sentence into atomic parts.

    Args:
        sentence: what was said.
        things: what is on the desk, for "both cubes" and "every cube".

    Raises:
        Refused: what was not understood, in its words.
    """
    text = plain(sentence)
    if not text:
        raise Refused((), "Nothing was said.")
    if text.endswith((" and", " then", " but")):
        raise Refused((text.split()[-1],), f'Something is missing after "{text.split()[-1]}".')
    text, avoided = _avoided(text, things)
    parts = [Part(name, True) for name in avoided]
    if text:
        parts += _ordered(_fronted(text), things)
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


def _avoided(text: str, things: Sequence[Thing]) -> tuple[str, list[str]]:
    """Take out what must not happen; what is left, and the things or deeds to avoid."""
    found: list[str] = []
    for trigger, ambiguous in AVOIDED:
        whole = rf"(?:^|(?: [,;])?(?: but| and| while)? )(?:{trigger}) "
        while match := re.search(whole + "(?!it$|it )", text):
            text = _others(text, match.end(), text[: match.start()], things)
            listed = re.match(LIST + r"(?= |$)", text[match.end() :])
            if listed is None:
                words = re.split(r" [,;] | then ", text[match.end() :])[0]
                raise Refused(tuple(words.split()), f"I do not know what to keep away from: {words!r}.")
            found += [f"the {name}" if not name.startswith("the ") else name for name in _names(listed.group())]
            text = _joined(text[: match.start()], text[match.end() + listed.end() :], ambiguous)
    while match := re.search(rf"(?:^|(?: [,;])?(?: but| and)? ){NEVER} (.+?)(?=$| [,;] | but | then )", text):
        if re.search(r" (?:and|or) ", match.group(1)) and not refers(match.group(1)):
            raise Refused(
                ("not", "and"), f'"{match.group().strip(" ,;")}" can be read in two ways. Say one thing at a time.'
            )
        found.append(match.group(1))
        text = _joined(text[: match.start()], text[match.end() :], False)
    return text.strip(" ,;"), found


def _others(text: str, at: int, named: str, things: Sequence[Thing]) -> str:
    """Name "the blue one" and "the other cubes", said at a place in the text, by what was named before."""
    rest = text[at:]
    if match := re.match(rf"(?:the )?({any_of(*COLOURS)}) ones?\b", rest):
        kinds = {thing(name).kind for name in re.findall(NAMED, named)}  # type: ignore[union-attr]
        if len(kinds) != 1:
            raise Refused(
                tuple(match.group().split()),
                f'I do not know what "{match.group()}" is. Say "cube", "ball" or the like.',
            )
        return f"{text[:at]}the {match.group(1)} {kinds.pop()}{rest[match.end() :]}"
    if match := re.match(r"(?:any |the )?other (cube|block|bin|ball)s?\b", rest):
        kind = KINDS[match.group(1)]
        mentioned = [thing(name) for name in re.findall(NAMED, text[:at] + rest[match.end() :])]
        others = [one for one in dict.fromkeys(things) if one.kind == kind and one not in mentioned]
        if not others:
            raise Refused(tuple(match.group().split()), f'I see none that is meant by "{match.group()}". Name them.')
        return text[:at] + " and ".join(str(one) for one in others) + rest[match.end() :]
    return text


def _names(listed: str) -> list[str]:
    return re.findall(NAMED, listed)


def _joined(before: str, after: str, ambiguous: bool) -> str:
    """Close the gap that something to avoid leaves."""
    going = after.strip()
    if ambiguous and re.match(r"(?:and|or) ", going):
        raise Refused(
            ("not", "and"), 'What comes after "not … and" can be read in two ways. Put a comma, or say it first.'
        )
    if going and not re.match(r"[,;]|(?:and|but|then|before|after|afterwards|finally|next) ?", going):
        raise Refused(tuple(going.split()), f"I do not know what {going!r} belongs to. Say what to avoid at the end.")
    if not before.strip(" ,;"):
        return re.sub(r"^(?:[,;] )?(?:and |but )?(?:then )?", "", going)
    return f"{before} {going}".strip()


def _fronted(text: str) -> str:
    """Bring "after A, B" and "before B, A" into the order of their words' cousins."""
    if match := re.match(r"(after|before) (.+?) , (.+)$", text):
        which, one, other = match.groups()
        if which == "before" and re.search(r" (?:then|before|after) ", other):
            raise Refused(
                ("before",), 'More than one "before" or "then" can be read in two ways. Say what comes first.'
            )
        return f"{one} then {other}" if which == "after" else f"{other} before {one}"
    return re.sub(r"^(?:first|then|next|now|after that)(?: ,)? ", "", text)


def _ordered(text: str, things: Sequence[Thing]) -> list[Part]:
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
            fronted = fronted or pieces[k].after == "that"
        else:
            stages[here].append(k)
    completed = complete([piece.text for piece in pieces], things)
    stage_of = {k: stage for stage, members in enumerate(stages) for k in members}
    avoid = [False, *(link == "not" for link in links)]
    return [Part(said, avoid[k], 0 if avoid[k] else stage_of[k]) for k, texts in enumerate(completed) for said in texts]


@dataclass(frozen=True)
class _Piece:
    text: str
    after: str = ""
    """"deed" where it follows "after" or "before", which take a noun or "-ing"; "that" after "before that" """
    joint: str = ""
    """what was said between it and the piece before"""


def _pieces(text: str) -> tuple[list[_Piece], list[Link]]:
    """Cut at the links, the first that matches at each place."""
    text = _protected(text)
    pieces, links, rest, after, joint = list[_Piece](), list[Link](), text, "", ""
    while True:
        found = [
            (match.start(), rank, match)
            for rank, (_, pattern) in enumerate(LINKS)
            if (match := re.search(pattern, rest))
        ]
        if not found:
            break
        _, rank, match = min(found, key=lambda one: one[:2])
        pieces.append(_Piece(rest[: match.start()], after, joint))
        links.append(LINKS[rank][0])
        after = {1: "that", 3: "deed", 4: "deed"}.get(
            rank, "listed" if after in ("deed", "listed") and rank == 5 else ""
        )
        rest, joint = rest[match.end() :], match.group()
    pieces.append(_Piece(rest, after, joint))
    if any(not piece.text.strip(" ,;") for piece in pieces):
        raise Refused(tuple(text.split()), f'{text!r} lacks something before or after a link such as "and" or "then".')
    pieces = [replace(piece, text=_imperative(piece, k).replace(" & ", " and ")) for k, piece in enumerate(pieces)]
    return _said_first(pieces, links)


def _protected(text: str) -> str:
    """Hide each "and" that joins no requests."""
    sorting = r"(?:sort|separate|arrange|tidy up) [^,;]*?colou?r"
    return re.sub(
        sorting, lambda match: match.group().replace(" and ", " & "), re.sub(r"\bboth (?=the .* and )", "", text)
    )


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


def _imperative(piece: _Piece, place: int) -> str:
    """Turn "putting the cube …" and "you have put the cube …" after "before" and "after" into an order."""
    text = piece.text.strip(" ,;")
    if piece.after in ("deed", "listed"):
        text = re.sub(r"^(?:you have |you've |you |having )", "", text)
    first, _, rest = text.partition(" ")
    base = GERUNDS.get(first)
    if base is None:
        if piece.after == "listed" and not has_thing(first):
            raise Refused(
                (first,), f'"{text}" can be read in two ways after "before" or "after". Say what comes first.'
            )
        return text
    return f"{base} {rest}"


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
