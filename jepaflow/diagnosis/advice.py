"""How to improve: rules that turn findings into advice. Each says which figure called for it and what to type.

The rules are small and independent: one function, one finding, one piece of advice or none. They are heuristics and say
"try": what helps a model is an experiment, and ``jepaflow diagnose A B --compare`` is how one sees whether it did.
Thresholds stand at the top. The order is that of urgency: what makes the rest meaningless comes first.
"""

import math
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from jepaflow.common.results import Row
from jepaflow.diagnosis.measure import Diagnosis
from jepaflow.diagnosis.ranking import beats_floors
from jepaflow.diagnosis.rows import episode_skill
from jepaflow.diagnosis.topics import Topic
from jepaflow.diagnosis.verdict import FEW_EPISODES
from jepaflow.diagnosis.words import among, plain, show

Urgency = Literal["first", "then", "fine"]

FEW_TRAINING = 50  # episodes: what the README asks of a beginner, and what a nano model needs
WIDE = 0.25  # of an interval of skill@1, beyond which "0.3 or 0.5?" stays open
UNEVEN = 0.1  # share of held-out episodes below copy-last
THIN = 0.1  # effective rank over D below which most of the latent is idle
NOT_NORMAL = 0.5  # share of directions that fail
PUBLISHED = 0.09  # λ of LeWorldModel
READABLE = 0.9  # r of a linear probe of a place that a planner can rely on
THINGS = "object|cube|block|ball|target|agent|held|contact"
SEEN = re.compile(rf"probes?/(?:{THINGS})\w*/linear/r")
WHERE = re.compile(r"/(object|block|ball|agent)/")


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    Attributes:
        urgency: ``first`` before anything else is worth doing, ``then`` worth trying, ``fine`` nothing is wrong.
        finding: what was found, a few words.
        figure: the figure that called for it, with its interval and its limit or floor.
        what: what to do and why it should help.
        commands: what to type.
    """

    urgency: Urgency
    finding: str
    figure: str
    what: str
    commands: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For ``metrics.json``."""
        return {**vars(self), "commands": list(self.commands)}


@dataclass(frozen=True)
class Findings:
    """What the rules look at: the diagnosis, the rows of the topics, and the run's folder."""

    diagnosis: Diagnosis
    rows: tuple[Row, ...]
    run: str

    @property
    def typed(self) -> str:
        """The run as it is typed."""
        return shlex.quote(self.run)

    @property
    def training(self) -> dict[str, Any]:
        """How the run was trained."""
        found: dict[str, Any] = self.diagnosis.facts["training"]
        return found

    def train(self, *changes: str) -> str:
        """The command that trains this model again with some options changed."""
        facts, training = self.diagnosis.facts, self.training
        options = {
            "--dataset.path": " ".join(map(shlex.quote, training["stores"])),
            "--preset": training["preset"],
            "--block": facts["block"] if facts["block"] != 5 else None,
            "--cameras": " ".join(facts["cameras"]) if len(facts["cameras"]) > 1 else None,
            "--proprio": "" if facts["proprio"] else None,
            "--action-change": "" if training["action_change"] else None,
            "--steps": training["steps"],
            "--loss.sigreg": training["sigreg"],
            "--loss.rollout": training["rollout"] or None,
            "--loss.rollout-steps": training["rollout_steps"] if training["rollout"] else None,
            "--loss.inverse": training["inverse"] or None,
        }
        for change in changes:
            key, _, value = change.partition(" ")
            options[key] = value
        words = [f"{key} {value}".strip() for key, value in options.items() if value is not None]
        return " ".join(["jepaflow train", *words, "--output-dir", shlex.quote(f"{self.run.rstrip('/')}-b")])


def advise(diagnosis: Diagnosis, topics: Sequence[Topic], run: str) -> tuple[Advice, ...]:
    """All advice that the figures call for, most urgent first; at least one.

    Args:
        diagnosis: what was measured.
        topics: what other commands measured of the same run.
        run: the run folder, as a reader types it.
    """
    rows = tuple(row for topic in topics for row in topic.rows)
    if diagnosis.close is not None:
        rows += tuple(replace(row, name=row.name.split("/", 1)[1]) for row in diagnosis.close.rows("run"))
    findings = Findings(diagnosis, rows, run)
    found = [advice for rule in RULES if (advice := rule(findings)) is not None]
    order = ("first", "then", "fine")
    return tuple(sorted(found, key=lambda advice: order.index(advice.urgency)))


