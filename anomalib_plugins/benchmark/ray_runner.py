# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Runner for the jobs of a benchmark on a Ray cluster."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import ray
from anomalib.pipelines.components import JobGenerator

from anomalib_plugins.benchmark.jobs import Job, Outcome
from anomalib_plugins.benchmark.progress import View, everything_into
from anomalib_plugins.benchmark.runner import ResumingRunner, line
from anomalib_plugins.errors import UserError

logger = logging.getLogger(__name__)

PASSED_ON = ("HF_HOME", "TORCH_HOME", "HF_HUB_OFFLINE")


def run_job(job: Job) -> Outcome:
    """Run a job; Ray calls this function on another machine."""
    return job.run()


class RayRunner(ResumingRunner):
    """Runs as many jobs in parallel as a Ray cluster has room for, and saves each result as it arrives.

    Results and predictions are written on this machine, heatmaps and checkpoints on the machine that runs the job. A
    job whose process dies, e.g. because memory or its machine is lost, is started again elsewhere. A job that raises an
    exception has failed. Every machine needs this package, and the data under the same path.

    Args:
        generator: Generator of the jobs.
        output: Results file.
        address: Address of a running cluster; ``auto`` finds the cluster of this machine, ``None`` starts one here.
        cpus: CPU cores per job.
        gpus: GPUs per job; with ``0.5`` two jobs share one.
        retries: Number of times a job is started again after its process died.
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
        """Run jobs in parallel.

        Args:
            jobs: Jobs to run.
            view: Progress view to update.

        Yields:
            Each job with its outcome, or with its exception if it failed, in the order in which jobs end.
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
        """Get the outcome of a job, or the exception that it raised."""
        try:
            return ray.get(reference)
        except Exception as error:
            with everything_into(self.log):
                logger.exception("%s failed", job.title)
            return getattr(error, "cause", None) or error

    def _refuse_too_large(self) -> None:
        """Raise an error if no machine of the cluster can ever run a job; Ray would wait for one forever."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
            found = [{name: machine.get(name, 0) for name in wanted} for machine in machines]
            msg = f"a job needs {wanted}, which no machine of the cluster has: {found}"
            raise UserError(msg)
