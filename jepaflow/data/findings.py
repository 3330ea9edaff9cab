"""Collects what the checks find and says each thing once.

A fault of a recording set-up is in every episode; a table of a thousand equal lines hides the one that differs.
Findings with the same code and subject are therefore joined: the worst place is named in full, the other episodes as
ranges.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jepaflow.data.types import LEVELS, Finding, compact


class Collector:
    """Gathers findings; iterate to get them joined, errors first."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], list[tuple[float, Finding]]] = {}

    def add(
        self,
        level: str,
        code: str,
        sentence: str,
        fix: str = "",
        *,
        file: object = None,
        episode: int | None = None,
        frame: int | None = None,
        subject: str = "",
        severity: float | int = 0.0,
    ) -> None:
        """Enter one finding.

        Args:
            level: "error", "warning" or "note". code: short name of the fault.
            file, episode, frame: where, as far as known.
            subject: findings of one code are joined per subject (a feature, a camera).
            severity: the place with the largest is the one named in full.
        """
        found = Finding(level, code, sentence, fix, None if file is None else str(file), episode, frame)
        self._groups.setdefault((level, code, subject), []).append((float(severity), found))

    def extend(self, findings: list[Finding]) -> None:
        """Enter findings that are complete already, each on its own."""
        for number, found in enumerate(findings):
            self._groups.setdefault((found.level, found.code, f"\0{number}"), []).append((0.0, found))

    @contextmanager
    def guard(self, what: str, *, file: object = None, episode: int | None = None) -> Iterator[None]:
        """Turn whatever a check of ``what`` stumbles over into a finding: one odd file must not hide the rest."""
        try:
            yield
        except Exception as error:  # any kind: what a malformed file makes of a check cannot be foreseen
            sentence = f"Checking {what} failed ({type(error).__name__}: {str(error)[:200]})."
            fix = "Something there is of an unexpected kind: mend it and examine again."
            self.add("error", "check-failed", sentence, fix, file=file, episode=episode, subject=what)

    def __iter__(self) -> Iterator[Finding]:
        for level in LEVELS:
            for group in (group for (its_level, _, _), group in self._groups.items() if its_level == level):
                yield _joined(group)


def _joined(group: list[tuple[float, Finding]]) -> Finding:
    worst = max(group, key=lambda item: item[0])[1]
    others = sorted({found.episode for _, found in group if found.episode is not None} - {worst.episode})
    if not others:
        return worst
    more = f" Also in {len(others)} other episode{'s' if len(others) > 1 else ''}: {compact(others)}."
    return replace(worst, sentence=worst.sentence + more)