def _collapsed(f: Findings) -> Advice | None:
    verdict, known = f.diagnosis.verdict, f.training["sigreg"]
    if verdict.sight != "collapsed":
        return None
    weight = PUBLISHED if not known else max(PUBLISHED, 2 * known)
    said = "" if known is None else f" It was {known:g} here."
    return Advice(
        "first",
        "The latents have collapsed",
        next(reason for reason in verdict.reasons if "effective rank" in reason),
        f"Raise λ, the weight of SIGReg, which holds the latents apart; LeWorldModel's is {PUBLISHED}.{said} No other figure of "
        "this page means much until this is mended.",
        (f.train(f"--loss.sigreg {weight:.3g}"),),
    )


def _blind(f: Findings) -> Advice | None:
    if f.diagnosis.verdict.sight != "blind":
        return None
    block = f.diagnosis.facts["block"]
    return Advice(
        "first",
        "It forecasts no better than “nothing moves”",
        f"skill(1) = {show(f.diagnosis.forecast.skill[0])}; floor 0",
        "Let the doctor look at the dataset first (actions shifted against frames, frozen cameras). Then train longer; "
        f"then try a longer block (now {block} control steps): in a longer model step more moves, and noise weighs less. "
        "If the thing that moves is small or hidden, another camera or larger frames.",
        (
            "jepaflow doctor DATASET",
            f.train(f"--steps {2 * (f.training['steps'] or 2000)}"),
            f.train(f"--block {2 * block}"),
        ),
    )


def _deaf(f: Findings) -> Advice | None:
    if f.diagnosis.verdict.listens is not False:
        return None
    absolute = (
        ""
        if f.training["action_change"]
        else " If actions are joint targets, --action-change tells it how they change."
    )
    return Advice(
        "first",
        "It does not listen to its actions",
        f"the right actions add {show(f.diagnosis.forecast.listening)} skill; a deaf model: 0",
        "Let the doctor check that actions and frames belong together. Demonstrations alone are often one film: the picture "
        "tells what comes next, and the actions nothing more. Record play as well, or let it practise; --loss.inverse makes "
        f"the latents hold what actions did.{absolute}",
        (
            "jepaflow doctor DATASET",
            f.train("--loss.inverse 0.2", *(() if f.training["action_change"] else ("--action-change",))),
            f"jepaflow practise {f.typed} --env ENV --output-dir practice",
        ),
    )


def _short_sighted(f: Findings) -> Advice | None:
    verdict, skill = f.diagnosis.verdict, f.diagnosis.forecast.skill
    measured = sum(e.n > 0 for e in skill)
    if verdict.sight not in ("short-sighted", "deaf") or verdict.skilful_to >= measured:
        return None
    ahead, steps = skill[verdict.skilful_to], max(3, (f.training["rollout_steps"] or 1) + 1)
    return Advice(
        "then",
        f"It sees only {verdict.skilful_to} model steps ahead",
        f"skill({verdict.skilful_to + 1}) = {show(ahead)}; floor 0",
        f"Train it on its own forecasts: the rollout loss over {steps} steps. A longer history helps where speed cannot be "
        f"seen in {f.diagnosis.facts['history']} frames; a longer block reaches as far in fewer steps.",
        (
            f.train("--loss.rollout 0.5", f"--loss.rollout-steps {steps}"),
            f.train(f"--history {f.diagnosis.facts['history'] + 2}"),
        ),
    )


def _thin(f: Findings) -> Advice | None:
    geometry = f.diagnosis.geometry
    rank, dim = geometry.effective_rank, geometry.latent_dim
    if f.diagnosis.verdict.sight == "collapsed" or not rank.value < THIN * dim:
        return None
    return Advice(
        "then",
        "Most of the latent is idle",
        f"effective rank {show(rank, 1)} of {dim}; collapsed: 1",
        "The world may be this simple (a point in a plane needs few directions), or λ too small. The sweep shows where skill, "
        "rank and probes part ways.",
        (f.train(f"--loss.sigreg {2 * (f.training['sigreg'] or PUBLISHED):.3g}"), "jepaflow study tension --help"),
    )


