# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of good parts, and false alarm rates derived from them. Needs no torch."""

import json
import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binomtest

from anomalib_plugins.components.files import atomic_write
from anomalib_plugins.errors import UserError


class NormalScores:
    """Scores of good parts that a model was not trained on.

    Rates derived from them are exact for any model and any number of parts, provided that new good parts come from the
    same distribution (split conformal prediction; Vovk et al., Algorithmic Learning in a Random World, 2005).

    Args:
        scores: Scores on any scale; higher is more anomalous.
        threshold: Score above which the model calls a part a defect.

    Raises:
        ValueError: If there are no scores, or any is NaN or infinite.
    """

    def __init__(self, scores: ArrayLike = (), threshold: float = math.inf) -> None:
        self.scores = np.sort(np.asarray(scores, dtype=np.float64).ravel())  # (N,)
        self.threshold = float(threshold)
        if not len(self.scores) or not np.isfinite(self.scores).all():
            broken = len(self.scores) - int(np.isfinite(self.scores).sum())
            msg = f"need finite scores of good parts, got {len(self.scores)}, {broken} of them NaN or infinite"
            raise UserError(msg)

    def false_alarm_rate(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Compute the share of good parts that score as high or higher (a conformal p-value).

        The rate of a good part is at most ``a`` with a probability of at most ``a``, whatever the scale of the model.
        The lowest rate is ``1 / (N + 1)``, since ``N`` good parts cannot resolve rarer alarms.

        Args:
            scores: Scores of parts to judge; NaN has the lowest rate.

        Returns:
            Rates in ``(0, 1]``, in the shape of ``scores``.

        Example:
            >>> NormalScores([0.1, 0.2, 0.3]).false_alarm_rate([0.0, 0.25, 0.9]).tolist()
            [1.0, 0.5, 0.25]
        """
        below = np.searchsorted(self.scores, np.asarray(scores, dtype=np.float64))
        return (len(self.scores) - below + 1) / (len(self.scores) + 1)

    def threshold_for(self, false_alarms: float) -> float:
        """Lowest known score that good parts exceed with a probability of at most ``false_alarms``.

        Args:
            false_alarms: Share of good parts, in ``(0, 1)``.

        Raises:
            ValueError: If ``false_alarms`` is out of range, or there are too few scores for it.

        Example:
            >>> NormalScores(range(1, 100)).threshold_for(0.05)
            95.0
        """
        return float(self.scores[self._rank(false_alarms) - 1])

    def likely_rates(self, false_alarms: float, confidence: float = 0.9) -> tuple[float, float]:
        """Confidence interval of the true false alarm rate at ``threshold_for(false_alarms)``.

        Args:
            false_alarms: Share of good parts, in ``(0, 1)``.
            confidence: Probability that the interval holds the true rate, over sets of as many good parts.

        Returns:
            Lowest and highest rate. The interval is exact for scores without ties; with ties the true rate is lower.

        Raises:
            ValueError: If ``false_alarms`` is out of range, or there are too few scores for it.
        """
        rank, tail = self._rank(false_alarms), (1 - confidence) / 2
        low, high = beta.ppf([tail, 1 - tail], len(self.scores) + 1 - rank, rank)
        return float(low), float(high)

    def likely_rates_now(self, confidence: float = 0.9) -> tuple[float, float]:
        """Confidence interval (Clopper and Pearson's) of the true false alarm rate at the threshold.

        Args:
            confidence: Probability that the interval holds the true rate, if the threshold was chosen without the
                scores.
        """
        above = int((self.scores > self.threshold).sum())
        low, high = binomtest(above, len(self.scores)).proportion_ci(confidence)
        return float(low), float(high)

    def _rank(self, false_alarms: float) -> int:
        """Rank of the score that is the threshold, starting at 1."""
        if not 0 < false_alarms < 1:
            msg = f"false_alarms must be a share between 0 and 1, got {false_alarms}"
            raise UserError(msg)
        count = len(self.scores)
        rank = math.ceil((count + 1) * (1 - false_alarms) - 1e-9)
        if rank > count:
            msg = (
                f"{count} good parts are too few for a false alarm rate of {false_alarms:.4g}: use at least "
                f"{math.ceil(1 / false_alarms - 1e-9) - 1} or a rate of at least {math.ceil(1000 / (count + 1)) / 1000}"
            )
            raise UserError(msg)
        return max(rank, 1)

    def save(self, path: Path | str) -> None:
        """Write the scores and the threshold as JSON, e.g. beside an exported model.

        Args:
            path: File to write.
        """
        threshold = self.threshold if math.isfinite(self.threshold) else None
        with atomic_write(Path(path), "w", encoding="utf-8") as file:
            json.dump({"normal_scores": self.scores.tolist(), "threshold": threshold}, file)

    @classmethod
    def load(cls, path: Path | str) -> "NormalScores":
        """Read scores that :meth:`save` wrote.

        Args:
            path: File to read.

        Raises:
            ValueError: If the file has another format.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            threshold = content["threshold"]
            return cls(content["normal_scores"], math.inf if threshold is None else threshold)
        except (ValueError, TypeError, LookupError) as error:
            msg = f"{path} does not hold scores of good parts as written by `anomalib-plugins threshold --scores`"
            raise UserError(msg) from error
