"""The reader: a learned head that turns one atomic request into a clause, or into nothing where it has no meaning here.

One query per slot (verb, object's colour and kind, place's colour and kind) attends to the frozen features of single tokens;
whole-sentence features do not tell "the red cube in the blue bin" from its inversion. The slots are decoded together, among
meanings that make sense: whatever has a bin is a "put", so an unknown verb ("stash") is understood by what it is done to.

What must be refused is judged token by token (one unknown word spoils a request), and each slot has a word for "unknown". A
new word for a known thing and a word for an unknown thing differ by degrees, so several members vote, each of which was
taught without one fold of all words and patterns (`teaching`), and to refuse thousands of words of the encoder's own
(`strange`); what a member says of its own fold, which it has never met, sets the threshold. Where a plain wording is read by
rule (`lexicon`), the rule decides; so it does where a word names a colour that nothing here has: to features of words, pink is red.

Trained on sentences only, no pictures, all pairs of palette colours but the held-out ones.

Legend: B sentences, L tokens, F features of a token, S slots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import VERBS, Clause, Thing, Verb
from jepaflow.subgoals.language.lexicon import foreign_colours, literal
from jepaflow.subgoals.language.paraphrase import held_in
from jepaflow.subgoals.language.strange import with_strange
from jepaflow.subgoals.language.teaching import FOLDS, Role, Taught, Teacher, everything, fold
from jepaflow.subgoals.language.text_encoder import TextEncoder
from jepaflow.training.fitting import FitConfig, fit

COLOURS = ("", *PALETTE)
KINDS = ("", "cube", "ball", "bin", "disc", "post", "wall")
"""the empty kind: there is no such thing in the sentence"""
SLOTS: tuple[tuple[str, ...], ...] = (VERBS, COLOURS, KINDS, COLOURS, KINDS)
SHARED = {"verb": (0,), "colour": (1, 3), "kind": (2, 4)}
"""slots whose words one linear map reads: what a word means does not depend on whose word it is, nor on what was seen together"""
OBJECTS: dict[Verb, tuple[str, ...]] = {
    "put": ("cube", "ball"),
    "push": ("cube", "ball"),
    "reach": KINDS[1:],
    "lift": ("cube", "ball"),
    "sort": ("cube",),
}
PLACE: dict[Verb, str] = {"put": "bin", "push": "disc", "reach": "", "lift": "", "sort": ""}
MIX = (0.5, 0.16, 0.16, 0.12, 0.06)
"""shares of the verbs in training"""
PLAIN = 0.06
"""share of things without a colour"""
FALSE_REFUSALS = 0.05
"""of sentences in words and patterns that a member never met, that the threshold refuses"""


@dataclass(frozen=True)
class ReaderConfig:
    """How the reader is trained; the defaults take two to three minutes with MiniLM."""

    sentences: int = 2500
    """that have a meaning, for each member"""
    impossible: int = 4000
    aside: int = 400
    """sentences in words that a member never met, for its threshold"""
    strange: int = 6000
    """words of the encoder's own vocabulary that are things nobody has"""
    steps: int = 800
    batch: int = 128
    lr: float = 4e-3
    hidden: int = 96
    dropout: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.sentences, self.impossible, self.aside, self.steps, self.batch, self.hidden)
        if min(*sizes, self.strange + 1) < 1 or not 0 <= self.dropout < 1 or self.seed < 0:
            raise JepaflowError(
                "The reader's sizes must be at least 1, dropout below 1, seed and strange not negative."
            )


class Member(nn.Module):
    """Slots of a sentence, and whether all of its words have a place in one."""

    scale: Tensor

    def __init__(self, features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.key = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, len(SLOTS)))
        self.value = nn.ModuleDict(
            {name: nn.Linear(features, len(SLOTS[slots[0]]) + 1) for name, slots in SHARED.items()}
        )
        self.known = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("scale", torch.ones(()))

    def forward(
        self, features: Float[Tensor, "B L F"], mask: Bool[Tensor, "B L"]
    ) -> tuple[list[Float[Tensor, "B _"]], Float[Tensor, " B"]]:
        """Return logits of each slot's words (the last one: unknown), and of "there is nothing unknown in it": a soft least over
        the tokens."""
        x = self.drop(features / self.scale)
        weight = self.key(x).masked_fill(~mask[..., None], -1e9).softmax(1)
        taken = weight.transpose(1, 2) @ x
        known = self.known(x)[..., 0].neg().masked_fill(~mask, -1e9)
        logits = {slot: self.value[name](taken[:, slot]) for name, slots in SHARED.items() for slot in slots}
        return [logits[slot] for slot in range(len(SLOTS))], -known.logsumexp(1)


