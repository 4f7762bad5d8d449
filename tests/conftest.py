# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import os

import pytest

# One thread a worker, its child processes included: read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _openvino_cores_stay():
    """No core of OpenVINO goes before the process does.

    Each gives its thread a signal stack (openvinotoolkit/openvino#11894); when it goes it puts back the one before and
    unmaps its own. Unless cores go in the reverse order of their coming, the thread is left with one that is unmapped,
    and the next signal with a handler in Python kills the process: after a DataLoader with workers, which leaves one
    for SIGCHLD, that is the end of any child process.
    """
    try:
        import openvino
    except ImportError:
        yield
        return
    cores, make = [], openvino.Core

    def core(*args, **kwargs):
        cores.append(make(*args, **kwargs))
        return cores[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "Core", core)
        yield
