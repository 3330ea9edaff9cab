"""Grasps are found in a gripper's motion; a pointer learns where the named thing is from joints alone."""

import numpy as np
import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.lessons import Part, grasp_of, middle_of
from jepaflow.subgoals.language.pointing import FEWEST, Grasps, Pointer, grasps_of, train_pointer
from jepaflow.training.corpus import Corpus
from jepaflow.worldmodel.colours import choose_colours

RED, BLUE, TABLE = (200, 20, 20), (20, 40, 200), (190, 170, 140)


@pytest.mark.parametrize(
    "gripper, found",
    [
        ([], None),
        ([90.0] * 30, None),  # never closed
        ([10.0] * 30, None),  # closed from the beginning to the end: nobody saw it close
        ([90.0] * 5 + [10.0] * 4 + [90.0] * 5, None),  # too short to hold
        ([90.0] * 5 + [10.0] * 9 + [90.0] * 5, (5, 14)),
        ([90.0] * 5 + [10.0] * 9 + [90.0] * 5 + [10.0] * 20 + [90.0], (19, 39)),  # the longest
        ([90.0] * 5 + [10.0] * 30, None),  # never opened: nothing was put down
    ],
)
def test_a_grasp_is_the_longest_hold_that_began_and_ended(gripper: list[float], found: tuple[int, int] | None) -> None:
    assert grasp_of(np.array(gripper), 50.0) == found


def test_the_middle_of_a_grippers_range() -> None:
    assert middle_of(np.array([0.0] * 50 + [80.0] * 50)) == pytest.approx(40.0)


def desks(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tables with a red and a blue square on each: frames, and where they lie (n, 2 things, 2), -1 … 1."""
    rng = np.random.default_rng(seed)
    frames = np.broadcast_to(np.array(TABLE, np.uint8), (n, 1, 64, 64, 3)).copy()
    at = np.zeros((n, 2, 2))
    for i in range(n):
        for k, colour in enumerate((RED, BLUE)):
            y, x = rng.integers(8, 50, 2) if k == 0 else (at[i, 0, 0] + 20) % 50, rng.integers(8, 50)
            if k == 0:
                y, x = y
            y, x = int(y), int(x)
            frames[i, 0, y : y + 6, x : x + 6] = colour
            at[i, k] = y, x
    return frames, (at + 3) / 32 - 1


def test_joints_alone_teach_where_a_named_thing_is() -> None:
    frames, at = desks(60)
    torch.manual_seed(0)
    pointer = Pointer(2, 1, 3, 4, hidden=8)
    book = choose_colours(torch.from_numpy(frames), 4)
    pointer.begin(book, [(0.85, 0.08, 0.08), (0.1, 0.2, 0.85)])
    assert (pointer.prior > 0).sum(1).tolist() == [1, 1]
    turn = np.random.default_rng(1).normal(size=(2, 3))
    thing = np.arange(60) % 2
    closed = torch.from_numpy(at[np.arange(60), thing] @ turn).float()
    grasps = Grasps(pointer.maps(frames), thing, 1 - thing, closed, closed, np.arange(60))
    train_pointer(grasps, pointer, steps=50, batch=24)
    new, truth = desks(20, seed=7)
    with torch.no_grad():
        centres, sharp = pointer.centres(pointer.maps(new))
        said = pointer.joints(centres[:, 0], False) * pointer.std + pointer.mean
    error = np.abs(said.numpy() - truth[:, 0] @ turn)
    spread = np.abs(truth[:, 0] @ turn - closed.numpy().mean(0))
    assert np.median(error) < 0.25 * np.median(spread)
    assert sharp.shape == (20, 2, 1) and sharp.min() >= 0 and sharp.max() <= 1.001


def corpus(proprio: np.ndarray | None, rows: int) -> Corpus:
    row = np.arange(rows)
    one, none = np.zeros(rows, np.int64), np.zeros((rows, 3), np.float32)
    return Corpus([], np.zeros((1, 2), np.int64), np.array([rows]), one, row, one, row, none, proprio)


def test_too_few_grasps_and_no_joints_are_refused() -> None:
    pointer = Pointer(2, 1, 3, 4)
    with pytest.raises(JepaflowError, match=r"observation\.state"):
        grasps_of(pointer, corpus(None, 20), ("pixels",), [])
    joints = np.tile(np.float32([0, 0, 90]), (20, 1))
    with pytest.raises(JepaflowError, match=f"^0 grasps were found in .*and {FEWEST} are needed"):
        grasps_of(pointer, corpus(joints, 20), ("pixels",), [Part(0, 0, 19, 0, 1)])