class Reader(nn.Module):
    """Members that vote: log-probabilities of slots, and probabilities of being known, are averaged."""

    threshold: Tensor

    def __init__(self, features: int, hidden: int = 96, dropout: float = 0.3) -> None:
        super().__init__()
        self.members = nn.ModuleList([Member(features, hidden, dropout) for _ in range(FOLDS)])
        self.register_buffer("threshold", torch.tensor(-torch.inf))

    def forward(
        self, features: Float[Tensor, "B L F"], mask: Bool[Tensor, "B L"], member: int | None = None
    ) -> tuple[list[Float[Tensor, "B _"]], Float[Tensor, " B"]]:
        """Return log-probabilities of each slot's words, and the logit of "there is nothing unknown in it", of all or of one."""
        said = [one(features, mask) for one in (self.members if member is None else [self.members[member]])]
        slots = [torch.stack([one[slot].log_softmax(-1) for one, _ in said]).mean(0) for slot in range(len(SLOTS))]
        chance = torch.stack([known for _, known in said]).sigmoid().mean(0)
        return slots, chance.logit(eps=1e-4)


class Ground:
    """The meaning of atomic requests: callable as `request.parse` wants it.

    Args:
        reader: trained, in eval mode.
        encoder: the one that it was trained with; its shallow features are read.
    """

    def __init__(self, reader: Reader, encoder: TextEncoder) -> None:
        self.reader, self.encoder = reader, encoder.shallow()

    def __call__(self, sentence: str) -> Clause | None:
        """Return what one request means; None where it means nothing here."""
        return self.read([sentence])[0]

    def read(self, sentences: Sequence[str]) -> list[Clause | None]:
        """Return what each request means: by rule where its wording is plain, by the members' vote elsewhere."""
        meanings, score = self.scores(sentences)
        good = score >= float(self.reader.threshold)
        good &= np.array([not foreign_colours(sentence) for sentence in sentences], bool)
        voted = [meaning if fine else None for meaning, fine in zip(meanings, good, strict=True)]
        return [literal(sentence) or meaning for sentence, meaning in zip(sentences, voted, strict=True)]

    @torch.no_grad()
    def scores(self, sentences: Sequence[str], member: int | None = None) -> tuple[list[Clause], Float[ndarray, " B"]]:
        """Return each sentence's likeliest clause, and how surely it has one: the clause's log-probability plus the logit
        of "nothing in it is unknown".

        Args:
            sentences: atomic requests.
            member: whose opinion; None: the average.
        """
        if not sentences:
            return [], np.zeros(0)
        said = self.encoder.encode(sentences)
        slots, known = self.reader(said.features, said.mask, member)
        best = torch.full((len(sentences),), -torch.inf)
        choice = torch.zeros(len(sentences), 5, dtype=torch.long)
        for verb, (kinds, place) in ((verb, (OBJECTS[verb], PLACE[verb])) for verb in VERBS):
            rows = [KINDS.index(kind) for kind in kinds]
            kind = slots[2][:, rows].max(1)
            colour, there = slots[1][:, :-1].max(1), slots[3][:, :-1].max(1)
            score = slots[0][:, VERBS.index(verb)] + kind.values + slots[4][:, KINDS.index(place)]
            score = score + (0 if verb == "sort" else colour.values) + (there.values if place else 0)
            own = torch.stack(
                [
                    torch.full_like(kind.indices, VERBS.index(verb)),
                    colour.indices,
                    torch.tensor(rows)[kind.indices],
                    there.indices,
                    torch.full_like(kind.indices, KINDS.index(place)),
                ],
                1,
            )
            choice = torch.where((score > best)[:, None], own, choice)
            best = torch.maximum(best, score)
        return [_clause(row) for row in choice.tolist()], (best + known).double().numpy()


def train_reader(encoder: TextEncoder, config: ReaderConfig | None = None) -> Ground:
    """Train a reader's members, and set its threshold.

    Args:
        encoder: gives the features of tokens.
        config: settings.
    """
    config = config or ReaderConfig()
    torch.manual_seed(config.seed)
    reader = Reader(encoder.dim, config.hidden, config.dropout)
    ground, lists, cuts = Ground(reader, encoder), everything(), []
    more = with_strange(lists, encoder, config.strange, config.seed)
    for number in range(FOLDS):
        rng = np.random.default_rng([config.seed, 8, number])
        _train_member(reader, number, Teacher(more.part(_in_fold(number, False))), ground.encoder, config, rng)
        judge = Teacher(lists, lists.part(_in_fold(number, True), first=False), salad=0.0)
        aside = [judge.say(draw_clause(rng), rng).text for _ in range(config.aside)]
        cuts.append(float(np.quantile(ground.scores(aside, number)[1], FALSE_REFUSALS)))
    reader.threshold.copy_(torch.tensor(np.mean(cuts)))
    return ground


