"""PNG and JPEG bytes to arrays and back."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from jepaflow.common.errors import JepaflowError


def encode_png(frame: np.ndarray) -> bytes:
    """One uint8 frame ``(H, W, 3)`` as PNG bytes (lossless)."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def decode_image(data: bytes, where: str) -> np.ndarray:
    """Encoded bytes to a uint8 frame ``(H, W, 3)``.

    Raises:
        JepaflowError: when the bytes are no image; ``where`` names the place.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise JepaflowError(
            f"{where}: the image cannot be decoded ({error}). Restore it or drop the episode."
        ) from error
