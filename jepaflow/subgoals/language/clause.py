"""The meaning of one atomic request: a verb, the thing that it is about, and where that thing shall go.

Everything of this room speaks of these: paraphrases are made from a clause, the grounding head tells which latents satisfy
one, a request is several of them with an order and things to keep away from. A thing has a colour and a kind and nothing
else, because that is all that the desks of `sims.arms` (and most datasets of arms) tell apart; a colour that a sentence
does not name is empty.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from jepaflow.common.errors import JepaflowError

Verb = Literal["put", "push", "reach", "lift", "sort"]
VERBS: tuple[Verb, ...] = get_args(Verb)
NEEDS_PLACE: tuple[Verb, ...] = ("put", "push")
"""verbs that mean nothing without saying where to"""


class Thing(NamedTuple):
    """Something on the desk, or the robot's own hand."""

    colour: str
    """"" where the sentence names none"""
    kind: str
    """cube, bin, disc, ball, post, wall, …"""

    def __str__(self) -> str:
        """As a person would say it."""
        return f"the {self.colour} {self.kind}" if self.colour else f"the {self.kind}"


HAND = Thing("", "hand")
"""where a thing is that is reached: a place that moves, and is always there"""


@dataclass(frozen=True)
class Clause:
    """One thing to do.

    Raises:
        JepaflowError: the verb is none of `VERBS`, or it needs a place and has none.
    """

    verb: Verb
    object: Thing
    place: Thing | None = None

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise JepaflowError(f"{self.verb!r} is no verb here. Choose among {', '.join(VERBS)}.")
        if self.verb in NEEDS_PLACE and self.place is None:
            raise JepaflowError(f"To {self.verb} {self.object} needs a place. Say where to.")

    @property
    def where(self) -> Thing | None:
        """Where its object is when it is done; None where no place says so."""
        return HAND if self.verb == "reach" else self.place

    def __str__(self) -> str:
        """In words that `request.literal` reads back."""
        match self.verb, self.place:
            case "sort", _:
                return "sort the cubes by colour"
            case "put", Thing(_, kind) as place:
                return f"put {self.object} {'in' if kind == 'bin' else 'on'} {place}"
            case verb, None:
                return f"{verb} {self.object}"
            case verb, place:
                return f"{verb} {self.object} onto {place}"
