"""Which text encoder: the trained one where it is installed, hashed words where not."""

import logging

from jepaflow.common.errors import JepaflowError
from jepaflow.subgoals.language.hashed import Hashed
from jepaflow.subgoals.language.minilm import INSTALL, MiniLM, installed
from jepaflow.subgoals.language.text_encoder import Encoded, TextEncoder

__all__ = ["Encoded", "Hashed", "MiniLM", "TextEncoder", "make_encoder"]

log = logging.getLogger(__name__)


def make_encoder(name: str = "auto") -> TextEncoder:
    """Return an encoder by name: "minilm", "hashed", or "auto" for MiniLM where it is installed and hashed words elsewhere.

    Raises:
        JepaflowError: an unknown name, or MiniLM is asked for (or installed) and cannot be read.
    """
    if name not in ("auto", MiniLM.name, Hashed.name):
        raise JepaflowError(f"there is no text encoder {name!r}. Choose among auto, {MiniLM.name}, {Hashed.name}.")
    if name == "auto" and installed() is None:
        log.warning(
            "The sentence encoder MiniLM is not installed: words are hashed instead, which knows no synonyms. %s",
            INSTALL,
        )
        return Hashed()
    return Hashed() if name == Hashed.name else MiniLM()
