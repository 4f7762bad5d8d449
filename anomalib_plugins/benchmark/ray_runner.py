# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Jobs of a benchmark on a Ray cluster."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ray

from anomalib_plugins.benchmark.jobs import Job, Outcome
from anomalib_plugins.benchmark.log import everything_into
from anomalib_plugins.benchmark.runner import Ended
from anomalib_plugins.errors import UserError

logger = logging.getLogger(__name__)

PASSED_ON = ("HF_HOME", "TORCH_HOME", "HF_HUB_OFFLINE")


def run_job(job: Job) -> Outcome:
    """Run a job; Ray calls this function on another machine."""
    return job.run()


def in_parallel(
    jobs: Sequence[Job],
    log: Path,
    report: Callable[[str], None],
    *,
    address: str | None = None,
    cpus: float = 1,
    gpus: float | None = None,
    retries: int = 3,
) -> Iterator[Ended]:
    """Run as many jobs in parallel as a Ray cluster has room for, and yield each when it ends.

    Heatmaps and checkpoints are written on the machine that runs the job. A job whose process dies, e.g. because memory
    or its machine is lost, is started again elsewhere. A job that raises an exception has failed. Every machine needs
    this package, and the data under the same path.

    Args:
        jobs: Jobs to run.
        log: File for messages.
        report: Function that is called with a short text about the progress.
        address: Address of a running cluster; ``auto`` finds the cluster of this machine, ``None`` starts one here.
        cpus: CPU cores per job.
        gpus: GPUs per job; with ``0.5`` two jobs share one. ``None`` is 1 for jobs on a GPU and 0 for others.
        retries: Number of times a job is started again after its process died.

    Raises:
        ValueError: If no machine of the cluster is large enough for a job.
    """
    own = not ray.is_initialized()
    try:
        with everything_into(log):
            if own:
                variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
                ray.init(address, runtime_env={"env_vars": variables}, log_to_driver=False)
            shares = [float(job.setup.accelerator in {"cuda", "gpu"}) if gpus is None else gpus for job in jobs]
            _refuse_too_large({"CPU": cpus, "GPU": max(shares, default=0)})
            remote = ray.remote(max_retries=retries)(run_job)
            waiting = {
                remote.options(num_cpus=cpus, num_gpus=share).remote(job): job
                for job, share in zip(jobs, shares, strict=True)
            }
        while waiting:
            report(f"{len(waiting)} jobs to go")
            (reference,), _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(reference)
            yield job, _result(reference, job, log)
    finally:
        if own:
            ray.shutdown()


def _result(reference: "ray.ObjectRef", job: Job, log: Path) -> Outcome | Exception:
    """Get the outcome of a job, or the exception that it raised."""
    try:
        return ray.get(reference)
    except Exception as error:
        with everything_into(log):
            logger.exception("%s failed", job.title)
        return getattr(error, "cause", None) or error


def _refuse_too_large(wanted: dict[str, float]) -> None:
    """Raise an error if no machine of the cluster can ever run a job; Ray would wait for one forever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
        found = [{name: machine.get(name, 0) for name in wanted} for machine in machines]
        msg = f"a job needs {wanted}, which no machine of the cluster has: {found}"
        raise UserError(msg)
