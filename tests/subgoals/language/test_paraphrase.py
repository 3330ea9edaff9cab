"""Paraphrases: the two splits share no sentence, every sentence names what it must, the same seed says the same."""

from itertools import islice

import numpy as np
import pytest

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms import tasks
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.grammar import FRAMES, NOUNS, PATTERNS, SYNONYMS
from jepaflow.subgoals.language.paraphrase import (
    HELD_OUT,
    KINDS,
    held_in,
    impossible,
    normal,
    paraphrase,
    paraphrases,
    puts,
    wordings,
)
from jepaflow.subgoals.language.refusals import COLOURS, DEEDS, PLACES, TALK, THINGS, VERBS

RED = Thing("red", "cube")
CLAUSES = (
    Clause("put", RED, Thing("blue", "bin")),
    Clause("put", RED, Thing("red", "bin")),
    Clause("put", Thing("", "cube"), Thing("white", "bin")),
    Clause("push", Thing("purple", "cube"), Thing("green", "disc")),
    Clause("reach", Thing("green", "ball")),
    Clause("reach", Thing("", "ball")),
    Clause("lift", RED),
    Clause("sort", Thing("", "cube")),
)


def drawn(clause: Clause, split: str, count: int = 400, seed: int = 0) -> list[str]:
    return list(islice(paraphrases(clause, np.random.default_rng(seed), split), count))


def named(sentence: str) -> list[str]:
    """Colours in a sentence, sorted."""
    return sorted(word for word in normal(sentence).split() if word in PALETTE)


@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_no_test_sentence_is_a_training_sentence(clause: Clause) -> None:
    train = {normal(said) for said in wordings(clause)}
    test = {normal(said) for said in wordings(clause, "test")}
    assert train and test and not train & test
    # Politeness and style included.
    assert not {normal(s) for s in drawn(clause, "train")} & {normal(s) for s in drawn(clause, "test")}


def test_no_word_or_frame_is_in_both_lists() -> None:
    lists = [*SYNONYMS.values(), *NOUNS.values(), FRAMES, COLOURS, DEEDS, PLACES, TALK, THINGS, VERBS]
    for words in lists:
        assert words["train"] and words["test"] and not set(words["train"]) & set(words["test"])
    for verb, split in PATTERNS:
        other = PATTERNS[verb, "test" if split == "train" else "train"]
        mine = PATTERNS[verb, split]
        assert not {*mine.orders, *mine.statements} & {*other.orders, *other.statements}


def test_there_are_enough_ways_to_say_put() -> None:
    assert len(set(wordings(CLAUSES[0]))) >= 1000
    test = PATTERNS["put", "test"]
    assert len({*test.orders, *test.statements}) >= 15


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("clause", CLAUSES, ids=str)
def test_every_sentence_names_its_colours_and_nothing_is_left_open(clause: Clause, split: str) -> None:
    wanted = sorted(thing.colour for thing in (clause.object, clause.place) if thing is not None and thing.colour)
    for said in [*wordings(clause, split), *drawn(clause, split)]:
        assert named(said) == wanted, said
        assert "{" not in said and "  " not in said and said == said.strip() and len(said.split()) >= 2, said


def test_the_same_seed_says_the_same_and_another_says_other_things() -> None:
    clause = CLAUSES[0]
    assert drawn(clause, "train", 50, seed=3) == drawn(clause, "train", 50, seed=3)
    assert drawn(clause, "train", 50, seed=3) != drawn(clause, "train", 50, seed=4)
    again = [[impossible(rng) for _ in range(50)] for rng in (np.random.default_rng(1), np.random.default_rng(1))]
    assert again[0] == again[1]


def test_case_end_mark_and_politeness_are_drawn() -> None:
    said = drawn(CLAUSES[0], "train")
    for has in (
        str.isupper,
        str.islower,
        lambda s: s.endswith("."),
        lambda s: s.endswith("?"),
        lambda s: s[-1].isalpha(),
    ):
        assert 3 < sum(has(sentence) for sentence in said) < 397
    assert any(normal(sentence).startswith("please ") for sentence in said)


def test_a_desks_own_sentences_are_training_sentences() -> None:
    """So a test sentence can never be one that stands in a dataset."""
    for task, clause in (
        (tasks.PickPlace, CLAUSES[0]),
        (tasks.Push, Clause("push", RED, Thing("green", "disc"))),
        (tasks.Lift, CLAUSES[6]),
    ):
        train = {normal(said) for said in wordings(clause)}
        for sentence in task.sentences:
            assert normal(sentence.format(cube="red", bin="blue")) in train, sentence
    reach = {normal(said) for clause in CLAUSES[4:6] for said in wordings(clause)}
    assert {normal(sentence) for sentence in tasks.Reach.sentences} <= reach
    assert normal(tasks.Sort.sentences[0]) in {normal(said) for said in wordings(CLAUSES[7])}


def test_each_colour_of_a_held_out_pair_is_trained_with_others() -> None:
    trained = [clause for clause in puts() if held_in(clause)]
    assert len(puts()) == 9 and len(trained) == 6
    pairs = {(clause.object.colour, clause.place.colour) for clause in trained if clause.place is not None}
    assert not pairs & set(HELD_OUT)
    assert {cube for cube, _ in pairs} == set(tasks.PLACE_CUBES) and {place for _, place in pairs} == set(
        tasks.PLACE_BINS
    )
    assert held_in(Clause("push", RED, Thing("blue", "disc")))


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_requests_are_unlike_the_possible_ones(kind: str) -> None:
    possible = {normal(said) for clause in puts() for split in ("train", "test") for said in wordings(clause, split)}
    rng = np.random.default_rng(0)
    train, test = ({normal(impossible(rng, split, kind)) for _ in range(200)} for split in ("train", "test"))
    assert not train & test and not (train | test) & possible
    unknown = {"deed": DEEDS, "verb": VERBS, "object": THINGS, "place": PLACES, "colour": COLOURS, "talk": TALK}[kind]
    for split, said in (("train", train), ("test", test)):
        assert all(any(word.lower() in sentence for word in map(normal, unknown[split])) for sentence in said)


def test_things_are_put_into_bins_only() -> None:
    with pytest.raises(JepaflowError, match="no ways to say 'put the red cube on the blue cube'"):
        paraphrase(Clause("put", RED, Thing("blue", "cube")), np.random.default_rng(0))
