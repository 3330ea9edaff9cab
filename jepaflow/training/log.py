"""The training log: one JSON object a line, and the same numbers for TensorBoard.

After a crash the log may be ahead of the last checkpoint; resuming cuts it back to that step, so that every step
stands in it once.
"""

import json
import os
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from jepaflow.common.files import atomic_path


def read_log(run: Path) -> list[dict[str, int | float]]:
    """All whole lines of ``log.jsonl``; a half-written last line is passed over."""
    path = run / "log.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class TrainingLog:
    """Append-only log of a run, continued after ``step``."""

    def __init__(self, run: Path, step: int) -> None:
        path = run / "log.jsonl"
        kept = [row for row in read_log(run) if row["step"] <= step]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = open(path, "a")  # noqa: SIM115 (closed in __exit__)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record values of a step; safe against a crash as soon as this returns."""
        self._file.write(json.dumps({"step": step, **{k: round(v, 6) for k, v in values.items()}}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()
