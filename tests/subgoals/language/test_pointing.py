"""Grasps are found in a gripper's motion; a pointer learns where the named thing is from joints alone."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.believing import LOOKS, Beliefs
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.doing import MANNERS, Doer, DoerConfig
from jepaflow.subgoals.language.lessons import Part, empty_of, holds_of, longest, middle_of
from jepaflow.subgoals.language.pointing import FEWEST, PAN, ROLL, Grasps, Pointer, grasps_of, train_pointer
from jepaflow.subgoals.language.presence import find_least
from jepaflow.subgoals.language.product import BELIEVED
from jepaflow.subgoals.language.resting import train_rest
from jepaflow.subgoals.language.seeing import Seer
from jepaflow.training.corpus import Corpus
from jepaflow.training.fitting import FitConfig
from jepaflow.worldmodel.colours import choose_colours

RED, BLUE, TABLE = (200, 20, 20), (20, 40, 200), (190, 170, 140)


@pytest.mark.parametrize(
    "gripper, found",
    [
        ([], []),
        ([90.0] * 30, []),  # never closed
        ([10.0] * 30, []),  # closed from the beginning to the end: nobody saw it close
        ([90.0] * 5 + [10.0] * 4 + [90.0] * 5, []),  # too short to hold
        ([90.0] * 5 + [10.0] * 9 + [90.0] * 5, [(5, 14)]),
        ([90.0] * 5 + [10.0] * 9 + [90.0] * 5 + [10.0] * 20 + [90.0], [(5, 14), (19, 39)]),
        ([90.0] * 5 + [10.0] * 30, []),  # never opened: nothing was put down
    ],
)
def test_holds_began_and_ended(gripper: list[float], found: list[tuple[int, int]]) -> None:
    assert holds_of(np.array(gripper), 50.0) == found


def test_a_grasp_is_the_longest_hold() -> None:
    assert longest([(5, 14), (19, 39), (50, 60)]) == (19, 39)


def test_an_empty_hand_shuts_farther_than_a_full_one() -> None:
    gripper = np.array([90.0] * 5 + [0.0] * 9 + [90.0] * 5 + [20.0] * 30 + [90.0] * 5)
    assert empty_of(gripper, [Part(0, 0, len(gripper) - 1, 0, 1)]) == pytest.approx(10.0)
    assert empty_of(gripper, []) == -np.inf


def test_the_middle_of_a_grippers_range() -> None:
    assert middle_of(np.array([0.0] * 50 + [80.0] * 50)) == pytest.approx(40.0)


def desks(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tables with a red and a blue square on each: frames, where they lie (n, 2 things, 2), -1 … 1, how they are turned (n, 2)."""
    rng = np.random.default_rng(seed)
    frames = np.broadcast_to(np.array(TABLE, np.uint8), (n, 1, 64, 64, 3)).copy()
    at, turn = rng.integers(8, 56, (n, 2, 2)).astype(float), rng.uniform(-45, 45, (n, 2))
    at[:, 1, 0] = (at[:, 0, 0] - 8 + 20) % 48 + 8  # apart from each other
    row, column = np.mgrid[:64, :64] + 0.5
    for i in range(n):
        for k, colour in enumerate((RED, BLUE)):
            by, (y, x) = np.radians(turn[i, k]), at[i, k]
            along = np.cos(by) * (column - x) + np.sin(by) * (row - y)
            across = np.cos(by) * (row - y) - np.sin(by) * (column - x)
            frames[i, 0][np.maximum(np.abs(along), np.abs(across)) < 4] = colour
    return frames, at / 32 - 1, turn


