"""What other commands measured of the same run: read from its folder, so that one report shows all of it.

A topic is a results file (``rows``) and the pictures beside it. The commands know nothing of the report and the report
nothing of how they measure: whoever writes ``RUN/diagnosis/<topic>.json`` is in it. A topic that is not there is named
with the command that makes it, so that what was not measured cannot be mistaken for what is well.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jepaflow.common.errors import JepaflowError
from jepaflow.common.files import read_json
from jepaflow.common.results import Row
from jepaflow.diagnosis.ranking import own_name


@dataclass(frozen=True)
class TopicKind:
    """A topic that the report knows.

    Attributes:
        key: of the section.
        file: where its rows lie, inside the run folder; its pictures are ``diagnosis/<key>*.png``.
        title: heading, a question.
        words: what the figures mean, for a reader who has never heard of them.
        command: what makes it; ``{run}`` is the run's folder.
        needs: what it needs that a run may not have.
    """

    key: str
    file: str
    title: str
    words: str
    command: str
    needs: str = ""


KINDS = (
    TopicKind(
        "probes",
        "diagnosis/probes.json",
        "What can be read from its code?",
        "A probe is a small model trained to read one quantity (a joint angle, where the cube lies) from the latent. "
        "r = 1 reads it exactly, 0 not at all. The floors are what the same probe reads from things that are not this "
        "model: the clock, an untrained encoder, coarse pixels, the joints alone. Only what lies above all of them was learned.",
        "jepaflow probe {run}",
    ),
    TopicKind(
        "surprise",
        "diagnosis/surprise.json",
        "Is it surprised by the impossible?",
        "The same episode is shown twice, once with one impossible event: the object teleports, vanishes, floats, passes "
        "through a wall. AUROC is how often the impossible one surprises the model more: 1 always, 0.5 is a coin. A change "
        "of colour is not against physics and stands beside them as a control.",
        "jepaflow surprise {run}",
        "a run trained in a simulated world, in which one frame can be edited",
    ),
    TopicKind(
        "monitor",
        "diagnosis/monitor.json",
        "Does it notice when something goes wrong?",
        "While the robot works, what the model expected is compared with what came. The alarm is set on successful "
        "episodes so that few of them raise it; recall is the share of deliberate failures that do.",
        "jepaflow monitor {run}",
        "recordings with labelled failures, such as those of jepaflow collect",
    ),
    TopicKind(
        "decoder",
        "decoder.json",
        "What do its codes look like, drawn?",
        "A decoder, trained afterwards, draws the frame that a latent stands for. It is compared with two forecasts that "
        "need no decoder: the mean frame, and the training frame whose latent is nearest. PSNR in decibels and SSIM: "
        "higher is closer to the real frame.",
        "jepaflow decoder {run}",
    ),
)


@dataclass(frozen=True)
class Topic:
    """One topic as found.

    Attributes:
        kind: which.
        rows: under their own names; empty where it was not made.
        pictures: PNG by file name.
        command: what made it, or would.
        why: why it cannot be made here, where somebody tried.
    """

    kind: TopicKind
    rows: tuple[Row, ...]
    pictures: dict[str, bytes]
    command: str
    why: str = ""

    def stale(self, step: int) -> str:
        """A warning when its figures say that they were made at another checkpoint; empty when they do not."""
        found = {int(n) for row in self.rows for n in re.findall(r"\bat step ([\d]+)", row.note.replace(",", ""))}
        if not found or found == {step}:
            return ""
        return f"These figures are of the checkpoint at step {min(found):,}, this report is of step {step:,}: make them again."

    @property
    def there(self) -> bool:
        """Whether anything was found."""
        return bool(self.rows or self.pictures)


def read_topics(folder: Path, why: Mapping[str, str] | None = None) -> tuple[Topic, ...]:
    """Every topic of a run folder, in the order of the report; those that are missing hold nothing.

    Args:
        folder: of the run.
        why: for topics that somebody tried to make in vain, the reason.

    Raises:
        JepaflowError: naming the file, when one is there and is not in the results format.
    """
    return tuple(_read(folder, kind, (why or {}).get(kind.key, "")) for kind in KINDS)


def _read(folder: Path, kind: TopicKind, why: str) -> Topic:
    command = kind.command.format(run=folder)
    path = folder / kind.file
    if not path.is_file():
        return Topic(kind, (), {}, command, why)
    content = read_json(path)
    try:
        rows = tuple(read_row(row) for row in content["rows"])
    except (AttributeError, KeyError, TypeError) as error:
        raise JepaflowError(f"{path} is not a results file ({error}). Make it anew: {command}") from error
    pictures = {p.name: p.read_bytes() for p in sorted((folder / "diagnosis").glob(f"{kind.key}*.png"))}
    return Topic(kind, rows, pictures, str(content.get("command", command)))


def read_row(content: dict[str, object]) -> Row:
    """A row of a results file, under its own name; what the file says beside (an older command) is left out."""
    fields = {key: value for key, value in content.items() if key in Row.__dataclass_fields__}
    row = Row(**fields)  # type: ignore[arg-type]
    return replace(row, name=own_name(row.name))
