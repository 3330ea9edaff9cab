"""What a sentence says must not happen: "without touching X", "avoid X", "stay away from X", "do not …".

It is taken out of the text before anything else is read, and holds from the first step to the last, wherever it was said. An "and" that may
or may not belong to a "not" is refused, not guessed.
"""

import re
from collections.abc import Sequence

from jepaflow.subgoals.language.clause import Thing
from jepaflow.subgoals.language.ellipsis import Refused, refers
from jepaflow.subgoals.language.lexicon import COLOURS, KINDS, NAMED, any_of, thing

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
JOINT = r"(?: ,)?(?: and| or| nor|) "
"""between two things to avoid"""
NEW = r" (?:[,;]|(?:and|but|then|before|after|afterwards|finally|next) )"
"""what may come after them"""
AVOIDED = (
    (rf"without (?:ever )?{SPOILING}", False),
    (rf"avoid(?:ing)?(?: {SPOILING})?", False),
    (r"(?:stay|staying|keep|keeping) (?:away from|clear of|off)", False),
    (rf"{NEVER} {SPOILS}", True),
)
"""what comes before the things to avoid, and whether "and" after them could belong to it"""


def avoided(text: str, things: Sequence[Thing]) -> tuple[str, list[str]]:
    """Take out of a plain text what must not happen.

    Args:
        text: as `splitting.plain` gives it.
        things: what is on the desk, for "the other cubes".

    Returns:
        What is left, and the things or deeds to avoid, in words.

    Raises:
        Refused: what was not understood, or can be read in two ways.
    """
    found: list[str] = []
    for trigger, ambiguous in AVOIDED:
        whole = rf"(?:^|(?: [,;])?(?: but| and| while)? )(?:{trigger}) "
        while match := re.search(whole + "(?!it$|it )", text):
            text = _others(text, match.end(), text[: match.start()], things)
            listed, behind = _list(text[match.end() :])
            found += listed
            text = _joined(text[: match.start()], behind, ambiguous)
    while match := re.search(rf"(?:^|(?: [,;])?(?: but| and)? ){NEVER} (.+?)(?=$| [,;] | but | then )", text):
        if re.search(r" (?:and|or) ", match.group(1)) and not refers(match.group(1)):
            raise Refused(
                ("not", "and"), f'"{match.group().strip(" ,;")}" can be read in two ways. Say one thing at a time.'
            )
        found.append(match.group(1))
        text = _joined(text[: match.start()], text[match.end() :], False)
    return text.strip(" ,;"), found


def _list(text: str) -> tuple[list[str], str]:
    """The things that a text begins with, and what is left: as many as let the rest begin something new."""
    ends, at = list[int](), 0
    while item := re.match(rf"{JOINT if ends else ''}{NAMED}(?= |$)", text[at:]):
        at += item.end()
        ends.append(at)
    if not ends:
        words = re.split(r" [,;] | then ", text)[0]
        raise Refused(tuple(words.split()), f"I do not know what to keep away from: {words!r}.")
    end = next((end for end in reversed(ends) if re.match(rf"$|{NEW}", text[end:])), ends[-1])
    return re.findall(NAMED, text[:end]), text[end:]


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


def _joined(before: str, after: str, ambiguous: bool) -> str:
    """Close the gap that something to avoid leaves."""
    going = after.strip()
    if ambiguous and re.match(r"(?:and|or) ", going):
        raise Refused(
            ("not", "and"), 'What comes after "not … and" can be read in two ways. Put a comma, or say it first.'
        )
    if going and not re.match(NEW, after):
        raise Refused(tuple(going.split()), f"I do not know what {going!r} belongs to. Say what to avoid at the end.")
    if not before.strip(" ,;"):
        return re.sub(r"^(?:[,;] )?(?:and |but )?(?:then )?", "", going)
    return f"{before} {going}".strip()
