"""The reader and its teacher: nothing of the test is taught, odd words are where they should be, nonsense is refused."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language import strange
from jepaflow.subgoals.language.clause import VERBS, Clause, Thing
from jepaflow.subgoals.language.encoders import Hashed
from jepaflow.subgoals.language.grammar import FRAMES, NOUNS, PATTERNS, SYNONYMS
from jepaflow.subgoals.language.lexicon import foreign_colours
from jepaflow.subgoals.language.others_words import impossible, others_rows, possible
from jepaflow.subgoals.language.paraphrase import held_in, normal, puts
from jepaflow.subgoals.language.reading import (
    SLOTS,
    Ground,
    Reader,
    ReaderConfig,
    confusion,
    draw_clause,
    slot_accuracy,
    train_reader,
)
from jepaflow.subgoals.language.refusals import COLOURS, DEEDS, PLACES, TALK, THINGS
from jepaflow.subgoals.language.refusals import VERBS as ODD_VERBS
from jepaflow.subgoals.language.strange import with_strange
from jepaflow.subgoals.language.teaching import FOLDS, ODDS, Teacher, everything, fold

PUT = Clause("put", Thing("red", "cube"), Thing("white", "bin"))


@pytest.fixture(autouse=True)
def single() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ground() -> Ground:
    return train_reader(Hashed(), ReaderConfig(sentences=400, impossible=300, aside=40, steps=120, batch=64))


def test_no_word_or_pattern_of_the_test_is_taught() -> None:
    lists = everything()
    tested = {
        normal(pattern)
        for (_, split), own in PATTERNS.items()
        if split == "test"
        for pattern in (*own.orders, *own.statements)
    }
    assert not tested & {normal(pattern) for patterns in lists.patterns.values() for pattern in patterns}
    assert not set(FRAMES["test"]) & set(lists.frames["order"])
    odd = (DEEDS, THINGS, PLACES, COLOURS, TALK, ODD_VERBS)
    assert not {entry for each in odd for entry in each["test"]} & {
        entry for entries in lists.odd.values() for entry in entries
    }
    named = {
        word
        for each in (*NOUNS.values(), *SYNONYMS.values())
        for entry in each["test"]
        for word in re.findall(r"\w+", entry)
    }
    named |= {word for each in (THINGS, PLACES, COLOURS, ODD_VERBS) for entry in each["test"] for word in entry.split()}
    known = (*SYNONYMS.values(), *NOUNS.values())
    named -= {word for each in known for entry in each["train"] for word in re.findall(r"\w+", entry)}
    taught = [*lists.nouns.values(), *lists.synonyms.values(), lists.frames["looks"]]
    taught += [lists.odd[kind] for kind in ("object", "place", "colour", "verb")]
    words = {word for entries in taught for entry in entries for word in re.findall(r"\w+", entry.lower())}
    assert not named & words


def in_fold(number: int) -> Callable[[str], bool]:
    return lambda entry: fold(entry) == number


def test_every_entry_lies_in_one_fold_and_the_parts_make_the_whole() -> None:
    lists = everything()
    for name in ("patterns", "synonyms", "nouns", "odd"):
        whole = getattr(lists, name)
        parts = [getattr(lists.part(in_fold(number), False), name) for number in range(FOLDS)]
        for key, entries in whole.items():
            assert sorted(entry for part in parts for entry in part[key]) == sorted(entries)
            kept = getattr(lists.part(lambda entry: fold(entry) != 0), name)[key]
            assert kept[0] == entries[0] and set(kept[1:]) == {entry for entry in entries[1:] if fold(entry) != 0}
    assert fold("{} block") == fold("{} toy block") == fold("{} blocks")


@pytest.mark.parametrize("salad", [0.0, 1.0])
@pytest.mark.parametrize("verb", VERBS)
def test_sentences_name_what_they_mean(verb: str, salad: float) -> None:
    rng, teacher = np.random.default_rng(0), Teacher(salad=salad)
    clause = {
        "put": PUT,
        "push": Clause("push", Thing("red", "ball"), Thing("blue", "disc")),
        "reach": Clause("reach", Thing("green", "post")),
        "lift": Clause("lift", Thing("", "cube")),
        "sort": Clause("sort", Thing("", "cube")),
    }[verb]
    for _ in range(60):
        said = teacher.say(clause, rng)
        assert said.clause == clause and "{" not in said.text and said.text == said.text.strip()
        words = normal(said.text).split()
        for thing in (clause.object, clause.place):
            assert thing is None or not thing.colour or thing.colour in words
        refused = teacher.refused(clause, rng)
        assert refused.clause is None and "{" not in refused.text


@pytest.mark.parametrize("odd", dict.fromkeys(ODDS))
def test_odd_requests_hold_an_odd_word_in_the_place_that_they_say(odd: str) -> None:
    rng, teacher = np.random.default_rng(1), Teacher()
    role = {"object": {"kind"}, "place": {"place kind"}, "colour": {"colour", "place colour"}}.get(odd, {"verb"})
    for _ in range(60):
        said = teacher.refused(PUT, rng, odd)  # type: ignore[arg-type]
        assert said.odd in role
        assert any(
            set(entry.lower().split()) <= set(normal(said.text).split())
            for entry in map(normal, teacher.lists.odd[odd])
        )
        assert (said.rest is None) == (odd in ("deed", "talk"))


def test_held_out_pairs_are_never_drawn() -> None:
    rng = np.random.default_rng(2)
    drawn = [draw_clause(rng) for _ in range(2000)]
    assert all(map(held_in, drawn)) and {clause.verb for clause in drawn} == set(VERBS)


def test_reader_without_sentences_and_with_odd_ones() -> None:
    ground = Ground(Reader(384).eval(), Hashed())
    assert ground.read([]) == []
    assert len(ground.read(["", "???", "a" * 300])) == 3


def test_members_vote() -> None:
    reader, features, mask = Reader(8, 4).eval(), torch.randn(3, 5, 8), torch.ones(3, 5, dtype=torch.bool)
    slots, known = reader(features, mask)
    each = [reader(features, mask, member) for member in range(FOLDS)]
    chance = torch.stack([one.sigmoid() for _, one in each]).mean(0)
    torch.testing.assert_close(known, chance.logit(), atol=1e-4, rtol=1e-4)
    for slot, words in enumerate(SLOTS):
        assert slots[slot].shape == (3, len(words) + 1)
        torch.testing.assert_close(slots[slot], torch.stack([own[slot] for own, _ in each]).mean(0))


def test_plain_sentences_are_read_by_rule_and_nonsense_is_refused(ground: Ground) -> None:
    wanted = [clause for clause in puts() if held_in(clause)]
    read = ground.read([str(clause) for clause in wanted])
    assert slot_accuracy(read, wanted).min() == 1.0
    assert confusion(read, wanted, wanted).trace() == len(wanted)
    assert ground("xq zzt blorp") is None and ground("make coffee") is None
    nothing = Ground(Reader(384).eval(), Hashed())
    nothing.reader.threshold.fill_(torch.inf)
    assert nothing.read([str(PUT), "the white bin is for the red cube"]) == [PUT, None]


def test_taught_wordings_are_read(ground: Ground) -> None:
    rng, teacher = np.random.default_rng(3), Teacher()
    said = [teacher.say(clause, rng) for clause in puts() if held_in(clause) for _ in range(20)]
    meanings, score = ground.scores([one.text for one in said])
    assert np.mean([one == other.clause for one, other in zip(meanings, said, strict=True)]) > 0.5
    odd = ground.scores([teacher.refused(PUT, rng).text for _ in range(100)])[1]
    assert np.median(odd) < np.median(score)


def test_the_same_seed_gives_the_same_reader() -> None:
    config = ReaderConfig(sentences=20, impossible=20, aside=5, steps=2, batch=8)
    one, other = (train_reader(Hashed(), config).reader.state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one) and torch.isfinite(one["threshold"])


def test_bad_settings() -> None:
    with pytest.raises(JepaflowError, match="sizes"):
        ReaderConfig(steps=0)


class Deaf(Ground):
    """Refuses everything."""

    def read(self, sentences: Sequence[str]) -> list[Clause | None]:
        return [None] * len(sentences)


def test_wordings_by_somebody_else_are_whole_and_taught_to_nobody() -> None:
    said, odd = possible(), impossible()
    assert len(said) == len({text for text, _ in said}) == 130 and len(odd) == len(set(odd)) == 130
    assert {clause.verb for _, clause in said} == {"put", "push", "reach", "lift"}
    rows = others_rows([Deaf(Reader(4), Hashed())], "hashed")
    assert rows[0].value == 0.0 and [row.value for row in rows[1:]] == [1.0] * (len(rows) - 1)


class Worded(Hashed):
    """Has a vocabulary: a word that is near a known noun by its letters, a word of the test, a word of the lists, a new one."""

    def vocabulary(self) -> tuple[str, ...]:
        return ("cubes", THINGS["test"][0], THINGS["train"][0], "quagmire")


def test_an_encoders_words_become_odd_but_those_that_are_known_near_or_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strange, "NEAR", 0.7)  # hashed words share their ends
    lists = everything()
    assert with_strange(lists, Hashed(), 10) == lists
    assert with_strange(lists, Worded(), 0) == lists
    more = with_strange(lists, Worded(), 10)
    assert (
        more.odd["object"][len(lists.odd["object"]) :] == more.odd["place"][len(lists.odd["place"]) :] == ("quagmire",)
    )
    assert more.odd["verb"] == lists.odd["verb"] and more.nouns == lists.nouns


def test_a_colour_that_nothing_here_has_is_refused(ground: Ground) -> None:
    assert foreign_colours("put the PINK cube in the golden bin, not the reddish one") == ("pink", "golden", "reddish")
    assert foreign_colours("put the red cube in the white box on the green disc") == ()
    lists = everything()
    taught = [
        entry
        for one in (lists.patterns, lists.nouns, lists.synonyms, lists.frames)
        for some in one.values()
        for entry in some
    ]
    assert not any(foreign_colours(entry) for entry in taught)
    before = ground.reader.threshold.clone()
    ground.reader.threshold.fill_(-np.inf)  # whoever is asked, answers
    said = ground.read(
        [f"would you be so kind and put the {colour} cube into the blue bin" for colour in ("pink", "red")]
    )
    ground.reader.threshold.copy_(before)
    assert said[0] is None and said[1] is not None
