"""The ViT weight for weight against transformers, and attention's two paths against each other."""

import pytest
import torch

from jepaflow.worldmodel.attention import attend
from jepaflow.worldmodel.encoder import EncoderConfig, ResidualBlock, ViT


def test_vit_equals_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96, image_size=28, patch_size=14,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
        add_pooling_layer=False,
    ).eval()  # fmt: skip
    ours = ViT(EncoderConfig(kind="vit", width=24, patch=14, depth=2, heads=3), 28, 3).eval()
    weights = theirs.state_dict()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())

    def find(*endings: str) -> torch.Tensor:
        """A tensor by the end of its name: the names' beginnings change between releases of transformers."""
        (found,) = [v for k, v in weights.items() if any(k.endswith(e) for e in endings)]
        return found

    mapped = {
        "cls_token": find("embeddings.cls_token"),
        "position": find("position_embeddings"),
        "patchify.weight": find("projection.weight"),
        "patchify.bias": find("projection.bias"),
    }
    final = [k for k in weights if k.endswith(("layernorm.weight", "layernorm.bias")) and ".layer" not in k]
    for key in final:
        mapped[f"norm.{key.rsplit('.', 1)[1]}"] = weights[key]
    for i in range(2):
        layer = {
            k.split(f".{i}.", 1)[1] if f".{i}." in k else k.removeprefix(f"{i}."): v
            for k, v in weights.items()
            if f".{i}." in f".{k}" and "layer" in k
        }
        for kind in ("weight", "bias"):
            qkv = [
                next(v for k, v in layer.items() if k.endswith((f"{n}.{kind}", f"{n[0]}_proj.{kind}")))
                for n in ("query", "key", "value")
            ]
            rest = {
                k: v
                for k, v in layer.items()
                if k.endswith(kind) and not any(n in k for n in ("query", "key", "value", "q_proj", "k_proj", "v_proj"))
            }
            norms = [v for k, v in rest.items() if "layernorm" in k]
            dense = [v for k, v in rest.items() if "layernorm" not in k]
            mapped[f"layers.{i}.attention.to_qkv.{kind}"] = torch.cat(qkv)
            names = ("attention.to_out", "mlp.0", "mlp.2")
            mapped |= {f"layers.{i}.{name}.{kind}": v for name, v in zip(names, dense, strict=True)}
            mapped |= {f"layers.{i}.norm{j + 1}.{kind}": v for j, v in enumerate(norms)}
    ours.load_state_dict(mapped)
    x = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).last_hidden_state[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2, 7])
@pytest.mark.parametrize("causal", [True, False])
def test_explicit_attention_equals_the_fused_kernel(tokens: int, causal: bool) -> None:
    q, k, v = torch.randn(3, 2, 3, tokens, 4)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attend(q, k, v, causal), expected)


@pytest.mark.parametrize("side", [1, 3, 4])
def test_small_maps_have_the_plain_convolution_s_gradients(side: int) -> None:
    block = ResidualBlock(8)
    torch.nn.init.normal_(block.conv2.weight, std=0.2)
    x = torch.randn(6, 8, side, side, requires_grad=True)
    fast = torch.autograd.grad(block(x).square().sum(), [x, *block.parameters()])
    plain = x + block.conv2(torch.relu(block.conv1(x)))
    slow = torch.autograd.grad(torch.relu(plain).square().sum(), [x, *block.parameters()])
    for mine, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
