"""The words that paraphrases are made of: sentence patterns and synonyms, those for training and those kept for the test.

A test sentence has a pattern that no training sentence has, and words from both lists; so neither list may repeat the
other's patterns. Slots: {object} and {place} are a colour and a noun, {objects} their plural; the others are synonyms.
Orders begin with a verb, so that "please" and its like fit around them; statements do not. No pattern says "then" or
"without touching": order and avoidance belong to whole requests. A desk's own task strings (`sims.arms.tasks`) are among
the training sentences (of sort, the one without colours).
"""

from dataclasses import dataclass
from typing import Literal

from jepaflow.subgoals.language.clause import Verb

Split = Literal["train", "test"]


@dataclass(frozen=True)
class Patterns:
    """Sentence patterns of one verb."""

    orders: tuple[str, ...]
    statements: tuple[str, ...]


PATTERNS: dict[tuple[Verb, Split], Patterns] = {
    ("put", "train"): Patterns(
        orders=(
            "{put} the {object} {into} the {place}",
            "{put} {object} {into} {place}",
            "pick up the {object} and {put} it {into} the {place}",
            "take the {object} and {put} it {into} the {place}",
            "find the {object} and {put} it {into} the {place}",
            "get the {object} {into} the {place}",
            "make sure that the {object} is {within} the {place}",
            "carry the {object} over to the {place} and let go of it there",
            "fill the {place} with the {object}",
            "use the {place} for the {object}",
            "go to the {object} and {put} it {into} the {place}",
            "{put} into the {place} the {object}",
            "collect the {object} and bring it to the {place}",
            "drop off the {object} at the {place}",
            "let the {place} have the {object}",
            "choose the {place} for the {object}",
            "keep the {object} {within} the {place}",
        ),
        statements=(
            "the {object} belongs {within} the {place}",
            "the {object} goes {into} the {place}",
            "the {object} should be {within} the {place}",
            "the {object} needs to go {into} the {place}",
            "I want the {object} {within} the {place}",
            "{object} {into} {place}",
            "{object} to {place}",
            "into the {place} goes the {object}",
            "in the {place} belongs the {object}",
            "the {place} is for the {object}",
            "the {place} is where the {object} goes",
            "the {place} should hold the {object}",
            "what goes {into} the {place} is the {object}",
            "the {place} must contain the {object}",
            "the {place} wants the {object}",
            "we need the {object} {within} the {place}",
            "for the {object} there is the {place}",
            "it is time for the {object} to go {into} the {place}",
            "once you are done the {object} sits {within} the {place}",
        ),
    ),
    ("put", "test"): Patterns(
        orders=(
            "have the {object} land {within} the {place}",
            "see to it that the {object} gets {into} the {place}",
            "clear the {object} away {into} the {place}",
            "transport the {object} to the {place} and release it there",
            "lift the {object} up and lower it {into} the {place}",
            "{put} down the {object} {within} the {place}",
            "load the {place} with the {object}",
            "leave the {object} {within} the {place}",
            "take hold of the {object} and {put} it down {within} the {place}",
            "give the {object} to the {place}",
        ),
        statements=(
            "the {object} lives {within} the {place}",
            "the {place} gets the {object}",
            "the right spot for the {object} is the {place}",
            "{within} the {place} is where I want the {object}",
            "the {object} has to end up {within} the {place}",
            "{within} the {place} there should be the {object}",
            "it is the {place} that the {object} must go {into}",
            "destination of the {object}: the {place}",
            "the home of the {object} is the {place}",
            "the {place} is missing the {object}",
        ),
    ),
    ("push", "train"): Patterns(
        orders=(
            "{push} the {object} {onto} the {place}",
            "{push} {object} {onto} {place}",
            "{push} the {object} along the table {onto} the {place}",
            "move the {object} {onto} the {place} without lifting it",
            "use the gripper to {push} the {object} {onto} the {place}",
            "get the {object} {onto} the {place} by pushing",
            "cover the {place} with the {object}",
        ),
        statements=(
            "the {object} should lie on the {place}",
            "the {place} is where the {object} should be pushed",
            "the {object} has to be pushed {onto} the {place}",
        ),
    ),
    ("push", "test"): Patterns(
        orders=(
            "keep the {object} on the table and {push} it {onto} the {place}",
            "let the {object} glide {onto} the {place}",
            "sweep the {object} across {onto} the {place}",
            "make the {object} slide until it covers the {place}",
        ),
        statements=(
            "the {object} must be shoved until it sits on the {place}",
            "the {place} should end up under the {object}",
        ),
    ),
    ("reach", "train"): Patterns(
        orders=(
            "{reach} the {object}",
            "{reach} {object}",
            "reach for the {object}",
            "move the {hand} to the {object}",
            "bring the {hand} to the {object}",
            "go to the {object} and touch it",
            "stretch out to the {object}",
        ),
        statements=("the {hand} should {reach} the {object}", "I want the {hand} at the {object}"),
    ),
    ("reach", "test"): Patterns(
        orders=(
            "guide the {hand} towards the {object}",
            "close in on the {object} with the {hand}",
            "place the {hand} right at the {object}",
            "extend the arm until it is at the {object}",
        ),
        statements=("the {object} is where the {hand} should be", "the {hand} must meet the {object}"),
    ),
    ("lift", "train"): Patterns(
        orders=(
            "{lift} the {object}",
            "{lift} {object}",
            "{lift} the {object} off the table",
            "grab the {object} and hold it up",
            "take the {object} off the table",
            "hold the {object} in the air",
        ),
        statements=("the {object} should be in the air", "I want the {object} held up"),
    ),
    ("lift", "test"): Patterns(
        orders=(
            "get the {object} up from the desk",
            "take the {object} in the gripper and keep it high",
            "heave the {object} upwards",
            "clutch the {object} and bring it up",
        ),
        statements=("the {object} must leave the table", "up with the {object}"),
    ),
    ("sort", "train"): Patterns(
        orders=(
            "{sort} the {objects} into the {bins} of their {colour}",
            "{sort} the {objects} by {colour}",
            "{sort} all {objects} into the {bins} that match",
            "put every {object} in the {bin} of its {colour}",
            "tidy up the {objects} by {colour}",
        ),
        statements=(
            "every {object} goes into the {bin} of its {colour}",
            "the {objects} should be sorted by {colour}",
        ),
    ),
    ("sort", "test"): Patterns(
        orders=(
            "{sort} the {objects}, each {colour} in its own {bin}",
            "bring each {object} to the {bin} that looks like it",
            "match the {objects} with the {bins} by {colour}",
            "clean up so that all {objects} lie in {bins} of the same {colour}",
        ),
        statements=(
            "no {object} should be outside the {bin} of its {colour}",
            "each {colour} has its {bin} for the {objects}",
        ),
    ),
}

