"""The decoder: any size of frame, one picture per camera, small, beginning with the median picture."""

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.worldmodel.decoder import Decoder, DecoderConfig


def made(latent: int, size: int, views: int) -> Decoder:
    return Decoder(DecoderConfig(latent, size, tuple(f"c{i}" for i in range(views)))).eval()


@pytest.mark.parametrize(
    "latent,size,views,batch",
    [(2, 16, 1, 1), (1, 1, 1, 1), (2, 8, 2, 3), (3, 30, 1, 2), (128, 64, 2, 2), (128, 96, 1, 1), (192, 224, 2, 1)],
)
def test_every_size_gets_pictures(latent: int, size: int, views: int, batch: int) -> None:
    decoder = made(latent, size, views)
    pictures = decoder(torch.randn(batch, latent))
    assert pictures.shape == (batch, views, size, size, 3) and pictures.dtype == torch.float32
    assert decoder.pictures(torch.randn(batch, latent)).dtype == torch.uint8
    assert decoder.pictures(torch.randn(0, latent)).shape == (0, views, size, size, 3)
    assert decoder.config.sides[0] <= 8 and 2 * decoder.config.sides[-1] >= size


@pytest.mark.parametrize("views", [1, 2, 3])
def test_it_is_small(views: int) -> None:
    assert sum(p.numel() for p in made(128, 64, views).parameters()) < 1_500_000


def test_it_begins_with_the_median_picture_and_clips_bytes() -> None:
    decoder, frames = made(2, 16, 2), torch.randint(0, 256, (40, 2, 16, 16, 3), dtype=torch.uint8)
    z = torch.randn(200, 2) * torch.tensor([3.0, 0.5]) + 1
    decoder.fit_statistics(z, frames)
    torch.testing.assert_close(decoder(z[:1])[0], frames.float().median(0).values)
    deviation = (frames[:, 1].float() - frames[:, 1].float().median(0).values).square().mean().sqrt()
    torch.testing.assert_close(decoder.deviation[1].squeeze(), deviation)
    with torch.no_grad():
        decoder.draw.bias.fill_(1e4)  # type: ignore[union-attr]
    assert decoder.pictures(z[:1]).unique().tolist() == [255]


def test_fading_hides_the_sharp_base_behind_what_passes() -> None:
    decoder = made(2, 16, 1)
    decoder.base[0, :, ::2] = 0.0
    decoder.base[0, :, 1::2] = 200.0
    with torch.no_grad():
        decoder.draw.bias[-4:] = 1.0  # type: ignore[union-attr, index]
        faded = decoder(torch.zeros(1, 2))
    torch.testing.assert_close(faded, torch.full_like(faded, 100.0))


def test_errors_are_in_units_of_two_random_latents() -> None:
    decoder = made(5, 8, 1)
    z = torch.randn(4000, 5) * torch.tensor([1.0, 2.0, 0.1, 4.0, 0.0])
    decoder.fit_statistics(z, torch.zeros(1, 1, 8, 8, 3, dtype=torch.uint8))
    pairs = decoder.error(z, z[torch.randperm(4000)])
    assert float(pairs.square().mean()) == pytest.approx(1, abs=0.05)
    assert float(decoder.error(z, z).max()) == 0


def test_it_learns_which_picture_a_latent_means_and_each_camera_its_own() -> None:
    frames = torch.zeros(2, 2, 16, 16, 3, dtype=torch.uint8)
    frames[0, 0, 2:6, 3:9] = frames[1, 1, 9:14, 1:4] = 200
    z, decoder = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), made(2, 16, 2).train()
    decoder.fit_statistics(z, frames)
    optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(120):
        loss = ((decoder(z) - frames.float()) / decoder.deviation).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    drawn = decoder(z).detach()
    assert float((drawn - frames.float()).abs().max()) < 40
    assert float((drawn - frames.float().flip(0)).abs().max()) > 150


@pytest.mark.parametrize(
    "changes",
    [{"latent_dim": 0}, {"hidden": 0}, {"image_size": 0}, {"cameras": ()}, {"channels": (4, 0)}],
)
def test_sizes_below_one_get_a_sentence(changes: dict[str, object]) -> None:
    with pytest.raises(JepaflowError, match="must be at least 1"):
        DecoderConfig(**{"latent_dim": 2, "image_size": 8, "cameras": ("a",), **changes})  # type: ignore[arg-type]


def test_its_sizes_survive_json() -> None:
    config = DecoderConfig(2, 16, ("a", "b"), 7, (4, 3))
    assert DecoderConfig.from_dict({**config.__dict__, "cameras": ["a", "b"], "channels": [4, 3]}) == config
