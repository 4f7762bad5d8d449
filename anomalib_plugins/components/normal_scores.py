# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of good parts, and how often a score is a false alarm. Without torch."""

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from anomalib_plugins.components.files import whole_file


class NormalScores:
    """Scores of good parts that a model has not been trained on.

    What they say of the next good part holds exactly, for any model and any number of them, if that part is like them
    (split conformal prediction; Vovk et al., Algorithmic Learning in a Random World, 2005).

    Args:
        scores: Any scale; higher is more anomalous.
        threshold: What is above it, the model calls a defect.

    Raises:
        ValueError: If there are no scores, or any is NaN or infinite.
    """

    def __init__(self, scores: ArrayLike = (), threshold: float = math.inf) -> None:
        self.scores = np.sort(np.asarray(scores, dtype=np.float64).ravel())  # (N,)
        self.threshold = float(threshold)
        if not len(self.scores) or not np.isfinite(self.scores).all():
            broken = len(self.scores) - int(np.isfinite(self.scores).sum())
            msg = f"need finite scores of good parts, got {len(self.scores)}, {broken} of them NaN or infinite"
            raise ValueError(msg)

    def false_alarm_rate(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Share of good parts that score as high or higher: what a score means, whatever the model's scale.

        A good part's rate is at most ``a`` with a probability of at most ``a``. The lowest rate is ``1 / (N + 1)``:
        fewer good parts know nothing of rarer alarms.

        Args:
            scores: Of parts to judge; NaN has the lowest rate.

        Returns:
            In ``(0, 1]``, in the shape of ``scores``.

        Example:
            >>> NormalScores([0.1, 0.2, 0.3]).false_alarm_rate([0.0, 0.25, 0.9]).tolist()
            [1.0, 0.5, 0.25]
        """
        below = np.searchsorted(self.scores, np.asarray(scores, dtype=np.float64))
        return (len(self.scores) - below + 1) / (len(self.scores) + 1)

    def threshold_for(self, false_alarms: float) -> float:
        """The lowest of the scores that good parts exceed with a probability of at most ``false_alarms``.

        Args:
            false_alarms: In ``(0, 1)``.

        Raises:
            ValueError: If it is out of range, or there are too few scores to tell.

        Example:
            >>> NormalScores(range(1, 100)).threshold_for(0.05)
            95.0
        """
        return float(self.scores[self._rank(false_alarms) - 1])

    def likely_rates(self, false_alarms: float, confidence: float = 0.9) -> tuple[float, float]:
        """Between what the real rate lies above ``threshold_for(false_alarms)``, so few scores being known.

        Args:
            false_alarms: In ``(0, 1)``.
            confidence: Probability that it does, over sets of as many good parts.

        Returns:
            Lowest and highest rate; exact where scores have no ties, with ties the real rate is lower.

        Raises:
            ValueError: As of :meth:`threshold_for`.
        """
        rank, tail = self._rank(false_alarms), (1 - confidence) / 2
        low, high = beta.ppf([tail, 1 - tail], len(self.scores) + 1 - rank, rank)
        return float(low), float(high)

    def _rank(self, false_alarms: float) -> int:
        """Number, from 1, of the score that is the threshold."""
        if not 0 < false_alarms < 1:
            msg = f"false_alarms must be a share between 0 and 1, got {false_alarms}"
            raise ValueError(msg)
        count = len(self.scores)
        rank = math.ceil((count + 1) * (1 - false_alarms) - 1e-9)
        if rank > count:
            msg = (
                f"{count} good parts cannot tell how often a score is exceeded by {false_alarms:.4g} of all: "
                f"{math.ceil(1 / false_alarms - 1e-9) - 1} can, or take at least {math.ceil(1000 / (count + 1)) / 1000}"
            )
            raise ValueError(msg)
        return max(rank, 1)

    def save(self, path: Path | str) -> None:
        """Write them as JSON, to lie beside an exported model.

        Args:
            path: The file.
        """
        threshold = self.threshold if math.isfinite(self.threshold) else None
        with whole_file(Path(path), "w", encoding="utf-8") as file:
            json.dump({"normal_scores": self.scores.tolist(), "threshold": threshold}, file)

    @classmethod
    def load(cls, path: Path | str) -> "NormalScores":
        """Read what :meth:`save` wrote.

        Args:
            path: The file.

        Raises:
            ValueError: If it holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            threshold = content["threshold"]
            return cls(content["normal_scores"], math.inf if threshold is None else threshold)
        except (ValueError, TypeError, LookupError) as error:
            msg = (
                f"{path} does not hold scores of good parts, as `python -m anomalib_plugins threshold --scores` writes"
            )
            raise ValueError(msg) from error
