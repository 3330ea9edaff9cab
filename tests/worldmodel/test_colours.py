"""The colour head: its maps against distances written out, its error against its definition."""

import numpy as np
import pytest
import torch

from jepaflow.worldmodel.colours import BITS, SHARP, ColourHead, choose_colours, colour_maps, shares_table

DESK = torch.tensor([[200, 190, 170], [200, 20, 20], [20, 40, 200], [30, 120, 60]], dtype=torch.uint8)


def desks(n: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    """Tables with a red, a blue and a green square, each somewhere."""
    rng = np.random.default_rng(seed)
    frames = DESK[0].expand(n, 1, side, side, 3).clone()
    for frame in frames[:, 0]:
        for colour in DESK[1:]:
            x, y = rng.integers(0, side - 4, 2)
            frame[x : x + 4, y : y + 4] = colour
    return frames


class Says(torch.nn.Module):
    """Reads the same maps from any latent."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, _z: torch.Tensor) -> torch.Tensor:
        return self.maps


@pytest.mark.parametrize("n, views, side, grid", [(1, 1, 1, 1), (2, 1, 8, 4), (3, 2, 12, 3), (0, 1, 8, 4)])
def test_maps_are_roots_of_mean_shares(n: int, views: int, side: int, grid: int) -> None:
    g = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (n, views, side, side, 3), generator=g, dtype=torch.uint8)
    book = torch.rand(5, 3, generator=g)
    rounded = ((frames >> (8 - BITS)).float() + 0.5) / 2**BITS
    share = (-(rounded[..., None, :] - book).square().sum(-1) / SHARP).softmax(-1)
    size = side // grid
    cells = share.reshape(n, views, grid, size, grid, size, 5).mean((3, 5)).sqrt().permute(0, 1, 4, 2, 3)
    assert torch.allclose(colour_maps(frames, shares_table(book), grid), cells, atol=1e-5)


def test_small_vivid_things_get_a_colour_of_their_own() -> None:
    book = choose_colours(desks(60), 4)
    distance = torch.cdist(DESK.float() / 255, book)
    assert sorted(distance.argmin(1).tolist()) == [0, 1, 2, 3]
    assert distance.amin(1).max() < 0.05


def test_a_frame_of_one_colour_leaves_the_rest_of_the_book_empty() -> None:
    frames = DESK[1].expand(2, 1, 4, 4, 3)
    head = ColourHead(3, 1, 4, 6)
    head.fit(frames)
    assert (head.codebook < 2).all(1).sum() == 1
    assert head.error(torch.randn(2, 3), frames).isfinite()


def test_knowing_the_mean_alone_leaves_everything_unexplained_and_the_right_maps_nothing() -> None:
    frames = desks(40)
    head = ColourHead(8, 1, 32, 5)
    head.fit(frames)
    wanted = head.maps(frames) - head.mean
    z = torch.zeros(40, 8)
    head.read = torch.nn.Sequential(Says(torch.zeros_like(wanted)))
    assert head.error(z, frames).item() == pytest.approx(1, abs=1e-4)
    head.read = torch.nn.Sequential(Says(wanted))
    assert head.error(z, frames).item() == pytest.approx(0, abs=1e-6)


def test_a_latent_that_is_free_learns_where_things_lie() -> None:
    frames = desks(12)
    torch.manual_seed(0)
    head = ColourHead(16, 1, 32, 5, grid=8, hidden=64)
    head.fit(frames)
    z = torch.randn(12, 16, requires_grad=True)
    optimizer = torch.optim.Adam([z, *head.parameters()], 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        error = head.error(z, frames)
        error.backward()
        optimizer.step()
    assert error < 0.3


def test_the_table_follows_the_codebook_that_is_loaded() -> None:
    frames, one, other = desks(20), ColourHead(4, 1, 32, 4), ColourHead(4, 1, 32, 4)
    one.fit(frames)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.maps(frames), other.maps(frames))


def test_the_grid_divides_the_picture() -> None:
    assert [ColourHead(2, 1, side, 2).grid for side in (1, 10, 64, 96, 224)] == [1, 10, 16, 16, 16]
