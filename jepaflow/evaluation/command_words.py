"""What the robot says of its own work, in plain words; and, apart from that, what the simulator says."""

from __future__ import annotations

from collections.abc import Sequence

from jepaflow.evaluation.command_story import Story
from jepaflow.subgoals.language.clause import Clause, Thing
from jepaflow.subgoals.language.product import BELIEVED
from jepaflow.subgoals.language.request import Request
from jepaflow.subgoals.language.understanding import listed


def heard(answer: Request, there: Sequence[Thing]) -> str:
    """Return what was understood, and what is seen."""
    return f"I understand: {answer}. I see {listed(there) or 'nothing that I know'}."


def told(story: Story) -> str:
    """Return what was done, and whether and why the robot believes that it succeeded."""
    request = story.answer
    if not isinstance(request, Request):
        return str(request)
    first = story.plans[0] if story.plans else None
    words = []
    if first is not None:
        planned = f"I planned {_count(len(first.nodes), 'sub-goal')}, about {story.foreseen[0]:.0f} s"
        words.append(f"{planned}{_again(story)}, and worked for {story.steps / story.fps:.1f} s.")
    if story.believed and not story.steps and all(p >= BELIEVED for p in story.before):
        words = ["There was nothing to do."]
    lost = [event for event in story.events if event.kind == "no way"]
    if lost:
        words.append(lost[-1].words)
    return " ".join([*words, _belief(story, request)])


def true_words(story: Story) -> str:
    """Return what the simulator says; "" where there is none."""
    if story.truth is None or not isinstance(story.answer, Request):
        return ""
    each = "; ".join(
        f"{_state(clause)}: {'yes' if so else 'no'}"
        for clause, so in zip(story.answer.must, story.true_clauses, strict=True)
    )
    agrees = "I was right." if story.truth == story.believed else "I was wrong."
    return f"The simulator: {'done' if story.truth else 'not done'} ({each}). {agrees}"


def _again(story: Story) -> str:
    """How often it planned anew, and why."""
    reasons = {
        "no progress": "when nothing moved on",
        "not done": "when I saw that it was not done",
        "alarm": "when something went wrong",
        "next": "for the next part",
    }
    said = []
    for kind, why in reasons.items():
        times = sum(event.kind == kind for event in story.events)
        said += [f"{_times(times)} {why}"] if times else []
    return f"; I planned anew {_and(said)}" if said else ""


def _belief(story: Story, request: Request) -> str:
    """Whether and why it believes in its success."""
    if not story.chances:
        return "I have done nothing."
    last, looks = story.chances[-1], 4
    seen = [(clause, p, old) for clause, p, old in zip(request.must, last, story.before, strict=True)]
    good = "; ".join(f"{_state(c)} ({p:.2f}; {old:.2f} when I began)" for c, p, old in seen if p >= BELIEVED)
    bad = "; ".join(f"{_state(c)} ({p:.2f}; {old:.2f} when I began)" for c, p, old in seen if p < BELIEVED)
    how = f"probability by my last {looks} looks"
    if story.believed:
        return f"I believe that it is done, because I see that {good} ({how})."
    why = f"I do not see that {bad}" if bad else f"I see that {good}, but my time was over before I could make sure"
    return f"I do not believe that it is done: {why} ({how})."


def _state(clause: Clause) -> str:
    """A clause as a state: "the red cube is in the blue bin"."""
    if clause.verb == "reach":
        return f"{clause.object} is touched"
    if clause.place is None:
        return f"{clause.object} is done with"
    return f"{clause.object} is {'in' if clause.place.kind == 'bin' else 'on'} {clause.place}"


def _and(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
