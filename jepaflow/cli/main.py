"""The command ``jepaflow``: finds the sub-command's file, parses its dataclass with tyro, and turns errors into sentences.

Only the file of the sub-command that was typed is imported: ``jepaflow --help`` answers at once, without PyTorch.
Exit codes: 0 done, 1 a finding or an error that the user can mend, 2 wrong words on the command line, 130 interrupted.
"""

import importlib
import os
import sys

import tyro

from jepaflow.common.console import console
from jepaflow.common.errors import JepaflowError

COMMANDS = {
    "doctor": "check a dataset: structure, frames, timestamps, values",
    "convert": "turn a LeRobot dataset or a folder of videos into a store",
    "view": "look at episodes: a contact sheet, a film or a Rerun recording",
    "collect": "record episodes of a simulated world as a LeRobot dataset",
    "train": "train a world model on a store",
    "heads": "train the inverse dynamics and temporal distance heads of a run",
    "decoder": "learn to draw what a run's latents hold",
    "imagine": "show what a run imagines, beside what came: real, reconstructed, imagined",
    "diagnose": "judge a trained model: blind, short-sighted or sighted",
    "probe": "read joints, places, speeds and touch from a run's latents, beside the floors",
    "surprise": "show a run impossible events and see whether they surprise it",
    "monitor": "calibrate and measure a run's alarms: slipped, missed, blocked, moved by someone",
    "evaluate": "plan with a trained model in closed loop, beside the floors",
    "practise": "record what a trained model's planner does, to train the next one on",
    "subgoals": "landmarks of a run and ways between them: fit, verify, plan, show",
    "language": "what sentences mean to a run, and which frames satisfy them: fit, verify",
    "command": "do what a sentence asks, in a simulated world; or plan it from a frame of a dataset",
    "study": "whole experiments, many trainings each: density, views, blindness, transfer, tension, horizon; publish",
    "benchmark": "measure speed against plain references, and weight: plan, train, load, convert, weight",
}


def usage() -> str:
    """The list of sub-commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return (
        "usage: jepaflow COMMAND [OPTIONS]\n\nWorld models from LeRobot datasets.\n\n"
        + "\n".join(lines)
        + "\n\njepaflow COMMAND --help lists the options."
    )


def main(argv: list[str] | None = None) -> int:
    """Run a sub-command; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        console.print(usage(), markup=False)
        return 0 if words else 2
    if words[0] == "--version":
        from jepaflow import __version__

        console.print(__version__)
        return 0
    if words[0] not in COMMANDS:
        _complain(f"There is no command {words[0]!r}. Choose one of: {', '.join(COMMANDS)}.")
        return 2
    module = importlib.import_module(f"jepaflow.cli.{words[0]}")
    failure = 2  # while the words are read: a configuration that refuses its value
    try:
        args = tyro.cli(module.Args, prog=f"jepaflow {words[0]}", args=words[1:])
        failure = 1
        code: int = module.run(args)
        return code
    except JepaflowError as error:
        _complain(str(error))
        return failure
    except BrokenPipeError:  # `| head` has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (what Python flushes at exit goes nowhere)
        return 1
    except OSError as error:
        _complain(
            f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}. Mend that and run it again."
        )
        return 1
    except KeyboardInterrupt:
        _complain("Stopped. What was finished is kept; run the same command again (train: with --resume) to go on.")
        return 130


def _complain(sentence: str) -> None:
    sys.stderr.write(f"jepaflow: {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