def _not_normal(f: Findings) -> Advice | None:
    normality = f.diagnosis.geometry.normality
    if f.diagnosis.verdict.sight == "collapsed" or not normality.share > NOT_NORMAL:
        return None
    return Advice(
        "then",
        "The latents are not Gaussian",
        f"{100 * normality.share:.0f} % of directions fail at n = {normality.n}; Gaussian latents: 0 %",
        "What SIGReg asks for is not reached. Training longer or a larger λ helps, if it costs no skill: a world with few "
        "dimensions does not want to be Gaussian in many, and forced to it becomes harder to forecast. Of all findings "
        "this one matters least to planning.",
        ("jepaflow study tension --help", f.train(f"--latent-dim {max(8, f.diagnosis.geometry.latent_dim // 2)}")),
    )


def _unseen(f: Findings) -> Advice | None:
    """Things whose probes do no better than a reader that never saw them through this model."""
    rows = [row for row in f.rows if SEEN.fullmatch(row.name)]
    bad = [row for row in rows if beats_floors(row) is False or (WHERE.search(row.name) and row.value < READABLE)]
    if not bad:
        return None
    worst = min(bad, key=lambda row: row.value)
    withheld = f.diagnosis.facts["proprio"] and not f.training["proprio_dropout"]
    joints = (
        "The joints are an input and tell it nearly everything, so the encoder need not look: withhold them in a share of the "
        "windows (--proprio-dropout), or leave them out. "
    )
    return Advice(
        "then",
        f"Hard to read from the latent: {', '.join(row.name.split('/')[1].replace('_', ' ') for row in bad)}",
        f"{worst.name} = {_inside(worst)}; floors: {among(worst.floors)}; wanted of a place: {READABLE:g}",
        (joints if withheld else "")
        + "A camera that sees the thing larger, a second camera, or larger frames (a cube of 6 pixels is a hundredth of a "
        "frame) help most; --loss.inverse asks the latents to hold what the gripper did to it.",
        (
            *((f.train("--proprio-dropout 0.5"),) if withheld else ()),
            f.train("--loss.inverse 0.2"),
            "jepaflow convert DATASET larger.h5 --image-size 96",
        ),
    )


def _inside(row: Row) -> str:
    return f"{plain(row.value)} [{plain(row.low)}, {plain(row.high)}]"


def _decoder(f: Findings) -> Advice | None:
    rows = [r for r in f.rows if re.fullmatch(r"decoder/psnr\w*", r.name)]
    below = [r for r in rows if beats_floors(r) is False]
    if not below:
        return None
    row = below[0]
    return Advice(
        "then",
        "The decoder draws worse than its floor",
        f"{row.name} = {_inside(row)} {row.unit}; floors: {among(row.floors)}",
        "Do not judge the model by its pictures: the decoder blurs what the latent leaves open, the nearest training frame is "
        "always sharp. Train the decoder longer. If small things are missing in every picture, look at the probes: then it "
        "is the latent that lacks them.",
        (f"jepaflow decoder {f.typed} --help", f"jepaflow probe {f.typed}"),
    )


def _surprise(f: Findings) -> Advice | None:
    rows = [r for r in f.rows if r.name.startswith("surprise/") and beats_floors(r) is False]
    if not rows:
        return None
    row = min(rows, key=lambda one: one.value)
    return Advice(
        "then",
        "Some impossible events leave it cold",
        f"{row.name} = {_inside(row)}; floors: {among(row.floors)}",
        "It cannot be surprised by what its latent does not hold: the advice on the object applies. What needs memory (an "
        "object behind an occluder) needs a longer history.",
        (f.train(f"--history {f.diagnosis.facts['history'] + 2}"),),
    )


def _monitor(f: Findings) -> Advice | None:
    rows = [r for r in f.rows if re.search(r"(slip|monitor|alarm).*recall", r.name) and r.value < 0.8]
    if not rows:
        return None
    row = min(rows, key=lambda one: one.value)
    return Advice(
        "then",
        "It misses failures",
        f"{row.name} = {_inside(row)}; asked for: 0.8",
        "More successful episodes set the alarm more tightly; labelled failures in the training data (collect's default mix has "
        "them) teach what a slip looks like; a wrist camera sees it first.",
        ("jepaflow collect --env so101/pick_place --episodes 500 --output-dir more",),
    )


