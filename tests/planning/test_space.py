"""Whatever a search comes up with, actions are legal; and each parameterisation means what it says."""

from itertools import product

import pytest
import torch
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.planning.space import ActionSpace, make_parameterisation, shifted

from .conftest import generator

KINDS = ("full", "hold", "displace", "knots")


def space(size: int, rate: float | None = None, change: float | None = None) -> ActionSpace:
    """Return an uneven box."""
    low = -1.0 - torch.arange(size)
    high = 2.0 + 3.0 * torch.arange(size)
    each = [None if value is None else torch.full((size,), value) for value in (rate, change)]
    return ActionSpace.from_bounds(low, high, rate=each[0], change=each[1])


def absurd(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return numbers of all sizes, some of them infinite."""
    random = generator(seed)
    numbers = torch.randn(shape, generator=random) * 10.0 ** torch.randint(-3, 7, shape, generator=random)
    lot = torch.rand(shape, generator=random)
    return torch.where(lot < 0.05, torch.inf, torch.where(lot > 0.95, -torch.inf, numbers))


@pytest.mark.parametrize("rate", [None, 0.01, 0.3, 100.0])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_and_rates_are_never_left(kind: str, rate: float | None) -> None:
    for seed, (size, block, blocks) in enumerate(product((1, 3), (1, 2, 5), (1, 4))):
        box = space(size, rate)
        part = make_parameterisation(kind, box, block, knots=min(2, block))  # type: ignore[arg-type]
        params = absurd((50, blocks, part.count, size), seed)
        start = absurd((50, size), seed + 100)
        actions = part.decode(params, start)
        assert actions.shape == (50, blocks, block, size)
        assert (actions >= box.low).all()
        assert (actions <= box.high).all()
        if rate is not None:
            begun = torch.cat([start.clamp(box.low, box.high)[:, None], actions.flatten(1, 2)], 1)
            assert (begun.diff(dim=1).abs() <= rate + 1e-5).all()


def test_full_and_hold_are_the_actions_themselves() -> None:
    box, params = space(2), torch.rand(3, 2, 5, 2, generator=generator())
    start = torch.full((3, 2), 9.0)
    assert torch.equal(make_parameterisation("full", box, 5).decode(params, start), params)
    held = make_parameterisation("hold", box, 5).decode(params[:, :, :1], start)
    assert torch.equal(held, params[:, :, :1].expand(-1, -1, 5, -1))


def test_a_held_target_is_approached_at_the_rate() -> None:
    held = make_parameterisation("hold", space(1, rate=0.25), 4)
    actions = held.decode(torch.tensor([[[0.6]], [[0.6]]]), torch.tensor([0.0]))
    assert actions.flatten().tolist() == pytest.approx([0.25, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6])


def test_a_displacement_is_a_straight_line_from_the_last_action() -> None:
    part = make_parameterisation("displace", space(1), 4)
    actions = part.decode(torch.tensor([[[0.4]], [[-0.8]]]), torch.tensor([1.0]))
    assert actions.flatten().tolist() == pytest.approx([1.1, 1.2, 1.3, 1.4, 1.2, 1.0, 0.8, 0.6])


def test_no_displacement_stays_and_a_sum_stops_at_the_bounds_and_goes_on_from_there() -> None:
    part = make_parameterisation("displace", space(1), 2)
    start = torch.tensor([1.5])
    assert part.decode(torch.zeros(3, 1, 1), start).flatten().tolist() == [1.5] * 6
    assert torch.equal(part.rest, torch.zeros(1))
    there = part.decode(torch.tensor([[[2.0]], [[-0.5]]]), start)
    assert there.flatten().tolist() == pytest.approx([1.75, 2.0, 1.75, 1.5])  # high is 2


def test_knots_bend_inside_the_block() -> None:
    part = make_parameterisation("knots", space(1), 4, knots=2)
    actions = part.decode(torch.tensor([[[0.4], [-0.2]]]), torch.tensor([0.0]))
    assert actions.flatten().tolist() == pytest.approx([0.2, 0.4, 0.3, 0.2])
    uneven = make_parameterisation("knots", space(1), 5, knots=2)  # a knot in the middle of a control step
    assert uneven.decode(torch.tensor([[[1.0], [1.0]]]), torch.tensor([0.0])).flatten().tolist() == pytest.approx(
        [0.4, 0.8, 1.2, 1.6, 2.0]
    )
    with pytest.raises(JepaflowError, match="knots"):
        make_parameterisation("knots", space(1), 4, knots=5)


@pytest.mark.parametrize(
    ("kind", "block", "knots"), [("full", 3, 1), ("hold", 5, 1), ("displace", 5, 1), ("knots", 6, 3)]
)
def test_encoding_undoes_decoding(kind: str, block: int, knots: int) -> None:
    part = make_parameterisation(kind, space(2), block, knots)  # type: ignore[arg-type]
    params = torch.rand((7, 3, part.count, 2), generator=generator()) * 0.2
    start = torch.rand((7, 2), generator=generator(1)) * 0.5
    assert torch.allclose(part.encode(part.decode(params, start), start), params, atol=1e-6)


def test_what_is_encoded_is_inside_the_parameters_box() -> None:
    part = make_parameterisation("displace", space(1, rate=0.1), 5)
    params = part.encode(torch.tensor([[[5.0]] * 5])[..., 0].view(1, 5, 1), torch.tensor([0.0]))
    assert params.flatten().tolist() == pytest.approx([0.5])


def test_a_search_s_first_steps_are_as_large_as_the_data_s() -> None:
    assert make_parameterisation("displace", space(1, change=0.02), 5).std.tolist() == pytest.approx([0.1])
    assert make_parameterisation("knots", space(1, change=0.02), 4, 2).std.tolist() == pytest.approx([0.04])
    assert make_parameterisation("displace", space(1, rate=0.01, change=0.02), 5).std.tolist() == pytest.approx([0.05])
    assert make_parameterisation("displace", space(1), 5).std.tolist() == pytest.approx([0.75])  # the space's scale


def test_a_warm_start_forgets_what_was_executed() -> None:
    mean = torch.arange(3.0).view(1, 3, 1, 1)
    rest = torch.tensor([9.0])
    assert shifted(mean, 0, rest).flatten().tolist() == [0.0, 1.0, 2.0]
    assert shifted(mean, 1, rest).flatten().tolist() == [1.0, 2.0, 9.0]
    assert shifted(mean, 5, rest).flatten().tolist() == [9.0, 9.0, 9.0]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_to_every_parameter(kind: str) -> None:
    part = make_parameterisation(kind, space(2, rate=1.0), 4)  # type: ignore[arg-type]
    params = (torch.rand((1, 3, part.count, 2), generator=generator()) * 0.1).requires_grad_()
    (slope,) = torch.autograd.grad(part.decode(params, torch.zeros(1, 2)).sum(), params)
    assert (slope > 0).all()


def test_action_spaces() -> None:
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])
    box = ActionSpace.from_bounds(low, high)
    assert torch.equal(box.centre, torch.tensor([0.0, 2.0]))
    assert torch.equal(box.scale, torch.tensor([0.5, 1.0]))
    given = ActionSpace.from_bounds(low, high, torch.tensor([5.0, 1.0]), torch.tensor([0.1, 9.0]))
    assert torch.equal(given.centre, torch.tensor([1.0, 1.0]))  # never outside the box
    assert torch.equal(given.scale, torch.tensor([0.1, 4.0]))
    assert given.to(torch.device("cpu")).rate is None
    for bad in [torch.tensor([torch.inf, 1.0]), torch.tensor([-1.0, 1.0])]:
        with pytest.raises(JepaflowError):
            ActionSpace.from_bounds(low, bad)
    for bad in [torch.tensor([0.0, 1.0]), torch.tensor([torch.nan, 1.0]), torch.tensor([-1.0, 1.0])]:
        with pytest.raises(JepaflowError, match="rate"):
            ActionSpace.from_bounds(low, high, rate=bad)
        with pytest.raises(JepaflowError, match="change"):
            ActionSpace.from_bounds(low, high, change=bad)
