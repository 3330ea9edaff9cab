"""Rows of a monitor's measurement: ``slip/recall@1%``, ``slip/recall_10steps@1%``, ``slip/delay_steps``, ``slip/false_alarms`` …"""

from __future__ import annotations

from collections import Counter

import numpy as np

from jepaflow.common.intervals import bootstrap
from jepaflow.common.results import Row
from jepaflow.diagnosis.calibration import AHEAD, MEANING, WINDOW
from jepaflow.diagnosis.slip_study import SlipStudy
from jepaflow.diagnosis.slips import LATE, Noticed, Share
from jepaflow.diagnosis.words import number

CANONICAL = "so101/pick_place"
"""The arm's world whose rows carry no name of a world."""
TELLS = {
    "slip": "deliberate slips (the grip gives way by command, then the script notices and opens)",
    "drop": "deliberate drops (the jaws open by command on the way)",
    "missed": "grasps beside the cube, from the moment at which the simulator calls them missed",
    "slippery": "slips that no command tells of: friction vanishes, the script does not look and goes on",
    "blocked": "the arm is held for 20 control steps, counted from the first",
    "moved": "a hand slides the cube 4 to 8 cm aside while the gripper is away, counted from the first control step",
}


def result_rows(found: SlipStudy, name: str = "") -> list[Row]:
    """Return the rows.

    Args:
        found: what was measured.
        name: what stands before every row's name; nothing when empty.
    """
    env, rate = found.config.env, f"{100 * found.config.false_alarms:g}%"
    before = (f"{name}/" if name else "") + ("" if env == CANONICAL else f"{env}/")
    rows = [_false(found, before)]
    for kind, one in found.monitor.noticed.items():
        if len(one.delay):
            rows += _recalls(found, f"{before}{kind}", kind, one, rate)
    for kind, belief in found.beliefs.items():
        if belief.imagination.n and belief.script.n:
            still = found.monitor.noticed[kind].within(LATE)
            note = (
                f"{TELLS[kind]}: share after which the model's open-loop imagination from the last look before, told what was "
                f"executed, still reads 'held' {LATE} control steps later (ridge probe). Script: believes it by its phase, as "
                f"an open-loop policy does, for {number(belief.lasts, 0)} control steps (median) until it lets go; seen: the "
                "same reading of the latents that came; monitor: no alarm in that time. Wilson interval"
            )
            floors = {"script": belief.script.value, "seen": belief.seen.value}
            floors["monitor"] = (still.n - still.count) / still.n
            rows.append(_share(f"{before}{kind}/open_loop_belief", belief.imagination, floors, note))
    return rows


def _false(found: SlipStudy, before: str) -> Row:
    config = found.config
    note = (
        f"share of {found.monitor.false.n} fresh calm episodes with any alarm; threshold by conformal calibration on the largest "
        f"score of {config.episodes} others, for at most {config.false_alarms:g}; Wilson interval"
    )
    floors = {name: one.false.value for name, one in found.floors.items()}
    return _share(f"{before}slip/false_alarms", found.monitor.false, floors, note)


def _recalls(found: SlipStudy, name: str, kind: str, one: Noticed, rate: str) -> list[Row]:
    said = Counter(name for name in found.names[kind] if name is not None)
    right, total = said[MEANING[kind]], said.total()
    words = ", ".join(f"{word} {count}" for word, count in sorted(said.items(), key=lambda e: -e[1]))
    about = (
        f"{TELLS[kind]}; alarm threshold for {rate} of calm episodes, forecasts {AHEAD} block ahead told the executed commands; "
        "floors got the same calibration"
    )
    rows = []
    for word, steps in (("recall", LATE), (f"recall_{WINDOW}steps", WINDOW)):
        floors = {floor: measured.noticed[kind].within(steps).value for floor, measured in found.floors.items()}
        note = f"noticed within {steps} control steps: {about}; Wilson interval"
        rows.append(_share(f"{name}/{word}@{rate}", one.within(steps), floors, note))
    known = one.delay[np.isfinite(one.delay)]
    if len(known):
        low, middle, high = (float(q) for q in np.percentile(known, [25, 50, 75]))
        between = bootstrap(known, lambda d: float(np.median(d)))
        note = (
            f"median over the noticed; quartiles {number(low, 0)} and {number(high, 0)}; a look comes every {found.block} control "
            "steps; 95 % bootstrap interval"
        )
        bounds = min(between[0], middle), max(between[1], middle)
        floors = {
            floor: float(np.nanmedian(measured.noticed[kind].delay))
            for floor, measured in found.floors.items()
            if np.isfinite(measured.noticed[kind].delay).any()
        }
        rows.append(Row(f"{name}/delay_steps", middle, *bounds, len(known), 1, "control steps", floors, note=note))
        rows.append(
            _share(
                f"{name}/named",
                Share(right, total),
                {},
                f"called '{MEANING[kind]}' at the first alarm: {words}; Wilson",
            )
        )
    return rows


def _share(name: str, share: Share, floors: dict[str, float], note: str) -> Row:
    low, high = share.interval
    return Row(name, share.value, low, high, share.n, floors=floors, note=note)
