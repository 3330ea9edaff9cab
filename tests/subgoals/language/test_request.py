"""Sentences and what they ask for; and sentences that must be refused, with the words that were not understood."""

import time
from itertools import pairwise, product

import numpy as np
import pytest

from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.ellipsis import Refused
from jepaflow.subgoals.language.lexicon import literal, thing, unknown
from jepaflow.subgoals.language.paraphrase import KINDS, impossible, paraphrase, puts, wordings
from jepaflow.subgoals.language.request import Refusal, Request, parse
from jepaflow.subgoals.language.splitting import plain, split

RED, BLUE, GREEN = (Thing(colour, "cube") for colour in ("red", "blue", "green"))
BLUE_BIN, WHITE_BIN = Thing("blue", "bin"), Thing("white", "bin")
BALL, POST, WALL, DISC = Thing("", "ball"), Thing("", "post"), Thing("", "wall"), Thing("green", "disc")
DESK = (RED, BLUE, BLUE_BIN, WHITE_BIN)
RED_IN, BLUE_IN, GREEN_IN = (
    Clause("put", RED, BLUE_BIN),
    Clause("put", BLUE, WHITE_BIN),
    Clause("put", GREEN, WHITE_BIN),
)
REACH, LIFT, SORT = Clause("reach", BALL), Clause("lift", RED), Clause("sort", Thing("", "cube"))
TURN = ((0, 1),)


def asked(*must: Clause, order: tuple[tuple[int, int], ...] = (), avoid: tuple[Clause | Thing, ...] = ()) -> Request:
    return Request(must, order, avoid)


UNDERSTOOD: dict[str, Request] = {
    "Put the red cube in the blue bin.": asked(RED_IN),
    "PUT THE RED CUBE IN THE BLUE BIN!": asked(RED_IN),
    "Pick up the red block and place it in the blue box": asked(RED_IN),
    "the red cube belongs in the blue bin": asked(RED_IN),
    "Move the gripper to the ball": asked(REACH),
    "grab the red cube and hold it up": asked(LIFT),
    "move the red cube to the green circle without lifting it": asked(Clause("push", RED, DISC)),
    "Sort the red and the blue blocks by colour.": asked(SORT),
    "Sort the cubes into the bins of their colour.": asked(SORT),
    # order
    "put the red cube in the blue bin, then the green one in the white bin": asked(RED_IN, GREEN_IN, order=TURN),
    "put the red cube in the blue bin and then put the green cube in the white one": asked(
        RED_IN, GREEN_IN, order=TURN
    ),
    "first touch the ball, then lift the red cube": asked(REACH, LIFT, order=TURN),
    "touch the ball first, then lift the red cube": asked(REACH, LIFT, order=TURN),
    "lift the red cube after touching the ball": asked(REACH, LIFT, order=TURN),
    "after touching the ball, lift the red cube": asked(REACH, LIFT, order=TURN),
    "touch the ball before lifting the red cube": asked(REACH, LIFT, order=TURN),
    "before lifting the red cube, touch the ball": asked(REACH, LIFT, order=TURN),
    "lift the red cube, but before that touch the ball": asked(REACH, LIFT, order=TURN),
    "lift the red cube, but first touch the ball": asked(REACH, LIFT, order=TURN),
    "lift the red cube, but touch the ball first": asked(REACH, LIFT, order=TURN),
    "Touch the ball. Then lift the red cube.": asked(REACH, LIFT, order=TURN),
    "lift the red cube, then put it in the blue bin": asked(LIFT, RED_IN, order=TURN),
    "lift the red cube and touch the ball, then put the blue cube in the white bin": asked(
        LIFT, REACH, BLUE_IN, order=((0, 2), (1, 2))
    ),
    "touch the ball, then lift the red cube and put the blue cube in the white bin": asked(
        REACH, LIFT, BLUE_IN, order=((0, 1), (0, 2))
    ),
    "touch the ball, then lift the red cube, and finally touch the post": asked(
        REACH, LIFT, Clause("reach", POST), order=((0, 1), (1, 2))
    ),
    # no order
    "Touch the ball. Lift the red cube.": asked(REACH, LIFT),
    "touch the ball and lift the red cube": asked(REACH, LIFT),
    "put the red and the blue cube in the white bin": asked(Clause("put", RED, WHITE_BIN), BLUE_IN),
    "put the red cube and the blue cube in the white bin": asked(Clause("put", RED, WHITE_BIN), BLUE_IN),
    "put both cubes in the white bin": asked(Clause("put", RED, WHITE_BIN), BLUE_IN),
    "both cubes in the white bin": asked(Clause("put", RED, WHITE_BIN), BLUE_IN),
    "the red cube in the blue bin and the blue one in the white one": asked(RED_IN, BLUE_IN),
    "put the red cube in the blue bin and the green one too": asked(RED_IN, Clause("put", GREEN, BLUE_BIN)),
    "Tidy up: red cubes into the red bin, blue cubes into the blue one.": asked(
        Clause("put", RED, Thing("red", "bin")), Clause("put", BLUE, BLUE_BIN)
    ),
    "put the red cube in the blue bin and put the red cube in the blue bin": asked(RED_IN),
    "put the red cube in the blue bin, then the red cube in the blue bin": asked(RED_IN),
    # avoidance
    "put the red cube in the blue bin without touching the blue cube": asked(RED_IN, avoid=(BLUE,)),
    "without touching the post or the wall, put the red cube in the blue bin": asked(RED_IN, avoid=(POST, WALL)),
    "put the red cube in the blue bin but don't touch the post": asked(RED_IN, avoid=(POST,)),
    "don’t hit the post, but put the red cube in the blue bin": asked(RED_IN, avoid=(POST,)),
    "stay away from the wall and lift the red cube": asked(LIFT, avoid=(WALL,)),
    "lift the red cube while avoiding the wall, then touch the ball": asked(LIFT, REACH, order=TURN, avoid=(WALL,)),
    "lift the red cube without touching the other cubes": asked(LIFT, avoid=(BLUE,)),
    "lift the red cube without touching the blue one": asked(LIFT, avoid=(BLUE,)),
    "put the red cube in the blue bin but not the green one": asked(RED_IN, avoid=(Clause("put", GREEN, BLUE_BIN),)),
    "touch the ball but not the post": asked(REACH, avoid=(POST,)),
    "touch the ball, but never lift the red cube": asked(REACH, avoid=(LIFT,)),
    "do not put the red cube in the blue bin": asked(avoid=(RED_IN,)),
    "avoid the wall": asked(avoid=(WALL,)),
}