def test_joints_alone_teach_where_a_named_thing_is_and_how_it_is_turned() -> None:
    """Joints are a line of the thing's place, but the roll: what the picture shows, less the pan."""
    frames, at, turn = desks(150)
    torch.manual_seed(0)
    pointer = Pointer(2, 1, 1, 4, 4, hidden=8)
    book = choose_colours(torch.from_numpy(frames), 4)
    pointer.begin(book, [(0.85, 0.08, 0.08), (0.1, 0.2, 0.85)])
    assert (pointer.prior > 0).sum(1).tolist() == [1, 1]
    line = np.random.default_rng(1).normal(size=(2, 4)) * 20
    line[:, ROLL] = 0

    def hands(at: np.ndarray, turn: np.ndarray) -> np.ndarray:
        joints = at @ line
        joints[:, ROLL] = turn - joints[:, PAN]
        joints[:, ROLL] -= 90 * np.round(joints[:, ROLL] / 90)  # the nearest quarter turn
        return joints

    thing = np.arange(150) % 2
    closed = torch.from_numpy(hands(at[np.arange(150), thing], turn[np.arange(150), thing])).float()
    maps = pointer.maps(frames)
    grasps = Grasps(
        torch.from_numpy(frames),
        maps,
        thing,
        1 - thing,
        closed,
        closed,
        np.arange(150),
        np.ones(150, bool),
        np.zeros(150, bool),
    )
    train_pointer(grasps, pointer, steps=60, batch=24)
    assert float(pointer.sense) == -1.0
    new, truth, turned = desks(40, seed=7)
    zeros, wanted = np.zeros(40, np.int64), hands(truth[:, 0], turned[:, 0])
    said = (pointer.point(new, zeros, zeros + 1)[:, :4] * pointer.std + pointer.mean).numpy()
    error, spread = np.abs(said - wanted), np.abs(closed.numpy().mean(0) - wanted)
    assert (np.median(error, 0) < 0.25 * np.median(spread, 0))[[0, 1, 3]].all()
    quarter = np.abs((said - wanted)[:, ROLL] - 90 * np.round((said - wanted)[:, ROLL] / 90))
    assert np.median(quarter) < 11.25  # by chance 22.5
    find_least(pointer, maps, thing, 1 - thing)
    assert pointer.there(new).mean() > 0.85 and pointer.several(new).mean() < 0.1

    # What lies in the place does not lie about; of two the one that does is meant, and two are seen to be several.
    pointer.least[1] /= 2  # the place may be half hidden
    square = np.full((1, 1, 64, 64, 3), TABLE, np.uint8)
    square[0, 0, 40:48, 40:48] = BLUE
    put, both = square.copy(), square.copy()
    put[0, 0, 32:40, 38:46] = RED
    both[0, 0, 32:40, 38:46] = both[0, 0, 8:16, 10:18] = RED
    two = square.copy()
    two[0, 0, 8:16, 10:18] = two[0, 0, 10:18, 48:56] = RED
    assert pointer.there(np.concatenate([square, put, both])).tolist() == [[False, True], [False, True], [True, True]]
    assert pointer.several(np.concatenate([both, two])).tolist() == [[False, False], [True, False]]
    at = pointer.one(pointer.maps(both), torch.tensor([0]))[0]
    assert at.tolist() == pytest.approx([12 / 32 - 1, 14 / 32 - 1], abs=0.08)

    pointer.holds[1] = False  # what lies on a flat place lies about all the same
    assert pointer.there(put).tolist() == [[True, True]]
    find_least(pointer, maps[:0], thing[:0], thing[:0])
    assert not pointer.least.isfinite().any()


def test_reaching_teaches_where_a_thing_is_touched() -> None:
    frames, at, _ = desks(150)
    torch.manual_seed(0)
    pointer = Pointer(2, 1, 1, 4, 4, hidden=8)
    pointer.begin(choose_colours(torch.from_numpy(frames), 4), [(0.85, 0.08, 0.08), None])
    line, every = np.random.default_rng(1).normal(size=(2, 4)) * 20, np.ones(150, bool)
    joints = torch.from_numpy(at[:, 0] @ line).float()
    none = np.zeros(150, np.int64)
    grasps = Grasps(
        torch.from_numpy(frames), pointer.maps(frames), none, none + 1, joints, joints, np.arange(150), every, every
    )
    train_pointer(grasps, pointer, steps=60, batch=24)
    new, truth, _ = desks(40, seed=7)
    wanted = truth[:, 0] @ line
    at_now, _ = pointer.look(new, np.zeros(40, np.int64))
    with torch.no_grad():
        said = (pointer.touches(at_now) * pointer.std + pointer.mean).numpy()
    error = np.abs(said - wanted)
    assert (np.median(error, 0) < 0.25 * np.median(np.abs(joints.numpy().mean(0) - wanted), 0)).all()
    assert not pointer.least.isfinite().any()  # nothing was held: whether it is there, others must say


