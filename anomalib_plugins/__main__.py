# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""``anomalib-plugins COMMAND``, or ``python -m anomalib_plugins COMMAND``."""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

# Each module has ``main(argv) -> exit code`` and its own ``--help``.
COMMANDS = {
    "quickstart": (
        "anomalib_plugins.commands.quickstart",
        "train, test and export a detector on demo parts or photos",
    ),
    "doctor": ("anomalib_plugins.commands.doctor", "what is broken in this environment, and what to do first"),
    "check": ("anomalib_plugins.commands.check", "what would spoil a training on a folder of photos"),
    "cost": ("anomalib_plugins.commands.cost", "parameters and operations of every model, beside the published ones"),
    "benchmark": ("anomalib_plugins.benchmark.command", "models side by side: resumable, seeded, several seeds, timed"),
    "report": ("anomalib_plugins.report.command", "one page about a benchmark: tables, curves, gallery; works offline"),
    "threshold": ("anomalib_plugins.commands.threshold", "false alarms of a threshold, and how to set another one"),
    "demo": ("anomalib_plugins.commands.demo.command", "a page that scores the photos you drop on it"),
}
ANOMALIB = "fit, validate, test, train, predict, export"

HELP = """usage: anomalib-plugins COMMAND [--help] [ARGUMENTS]

commands of this package:
{commands}

anomalib's commands ({anomalib}) work as with `anomalib COMMAND`, but
  - know this package's models even if the start-up hook is off (TORCH_DEVICE_BACKEND_AUTOLOAD=0);
  - seed before anything is built (--seed_everything N);
  - suggest the right name for a misspelt one;
  - end in one line if input is wrong (ANOMALIB_PLUGINS_TRACEBACK=1 shows the traceback);
  - leave out the messages of the exporter.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of our commands or hand over to anomalib's.

    Args:
        argv: Command-line arguments; those of the process by default.

    Returns:
        Exit code.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in {"-h", "--help"}:
        commands = "\n".join(f"  {name:<12}{text}" for name, (_, text) in COMMANDS.items())
        sys.stdout.write(HELP.format(commands=commands, anomalib=ANOMALIB))
        return 0 if argv else 2
    if sys.stderr.isatty() and not {"-h", "--help"} & set(argv):
        print("Loading torch and anomalib ...", file=sys.stderr)
    with warnings.catch_warnings():  # of what anomalib imports of itself: nothing the user could change
        warnings.simplefilter("ignore", FutureWarning)
        if argv[0] in COMMANDS:
            return _own(argv)
        from anomalib_plugins.commands import cli

    return cli.main(argv)


def _own(argv: Sequence[str]) -> int:
    """Run one of our commands; what the user can correct ends in one line."""
    from anomalib_plugins.errors import UserError

    try:
        return import_module(COMMANDS[argv[0]][0]).main(argv[1:])
    except UserError as error:
        if os.environ.get("ANOMALIB_PLUGINS_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
