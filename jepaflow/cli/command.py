"""``jepaflow command "put the red cube in the blue bin" --env so101/sort --run RUN``: a sentence becomes sub-goals, and the arm does it.

In a simulated world the robot does it and says what it believes of it, beside the simulator's truth. On a dataset (``--dataset X
--dry-run``) it shows the sub-goals that it would go through. ``--interactive`` is a prompt: each sentence goes on from the state that
the last one left. Exit code 1: refused, in one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError


@dataclass(frozen=True)
class Args:
    """Do what a sentence asks, or say in one sentence why not."""

    sentence: Annotated[str, tyro.conf.Positional] = ""
    """What is asked for: "put the red cube in the blue bin, then the blue one in the white bin"."""
    run: Path = Path("runs/place")
    """Run folder with heads, sub-goals and language (jepaflow heads, subgoals fit, language fit)."""
    env: str | None = None
    """Simulated world: so101/sort, so101/place, ..."""
    seed: int = 0
    """Seed of the desk, and of the planner."""
    planner: Literal["gflownet", "exact", "dijkstra"] = "gflownet"
    """Who proposes the walks over landmarks."""
    budget: int | None = None
    """Control steps for one sentence; left out: half more than the world's own task may take, for each thing to do."""
    interactive: bool = False
    """Ask for sentences until "quit"; each goes on from the present state."""
    slip: bool = False
    """Let an object slip on purpose, once a sentence, to see whether the robot notices."""
    dataset: Path | None = None
    """A store (.h5) or a LeRobot folder to start from instead of a world; only with --dry-run."""
    dry_run: bool = False
    """Plan and show, do not act."""
    episode: int = 0
    """Of --dataset: the episode to start from."""
    frame: int = 0
    """Of --dataset: the control step to start from."""
    stores: tuple[Path, ...] = ()
    """Where the run's own stores lie now; where they lay when it was trained if not given."""
    output: Path | None = None
    """Folder for subgoals.png, film.mp4 and story.json; RUN/command if not given."""
    film: bool = True
    """Write the film: every control step is drawn, which takes most of the time."""

    def __post_init__(self) -> None:
        if self.interactive and self.sentence.strip():
            raise JepaflowError("Give a sentence, or --interactive and type it at the prompt; not both.")
        if not self.interactive and not self.sentence.strip():
            raise JepaflowError(
                'You said nothing. Say for instance: jepaflow command "put the red cube in the blue bin".'
            )
        if (self.env is None) == (self.dataset is None):
            raise JepaflowError(
                "Say where: in a simulated world (--env so101/sort), or on a dataset (--dataset X --dry-run)."
            )
        if self.dataset is not None and (not self.dry_run or self.interactive):
            raise JepaflowError(
                "On a dataset nothing can be done, only planned, one sentence at a time. Add --dry-run."
            )
        if min(self.seed, self.episode, self.frame) < 0 or (self.budget is not None and self.budget < 1):
            raise JepaflowError("--seed, --episode and --frame must not be negative, and --budget at least 1.")
        if self.slip and (self.dry_run or self.dataset is not None):
            raise JepaflowError("--slip needs something that is done. Leave --dry-run out.")


def run(args: Args) -> int:
    """Run the command; 1 where the sentence was refused."""
    from jepaflow.evaluation.command_session import Session, dry_run

    if args.dataset is not None:
        where = (args.episode, args.frame)
        return dry_run(
            args.run, args.sentence, args.dataset, where, args.planner, args.seed, args.stores, _folder(args)
        )  # fmt: skip
    assert args.env is not None
    session = Session(args.run, args.env, args.planner, args.seed, args.stores)
    if not args.interactive:
        return session.hear(args.sentence, _folder(args), args.budget, args.slip, args.film, args.dry_run)
    console.print(session.greeting())
    number = 0
    while (sentence := _typed()) is not None:
        number += 1
        try:
            session.hear(sentence, _folder(args) / f"{number:02d}", args.budget, args.slip, args.film, args.dry_run)
        except JepaflowError as error:
            console.print(str(error))
    return 0


def _typed() -> str | None:
    """Return the next sentence; None at the end."""
    try:
        said = input("> ").strip()
    except EOFError:
        return None
    return None if said.lower().rstrip(".!") in ("quit", "exit", "stop", "bye") else said


def _folder(args: Args) -> Path:
    return args.output or args.run / "command"
