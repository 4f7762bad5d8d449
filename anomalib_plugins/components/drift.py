# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Drift of scores since validation. Needs no torch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ks_2samp

from anomalib_plugins.components.checks import check_least
from anomalib_plugins.components.normal_scores import NormalScores
from anomalib_plugins.errors import UserError


class Drift(NamedTuple):
    """Result of a test that found drift.

    Args:
        before: Median score of good parts in validation.
        now: Median score of the tested parts.
        parts: Number of tested parts.
        p_value: Probability of such a difference without drift.
        defects: Whether the model calls all of these parts defects.
    """

    before: float
    now: float
    parts: int
    p_value: float
    defects: bool = False

    def __str__(self) -> str:
        which = (
            f"The last {self.parts} parts have all been called defects. Unless they are, the scores of good parts have"
            if self.defects
            else "The scores of parts that the model calls good have"
        )
        return (
            f"{which} moved: their median is {self.now:.4g} in the last {self.parts} parts, {self.before:.4g} in "
            f"validation (p = {self.p_value:.1g}). Has the light, the camera or the product changed? If so, thresholds "
            "and scores are no longer valid: train, or at least validate, with new photos"
        )


class DriftMonitor:
    """Detects when the scores of parts that a model calls good no longer match those of validation.

    Every ``window`` parts called good are compared with the good parts of validation by the exact two-sample
    Kolmogorov-Smirnov test. Without drift it reports drift with a probability of at most ``false_warnings`` per window,
    and less if scores are equal, e.g. clipped by an exported model. Parts called defects are left out because they may
    be defects, but ``window`` of them in a row are compared with all good parts of validation.

    Args:
        normal: Scores of good parts, on the same scale as the scores to monitor.
        window: Number of parts per test. Small windows react faster, large ones detect smaller changes.
        false_warnings: Probability of a false warning per window.

    Raises:
        ValueError: If ``window`` is below 2, ``false_warnings`` is outside ``(0, 1)``, or no good part is below the
            model's threshold.

    Example:
        >>> monitor = DriftMonitor(NormalScores(np.linspace(0.2, 0.4, 50)), window=20)
        >>> monitor.update(np.linspace(0.21, 0.39, 20)) is None
        True
        >>> print(monitor.update(np.linspace(0.3, 0.5, 20)).parts)
        20
    """

    def __init__(self, normal: NormalScores, window: int = 32, false_warnings: float = 0.001) -> None:
        refuse_monitor_options(window, false_warnings)
        # Strictly below: the threshold may itself be one of the scores, and parts called good are below it.
        self.reference = normal.scores[normal.scores < normal.threshold]
        if not len(self.reference):
            msg = f"none of {len(normal.scores)} good parts is below the threshold, so no scores can be compared"
            raise UserError(msg)
        self.normal = normal
        self.window = window
        self.false_warnings = false_warnings
        self._good: list[float] = []
        self._defects: list[float] = []  # in a row

    def update(self, scores: ArrayLike) -> Drift | None:
        """Add scores, of which NaN and infinity are ignored, and test every window that they complete.

        Returns the drift in the last of the completed windows that has any, else ``None``.
        """
        found = None
        for score in np.asarray(scores, dtype=np.float64).ravel().tolist():
            if not math.isfinite(score):
                continue
            good = score < self.normal.threshold
            self._defects = [] if good else [*self._defects, score]
            if good:
                self._good.append(score)
            if max(len(self._good), len(self._defects)) == self.window:
                found = self.finish() or found
        return found

    def finish(self) -> Drift | None:
        """Test the parts since the last test; parts called defects only if they fill a window."""
        good, defects = self._good, self._defects
        if len(defects) == self.window:
            self._defects = []
            return self._compare(self.normal.scores, defects, defects=True)
        self._good = []
        return self._compare(self.reference, good) if good else None

    def _compare(self, before: NDArray[np.float64], now: Sequence[float], defects: bool = False) -> Drift | None:
        p_value = float(ks_2samp(before, now).pvalue)
        if p_value > self.false_warnings:
            return None
        return Drift(float(np.median(before)), float(np.median(now)), len(now), p_value, defects)


def refuse_monitor_options(window: int, false_warnings: float) -> None:
    """Check the options of :class:`DriftMonitor`."""
    check_least("window", window, 2)
    if not 0 < false_warnings < 1:
        msg = f"false_warnings must be a probability between 0 and 1, got {false_warnings}"
        raise UserError(msg)
