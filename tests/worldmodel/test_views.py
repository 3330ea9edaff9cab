"""Several views through one encoder."""

import torch

from jepaflow.worldmodel.encoder import EncoderConfig, make_encoder
from jepaflow.worldmodel.jepa import JEPA, JEPAConfig
from jepaflow.worldmodel.views import SharedViews

SHARED = EncoderConfig(channels=(4, 8), width=16, fusion="shared")


def test_one_view_needs_no_fusion() -> None:
    assert not isinstance(make_encoder(SHARED, 16, 1), SharedViews)


def test_views_differ_by_their_embedding_alone() -> None:
    torch.manual_seed(0)
    encoder = make_encoder(SHARED, 16, 2)
    assert isinstance(encoder, SharedViews)
    x = torch.randn(5, 6, 16, 16)
    swapped = torch.cat([x[:, 3:], x[:, :3]], 1)
    assert encoder(x).shape == (5, 16) and not torch.allclose(encoder(x), encoder(swapped), atol=1e-4)
    with torch.no_grad():
        encoder.embedding.zero_()
    torch.testing.assert_close(encoder(x), encoder(swapped))


def test_every_view_is_seen_and_the_encoder_is_one() -> None:
    encoder = make_encoder(SHARED, 16, 3)
    x = torch.randn(2, 9, 16, 16, requires_grad=True)
    encoder(x).square().sum().backward()
    assert x.grad is not None and (x.grad.unflatten(1, (3, 3)).abs().sum((0, 2, 3, 4)) > 0).all()
    single = make_encoder(SHARED, 16, 1)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (encoder, single)]
    assert sizes[0] == sizes[1] + 3 * 16 + 2 * (16 * 16 + 16)


def test_a_model_of_fused_views_encodes() -> None:
    model = JEPA(JEPAConfig(image_size=16, cameras=("pixels", "phone"), encoder=SHARED)).eval()
    pixels = torch.randint(0, 255, (2, 3, 2, 16, 16, 3), dtype=torch.uint8)
    assert model.encode(pixels).shape == (2, 3, 128)
    again = JEPAConfig.from_dict(
        {**model.config.__dict__, "encoder": SHARED.__dict__, "predictor": model.config.predictor.__dict__}
    )
    assert again == model.config
