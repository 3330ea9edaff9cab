"""The store while it is being written: ``OUT.h5.partial`` with a journal beside it, renamed to ``OUT.h5`` when whole.

All space is laid out before the first frame, so that writing a row changes no HDF5 bookkeeping: a process killed in
the middle leaves a file that opens, and the journal (one JSON line per finished episode, appended after the episode's
bytes are on disk) says how far it is good. The journal's first line describes source and options; a later run with
the same ones goes on behind the last whole episode, with others it stops and says which differ.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import sync_directory

_ROWS_PER_CHUNK = 1024


@dataclass
class Entry:
    """What happened to one source episode. ``length`` is 0 for a dropped one; ``on_damage`` was the rule then."""

    source: int
    length: int
    damage: list[str] = field(default_factory=list)
    repeated_frames: int = 0
    on_damage: str = "fail"


class PartialStore:
    """Writes a store episode by episode; continues an interrupted one.

    Args:
        out: the store to be.
        header: source and options, JSON-able; decides whether an interrupted file may be continued.
        columns: per column its shape and dtype, e.g. ``{"pixels": ((N, S, S, 3), "u1"), "action": ((N, A), "f4")}``.
        overwrite: begin an interrupted store anew; a finished one stays until the new one takes its name.

    Raises:
        JepaflowError: when another process writes it, the interrupted one was begun differently, or ``out`` exists.
    """

    def __init__(
        self,
        out: Path,
        header: Mapping[str, Any],
        columns: Mapping[str, tuple[tuple[int, ...], str]],
        overwrite: bool = False,
    ) -> None:
        self.out, self.path = out, out.with_name(out.name + ".partial")
        self.journal_path = out.with_name(out.name + ".journal.partial")
        self.entries: list[Entry] = []
        out.parent.mkdir(parents=True, exist_ok=True)
        self._journal = open(self.journal_path, "a+b")  # noqa: SIM115 - open for as long as the writer lives
        self._header = json.loads(json.dumps(dict(header)))
        try:
            self._lock()
            if not overwrite:
                refuse_existing(out)  # once more: another conversion may have finished it in the meantime
            with _full_disk_is_an_os_error():
                self._file = (None if overwrite else self._continue(set(columns))) or self._create(columns)
        except BaseException:
            self._journal.close()
            raise
        self._data = {name: self._file[name] for name in columns}  # looked up once: a look-up costs more than a row
        self.row = sum(entry.length for entry in self.entries)
        self._descriptor: int | None = os.open(self.path, os.O_RDONLY)
        self._saver = ThreadPoolExecutor(1)
        self._saved: Future[None] | None = None

    def _lock(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A conversion that finished between our opening and our locking has removed the file that we hold.
            ours = os.path.samestat(os.fstat(self._journal.fileno()), os.stat(self.journal_path))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise JepaflowError(f"Another conversion is writing {self.path}. Wait for it, or choose another file.")

    def _continue(self, columns: set[str]) -> h5py.File | None:
        self._journal.seek(0)
        # A line that a kill cut short is not a line.
        lines = [line for line in self._journal.read().split(b"\n")[:-1] if line]
        if not lines or not self.path.exists():
            return None
        header, entries = json.loads(lines[0]), [Entry(**json.loads(line)) for line in lines[1:]]
        # How damage is handled binds only once some was met.
        header["on_damage"] = next(
            (entry.on_damage for entry in entries if entry.damage), self._header.get("on_damage")
        )
        differing = sorted(key for key in {*header, *self._header} if header.get(key) != self._header.get(key))
        if differing:
            said = ", ".join(
                f"{key}: {_short(header.get(key))}, now {_short(self._header.get(key))}" for key in differing
            )
            raise JepaflowError(
                f"{self.path} was begun differently ({said}). "
                "Use the same options to continue, or --overwrite to start anew."
            )
        try:
            file = h5py.File(self.path, "r+")
            complete = columns <= set(file)
        except (OSError, RuntimeError):
            return None  # cut in its last second, while the bookkeeping was written: begin again
        if not complete:
            file.close()
            return None
        self.entries = entries
        self._journal.truncate(sum(len(line) + 1 for line in lines))
        return file

    def _create(self, columns: Mapping[str, tuple[tuple[int, ...], str]]) -> h5py.File:
        self._journal.truncate(0)
        self.path.unlink(missing_ok=True)
        file = h5py.File(self.path, "w")
        for name, (shape, dtype) in columns.items():
            chunk = (1, *shape[1:]) if len(shape) == 4 else (min(_ROWS_PER_CHUNK, shape[0]), *shape[1:])
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_chunk(chunk)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            if len(shape) == 4:
                plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple(shape, (h5py.h5s.UNLIMITED, *shape[1:]))
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(np.dtype(dtype)), space, plan)
        file.flush()
        self._append(self._header)
        return file

    def _append(self, value: Mapping[str, Any]) -> None:
        self._journal.write(json.dumps(value).encode() + b"\n")
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def write_frame(self, column: str, number: int, frame: np.ndarray) -> None:
        """Write frame ``number`` of the episode in hand, uint8 ``(S, S, 3)``."""
        with _full_disk_is_an_os_error():
            self._data[column].id.write_direct_chunk(
                (self.row + number, 0, 0, 0), np.ascontiguousarray(frame).tobytes()
            )

    def write_rows(self, column: str, values: np.ndarray) -> None:
        """Write a low-dimensional column of the episode in hand, ``(T, ...)``."""
        with _full_disk_is_an_os_error():
            self._data[column][self.row : self.row + len(values)] = values

    def read(self, column: str, row: int) -> np.ndarray:
        """One row of a column, for verification."""
        return np.asarray(self._data[column][row])

    def finish_episode(self, entry: Entry) -> None:
        """The episode in hand is whole (or dropped): enter it in the journal once its bytes are on disk."""
        with _full_disk_is_an_os_error():
            self._file.flush()
        self.entries.append(entry)
        self.row += entry.length
        self.wait()
        # Syncing overlaps with decoding the next episode; the journal line comes after it.
        self._saved = self._saver.submit(self._save, entry)

    def _save(self, entry: Entry) -> None:
        if self._descriptor is not None:
            os.fsync(self._descriptor)
        self._append(vars(entry))

    def wait(self) -> None:
        """Wait until everything finished so far is safe on disk; raises what went wrong while saving."""
        if self._saved is not None:
            self._saved.result()
            self._saved = None

    def complete(self, attributes: Mapping[str, str]) -> None:
        """Shrink to the rows written, add the episode tables and attributes, and rename to the final name."""
        self.wait()
        kept = [entry for entry in self.entries if entry.length]
        lengths = np.array([entry.length for entry in kept], dtype=np.int64)
        with _full_disk_is_an_os_error():
            for name in list(self._file):
                if name.startswith("ep_"):
                    del self._file[name]  # of an earlier attempt that was killed right here
                elif self._file[name].shape[0] != self.row:
                    self._file[name].resize(self.row, axis=0)
            self._file["ep_len"] = lengths.astype(np.int32)
            self._file["ep_offset"] = np.cumsum(lengths) - lengths
            self._file["ep_source"] = np.array([entry.source for entry in kept], dtype=np.int64)
            for name, value in attributes.items():
                self._file.attrs[name] = value
            self._file.flush()
            self._file.attrs["complete"] = True
            self._file.flush()
            self._file.close()
        with open(self.path, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(self.path, self.out)
        self.journal_path.unlink(missing_ok=True)
        sync_directory(self.out.parent)
        self.close()  # last, for it gives the lock back

    def close(self) -> None:
        """Let go of the files; an unfinished store stays to be continued."""
        self._saver.shutdown(wait=True)
        with suppress(OSError, ValueError, RuntimeError):  # a full disk was reported by what failed first
            self._file.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._journal.close()


@contextmanager
def _full_disk_is_an_os_error() -> Iterator[None]:
    """HDF5 reports a failed write as ValueError, RuntimeError or OSError, with the system's reason inside its text."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        match = re.search(r"errno = (\d+)", str(error))
        if match is None:
            raise
        raise OSError(int(match.group(1)), os.strerror(int(match.group(1)))) from error


def refuse_existing(out: Path) -> None:
    """Keep a finished store from being written over.

    Raises:
        JepaflowError: when ``out`` exists.
    """
    if out.exists():
        raise JepaflowError(f"{out} exists already. Use --overwrite to replace it, or choose another file.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