SYNONYMS: dict[str, dict[Split, tuple[str, ...]]] = {
    "put": {
        "train": ("put", "place", "drop", "move", "set", "bring", "stow"),
        "test": ("deposit", "transfer", "pop", "stash", "tuck"),
    },
    "into": {"train": ("in", "into", "inside"), "test": ("down into",)},
    "within": {"train": ("in", "inside"), "test": ("within",)},
    "push": {"train": ("push", "slide", "shove"), "test": ("nudge", "scoot", "drag")},
    "onto": {"train": ("onto", "to", "over to"), "test": ("up to", "all the way to")},
    "reach": {"train": ("touch", "reach"), "test": ("tap", "approach")},
    "hand": {"train": ("gripper", "fingertips"), "test": ("claw", "tip of the arm")},
    "lift": {"train": ("lift", "raise", "pick up"), "test": ("hoist", "elevate")},
    "sort": {"train": ("sort", "separate", "arrange"), "test": ("organise", "group")},
    "colour": {"train": ("colour", "color"), "test": ("hue",)},
}
"""by slot; a test sentence draws from both lists"""

NOUNS: dict[str, dict[Split, tuple[str, ...]]] = {
    "cube": {
        "train": ("{} cube", "{} block", "little {} cube", "{} piece", "{} toy block"),
        "test": ("{} brick", "wooden {} block"),
    },
    "bin": {
        "train": ("{} bin", "{} box", "{} container", "{} tray", "{} bucket", "{} bowl", "{} pot"),
        "test": ("{} basket", "{} crate", "{} tub"),
    },
    "disc": {"train": ("{} disc", "{} spot", "{} circle", "{} marker"), "test": ("{} dot", "{} patch")},
    "ball": {"train": ("{} ball", "{} sphere"), "test": ("{} orb", "{} globe")},
}
"""by a thing's kind, with its colour in the braces; other kinds are called by their own name"""

FRAMES: dict[Split, tuple[str, ...]] = {
    "train": ("please {}", "could you {}?", "can you {}?", "{} please", "now {}", "I want you to {}", "you should {}"),
    "test": ("would you kindly {}?", "robot, {}", "{} for me", "be so kind and {}", "your job: {}", "go ahead and {}"),
}
"""what people say around an order"""
