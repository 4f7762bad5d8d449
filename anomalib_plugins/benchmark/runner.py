# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Runner for the jobs of a benchmark, which saves each result at once."""

import logging
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.benchmark.jobs import MEMORY_SCHEDULE, Job, Outcome
from anomalib_plugins.benchmark.log import everything_into

logger = logging.getLogger(__name__)

Ended = tuple[Job, Outcome | Exception]
"""A job with its outcome, or with its exception if it failed."""


def one_by_one(jobs: Iterable[Job], log: Path, report: Callable[[str], None]) -> Iterator[Ended]:
    """Run jobs one after the other in this process, with their output in a log file, and report their progress."""
    for job in jobs:
        outcome: Outcome | Exception
        with everything_into(log):
            try:
                outcome = replace(job, report=report).run()
            except Exception as error:
                logger.exception("%s failed", job.title)
                outcome = error
        yield job, outcome


def run(jobs: Sequence[Job], output: Path, outcomes: Callable[..., Iterator[Ended]] = one_by_one) -> list[str]:
    """Run all jobs that have no row in the results file, and save each result as soon as its job ends.

    An interrupted job resumes from its last checkpoint when it is run again. The checkpoint is removed once the job's
    row is written. Output of jobs goes to a log file beside the results, ``results.log`` for ``results.csv``.

    Args:
        jobs: Jobs in the order of their rows.
        output: Results file.
        outcomes: Function that runs jobs, as :func:`one_by_one` does, and yields each when it ends.

    Returns:
        Names of the jobs that failed.
    """
    done = {(row["job"], row["schedule"]) for row in results.read(output)}
    jobs = list({(job.number, job.setup.schedule): job for job in jobs}.values())  # configurations may share jobs
    todo = [job for job in jobs if done.isdisjoint({(job.number, s) for s in (job.setup.schedule, MEMORY_SCHEDULE)})]
    order, failed = [job.number for job in jobs], []
    # The stream is the one from before any redirection. Only a terminal has a bar; a line per job is always printed.
    with tqdm(total=len(todo), unit="job", file=sys.stderr, disable=None) as bar:
        if len(todo) < len(jobs):
            bar.write(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are in {output} already", file=sys.stderr)
        ended = outcomes(todo, output.with_suffix(".log"), bar.set_description_str)
        for number, (job, outcome) in enumerate(ended, start=1):
            if isinstance(outcome, Exception):
                failed.append(job.title)
            else:
                _save(output, job, outcome, order)
            bar.update()
            bar.write(f"[{number}/{len(todo)}] {line(job, outcome)}", file=sys.stderr)
    return failed


def _save(output: Path, job: Job, outcome: Outcome, order: list[str]) -> None:
    """Write the predictions, then the row, so that a row always has its predictions; last remove the checkpoint."""
    if outcome.predictions is not None:
        predictions.save(predictions.path_of(output, outcome.row), outcome.predictions)
    results.append(output, outcome.row, order)
    if job.unfinished is not None:
        shutil.rmtree(job.unfinished, ignore_errors=True)


def line(job: Job, outcome: Outcome | Exception) -> str:
    """Describe the outcome of a job in one line."""
    if isinstance(outcome, Exception):
        error = outcome if str(outcome) or outcome.__cause__ is None else outcome.__cause__
        return f"{job.title}: FAILED, " + "".join(traceback.format_exception_only(error)).splitlines()[0]
    values = " / ".join(f"{outcome.row[metric]}" for metric in results.METRICS)
    return f"{job.title}: {values} in {outcome.row['train_seconds']} s"
