# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Runs the jobs of a benchmark on the machines of a Ray cluster."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import ray
from anomalib.pipelines.components import JobGenerator

from anomalib_plugins.benchmark.jobs import Job, Outcome
from anomalib_plugins.benchmark.progress import View, everything_into
from anomalib_plugins.benchmark.runner import ResumingRunner, line

logger = logging.getLogger(__name__)

PASSED_ON = ("HF_HOME", "TORCH_HOME", "HF_HUB_OFFLINE")


def run_job(job: Job) -> Outcome:
    """Run a job; what Ray does on another machine."""
    return job.run()


class RayRunner(ResumingRunner):
    """Runs as many jobs at once as a Ray cluster has room for, and keeps each result as it comes in.

    Results and predictions are written here; heatmaps and checkpoints where the job runs. A job whose process dies (out
    of memory, a machine that leaves) starts again elsewhere; one that raises has failed. Every machine needs this
    package, and the data under the same path.

    Args:
        generator: Makes the jobs.
        output: Results file.
        address: Of a running cluster, ``auto`` finds that of this machine; ``None`` starts one here.
        cpus: CPU cores that a job takes.
        gpus: GPUs that a job takes; with ``0.5`` two share one.
        retries: How often a job starts again when its process died.
    """

    def __init__(
        self,
        generator: JobGenerator,
        output: Path = Path("results.csv"),
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 0,
        retries: int = 3,
    ) -> None:
        super().__init__(generator, output)
        self.address = address
        self.cpus, self.gpus, self.retries = cpus, gpus, retries

    def outcomes(self, jobs: list[Job], view: View) -> Iterator[tuple[Job, Outcome | Exception]]:
        """Run the jobs.

        Args:
            jobs: What to run.
            view: Is kept informed.

        Yields:
            Each job and what it left, or why it left nothing, in the order they end.
        """
        with everything_into(self.log):
            own = not ray.is_initialized()
            if own:
                variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
                ray.init(self.address, runtime_env={"env_vars": variables}, log_to_driver=False)
            self._refuse_too_large()
            run = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries)(run_job)
            waiting = {run.remote(job): job for job in jobs}
        try:
            while waiting:
                (reference,), _ = ray.wait(list(waiting), num_returns=1)
                job = waiting.pop(reference)
                outcome = self._result(reference, job)
                yield job, outcome
                view.end(line(job, outcome))
        finally:
            if own:
                ray.shutdown()

    def _result(self, reference: "ray.ObjectRef", job: Job) -> Outcome | Exception:
        """What a job left; an exception as it was raised there."""
        try:
            return ray.get(reference)
        except Exception as error:
            with everything_into(self.log):
                logger.exception("%s failed", job.title)
            return getattr(error, "cause", None) or error

    def _refuse_too_large(self) -> None:
        """Raise if no machine of the cluster can ever run a job, which Ray would wait for in silence."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
            found = [{name: machine.get(name, 0) for name in wanted} for machine in machines]
            msg = f"a job takes {wanted}, which no machine of the cluster has: {found}"
            raise ValueError(msg)
