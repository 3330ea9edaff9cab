"""From a sentence and a look at the desk to a request that can be planned, or to one clear sentence why not.

`request.parse` reads words and knows nothing of the desk. Here what was read meets what the seer sees and has learned: a thing
that is not there, a name that may mean two things, a deed that no recording shows are refused, each with what is understood and
what lies there. "Sort the cubes" becomes one clause for each colour that has a bin.
"""

from collections.abc import Sequence
from dataclasses import replace

from jepaflow.subgoals.language.automaton import MOST
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.request import Ground, Refusal, Request, parse
from jepaflow.subgoals.language.seeing import Seer


def understand(
    sentence: str, reader: Ground | None, seer: Seer, there: Sequence[Thing], before: Request | None = None
) -> Request | Refusal:
    """Read a sentence before a desk.

    Args:
        sentence: what was said.
        reader: meaning of one part of a sentence: the run's (`reading`).
        seer: the run's; what it has not learned to see cannot be done.
        there: what is on the desk (`Seer.there`).
        before: what was asked for before, for "then the blue one".
    """
    if not sentence.strip():
        return _refuse((), "You said nothing.", there)
    read = parse(sentence, reader, there, before)
    if isinstance(read, Refusal):
        return _refuse(read.words, read.why, there)
    read = _sorted_out(read, there)
    if isinstance(read, Refusal):
        return read
    if not read.must:
        return _refuse((), f'There is nothing to do in "{sentence.strip()}".', there)
    if missing := read.missing(there):
        return _refuse(_words(missing), f"There is no {listed(missing, 'and no', plain=True)} here.", there)
    for one in read.unclear(there):
        which = [other for other in dict.fromkeys(there) if other.kind == one.kind]
        return _refuse(_words((one,)), f"{str(one).capitalize()} may be {listed(which, 'or')}. Say which.", there)
    return _seen(read, seer, there)


def _seen(request: Request, seer: Seer, there: Sequence[Thing]) -> Request | Refusal:
    """Refuse what no recording shows."""
    for clause in (*request.must, *(one for one in request.avoid if isinstance(one, Clause))):
        known = clause.where is not None and seer.rows(clause.object) and seer.columns(clause.where)
        if not known:
            return _refuse(tuple(str(clause).split()), f'I have not learned to "{clause}".', there)
    for one in request.avoid:
        if isinstance(one, Thing) and not (seer.rows(one) or seer.columns(one)):
            return _refuse(_words((one,)), f"I have not learned to keep away from {one}.", there)
    return request


def _sorted_out(request: Request, there: Sequence[Thing]) -> Request | Refusal:
    """Replace sorting by one clause for each colour."""
    if all(clause.verb != "sort" for clause in request.must):
        return request
    if len(request.must) > 1:
        return _refuse(("sort",), "I sort, or I do something else; not both in one sentence.", there)
    kind = request.must[0].object.kind
    pairs = [
        Clause("put", thing, Thing(thing.colour, "bin"))
        for thing in dict.fromkeys(there)
        if thing.kind == kind and Thing(thing.colour, "bin") in there
    ]
    if not pairs:
        return _refuse(("sort",), f"No {kind} here has a bin of its colour.", there)
    if len(pairs) > MOST:
        return _refuse(("sort",), f"These are {len(pairs)} colours; I can plan {MOST} at a time.", there)
    return replace(request, must=tuple(pairs), order=())


def listed(things: Sequence[Thing], link: str = "and", plain: bool = False) -> str:
    """Name things: "the red cube, the blue cube and the bin"; without articles if `plain`."""
    words = [" ".join(filter(None, thing)) if plain else str(thing) for thing in dict.fromkeys(things)]
    return f"{', '.join(words[:-1])} {link} {words[-1]}" if len(words) > 1 else "".join(words)


def _refuse(words: tuple[str, ...], why: str, there: Sequence[Thing]) -> Refusal:
    """Say why, what is there, and what would be understood."""
    cubes = [thing for thing in there if thing.kind == "cube"]
    places = [thing for thing in there if thing.kind in ("bin", "disc")]
    sees = f" I see {listed(there)}." if there else " I see nothing that I know."
    example = ""
    if cubes and places:
        example = f' Say for instance "{Clause("put" if places[0].kind == "bin" else "push", cubes[0], places[0])}".'
    return Refusal(words, why + sees + example)


def _words(things: Sequence[Thing]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for thing in things for word in thing if word))
