"""Wordings by somebody else: what a reader makes of requests whose writer never saw the lists that it was taught with.

The test's own words (`grammar`, `refusals`) were written beside the training's and looked at while the reader changed. These 130
templates of possible and 130 impossible requests (``others_words.json``) were written without sight of either. They were read twice: the
list of colour names came between.
"""

import json
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from jepaflow.common.intervals import wilson
from jepaflow.common.results import Row
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import VERBS, Clause, Thing
from jepaflow.subgoals.language.reading import PLACE, Ground


def possible(seed: int = 0) -> list[tuple[str, Clause]]:
    """Return each template with drawn colours, and what it means."""
    rng, found = np.random.default_rng(seed), []
    for one in _lists()["possible"]:
        thing, place = (str(colour) for colour in rng.permutation(list(PALETTE))[:2])
        what = Thing(thing, one.get("kind", "cube"))
        verb = next(verb for verb in VERBS if verb == one["verb"])
        where = Thing(place, PLACE[verb]) if PLACE[verb] else None
        found.append((one["said"].format(o=thing, p=place), Clause(verb, what, where)))
    return found


def impossible() -> list[tuple[str, str]]:
    """Return requests that must be refused, and what is wrong with each."""
    return [(one["said"], one["kind"]) for one in _lists()["impossible"]]


def others_rows(grounds: Sequence[Ground], encoder: str) -> list[Row]:
    """Judge readers of several seeds: read rightly, refused wrongly, and refused rightly by what is wrong."""
    said, odd = possible(), impossible()
    last = "" if encoder == "minilm" else f"_{encoder}"
    read = [ground.read([text for text, _ in said]) for ground in grounds]
    gone = [[meaning is None for meaning in ground.read([text for text, _ in odd])] for ground in grounds]
    right = [[one == wanted for one, (_, wanted) in zip(each, said, strict=True)] for each in read]
    refused = [[one is None for one in each] for each in read]
    rows = [
        _row(f"grounding/others/paraphrase{last}", right, "whole clause right; put, push, reach, lift"),
        _row(f"grounding/others/false_refusal{last}", refused, "possible requests that were refused"),
        _row(f"grounding/others/refusal{last}", gone, "impossible requests, all kinds"),
    ]
    for kind in dict.fromkeys(kind for _, kind in odd):
        mine = [[value for value, (_, one) in zip(each, odd, strict=True) if one == kind] for each in gone]
        rows.append(_row(f"grounding/others/refusal/{kind}{last}", mine, f"impossible {kind}"))
    return rows


def _row(name: str, found: Sequence[Sequence[bool]], what: str) -> Row:
    value, n = float(np.mean(found)), len(found[0])
    each = [float(np.mean(one)) for one in found]
    low, high = wilson(round(value * n), n)
    note = (
        f"{what}; written without sight of any list; interval over sentences; seeds {min(each):.3f} … {max(each):.3f}"
    )
    return Row(name, value, low, high, n, len(found), "fraction", {}, {}, note)


def _lists() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = json.loads(files(__package__).joinpath("others_words.json").read_text())
    return found
