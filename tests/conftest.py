# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import gc
import os
import re

import pytest
from hypothesis import settings

# One thread a worker, its child processes included: read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples in every run: a change fails, not a draw. ``--hypothesis-profile=default`` looks for new ones.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items):
    """Slow tests come first: no worker begins one when the others are done."""
    items.sort(key=lambda item: "slow" not in item.keywords)


def pytest_collection_finish():
    """What was imported stays: no need to look through it for garbage all the time."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config, log):
    """What shares fixtures goes to one worker: the tests of a file, or of a model where a file trains all of them."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileAndModel(LoadFileScheduling):
        def _split_scope(self, nodeid):
            model = re.search(r"/contract/test_(?:contract|bad_input|devices|integration)\.py::.*?\[(\w+)", nodeid)
            return super()._split_scope(nodeid) + (model[1] if model else "")

    return ByFileAndModel(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _children_can_train():
    """A first backward before any export.

    An export makes autograd believe in a GPU. It then starts a thread for it, after which no forked child can train.
    """
    import torch

    torch.ones(1, requires_grad=True).sum().backward()


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