def _in_fold(number: int, wanted: bool) -> Callable[[str], bool]:
    return lambda entry: (fold(entry) == number) == wanted


def _train_member(
    reader: Reader, number: int, teacher: Teacher, encoder: TextEncoder, config: ReaderConfig, rng: np.random.Generator
) -> None:
    """Teach one member."""
    taught: list[Taught] = [teacher.say(draw_clause(rng), rng) for _ in range(config.sentences)]
    taught += [teacher.refused(draw_clause(rng), rng) for _ in range(config.impossible)]
    said = encoder.encode([one.text for one in taught])
    labels = torch.tensor([_labels(one.clause or one.rest, one.odd) for one in taught])
    fine, length = torch.tensor([float(one.clause is not None) for one in taught]), said.mask.sum(1)
    member = reader.members[number]
    assert isinstance(member, Member)
    member.scale.copy_(said.features[said.mask].std())

    def loss(step: int) -> Tensor:
        draw = np.random.default_rng([config.seed, 9, number, step])
        rows = torch.from_numpy(draw.integers(0, len(labels), config.batch))
        most = int(length[rows].max())
        slots, known = member(said.features[rows, :most], said.mask[rows, :most])
        value = F.binary_cross_entropy_with_logits(known, fine[rows])
        for slot, logits in enumerate(slots):
            wanted = labels[rows, slot]
            value = value + F.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum") / config.batch
        return value

    fit(member, loss, FitConfig(config.steps, config.lr, 0.01), f"Train the reader, member {number + 1} of {FOLDS}")


def draw_clause(rng: np.random.Generator) -> Clause:
    """Draw something to do that may be trained on: any verb, any colours of the palette, some things without one."""
    while True:
        verb: Verb = VERBS[int(rng.choice(len(VERBS), p=MIX))]
        if verb == "sort":
            return Clause(verb, Thing("", "cube"))
        kinds = OBJECTS[verb]
        weight = np.array([3.0 if kind == "cube" else 1.0 for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=weight / weight.sum()))]
        place = Thing(_colour(rng), PLACE[verb]) if PLACE[verb] else None
        clause = Clause(verb, Thing(_colour(rng), kind), place)
        if held_in(clause):
            return clause


def _colour(rng: np.random.Generator) -> str:
    return "" if rng.random() < PLAIN else COLOURS[int(rng.integers(1, len(COLOURS)))]


def _labels(clause: Clause | None, odd: Role = "") -> list[int]:
    """Words of the slots by number; -1 where there is nothing to say, beyond the last where the word is odd."""
    place = clause.place if clause is not None else None
    labels = [-1] * len(SLOTS)
    if clause is not None:
        labels = [
            VERBS.index(clause.verb),
            COLOURS.index(clause.object.colour),
            KINDS.index(clause.object.kind),
            COLOURS.index(place.colour) if place else 0,
            KINDS.index(place.kind) if place else 0,
        ]
    if odd:
        slot = get_args(Role).index(odd) - 1
        labels[slot] = len(SLOTS[slot])
    return labels


def _clause(row: Sequence[int]) -> Clause:
    verb, colour, kind, there, place = (words[number] for words, number in zip(SLOTS, row, strict=True))
    name: Verb = next(one for one in VERBS if one == verb)
    if name == "sort":
        return Clause(name, Thing("", "cube"))
    return Clause(name, Thing(colour, kind), Thing(there, place) if place else None)


def slot_accuracy(meanings: Sequence[Clause | None], wanted: Sequence[Clause]) -> Float[ndarray, " S"]:
    """Return the share of sentences whose slot is right, for each of `SLOTS`; a refusal is wrong in all."""
    right = np.zeros(len(SLOTS))
    for one, other in zip(meanings, wanted, strict=True):
        if one is not None:
            right += np.array(_labels(one)) == np.array(_labels(other))
    return right / max(1, len(wanted))


def confusion(
    meanings: Sequence[Clause | None], wanted: Sequence[Clause], among: Sequence[Clause]
) -> Int[ndarray, "c k"]:
    """Count what each clause was read as: columns are the same clauses, then any other, then refused."""
    table = np.zeros((len(among), len(among) + 2), np.int64)
    for one, other in zip(meanings, wanted, strict=True):
        column = len(among) + 1 if one is None else among.index(one) if one in among else len(among)
        table[among.index(other), column] += 1
    return table
