"""Is a sentence of several requests read as it was meant, whatever the wording of each?

    python -m benchmarks.compositions [--sentences 2000] [--json results/language.json]

Two or three clauses of the world `place`, each in a paraphrase (the test's wordings are none of the training's), joined by words of order
or by none, in half of the sentences with something to avoid. The head that grounds single parts is perfect here: it knows the meaning of
every wording that it was handed whole, and of no other. So the figure is what the grammar alone loses.

Rows: ``language/compositions/<train|test>``: clauses, order and avoidance all right. Floor: the plain wordings read by rule, no head.
"""

import shlex
import sys
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import tyro

from jepaflow.common.console import console
from jepaflow.common.intervals import wilson
from jepaflow.common.results import Row, write_results
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.grammar import Split
from jepaflow.subgoals.language.paraphrase import paraphrase, puts
from jepaflow.subgoals.language.request import Request, parse
from jepaflow.subgoals.language.splitting import plain

THEN = (", then ", " and then ", ". Then ", ", after that ", ", and finally ")
AND = (" and ", ", ", ". ", " as well as ")
AVOIDED = (Thing("", "post"), Thing("", "wall"), Thing("white", "cube"))
BEFORE = ("without touching {}, ", "don't touch {}, but ", "stay away from {}, and ")
BEHIND = (" without touching {}", ", but do not touch {}", ", avoiding {}")


@dataclass(frozen=True)
class Args:
    """Measure the grammar."""

    sentences: int = 2000
    """of each split"""
    seed: int = 0
    json: Path | None = field(default=Path("results/language.json"))


@dataclass(frozen=True)
class Meant:
    """A sentence, what it means, and what its parts mean."""

    sentence: str
    stages: tuple[tuple[Clause, ...], ...]
    avoid: tuple[Thing, ...]
    known: dict[str, Clause]

    def read(self, found: object) -> bool:
        """Whether it was read as it was meant."""
        if not isinstance(found, Request):
            return False
        number = {clause: k for k, clause in enumerate(found.must)}
        if set(number) != {clause for stage in self.stages for clause in stage}:
            return False
        order = {(number[a], number[b]) for one, other in pairwise(self.stages) for a, b in product(one, other)}
        return set(found.order) == order and found.avoid == self.avoid


def compose(rng: np.random.Generator, split: Split) -> Meant:
    """Draw a sentence."""
    objects = [Thing(str(colour), "cube") for colour in rng.permutation(["red", "blue", "green"])]
    chosen = [str(rng.choice(["red", "blue", "white"])) for _ in range(int(rng.integers(2, 4)))]
    by_meaning = {(clause.object, clause.place): clause for clause in puts()}
    clauses = [by_meaning[objects[k], Thing(bin_, "bin")] for k, bin_ in enumerate(chosen)]
    said = [plain(paraphrase(clause, rng, split)) for clause in clauses]
    stages, sentence = [[clauses[0]]], said[0]
    for clause, words in zip(clauses[1:], said[1:], strict=True):
        ordered = rng.random() < 0.5
        sentence += str(rng.choice(THEN if ordered else AND)) + words
        stages += [[]] if ordered else []
        stages[-1].append(clause)
    avoid = (AVOIDED[int(rng.integers(len(AVOIDED)))],) if rng.random() < 0.5 else ()
    for thing in avoid:
        if rng.random() < 0.5:
            sentence = str(rng.choice(BEFORE)).format(thing) + sentence
        else:
            sentence += str(rng.choice(BEHIND)).format(thing)
    known = dict(zip(said, clauses, strict=True))
    return Meant(sentence, tuple(tuple(stage) for stage in stages), avoid, known)


def main(args: Args) -> None:
    """Measure and write."""
    rows = []
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        rng = np.random.default_rng(args.seed)
        meant = [compose(rng, split) for _ in range(args.sentences)]
        right = [one.read(parse(one.sentence, one.known.get)) for one in meant]
        ruled = float(np.mean([one.read(parse(one.sentence)) for one in meant]))
        for one in [one for one, good in zip(meant, right, strict=True) if not good][:5]:
            console.print(f"{one.sentence}\n    read as: {parse(one.sentence, one.known.get)}")
        count = sum(right)
        note = (
            "two or three clauses, each in one of the split's paraphrases, with links of order or none, half with something to avoid; "
            "a perfect head for single parts, so this is what the grammar loses; all of clauses, order and avoidance must be right; "
            "the rules were written with both splits' wordings at hand, so the test's are unseen by the head only"
        )
        value, low, high = count / len(right), *wilson(count, len(right))
        floors = {"rules alone": ruled}
        rows.append(Row(f"language/compositions/{split}", value, low, high, len(right), floors=floors, note=note))
    for row in rows:
        console.print(f"{row.name}: {row.value:.4f} ({row.low:.4f} – {row.high:.4f}), n {row.n}, {row.floors}")
    if args.json is not None:
        command = shlex.join(["python", "-m", "benchmarks.compositions", *sys.argv[1:]])
        write_results(args.json, command, rows, keep=True)


if __name__ == "__main__":
    main(tyro.cli(Args))
