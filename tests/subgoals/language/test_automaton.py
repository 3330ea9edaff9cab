"""The automaton against a plain reading of what "done" means."""

from itertools import product

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.automaton import CLOSED, Automaton, avoidance, in_turn
from jepaflow.subgoals.language.clause import Clause, Thing

BIN = Thing("white", "bin")
PASSING = tuple(Clause("reach", Thing(colour, "ball")) for colour in ("red", "blue", "green", "white"))
LASTING = tuple(Clause("put", Thing(colour, "cube"), BIN) for colour in ("red", "blue", "green", "white"))


def read(automaton: Automaton, nodes: list[int]) -> list[int] | None:
    """Bits of what is done after each node; None where an edge is closed."""
    state = int(automaton.begin[nodes[0]])
    states = [state]
    for here, there in zip(nodes, nodes[1:], strict=False):
        state = int(automaton.after[state, here, there])
        if state == CLOSED:
            return None
        states.append(state)
    return [automaton.states[state] for state in states]


def test_nothing_to_do_is_done_at_once() -> None:
    automaton = Automaton(())
    assert automaton.states == (0,) and automaton.accepting == 0
    assert automaton.begin.tolist() == [0] and automaton.after.tolist() == [[[0]]]
    assert automaton.done.shape == (1, 0)
    assert automaton.symbols(np.zeros((3, 0), bool)).tolist() == [0, 0, 0]
    assert automaton.ends(np.zeros((3, 0), bool)).tolist() == [True] * 3


def test_one_clause() -> None:
    automaton = Automaton(PASSING[:1])
    assert automaton.states == (0, 1)
    assert read(automaton, [0, 0, 1, 0]) == [0, 0, 1, 1]
    assert read(automaton, [1]) == [1]


@pytest.mark.parametrize(
    ("count", "order", "states"),
    [(4, (), 16), (4, in_turn(4), 5), (2, ((0, 1),), 3), (3, ((0, 2), (1, 2)), 5), (4, ((0, 1), (2, 3)), 9)],
)
def test_only_states_that_respect_the_order(count: int, order: tuple[tuple[int, int], ...], states: int) -> None:
    automaton = Automaton(PASSING[:count], order)
    assert len(automaton.states) == states and automaton.states[-1] == 2**count - 1
    for done in automaton.states:
        assert all(done >> i & 1 or not done >> j & 1 for i, j in order)


def test_what_passes_counts_at_the_first_node_after_its_predecessor() -> None:
    automaton = Automaton(PASSING[:2], ((0, 1),))
    assert read(automaton, [2, 1, 0, 2]) == [0, 1, 1, 3]
    assert read(automaton, [3, 3]) == [1, 3]  # both at one node: the second needs another one
    assert read(automaton, [2, 0, 2]) == [0, 0, 0]


def test_what_lasts_must_not_come_true_too_early() -> None:
    automaton = Automaton(LASTING[:2], ((0, 1),))
    assert read(automaton, [0, 1, 3]) == [0, 1, 3]
    assert read(automaton, [0, 2]) is None
    assert read(automaton, [0, 3]) is None
    assert read(automaton, [2, 2, 3]) == [0, 0, 3]  # it was true already, and may stay so
    assert read(automaton, [3]) == [3]
    assert read(automaton, [2, 0, 2]) is None


@pytest.mark.parametrize("clauses", [PASSING[:3], LASTING[:3], (PASSING[0], LASTING[1], PASSING[2])])
@pytest.mark.parametrize("order", [(), ((0, 1),), ((0, 1), (1, 2)), ((0, 2), (1, 2))])
def test_every_short_walk_against_plain_words(clauses: tuple[Clause, ...], order: tuple[tuple[int, int], ...]) -> None:
    automaton = Automaton(clauses, order)
    lasts = [clause.verb == "put" for clause in clauses]
    for nodes in product(range(8), repeat=3):
        truth = [[bool(symbol >> j & 1) for j in range(3)] for symbol in nodes]
        when = [99] * 3
        legal = True
        for t, now in enumerate(truth):
            for _ in range(3):
                for j in range(3):
                    before = [when[i] for i, k in order if k == j]
                    ready = all(w < t for w in before) or (lasts[j] and all(w <= t for w in before))
                    if now[j] and when[j] == 99 and ready:
                        when[j] = t
            for j in range(3):
                came = t > 0 and now[j] and not truth[t - 1][j]
                legal &= not (lasts[j] and came and any(when[i] >= t for i, k in order if k == j))
        found = read(automaton, list(nodes))
        assert (found is not None) == legal
        if found is not None:
            assert found[-1] == sum(1 << j for j in range(3) if when[j] < 99)


def test_what_lasts_must_hold_at_the_end_unless_taken_back() -> None:
    satisfied = np.array([[True, True], [True, False], [False, True]])
    assert Automaton(LASTING[:2]).ends(satisfied).tolist() == [True, False, False]
    assert Automaton(PASSING[:2]).ends(satisfied).tolist() == [True] * 3
    red = Thing("red", "cube")
    moved = (Clause("put", red, BIN), Clause("put", red, Thing("blue", "bin")))
    assert Automaton(moved, ((0, 1),)).ends(satisfied).tolist() == [True, False, True]
    ball, lift = Clause("reach", Thing("", "ball")), Clause("lift", red)
    assert Automaton((moved[0], ball, moved[1]), in_turn(3)).at_end == 0b100
    assert Automaton((moved[0], lift), in_turn(2)).at_end == 0
    assert Automaton((moved[0], Clause("reach", red)), in_turn(2)).at_end == 1
    assert Automaton((Clause("sort", Thing("", "cube")), moved[0]), in_turn(2)).at_end == 0b10


def test_bad_requests_are_refused() -> None:
    with pytest.raises(JepaflowError, match="at most 4"):
        Automaton((*PASSING, PASSING[0]))
    with pytest.raises(JepaflowError, match="circle"):
        Automaton(PASSING[:2], ((0, 1), (1, 0)))
    with pytest.raises(JepaflowError, match="names no clause"):
        Automaton(PASSING[:1], ((0, 1),))


def test_the_price_of_what_is_avoided_is_the_chance_of_getting_by() -> None:
    assert avoidance([], 2).tolist() == [0.0, 0.0]
    price = avoidance(np.array([[0.0, 0.5, 1.0], [0.0, 0.5, 0.0]]), 3)
    np.testing.assert_allclose(np.exp(-price), [1.0, 0.25, 0.0])
    with pytest.raises(JepaflowError, match="probabilities"):
        avoidance(np.array([[1.5]]), 1)
