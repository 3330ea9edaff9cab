"""Files that are whole or absent: written under a temporary name beside the target, flushed, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jepaflow.common.errors import JepaflowError


def sync_directory(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it becomes ``path``, on failure it disappears.

    Raises:
        JepaflowError: when the folder cannot be made or written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JepaflowError(f"Cannot make the folder {path.parent}: {error.strerror}. Choose another place.") from error
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise JepaflowError(
            f"Cannot write {path}: {error.strerror or error}. Free some space or choose another place."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        JepaflowError: when it is missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError as error:
        raise JepaflowError(f"{path} does not exist. Check the path.") from error
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise JepaflowError(f"{path} cannot be read as JSON ({error}). Restore it or make it anew.") from error
