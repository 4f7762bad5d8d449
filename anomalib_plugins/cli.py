# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""anomalib's own command line, with a seed that seeds, for ``python -m anomalib_plugins``."""

import os
import secrets
from collections.abc import Sequence

from anomalib.cli import AnomalibCLI
from anomalib.loggers import configure_logger
from lightning.pytorch import seed_everything


class SeededCLI(AnomalibCLI):
    """anomalib's command line; 2.7 reads ``--seed_everything`` and does nothing with it."""

    def before_instantiate_classes(self) -> None:
        """Seed before the model draws its first weights, and keep the seed in the saved configuration.

        ``True``, the default, is a random seed, which the log names.
        """
        super().before_instantiate_classes()
        seed = self._get(self.config, "seed_everything", default=False)
        if seed is False:
            return
        if seed is True:
            # Processes that a distributed run starts find the first one's seed in the environment.
            seed = int(os.environ.get("PL_GLOBAL_SEED", secrets.randbelow(2**32)))
        self.config[self.subcommand]["seed_everything"] = seed_everything(seed, workers=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of anomalib's commands.

    Args:
        argv: Command-line arguments, the command first.

    Returns:
        Exit code, 0; failures raise.
    """
    configure_logger()
    SeededCLI(argv)
    return 0
