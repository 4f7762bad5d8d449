# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

import io
import logging
import sys
import warnings

import pytest

from anomalib_plugins.benchmark.log import everything_into


def test_prints_logs_and_warnings_are_added_to_the_file(tmp_path, capsys):
    lonely = logging.getLogger("test_progress.lonely")
    lonely.propagate = False
    logging.captureWarnings(capture=False)  # anomalib's set-up captures them for the whole process
    log = tmp_path / "new" / "results.log"
    for number in range(2):
        with everything_into(log):
            print(f"print {number}")
            print("to stderr", file=sys.stderr)
            logging.getLogger("test_progress.any").error("logged")
            lonely.error("alone")
            warnings.warn("careful", stacklevel=1)
    text = log.read_text()
    for part in ("print 0", "print 1", "to stderr", "logged", "alone", "careful"):
        assert part in text
    assert text.count("logged") == 2
    assert not "".join(capsys.readouterr())


def test_loggers_write_where_they_did_before(tmp_path):
    logger, stream = logging.getLogger("test_progress.own"), io.StringIO()
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    root = list(logging.root.handlers)
    with pytest.raises(ZeroDivisionError), everything_into(tmp_path / "log"):
        logger.error("within %d", 1 / 0)
    logger.error("after")
    assert stream.getvalue() == "after\n"
    assert logging.root.handlers == root
    logger.removeHandler(handler)
