# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Runner for the jobs of a benchmark, which saves each result at once."""

import logging
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalib.pipelines.components import JobGenerator, Runner

from anomalib_plugins.benchmark import predictions, results
from anomalib_plugins.benchmark.jobs import Job, Outcome
from anomalib_plugins.benchmark.progress import View, everything_into
from anomalib_plugins.benchmark.setup import MEMORY_SCHEDULE

logger = logging.getLogger(__name__)


class FailedJobsError(RuntimeError):
    """Raised if some jobs failed. The results of the others are saved."""


class ResumingRunner(Runner):
    """Runs one after the other all jobs that have no row in the results file.

    An interrupted job resumes from its last checkpoint when the same command runs again. The checkpoint is removed once
    the job's row is written. Output of jobs goes to a log file beside the results, ``results.log`` for ``results.csv``.

    Args:
        generator: Generator of the jobs.
        output: Results file.
    """

    def __init__(self, generator: JobGenerator, output: Path = Path("results.csv")) -> None:
        super().__init__(generator)
        self.output = output

    @property
    def log(self) -> Path:
        """Log file for the output of jobs."""
        return self.output.with_suffix(".log")

    def run(self, args: dict[str, Any], prev_stage_results: Any = None) -> list[results.Row]:
        """Run every job that has no row yet.

        Args:
            args: Section ``benchmark`` of a configuration.
            prev_stage_results: Not used.

        Returns:
            All rows of the results file.

        Raises:
            FailedJobsError: If jobs failed. It is raised after the last job and names those that failed.
        """
        jobs = list(self.generator(args, prev_stage_results))
        done = {(row["job"], row["schedule"]) for row in results.read(self.output)}
        todo = [
            job for job in jobs if done.isdisjoint({(job.number, s) for s in (job.setup.schedule, MEMORY_SCHEDULE)})
        ]
        failed = []
        with View(len(todo)) as view:
            if len(todo) < len(jobs):
                view.say(f"{len(jobs) - len(todo)} of {len(jobs)} jobs are in {self.output} already")
            for job, outcome in self.outcomes(todo, view):
                if isinstance(outcome, Exception):
                    failed.append(job.title)
                else:
                    self._keep(outcome, [job.number for job in jobs])
                    if job.unfinished is not None:
                        shutil.rmtree(job.unfinished, ignore_errors=True)
        if failed:
            msg = f"{len(failed)} of {len(todo)} jobs failed, see {self.log}: {'; '.join(failed)}"
            raise FailedJobsError(msg)
        return results.read(self.output)

    def outcomes(self, jobs: list[Job], view: View) -> Iterator[tuple[Job, Outcome | Exception]]:
        """Run jobs one after the other.

        Args:
            jobs: Jobs to run.
            view: Progress view to update.

        Yields:
            Each job with its outcome, or with its exception if it failed.
        """
        for job in jobs:
            task, report = view.begin(job.title)
            outcome: Outcome | Exception
            with everything_into(self.log):
                try:
                    outcome = replace(job, report=report).run()
                except Exception as error:
                    logger.exception("%s failed", job.title)
                    outcome = error
            yield job, outcome
            view.end(line(job, outcome), task)  # after the outcome is saved

    def _keep(self, outcome: Outcome, order: list[str]) -> None:
        """Write the predictions, then the row, so that a row always has its predictions."""
        if outcome.predictions is not None:
            predictions.save(predictions.path_of(self.output, outcome.row), outcome.predictions)
        results.append(self.output, outcome.row, order)


def line(job: Job, outcome: Outcome | Exception) -> str:
    """Describe the outcome of a job in one line.

    Args:
        job: Job that ended.
        outcome: Outcome of the job, or its exception.
    """
    if isinstance(outcome, Exception):
        error = outcome if str(outcome) or outcome.__cause__ is None else outcome.__cause__
        return f"{job.title}: FAILED, " + "".join(traceback.format_exception_only(error)).splitlines()[0]
    values = " / ".join(f"{outcome.row[metric]}" for metric in results.METRICS)
    return f"{job.title}: {values} in {outcome.row['train_seconds']} s"
