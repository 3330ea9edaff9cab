"""What the pictures of the close-up show, in sentences for someone who has never seen the code."""

from jepaflow.diagnosis.drift import Drift
from jepaflow.diagnosis.horizon import FEWEST, Horizon
from jepaflow.diagnosis.isometry import Agreement, Isometry
from jepaflow.diagnosis.neighbours import Neighbours
from jepaflow.diagnosis.normality_time import NormalityOverTime
from jepaflow.diagnosis.panels import Panels


def normality_time(found: NormalityOverTime) -> str:
    """Where in the episode the latents are not normal."""
    if not found.statistic.shape[1]:
        return f"{found.n} frames in each part of the episode are too few to test for normality."
    head = (
        f"Of {found.statistic.shape[1]} random directions, {100 * found.total:.0f} % are not normal, taken over all parts of the "
        f"episode (n = {found.n} frames a part, {found.per_episode} of each episode; corrected over all directions and parts)."
    )
    if not found.failed.any():
        return f"{head} No part stands out: the latents are as normal at each time as a test of this size can tell."
    worst = int(found.share.argmax())
    return (
        f"{head} Most fail in part {worst + 1} of {len(found.share)} ({100 * found.share[worst]:.0f} %). Where all episodes look "
        "alike, at the start or while waiting, latents crowd together and cannot be normal."
    )


def isometry(found: Isometry) -> str:
    """Near and all pairs, beside the best floor."""
    near, every, order = found.get("near"), found.get("all"), found.get("order")
    return (
        f"Spearman's correlation of latent distance and distance of the {found.words}: {_beside(near)} among near frames of different "
        f"episodes, {_beside(every)} among all pairs, and {_beside(order)} when each frame's nearest are ordered by themselves, which "
        "is what a planner asks that compares candidates with one goal. 1: ordered as in the world; what lies no higher than the "
        "floors (pixels, an untrained encoder, time) is no merit of the training."
    )


def _beside(one: Agreement) -> str:
    floor = max(one.floors, key=lambda name: _known(one.floors[name]), default="")
    words = {"pixels": "pixels", "untrained": "an untrained encoder", "time": "the difference in time"}
    return f"{one.estimate.value:.2f}" + (f" ({words[floor]}: {one.floors[floor]:.2f})" if floor else "")


def _known(value: float) -> float:
    return value if value == value else -2.0


def panels(found: Panels) -> str:
    """How to read a map."""
    points = len(found.maps["PCA"])
    others = " and ".join(name for name in found.maps if name != "PCA")
    keep = (
        f" {others} keep{'s' if ' and ' not in others else ''} neighbourhoods only: sizes of islands and gaps between them mean nothing."
        if others
        else ""
    )
    return (
        f"{points:,} held-out frames of {found.episodes} episodes, every point one latent, in the same place in every panel of a row. "
        f"A colour that changes smoothly over the cloud is held by the latent.{keep}"
    )


def neighbours(found: Neighbours) -> str:
    """Mean distance of the nearest, beside floors and ceiling."""
    text = (
        "Frames and their nearest latents from other episodes; the number is the latent distance (1: median of all pairs), then how far "
        "apart the two scenes really are."
    )
    if not found.distances:
        return text
    one = found.distances[0]
    floors = f"a random frame {one.floors['random']:.3g}, the nearest in pixels {one.floors['pixels']:.3g}"
    best = f"the nearest that there is {one.ceilings['nearest_in_state']:.3g}"
    return f"{text} Over all frames the nearest latent is {one.estimate.value:.3g} {one.unit} away ({found.words}); {floors}, {best}."


def horizon(found: Horizon, step_seconds: float) -> str:
    """Until when the model is better than each floor."""
    copy, mean = (
        f"up to {_steps(h, step_seconds)} ahead" if h else "at no horizon"
        for h in (found.beats_copy_until, found.beats_mean_until)
    )
    last = found.forecast.skill[-1]
    whose = "one episode" if last.episodes == 1 else f"{last.episodes} episodes"
    return (
        f"Imagination beats the last frame {copy}, and the mean latent, which says the same of every scene, {mean}: with the whole "
        f"interval and on at least {FEWEST} episodes. The farthest horizon, {_steps(found.reach, step_seconds)}, rests on {last.n} "
        f"windows of {whose}; curves are faint and have no band where fewer than {FEWEST} episodes reach."
    )


def _steps(h: int, step_seconds: float) -> str:
    return f"{h} model step{'' if h == 1 else 's'} ({h * step_seconds:.2g} s)"


def drift(found: Drift) -> str:
    """The horizon at which imagined pictures stop being better than the last frame."""
    own, last = found.scores["psnr_apart"]["imagined"], found.scores["psnr_apart"]["copy_last"]
    better = [h for h, a, b in zip(found.steps, own, last) if a.value > b.value]
    said = (
        f"Where something is in the picture, imagined frames are closer to the real ones than the last real frame at {len(better)} of "
        f"{len(found.steps)} horizons (from {better[0]} to {better[-1]} steps)."
        if better
        else "Where something is in the picture, imagined frames are nowhere closer to the real ones than the last real frame."
    )
    return (
        f"{said} The gap between the green and the blue curve is the drift of imagination; the green curve itself is what the decoder "
        f"can do. {found.windows} starts."
    )