@pytest.mark.parametrize("sentence", UNDERSTOOD)
def test_what_is_understood(sentence: str) -> None:
    assert parse(sentence, things=DESK) == UNDERSTOOD[sentence]


REFUSED: dict[str, tuple[str, ...] | None] = {
    "": (),
    " ,. ": (),
    "then": ("then",),
    "make coffee": ("make", "coffee"),
    "put the yellow cube in the blue bin": ("yellow",),
    "put the red cube in the fridge": ("fridge",),
    "put the red cube in the blue bin, then make coffee": ("make", "coffee"),
    "after you have touched the ball": ("after",),
    "lift the red cube twice": ("twice",),
    "lift the red cube or the blue cube": ("or",),
    "if the ball is red touch it": ("if",),
    "put the red cube in the blue bin unless it is full": ("unless",),
    "put only the red cube in the blue bin": ("only",),
    "put nothing in the blue bin": ("nothing",),
    "no red cube in the blue bin": ("no",),
    "do not touch anything": ("anything",),
    "lift the red cube without touching the vase": ("the", "vase"),
    "don't touch the blue cube and put the red cube in the blue bin": ("not", "and"),
    "do not put the red cube in the blue bin and the green cube in the white bin": ("not", "and"),
    "do not lift the red cube before touching the ball": ("before",),
    "lift the red cube before touching the ball and lift the blue cube": ("lift",),
    "lift the red cube, but before that touch the ball, then touch the post": ("then",),
    "put it in the blue bin": ("it",),
    "put them in the blue bin": ("them",),
    "put the red cube there": ("there",),
    "put the red one in the blue bin": ("the", "red", "one"),
    "put the red cube in the blue one": ("in", "the", "blue", "one"),
    "the red cube, then the blue one": ("the", "red", "cube"),
    "lift the red cube and": ("and",),
    "put the red cube in the blue bin without touching the red cube": ("the", "red", "cube"),
    "put all cubes in the fridge except the red one": None,
    "put the red cube in the blue bin and put the red cube in the white bin": ("the", "red", "cube"),
    "put the red cube in the blue bin, then in the white bin": ("in", "the", "white", "bin"),
    "put the blue bin in the red cube": None,
    "lift the red cube, the blue cube, the green cube, the white cube and the purple cube": (),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused(sentence: str) -> None:
    found = parse(sentence, things=DESK)
    assert isinstance(found, Refusal) and str(found).endswith((".", '".'))
    if REFUSED[sentence] is not None:
        assert found.words == REFUSED[sentence]


def test_both_needs_two_that_are_seen() -> None:
    for things in ((), (RED,), (RED, BLUE, GREEN)):
        found = parse("put both cubes in the white bin", things=things)
        assert isinstance(found, Refusal) and found.words == ("both", "cubes")
    three = parse("put every cube in the white bin", things=(RED, BLUE, GREEN, WHITE_BIN))
    assert isinstance(three, Request) and len(three.must) == 3 and not three.order


def test_a_learned_head_is_asked_for_each_part_and_rules_help_out() -> None:
    heard = []

    def ground(part: str) -> Clause | None:
        heard.append(part)
        return RED_IN if part.startswith("chuck") else None

    found = parse("Chuck the crimson thing away, then touch the ball without touching the post", ground)
    assert found == asked(RED_IN, REACH, order=TURN, avoid=(POST,))
    assert heard == ["chuck the crimson thing away", "touch the ball"]


def test_no_word_of_logic_ever_reaches_the_head() -> None:
    def ground(part: str) -> Clause | None:
        assert not set(part.split()) & {"not", "or", "then", "if", "never", "after", "before"}
        return RED_IN

    for sentence in (*REFUSED, *UNDERSTOOD):
        parse(sentence, ground, DESK)


@pytest.mark.parametrize("division", ["train", "test"])
def test_every_paraphrase_stays_one_part(division: str) -> None:
    clauses = (puts()[0], Clause("push", RED, DISC), Clause("reach", Thing("green", "ball")), LIFT, SORT)
    for clause in clauses:
        for sentence in list(wordings(clause, division))[::7]:  # type: ignore[arg-type]
            if sentence.startswith("only "):  # that the others are out is another request, and refused
                continue
            (part,) = split(sentence)
            assert part.text in (plain(sentence), f"put {plain(sentence)}") and not part.avoid


@pytest.mark.parametrize(
    ("sentence", "parts"),
    [
        (
            "put the red brick in the white tub, then the green one in the blue crate",
            "put the green brick in the blue crate",
        ),
        ("put the red cube in the white crate, then the blue one in the red one", "put the blue cube in the red crate"),
        ("stash the red and the green brick in the tub", "stash the green brick in the tub"),
        ("stash the red brick and the green brick in the tub", "stash the green brick in the tub"),
    ],
)
def test_words_that_the_lexicon_lacks_are_taken_over_too(sentence: str, parts: str) -> None:
    first, second = split(sentence)
    assert second.text == parts
    assert first.text.split()[-1] in ("tub", "crate")


def test_two_paraphrases_joined_are_two_parts() -> None:
    rng, clauses = np.random.default_rng(0), puts()
    links = {", then ": (0, 1), ". Then ": (0, 1), " and then ": (0, 1), " and ": (0, 0), ". ": (0, 0)}
    intact = 0
    for _ in range(300):
        one, other = (plain(paraphrase(clauses[i], rng, "test")) for i in rng.choice(len(clauses), 2))
        for link, stages in links.items():
            parts = split(f"{one}{link}{other}")
            assert tuple(part.stage for part in parts) == stages
            intact += [part.text for part in parts] == [one, other]
    assert intact >= 0.99 * 300 * len(links)


def test_what_is_impossible_is_refused() -> None:
    rng = np.random.default_rng(0)
    for division, kind in product(("train", "test"), KINDS):
        for _ in range(30):
            sentence = impossible(rng, division, kind)  # type: ignore[arg-type]
            assert isinstance(parse(sentence, things=DESK), Refusal), sentence


def test_rules_read_no_paraphrase_wrongly() -> None:
    for clause in (*puts()[:3], Clause("push", RED, DISC), Clause("reach", Thing("green", "ball")), LIFT, SORT):
        for division in ("train", "test"):
            assert {literal(sentence) for sentence in wordings(clause, division)} <= {clause, None}  # type: ignore[arg-type]


def test_random_requests_are_read_back() -> None:
    """Said in plain words, with any links, stages and things to avoid."""
    rng = np.random.default_rng(1)
    pool = (RED_IN, BLUE_IN, GREEN_IN, REACH, Clause("lift", Thing("white", "cube")), Clause("reach", DISC))
    for _ in range(300):
        chosen = [pool[i] for i in rng.permutation(len(pool))[: rng.integers(1, 5)]]
        links = rng.integers(0, 2, len(chosen) - 1)
        said, stages = str(chosen[0]), [[chosen[0]]]
        for clause, then in zip(chosen[1:], links, strict=True):
            said += (
                [" and ", ", "][rng.integers(2)]
                if not then
                else [", then ", " and then ", ". After that, "][rng.integers(3)]
            )
            said += str(clause)
            stages += [[]] if then else []
            stages[-1].append(clause)
        avoid = ((), (POST,), (POST, WALL))[rng.integers(3)]
        if avoid:
            said += " without touching " + " or ".join(str(one) for one in avoid)
        found = parse(said)
        assert isinstance(found, Request), said
        numbers = {clause: number for number, clause in enumerate(found.must)}
        pairs = {(numbers[a], numbers[b]) for one, other in pairwise(stages) for a, b in product(one, other)}
        assert set(found.must) == set(chosen) and set(found.order) == pairs and found.avoid == avoid, said


def test_a_request_says_itself_and_knows_what_is_missing() -> None:
    found = asked(RED_IN, GREEN_IN, REACH, order=((0, 1), (0, 2)), avoid=(POST, LIFT))
    assert str(found) == (
        "put the red cube in the blue bin, then put the green cube in the white bin and reach the ball; "
        "never touch the post and never lift the red cube"
    )
    assert found.missing(DESK) == (GREEN, BALL, POST)
    assert asked(REACH).missing((Thing("green", "ball"),)) == ()
    assert asked(Clause("lift", Thing("", "cube"))).unclear(DESK) == (Thing("", "cube"),)
    assert str(asked(avoid=(WALL,))) == "nothing to do; never touch the wall"
    assert found.automaton.accepting == len(found.automaton.states) - 1


def test_a_sentence_may_go_on_from_the_one_before() -> None:
    earlier, both = asked(RED_IN), Clause("put", BLUE, BLUE_BIN)
    assert parse("now the blue one", before=earlier) == asked(both)
    assert parse("Then the blue one in the white bin.", before=earlier) == asked(BLUE_IN)
    assert parse("the green cube in the white one, then lift it", before=earlier) == asked(
        GREEN_IN, Clause("lift", GREEN), order=TURN
    )
    assert parse("lift it", before=earlier) == asked(LIFT)
    for nothing in (None, asked(avoid=(WALL,))):
        assert isinstance(parse("now the blue one", before=nothing), Refusal)


def test_what_is_said_twice_is_done_once_unless_undone() -> None:
    moved = Clause("put", RED, WHITE_BIN)
    back = parse("put the red cube in the blue bin, then in the white bin")
    assert isinstance(back, Refusal)
    there = parse("put the red cube in the blue bin, then put it in the white bin")
    assert there == asked(RED_IN, moved, order=TURN)
    again = parse("put the red cube in the blue bin, then put it in the white bin, then put it in the blue bin")
    assert isinstance(again, Refusal) and "only once" in str(again)


def test_the_lexicon() -> None:
    assert thing("the little red blocks") == RED and thing("red") is None and thing("the vase") is None
    assert literal("") is None and literal("please, could you lift the red cube now?") == LIFT
    assert unknown("frobnicate the red boxes") == ("frobnicate",)
    for clause in (*puts(), Clause("push", RED, DISC), REACH, LIFT, SORT, Clause("put", RED, BLUE)):
        assert literal(str(clause)) == clause


def test_long_nonsense_is_refused_quickly() -> None:
    began = time.process_time()
    for text in (
        "the " * 2000,
        "the red cube and " * 200 + "x",
        "not " * 2000,
        "sort the red and " * 200,
        "é字\x00" * 500,
    ):
        assert isinstance(parse(text), Refusal)
    assert time.process_time() - began < 5
    with pytest.raises(Refused):
        split("")
