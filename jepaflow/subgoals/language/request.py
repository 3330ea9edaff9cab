"""What a whole sentence asks for: clauses to do, their order, and what must not happen; or which of its words were not understood.

`splitting` cuts the sentence by rule; each part is then given its meaning by the learned grounding head, or, where that has none or there
is no head, by `lexicon.literal`. Nothing is guessed: a sentence with one part that nobody understands is refused as a whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

from jepaflow.subgoals.language.automaton import LASTING, MOST, MOVING, Automaton, same_object
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.ellipsis import Refused
from jepaflow.subgoals.language.lexicon import literal, thing, unknown
from jepaflow.subgoals.language.splitting import Part, split

Ground = Callable[[str], Clause | None]
"""The meaning of one atomic request in words; None where it has none"""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    must: tuple[Clause, ...]
    order: tuple[tuple[int, int], ...] = ()
    """pairs (i, j): clause i before clause j"""
    avoid: tuple[Clause | Thing, ...] = ()
    """a thing must not be touched, a clause must not come true, from the first step to the last"""

    @property
    def automaton(self) -> Automaton:
        """What is still to be done, as a walk goes on."""
        return Automaton(self.must, self.order)

    def things(self) -> tuple[Thing, ...]:
        """Everything that is named."""
        named = [item for clause in (*self.must, *self.avoid) for item in _named(clause)]
        return tuple(dict.fromkeys(named))

    def missing(self, there: Sequence[Thing]) -> tuple[Thing, ...]:
        """What is named and not there; a thing without a colour is any of its kind."""
        return tuple(one for one in self.things() if not any(_same(one, other) for other in there))

    def unclear(self, there: Sequence[Thing]) -> tuple[Thing, ...]:
        """What is named and may be several of the things that are there."""
        return tuple(one for one in self.things() if sum(_same(one, other) for other in dict.fromkeys(there)) > 1)

    def __str__(self) -> str:
        """In words: what was understood."""
        said = ""
        for j, clause in enumerate(self.must):
            link = " and " if j and (j - 1, j) not in self.order else ", then "
            said += f"{link if j else ''}{clause}"
        never = " and ".join(f"never touch {one}" if isinstance(one, Thing) else f"never {one}" for one in self.avoid)
        if not self.must:
            return f"nothing to do; {never}" if never else "nothing to do"
        return f"{said}; {never}" if never else said


@dataclass(frozen=True)
class Refusal:
    """Why a sentence was not understood, and which of its words."""

    words: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        """The sentence to answer with."""
        return self.why


def parse(
    sentence: str, ground: Ground | None = None, things: Sequence[Thing] = (), before: Request | None = None
) -> Request | Refusal:
    """Read a sentence.

    Args:
        sentence: what was said.
        ground: meaning of an atomic part, learned; plain wordings are read by rule where it has none.
        things: what is on the desk, for "both cubes" and "every cube".
        before: what was asked for before, for "now the blue one".
    """
    said = str(before.must[-1]) if before is not None and before.must else ""
    try:
        parts = split(sentence, things, said)
        deeds = [(part, _meaning(part.text, ground)) for part in parts if not part.avoid]
        avoid = tuple(dict.fromkeys(_avoided(part.text, ground) for part in parts if part.avoid))
        must, order = _in_order(deeds)
        request = Request(must, order, avoid)
        _require_sense(request)
    except Refused as refused:
        return Refusal(refused.words, str(refused))
    return request


def _meaning(text: str, ground: Ground | None) -> Clause:
    clause = ground(text) if ground is not None else None
    clause = clause or literal(text)
    if clause is None:
        words = unknown(text) or tuple(text.split())
        named = ", ".join(f'"{word}"' for word in unknown(text))
        raise Refused(words, f'I do not understand "{text}"' + (f": I do not know {named}." if named else "."))
    return clause


def _avoided(text: str, ground: Ground | None) -> Clause | Thing:
    """A thing not to touch, or a deed not to do; not to reach a thing is not to touch it."""
    named = thing(text)
    if named is not None:
        return named
    clause = _meaning(text, ground)
    return clause.object if clause.verb == "reach" else clause


def _in_order(deeds: Sequence[tuple[Part, Clause]]) -> tuple[tuple[Clause, ...], tuple[tuple[int, int], ...]]:
    """Clauses by stage, the same one once in a stage, and each before all of the next stage."""
    stages: list[list[Clause]] = []
    must: list[Clause] = []
    for stage in sorted({part.stage for part, _ in deeds}):
        fresh = [clause for part, clause in deeds if part.stage == stage and not _still(clause, must)]
        stages.append(list(dict.fromkeys(fresh)))
        must += stages[-1]
    numbers = iter(range(len(must)))
    numbered = [[next(numbers) for _ in stage] for stage in stages if stage]
    order = tuple(pair for one, other in pairwise(numbered) for pair in product(one, other))
    return tuple(must), order


def _still(clause: Clause, done: Sequence[Clause]) -> bool:
    """Whether a clause holds already when its turn comes: said twice, it is done once."""
    if clause.verb not in LASTING or clause not in done:
        return False
    since = done[done.index(clause) + 1 :]
    if any(other.verb in MOVING and same_object(clause, other) for other in since):
        raise Refused(tuple(str(clause).split()), f"I can {clause} only once in a plan. Say it again afterwards.")
    return True


def _require_sense(request: Request) -> None:
    """Refuse what contradicts itself or is too much."""
    if len(request.must) > MOST:
        raise Refused(
            (), f"These are {len(request.must)} things to do; I can plan {MOST} at a time. Say them one after another."
        )
    for one, clause in product(request.avoid, request.must):
        if one == clause or (isinstance(one, Thing) and any(_same(one, item) for item in _named(clause))):
            never = f"never touch {one}" if isinstance(one, Thing) else "never do so"
            raise Refused(tuple(str(one).split()), f"I cannot {clause} and {never}.")
    before = request.automaton.before
    for i, j in combinations(range(len(request.must)), 2):
        one, other = request.must[i], request.must[j]
        if before[j] >> i & 1 or not {one.verb, other.verb} <= set(LASTING):
            continue
        if same_object(one, other):
            raise Refused(tuple(str(one.object).split()), f"I cannot {one} and {other} at once. Say which comes first.")


def _named(item: Clause | Thing) -> tuple[Thing, ...]:
    if isinstance(item, Thing):
        return (item,)
    if item.verb == "sort":
        return ()
    return (item.object,) if item.place is None else (item.object, item.place)


def _same(one: Thing, other: Thing) -> bool:
    """Whether two names may mean one thing."""
    return one.kind == other.kind and (one.colour == other.colour or not one.colour or not other.colour)
