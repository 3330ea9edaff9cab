"""The reader: a learned head that turns one atomic request into a clause, or into nothing where it has no meaning here.

One query per slot (verb, object's colour and kind, place's colour and kind) attends to the frozen features of single tokens;
whole-sentence features do not tell "the red cube in the blue bin" from its inversion. The slots are decoded together, among
meanings that make sense: whatever has a bin is a "put", so an unknown verb ("stash") is understood by what it is done to.

What must be refused is a class of its own, judged token by token (one unknown word spoils a request), trained on impossible requests and on
requests of which a noun or colour was replaced by any word of the encoder's vocabulary. Thresholds of this class and
of the slots' joint probability are set on sentences with training patterns that were not trained on.

Trained on paraphrases only, no pictures, all pairs of palette colours but the held-out ones.

Legend: B sentences, L tokens, F features of a token, S slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from jepaflow.common.errors import JepaflowError
from jepaflow.sims.arms.factors import PALETTE
from jepaflow.subgoals.language.clause import VERBS, Clause, Thing, Verb
from jepaflow.subgoals.language.grammar import FRAMES, NOUNS, PATTERNS, SYNONYMS, Split
from jepaflow.subgoals.language.more_words import AFTER, BEFORE, LOOKS, MORE, MORE_DEEDS, ODD
from jepaflow.subgoals.language.paraphrase import held_in, impossible, normal, paraphrase
from jepaflow.subgoals.language.refusals import COLOURS as ODD_COLOURS
from jepaflow.subgoals.language.refusals import DEEDS, PLACES, TALK, THINGS
from jepaflow.subgoals.language.refusals import VERBS as ODD_VERBS
from jepaflow.subgoals.language.text_encoder import TextEncoder
from jepaflow.training.fitting import FitConfig, fit

COLOURS = ("", *PALETTE)
KINDS = ("", "cube", "ball", "bin", "disc", "post", "wall")
"""the empty kind: there is no such thing in the sentence"""
SLOTS: tuple[tuple[str, ...], ...] = (VERBS, COLOURS, KINDS, COLOURS, KINDS)
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
FALSE_REFUSALS = 0.02
"""of sentences set aside, that the threshold refuses"""


@dataclass(frozen=True)
class ReaderConfig:
    """How the reader is trained; the defaults take about a minute with MiniLM."""

    sentences: int = 6000
    """that have a meaning"""
    impossible: int = 3000
    replaced: int = 3000
    """sentences with a word replaced by any other"""
    steps: int = 700
    batch: int = 128
    lr: float = 4e-3
    hidden: int = 96
    dropout: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        sizes = (self.sentences, self.impossible, self.replaced, self.steps, self.batch, self.hidden)
        if min(sizes) < 1 or not 0 <= self.dropout < 1 or self.seed < 0:
            raise JepaflowError("The reader's sizes must be at least 1, dropout below 1, and the seed not negative.")


class Reader(nn.Module):
    """Slots of a sentence, and whether all of its words have a place in one."""

    scale: Tensor
    thresholds: Tensor

    def __init__(self, features: int, hidden: int = 96, dropout: float = 0.2) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.key = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, len(SLOTS)))
        self.value = nn.ModuleList([nn.Linear(features, len(words)) for words in SLOTS])
        self.known = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("thresholds", torch.tensor([0.0, -torch.inf]))

    def forward(
        self, features: Float[Tensor, "B L F"], mask: Bool[Tensor, "B L"]
    ) -> tuple[list[Float[Tensor, "B _"]], Float[Tensor, " B"]]:
        """Return logits of each slot's words, and of "there is nothing unknown in it": a soft least over the tokens."""
        x = self.drop(features / self.scale)
        weight = self.key(x).masked_fill(~mask[..., None], -1e9).softmax(1)
        taken = weight.transpose(1, 2) @ x
        known = self.known(x)[..., 0].neg().masked_fill(~mask, -1e9)
        return [value(taken[:, slot]) for slot, value in enumerate(self.value)], -known.logsumexp(1)


class Ground:
    """The meaning of atomic requests: callable as `request.parse` wants it.

    Args:
        reader: trained, in eval mode.
        encoder: the one that it was trained with.
    """

    def __init__(self, reader: Reader, encoder: TextEncoder) -> None:
        self.reader, self.encoder = reader, encoder

    def __call__(self, sentence: str) -> Clause | None:
        """Return what one request means; None where it means nothing here."""
        return self.read([sentence])[0]

    def read(self, sentences: Sequence[str]) -> list[Clause | None]:
        """Return what each request means."""
        meanings, sure, known = self.scores(sentences)
        least_known, least_sure = self.reader.thresholds.tolist()
        good = (known >= least_known) & (sure >= least_sure)
        return [meaning if fine else None for meaning, fine in zip(meanings, good, strict=True)]

    @torch.no_grad()
    def scores(self, sentences: Sequence[str]) -> tuple[list[Clause], Float[ndarray, " B"], Float[ndarray, " B"]]:
        """Return each sentence's likeliest clause, its log-probability, and the logit of "nothing in it is unknown"."""
        if not sentences:
            return [], np.zeros(0), np.zeros(0)
        said = self.encoder.encode(sentences)
        slots, known = self.reader(said.features, said.mask)
        slots = [slot.log_softmax(-1) for slot in slots]
        table, best = [], torch.full((len(sentences),), -torch.inf)
        choice = torch.zeros(len(sentences), 5, dtype=torch.long)
        for verb, (kinds, place) in ((verb, (OBJECTS[verb], PLACE[verb])) for verb in VERBS):
            rows = [KINDS.index(kind) for kind in kinds]
            kind = slots[2][:, rows].max(1)
            colour, there = slots[1].max(1), slots[3].max(1)
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
        table = [_clause(row) for row in choice.tolist()]
        return table, best.double().numpy(), known.double().numpy()


