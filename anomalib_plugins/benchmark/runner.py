# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Runner for the jobs of a benchmark, which saves each result at once."""

import filecmp
import logging
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import starmap
from pathlib import Path

from tqdm import tqdm

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.benchmark.jobs import MEMORY_SCHEDULE, Job, Outcome, wrapped
from anomalib_plugins.benchmark.log import everything_into
from anomalib_plugins.errors import UserError

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

    Raises:
        UserError: If jobs differ only in folders of the same name, here or in the results file.
    """
    rows = results.read(output)
    _refuse_other_files(jobs, output, rows)
    done = {(row["job"], row["schedule"]) for row in rows}
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


def _refuse_other_files(jobs: Sequence[Job], output: Path, rows: Sequence[results.Row]) -> None:
    """Refuse a job with the number of another on other files: numbers know files and folders by name alone."""
    numbers: dict[str, Job] = {}
    for job in jobs:
        if differing := job.files ^ numbers.setdefault(job.number, job).files:
            names = " and ".join(map(str, sorted(differing)))
            msg = f"{job.title}: {names} have the same name, so that their results could not be told apart: rename one"
            raise UserError(msg)
    for row in rows:
        same, path = numbers.get(row["job"]), predictions.path_of(output, row)
        if same and path.is_file() and _is_of_other_data(same, image := predictions.first_image(path)):
            msg = f"{same.title}: {output} has results of another folder of that name, with {image}"
            raise UserError(msg + ": choose another --output")


def _is_of_other_data(job: Job, image: Path) -> bool:
    """Whether an image is still where a job read it, but is not in this job's data. Moved data are the same."""
    root = Path(wrapped(job.data).get("init_args", {}).get("root", ""))
    if root.name not in image.parts or not image.is_file():
        return False
    tails = [image.parts[place + 1 :] for place, name in enumerate(image.parts) if name == root.name]
    found = filter(Path.is_file, starmap(root.joinpath, tails))
    return not any(filecmp.cmp(each, image, shallow=False) for each in found)


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
    return f"{job.title}: {values}, trained in {outcome.row['train_seconds']} s"
