"""A study from its design to its files: run what is left, keep ``runs.jsonl`` up to date, write the summary and the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jepaflow.common.console import console
from jepaflow.studies.cells import Result, Study
from jepaflow.studies.outcome import Outcome, write_outcome, write_runs
from jepaflow.studies.recipe import recipe
from jepaflow.studies.runner import Execute, run_study


@dataclass(frozen=True)
class Design:
    """Cells and measures, and what their results come to."""

    study: Study
    tell: Callable[[Sequence[Result]], Outcome]


@dataclass(frozen=True)
class Campaign:
    """Where a study's runs and results go, and how it is run.

    Attributes:
        name: of the folders.
        runs: folder of the runs.
        results: folder of ``runs.jsonl``, ``summary.json`` and ``report.html``.
        execute: how cells are run.
        most: at most so many new runs; None: all.
        command: what a reader types.
        stores: that the command reads; how they were recorded is told before it.
    """

    name: str
    runs: Path
    results: Path
    execute: Execute
    most: int | None = None
    command: str = ""
    stores: tuple[Path, ...] = ()


def conduct(campaign: Campaign, design: Design) -> Outcome | None:
    """Run a study; returns what it found, None when runs are left for another time.

    Raises:
        JepaflowError: as `run_study`.
    """
    from jepaflow.studies.pages import write_report

    study, data = design.study, recipe(campaign.stores)
    console.print(f"{study.name}: {len(study.cells)} runs, in {campaign.runs}.")

    def keep(so_far: list[Result]) -> None:
        write_runs(campaign.results, so_far)

    results = run_study(study, campaign.runs, campaign.execute, campaign.most, keep)
    if len(results) < len(study.cells):
        console.print(f"{len(results)} of {len(study.cells)} runs are known. The same command goes on with the others.")
        return None
    outcome = replace(design.tell(results), command="\n".join([*data, campaign.command]))
    write_outcome(campaign.results, study.name, outcome)
    write_report(campaign.results)
    return outcome
