"""WordPiece, as uncased BERT models read text: a word is cut, from the left, into the longest pieces that the vocabulary holds.

Written out here (60 lines) because the package that does it, `tokenizers`, drags in a download client; the tests hold this
one to it, token for token. Names of special tokens inside a user's text are plain text here, never special tokens.
"""

import unicodedata
from collections.abc import Mapping
from functools import cache

LONGEST_WORD = 100
"""characters; anything longer is no word"""
LONGEST = 256
"""tokens of one sentence, both ends included: what the packaged model was trained for"""
START, END, UNKNOWN = "[CLS]", "[SEP]", "[UNK]"


def words(text: str) -> list[str]:
    """Cut a text into lower-case words without accents; each punctuation mark is a word, so is each Chinese character."""
    spaced = "".join(_spaced(sign) for sign in text)
    plain = (sign for sign in unicodedata.normalize("NFD", spaced) if unicodedata.category(sign) != "Mn")
    # Letter by letter: a whole text's lower case writes a last Greek sigma otherwise than the vocabulary does.
    return "".join(f" {sign} " if _is_punctuation(sign) else sign.lower() for sign in plain).split()


def pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    """Return the longest-match pieces of a word ("##" marks all but the first); one unknown token where there are none."""
    if len(word) > LONGEST_WORD:
        return [UNKNOWN]
    found: list[str] = []
    start = 0
    while start < len(word):
        mark = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if mark + word[start:end] in vocabulary), None)
        if end is None:
            return [UNKNOWN]
        found.append(mark + word[start:end])
        start = end
    return found


def tokens(text: str, vocabulary: Mapping[str, int]) -> tuple[str, ...]:
    """Return the tokens of a sentence between its start and its end, at most `LONGEST` with them."""
    inner = [piece for word in words(text) for piece in pieces(word, vocabulary)]
    return (START, *inner[: LONGEST - 2], END)


@cache
def _spaced(sign: str) -> str:
    """Return a character as the cutting wants it: control characters gone, blanks plain, Chinese ones apart."""
    category, code = unicodedata.category(sign), ord(sign)
    if sign in "\t\n\r" or category == "Zs":
        return " "
    if category in ("Cc", "Cf", "Cs", "Co") or code == 0xFFFD:
        return ""
    return f" {sign} " if any(low <= code <= high for low, high in _CHINESE) else sign


@cache
def _is_punctuation(sign: str) -> bool:
    """Whether a character stands alone: Unicode's punctuation and, as BERT has it, all of ASCII that is no letter or digit."""
    return (sign.isascii() and sign.isprintable() and not sign.isalnum() and sign != " ") or unicodedata.category(
        sign
    ).startswith("P")


_CHINESE = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