def _few_episodes(f: Findings) -> Advice | None:
    facts, skill = f.diagnosis.facts, f.diagnosis.forecast.skill[0]
    if skill.episodes < FEW_EPISODES:
        return Advice(
            "first",
            "Too few episodes to judge on",
            f"{skill.episodes} held-out episodes; at least {FEW_EPISODES} are wanted",
            "The episode is the unit of every interval. Hold out more of them, or record more.",
            (f.train("--dataset.val-fraction 0.3"),),
        )
    if facts["train_episodes"] < FEW_TRAINING:
        return Advice(
            "then",
            "Few episodes to learn from",
            f"{facts['train_episodes']} training episodes; about {FEW_TRAINING} are a start",
            "Record more, of differing starts: variety counts for more than length.",
        )
    return None


def _uneven(f: Findings) -> Advice | None:
    skill = episode_skill(f.diagnosis)
    worst = sorted((value, episode) for episode, value in skill.items() if value <= 0)
    if f.diagnosis.verdict.sight in ("blind", "collapsed") or not worst or len(worst) < UNEVEN * len(skill):
        return None
    named = ", ".join(str(episode) for _, episode in worst[:5])
    return Advice(
        "then",
        "Some episodes it cannot forecast",
        f"skill(1) ≤ 0 in {len(worst)} of {len(skill)} held-out episodes (worst: {named}); floor 0",
        "Look at them: a camera moved, a frozen recording, a task that hardly occurs in the training data? Mend or drop what is "
        "broken, record more of what is rare.",
        (
            f"jepaflow imagine {f.typed} --episode {worst[0][1]} --start 0 --horizon 10 --output worst.png",
            "jepaflow doctor DATASET",
        ),
    )


def _wide(f: Findings) -> Advice | None:
    skill = f.diagnosis.forecast.skill[0]
    if skill.episodes < FEW_EPISODES or not math.isfinite(skill.low) or skill.high - skill.low <= WIDE:
        return None
    factor = math.ceil(((skill.high - skill.low) / WIDE) ** 2)
    return Advice(
        "then",
        "The intervals are wide",
        f"skill(1) = {show(skill)} over {skill.episodes} episodes; wider than {WIDE}",
        f"Widths fall with the square root of the episodes: about {factor * skill.episodes} held-out ones would do. Until then do not "
        "prefer one model to another on such a difference.",
        (f.train("--dataset.val-fraction 0.3"),),
    )


def _distances(f: Findings) -> Advice | None:
    """Latent distances that follow the world's no better than those of pixels or of an untrained encoder."""
    rows = [row for row in f.rows if row.name == "isometry_near" and beats_floors(row) is False]
    if not rows:
        return None
    return Advice(
        "then",
        "What lies near in the latent need not be near in the world",
        f"{rows[0].name} = {_inside(rows[0])}; floors: {among(rows[0].floors)}",
        "A planner that minimises the plain distance to a goal's latent is led astray by it. Train the heads and plan with the "
        "learned distance in time; --loss.inverse makes the latents care for what actions change.",
        (f"jepaflow heads {f.typed}", f.train("--loss.inverse 0.2")),
    )


def _fine(f: Findings) -> Advice | None:
    if f.diagnosis.verdict.sight != "sighted":
        return None
    last = f.diagnosis.forecast.skill[-1]
    return Advice(
        "fine",
        "It sees: let it act",
        f"skill({len(f.diagnosis.forecast.skill)}) = {show(last)}; floor 0",
        "Train the heads and plan with it in closed loop: forecasts of recorded actions say little about those of a planner. "
        "Where it fails, let it practise. Compare with the next model on one page.",
        (
            f"jepaflow heads {f.typed}",
            f"jepaflow evaluate {f.typed} --env ENV",
            f"jepaflow diagnose {f.typed} OTHER_RUN --compare",
        ),
    )


RULES: tuple[Callable[[Findings], Advice | None], ...] = (
    _collapsed, _blind, _deaf, _few_episodes, _short_sighted, _unseen, _uneven, _wide, _surprise, _monitor, _decoder,
    _distances, _thin, _not_normal, _fine,
)  # fmt: skip