def test_the_pointer_judges_what_lies_on_a_flat_place() -> None:
    """A blue square as the place, a red one as the thing: beside it, on it, on it and hidden; the seer is not asked."""
    torch.manual_seed(0)
    red, place = Thing("red", "cube"), Thing("blue", "disc")
    seer = Seer([red], [place], 1, colours=3, grid=4, hidden=4).eval()
    pointer = Pointer(2, 1, 1, 4, 4, hidden=8)
    frame = np.full((1, 1, 64, 64, 3), TABLE, np.uint8)
    frame[0, 0, 36:52, 36:52] = BLUE
    beside, on, hidden = frame.copy(), frame.copy(), frame.copy()
    beside[0, 0, 8:16, 8:16] = RED
    on[0, 0, 40:48, 40:48] = RED
    pointer.begin(
        choose_colours(torch.from_numpy(np.concatenate([beside, on])), 4), [(0.85, 0.08, 0.08), (0.1, 0.2, 0.85)]
    )
    pointer.holds[:] = False
    doer = Doer(8, pointer, DoerConfig(hidden=8))
    doer.manner[1] = MANNERS.index("push")
    clause = Clause("push", red, place)
    by_seer = Beliefs(seer, beside, doer).of([clause], 0)
    at = torch.rand(400, 2) * 1.2 - 0.6
    thing = torch.cat([at, at + torch.tensor([[0.0, 0.7]]), at - torch.tensor([[0.7, 0.7]])])
    ended = torch.arange(1200) < 400
    train_rest(
        pointer.rest,
        thing,
        at.repeat(3, 1),
        torch.ones(1200, dtype=torch.bool),
        at.repeat(3, 1),
        ended,
        0.1,
        FitConfig(300, 3e-3, 0.0),
    )
    beliefs = Beliefs(seer, beside, doer)

    def believed() -> bool:
        return bool(beliefs.of([clause], 0)[0] >= BELIEVED)

    def sure() -> float:  # what is usual in recordings' last looks taken away
        odds = torch.logit(torch.tensor(beliefs.of([clause], 0)[0])) + pointer.rest.usual
        return float(odds.sigmoid())

    assert beliefs.of([clause], 0)[0] < 0.1 and by_seer[0] != beliefs.of([clause], 0)[0]
    for _ in range(LOOKS):
        beliefs.see(on)
    assert believed() and sure() > 0.9
    beliefs.forget()
    for _ in range(LOOKS):
        beliefs.see(hidden)  # nothing new is seen
    assert believed() and sure() > 0.9
    for _ in range(LOOKS):
        beliefs.see(beside)
    assert beliefs.of([clause], 0)[0] < 0.1


def test_of_a_thing_without_a_hue_nobody_knows_whether_it_is_there() -> None:
    frames, _, _ = desks(20)
    pointer = Pointer(2, 1, 1, 4, 4, hidden=8)
    pointer.begin(choose_colours(torch.from_numpy(frames), 4), [None, (0.1, 0.2, 0.85)])
    thing = np.zeros(20, np.int64)
    find_least(pointer, pointer.maps(frames), thing, thing + 1)
    assert pointer.least.isfinite().tolist() == [False, True]


def corpus(proprio: np.ndarray | None, rows: int) -> Corpus:
    row = np.arange(rows)
    one, none = np.zeros(rows, np.int64), np.zeros((rows, 3), np.float32)
    return Corpus([], np.zeros((1, 2), np.int64), np.array([rows]), one, row, one, row, none, proprio)


def test_too_few_grasps_and_no_joints_are_refused() -> None:
    pointer = Pointer(2, 1, 1, 3, 4)
    with pytest.raises(JepaflowError, match=r"observation\.state"):
        grasps_of(pointer, corpus(None, 20), ("pixels",), [])
    joints = np.tile(np.float32([0, 0, 90]), (20, 1))
    with pytest.raises(JepaflowError, match=f"^0 grasps were found in .*and {FEWEST} are needed"):
        grasps_of(pointer, corpus(joints, 20), ("pixels",), [Part(0, 0, 19, 0, 1)])
