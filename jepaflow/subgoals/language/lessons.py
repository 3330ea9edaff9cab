"""Which part of which recording does which clause: what pointer and doer learn from.

An episode's sentence names one or two clauses that it did, one after the other. Where two put something somewhere, the first was
done when the hand opened; which time, the seer says: the one that makes all its answers likeliest (asked about every frame, it is blind
while the arm stands before the bin, and answered "at the very end"). Two clauses of which one is no putting are left out, and so are
episodes with more (sorting), for nobody says which cube comes when.

Legend: s control steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from jepaflow.common.console import progress
from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.clause import Clause, Verb
from jepaflow.subgoals.language.grounding import Labelled, Language
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.training.corpus import Corpus

LOOK = 4
"""control steps between looks for the moment at which the first of two clauses was done"""
EDGE = 1e-3
HELD = 8
"""control steps for which a closed hand must have stayed closed to be holding something"""


@dataclass(frozen=True)
class Part:
    """A clause being done."""

    start: int
    """row of the corpus at which the episode begins"""
    first: int
    last: int
    """rows from which on it is being done, and at which it is done"""
    thing: int
    place: int
    """numbers among the seer's things"""
    verb: Verb = "put"


def parts_of(corpus: Corpus, language: Language, episodes: Labelled) -> list[Part]:
    """Return the parts of all episodes that did what they say.

    Raises:
        JepaflowError: there are none, or the recordings have no joints.
    """
    if corpus.proprio is None:
        raise JepaflowError("Pointing needs observation.state: it says where the hand was. Train with --proprio.")
    middle = middle_of(corpus.proprio[:, -1])
    number = {tuple(each): e for e, each in enumerate(corpus.where.tolist())}
    found: list[Part] = []
    with progress("Look at what was done", len(episodes.store)) as advance:
        for i in range(len(episodes.store)):
            advance(1)
            clauses, e = episodes.clauses[i], number.get((int(episodes.store[i]), int(episodes.episode[i])))
            if e is None or not episodes.done[i] or len(clauses) > 2 or _many(corpus, episodes, i):
                continue
            if len(clauses) == 2 and any(clause.verb != "put" for clause in clauses):
                continue  # no hand tells when the first of them was done
            first, last = int(corpus.first[e]), int(corpus.first[e] + corpus.length[e]) - 1
            ends = [last]
            if len(clauses) == 2:
                openings = [end for _, end in holds_of(corpus.proprio[first : last + 1, -1], middle)[:-1]]
                if not openings:
                    continue
                ends = [first + _change(corpus, language, episodes, i, openings), last]
            for begin, end, clause in zip([first, *ends], ends, clauses, strict=False):
                if end > begin:
                    found.append(Part(first, begin, end, *numbers_of(language.seer, clause), clause.verb))
    if not found:
        raise JepaflowError("No training episode did one or two clauses that bring a thing to a place. Record some.")
    return found


def numbers_of(seer: Seer, clause: Clause) -> tuple[int, int]:
    """Return the numbers of a clause's thing and place among the seer's things.

    Raises:
        JepaflowError: the seer does not know them, or the clause brings nothing anywhere.
    """
    rows, columns = seer.rows(clause.object), [] if clause.where is None else seer.columns(clause.where)
    if not rows or not columns:
        raise JepaflowError(f'I have not learned to see "{clause}", so nothing can guide the arm there.')
    return rows[0], len(seer.objects) + columns[0]


def _many(corpus: Corpus, episodes: Labelled, i: int) -> bool:
    """Whether a sentence speaks of all things of a kind: then one clause is many deeds."""
    store = corpus.stores[episodes.store[i]]
    row = store.ep_offset[episodes.episode[i] : episodes.episode[i] + 1]
    words = store.tasks[int(np.ravel(store.read("task_index", row))[0])].lower().replace(",", " ").split()
    return any(word in MANY or word.rstrip(".").endswith(("cubes", "blocks")) for word in words)


MANY = {"every", "each", "all", "both", "sort"}


def _change(corpus: Corpus, language: Language, episodes: Labelled, i: int, openings: Sequence[int]) -> int:
    """Return the opening of the hand from which on the first clause is likeliest to be done."""
    if len(openings) == 1:
        return openings[0]
    store, seer, clause = corpus.stores[episodes.store[i]], language.seer, episodes.clauses[i][0]
    steps = np.arange(0, int(episodes.length[i]), LOOK)
    now = seer.maps(np.asarray(store.pixels(store.ep_offset[episodes.episode[i]] + steps, language.cameras)))
    chance = np.clip(seer.clause(seer.probabilities(now[:1].expand_as(now), now), clause), EDGE, 1 - EDGE)
    before = np.append(0, np.log1p(-chance).cumsum())
    after = np.append(np.log(chance)[::-1].cumsum()[::-1], 0)
    total = (before + after)[np.searchsorted(steps, openings)]
    return openings[int(total.argmax())]


def holds_of(gripper: Float[ndarray, " s"], middle: float) -> list[tuple[int, int]]:
    """Return the steps at which a hand closed to hold something, and those at which it opened again.

    Args:
        gripper: its joint, larger is wider.
        middle: below it the hand is closed.
    """
    shut: Bool[ndarray, " s"] = gripper < middle
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if a > 0 and b < len(shut) and b - a >= HELD]


def longest(holds: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the hold that lasted longest: a hand that closes on nothing soon opens again."""
    return max(holds, key=lambda hold: hold[1] - hold[0])


def middle_of(gripper: Float[ndarray, " s"]) -> float:
    """Return the middle of a gripper's range in the recordings."""
    low, high = np.quantile(gripper, [0.02, 0.98])
    return float(low + high) / 2


def empty_of(gripper: Float[ndarray, " n"], parts: Sequence[Part]) -> float:
    """Return the gripper's joint below which a shut hand holds nothing: half-way between holding something and its range's end.

    Args:
        gripper: of all recordings.
        parts: what was done in them.
    """
    middle, held = middle_of(gripper), []
    for part in parts:
        holds = holds_of(gripper[part.first : part.last + 1], middle)
        if holds:
            shut, opened = longest(holds)
            held.append(np.median(gripper[part.first + shut : part.first + opened]))
    return float(np.median(held) + np.quantile(gripper, 0.001)) / 2 if held else -np.inf
