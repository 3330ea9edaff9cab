"""Aims along a row of sub-goals: the farthest within reach, on after a while, never beyond the goal."""

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.walker import Aim, AimConfig, Stall

from .test_build import Wall
from .test_landmarks import latents_of


def line(*places: float) -> torch.Tensor:
    """Return places on a line left of the wall, one unit is one model step."""
    return torch.tensor([[-5.0, place] for place in places]).view(-1, 2)


def test_it_aims_at_the_farthest_within_reach() -> None:
    aim = Aim(Wall(), torch.stack([line(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]), AimConfig(within=3, tau=0.6))
    assert aim.look(line(0.0)).tolist() == line(3.0).tolist()
    assert aim.look(line(0.4)).tolist() == line(3.0).tolist()
    assert aim.look(line(2.2)).tolist() == line(5.0).tolist()
    assert aim.look(line(5.0)).tolist() == line(5.0).tolist()
    assert aim.waited.tolist() == [1]


def test_it_never_turns_back_and_waits_only_so_long() -> None:
    aim = Aim(Wall(), torch.stack([line(3.0, 9.0), line(1.0, 2.0)]), AimConfig(within=2, tau=0.6, patience=3))
    z = line(0.0, 0.0)
    at = []
    for _ in range(6):
        aim.look(z)
        at.append(aim.at.tolist())
    assert at == [[0, 1], [0, 1], [0, 1], [1, 1], [1, 1], [1, 1]]
    assert aim.given_up.tolist() == [0, 1]  # the first waits for its last sub-goal since two blocks


def test_where_it_has_arrived_the_next_is_due_however_far() -> None:
    aim = Aim(Wall(), torch.stack([line(2.0, 9.0)]), AimConfig(within=2, tau=0.6))
    assert aim.look(line(0.0)).tolist() == line(2.0).tolist()
    assert aim.look(line(1.5)).tolist() == line(9.0).tolist()


def test_one_sub_goal_is_the_goal() -> None:
    aim = Aim(Wall(), torch.stack([line(7.0)]))
    for _ in range(20):
        assert aim.look(line(0.0)).tolist() == line(7.0).tolist()
    assert aim.given_up.tolist() == [1]


def test_a_block_that_changed_nothing_is_noticed_unless_the_aim_is_reached(tmp_path) -> None:
    latents = latents_of(tmp_path, [20, 20], torch.arange(40.0)[:, None] * torch.tensor([[1.0, 0.0]]))
    stall = Stall(latents, 5)
    assert stall.least == pytest.approx(0.3 * 5.0)
    z, to_go = torch.zeros(3, 2), torch.tensor([3.0, 3.0, 0.1])
    assert stall.look(z, to_go).tolist() == [False] * 3
    assert stall.look(z + torch.tensor([[1.0], [2.0], [0.0]]), to_go).tolist() == [True, False, False]
    stall.begin()
    assert stall.look(z, to_go).tolist() == [False] * 3
    with pytest.raises(JepaflowError, match="block long"):
        Stall(latents, 20)


@pytest.mark.parametrize("settings", [{"within": 0}, {"tau": 1.0}, {"ahead": 0}, {"patience": 0}])
def test_settings_that_make_no_sense_are_refused(settings: dict) -> None:
    with pytest.raises(JepaflowError):
        AimConfig(**settings)
