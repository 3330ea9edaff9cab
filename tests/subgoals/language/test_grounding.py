"""Grounding: degenerate sizes, synthetic desks whose colours are plain pixels (must be read without error), refusals."""

import itertools

import numpy as np
import pytest
import torch
from numpy import ndarray

from jepaflow.common.errors import JepaflowError
from jepaflow.data.store import Store
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import HAND, Clause, Thing
from jepaflow.subgoals.language.grounding import Labelled, LanguageConfig, train_seer, truth_of
from jepaflow.subgoals.language.paraphrase import held_in
from jepaflow.subgoals.language.seeing import Seer

CUBES, BINS = ("red", "blue", "green"), ("red", "blue", "white")
SIDE, LENGTH = 16, 24


class Desk(Store):
    """A store of drawn desks: two bins, two cubes, one frame each; the first cube jumps into its bin in the last quarter."""

    def __init__(self, moves: list[tuple[str, str]], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        frames, self.ep_len = [], np.full(len(moves), LENGTH)
        self.there: list[set[Thing]] = []
        self.ep_offset = np.arange(len(moves)) * LENGTH
        for cube, place in moves:
            other_cube = str(rng.choice([c for c in CUBES if c != cube]))
            other_bin = str(rng.choice([b for b in BINS if b != place]))
            left = bool(rng.integers(2))
            self.there.append(
                {*(Thing(c, "cube") for c in (cube, other_cube)), *(Thing(b, "bin") for b in (place, other_bin))}
            )
            bins = (place, other_bin) if left else (other_bin, place)
            spots = rng.permutation(np.array([[1, 6], [1, 9], [13, 6], [13, 9], [13, 2], [1, 12]]))[:2]
            for step in range(LENGTH):
                at = [tuple(spots[0]), tuple(spots[1])]
                if step >= LENGTH - 6:
                    at[0] = (7, 2 if left else 12)
                frames.append(self._draw(bins, (cube, other_cube), at))
        self.frames = np.stack(frames)[:, None]

    @staticmethod
    def _draw(bins: tuple[str, str], cubes: tuple[str, str], at: list[tuple[int, int]]) -> ndarray:
        picture = np.full((SIDE, SIDE, 3), 0.6)
        for colour, column in zip(bins, (0, 10), strict=True):
            picture[5:11, column : column + 6] = PALETTE[colour]
        for colour, (row, column) in zip(cubes, at, strict=True):
            picture[row : row + 2, column : column + 2] = (
                np.array(PALETTE[colour]) * 0.45
            )  # shaded, so seen in its own bin
        return (picture * 255).astype(np.uint8)

    def pixels(self, rows: ndarray, cameras: tuple[str, ...] = ("pixels",)) -> ndarray:
        return self.frames[rows]


def put(cube: str, place: str) -> Clause:
    return Clause("put", Thing(cube, "cube"), Thing(place, "bin"))


def episodes(moves: list[tuple[str, str]]) -> Labelled:
    count = len(moves)
    clauses = tuple((put(*move),) for move in moves)
    numbers = np.zeros(count, np.int64), np.arange(count), np.full(count, LENGTH)
    return Labelled(*numbers, clauses, np.ones(count, bool))


@pytest.fixture(scope="module")
def seen() -> tuple[Seer, Desk, list[tuple[str, str]]]:
    pairs = [(c, b) for c, b in itertools.product(CUBES, BINS) if held_in(put(c, b))]
    moves = pairs * 10
    config = LanguageConfig(steps=250)
    seer, report = train_seer([Desk(moves)], ("pixels",), episodes(moves), config)
    assert report["left_out_pairs"] == 3
    test = list(itertools.product(CUBES, BINS)) * 3
    return seer, Desk(test, seed=1), test


def test_nothing_to_learn_from() -> None:
    with pytest.raises(JepaflowError, match="Fewer than four"):
        train_seer([], ("pixels",), episodes([]), LanguageConfig())
    with pytest.raises(JepaflowError, match="No sentence"):
        Seer([], [], 1)


def test_one_thing_one_place_no_frame() -> None:
    seer = Seer([Thing("red", "cube")], [Thing("blue", "bin")], 1, colours=2, grid=4, hidden=2).eval()
    start = torch.zeros(0, 1, 2, 4, 4)
    assert seer.probabilities(start, start).shape == (0, 1, 1)
    assert seer.presence(torch.zeros(1, 1, 2, 4, 4)).shape == (1, 2)


def test_a_pair_never_seen_together_is_seen(seen: tuple[Seer, Desk, list[tuple[str, str]]]) -> None:
    seer, desk, moves = seen
    named: list[bool] = []
    for number, move in enumerate(moves):
        first = LENGTH * number
        maps = seer.maps(desk.pixels(np.array([first, first + LENGTH - 1]), ("pixels",)))
        chance = seer.probabilities(maps[:1].expand(2, -1, -1, -1, -1), maps)
        wanted = truth_of(seer, [put(*move)]).numpy() > 0
        there = desk.there[number]
        present = np.array([[o in there and p in there for p in seer.places] for o in seer.objects])
        assert not (chance[0][present] >= 0.5).any()
        np.testing.assert_array_equal((chance[1] >= 0.5)[present], wanted[present])
        named += [Thing(*thing) in seer.there(maps[0]) for thing in ((move[0], "cube"), (move[1], "bin"))]
    assert np.mean(named) >= 0.8


def test_a_thing_without_colour_is_any(seen: tuple[Seer, Desk, list[tuple[str, str]]]) -> None:
    seer = seen[0]
    chance = np.random.default_rng(0).uniform(size=(5, 3, 3))
    found = seer.clause(chance, Clause("put", Thing("", "cube"), Thing("white", "bin")))
    np.testing.assert_allclose(found, 1 - np.prod(1 - chance[:, :, seer.places.index(Thing("white", "bin"))], 1))
    with pytest.raises(JepaflowError, match="have not learned"):
        seer.clause(chance, put("purple", "white"))


def test_bad_settings() -> None:
    with pytest.raises(JepaflowError, match="aside"):
        LanguageConfig(aside=1.0)


class Touched(Store):
    """A store of drawn desks with a ball, and a hand that comes from below and covers half of it in the last frames."""

    def __init__(self, count: int, seed: int = 0) -> None:
        rng, frames = np.random.default_rng(seed), []
        self.ep_len, self.ep_offset = np.full(count, LENGTH), np.arange(count) * LENGTH
        for _ in range(count):
            ball, begin = rng.integers((1, 1), (9, 14)), np.array([14, int(rng.integers(0, 13))])
            for step in range(LENGTH):
                way = min(1.0, step / (LENGTH - 6))
                row, column = np.rint(begin + way * (ball + [1, 0] - begin)).astype(int)
                picture = np.full((SIDE, SIDE, 3), 0.6)
                picture[ball[0] : ball[0] + 2, ball[1] : ball[1] + 2] = PALETTE["green"]
                picture[row : row + 3, column : column + 3] = (0.9, 0.5, 0.1)
                frames.append((picture * 255).astype(np.uint8))
        self.frames = np.stack(frames)[:, None]

    def pixels(self, rows: ndarray, cameras: tuple[str, ...] = ("pixels",)) -> ndarray:
        return self.frames[rows]


def test_what_is_reached_is_in_a_hand_that_moves() -> None:
    ball, numbers = Thing("green", "ball"), (np.zeros(60, np.int64), np.arange(60), np.full(60, LENGTH))
    told = Labelled(*numbers, ((Clause("reach", ball),),) * 60, np.ones(60, bool))
    seer, _ = train_seer([Touched(60)], ("pixels",), told, LanguageConfig(steps=150))
    assert seer.places == (HAND,) and seer.columns(HAND) == [0]
    new = Touched(20, seed=1)
    starts = new.ep_offset
    start = seer.maps(new.pixels(starts))
    chance = [
        seer.clause(seer.probabilities(start, seer.maps(new.pixels(starts + step))), Clause("reach", ball))
        for step in (0, LENGTH // 2, LENGTH - 1)
    ]
    assert (chance[0] < 0.5).all() and (chance[1] < 0.5).mean() >= 0.9 and (chance[2] > 0.5).mean() >= 0.9
    assert seer.named_by(np.ones(2, bool)) == (ball,)  # the hand is no thing on the desk