def train_reader(encoder: TextEncoder, config: ReaderConfig | None = None) -> Ground:
    """Train a reader on paraphrases, and set its thresholds.

    Args:
        encoder: gives the features of tokens.
        config: settings.
    """
    config = config or ReaderConfig()
    rng = np.random.default_rng([config.seed, 8])
    torch.manual_seed(config.seed)
    clauses = [draw_clause(rng) for _ in range(config.sentences)]
    good = [_enriched(paraphrase(clause, rng), clause.verb, rng) for clause in clauses]
    bad = [impossible(rng) for _ in range(config.impossible)]
    bad += [_spoilt(good[int(rng.integers(len(good)))], rng) for _ in range(config.replaced)]
    said = encoder.encode([*good, *bad])
    labels = torch.tensor([_labels(clause) for clause in clauses] + [[-1] * len(SLOTS)] * len(bad))
    fine = (labels[:, 0] >= 0).float()
    reader = Reader(encoder.dim, config.hidden, config.dropout)
    reader.scale.copy_(said.features[said.mask].std())

    def loss(step: int) -> Tensor:
        rows = torch.from_numpy(np.random.default_rng([config.seed, 9, step]).integers(0, len(labels), config.batch))
        slots, known = reader(said.features[rows], said.mask[rows])
        value = F.binary_cross_entropy_with_logits(known, fine[rows])
        for slot, logits in enumerate(slots):
            wanted = labels[rows, slot]
            value = value + F.cross_entropy(logits, wanted, ignore_index=-1, reduction="sum") / config.batch
        return value

    fit(reader, loss, FitConfig(config.steps, config.lr, 0.01), "Train the reader")
    ground = Ground(reader, encoder)
    later = [draw_clause(rng) for _ in range(1000)]
    aside = [_enriched(paraphrase(clause, rng), clause.verb, rng) for clause in later]
    _, sure, known = ground.scores([sentence for sentence in aside if sentence not in set(good)])
    cut = [min(0.0, float(np.quantile(known, FALSE_REFUSALS))), min(np.log(0.3), float(np.quantile(sure, 0.01)))]
    reader.thresholds.copy_(torch.tensor(cut))
    return ground


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


def _labels(clause: Clause) -> list[int]:
    """Words of the slots by number; -1 where there is nothing to say."""
    place = clause.place
    return [
        VERBS.index(clause.verb),
        -1 if clause.verb == "sort" else COLOURS.index(clause.object.colour),
        KINDS.index(clause.object.kind),
        COLOURS.index(place.colour) if place else -1,
        KINDS.index(place.kind) if place else 0,
    ]


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


def _enriched(sentence: str, verb: Verb, rng: np.random.Generator) -> str:
    """Say some words otherwise: people have more words for bins, cubes and deeds than the grammar's training lists."""
    if rng.random() < 0.4:
        return sentence
    upper, words = sentence.isupper(), sentence.split(" ")
    for i, word in enumerate(words):
        bare = normal(word)
        others = next((more for known, more in (*MORE, *MORE_DEEDS.get(verb, ())) if bare in known), ())
        if others and rng.random() < 0.6:
            words[i] = word.lower().replace(bare, others[int(rng.integers(len(others)))])
        elif bare in PALETTE and rng.random() < 0.2:
            words[i] = f"{LOOKS[int(rng.integers(len(LOOKS)))]} {word.lower()}"
    said = " ".join(words)
    if rng.random() < 0.2:
        said = f"{BEFORE[int(rng.integers(len(BEFORE)))]} {said}"
    if rng.random() < 0.2:
        said = f"{said.rstrip('.?')} {AFTER[int(rng.integers(len(AFTER)))]}"
    return said.upper() if upper else said


def _spoilt(sentence: str, rng: np.random.Generator) -> str:
    """Replace a noun or a colour by any word that no list of this room has."""
    words = sentence.split(" ")
    places = [i for i, word in enumerate(words) if normal(word) in _NAMED]
    at = places[int(rng.integers(len(places)))] if places else int(rng.integers(len(words)))
    odd = _WORDS[int(rng.integers(len(_WORDS)))]
    words[at] = odd.upper() if words[at].isupper() else odd
    return " ".join(words)


def _listed() -> set[str]:
    """All words of the grammar and of the refusals, of both splits: none may be taught to be unknown, or be given away."""
    splits: tuple[Split, ...] = ("train", "test")
    texts: list[str] = [*COLOURS, *KINDS]
    for split in splits:
        for lists in (DEEDS, THINGS, PLACES, ODD_COLOURS, TALK, ODD_VERBS, FRAMES, *NOUNS.values(), *SYNONYMS.values()):
            texts += lists[split]
    for patterns in PATTERNS.values():
        texts += [*patterns.orders, *patterns.statements]
    return set(normal(" ".join(texts).replace("{", " ").replace("}", " ")).split())


_NAMED = {*PALETTE, *(word for kind in NOUNS.values() for name in kind["train"] for word in normal(name).split())}
_NAMED -= {"little"}
_WORDS = tuple(sorted(set(ODD.split()) - _listed()))
"""everyday things, places and colours that no desk of ours has, and that no test asks about"""
