# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Whether scores have moved since validation. Without torch."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import ks_2samp

from anomalib_plugins.components.normal_scores import NormalScores


class Drift(NamedTuple):
    """Scores that have moved.

    Args:
        before: Median of the good parts' scores.
        now: Median of the parts that were judged.
        parts: How many were judged.
        p_value: Probability of such a difference where nothing has moved.
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
            else "The scores of parts that the model takes for good have"
        )
        return (
            f"{which} moved: their median is {self.now:.4g} in the last {self.parts} parts, {self.before:.4g} in "
            f"validation (p = {self.p_value:.1g}). Has the light, the camera or the product changed? If so, neither "
            "thresholds nor scores mean what they did: train, or at least validate, with photos of today"
        )


class DriftMonitor:
    """Tells when the scores of parts that a model takes for good no longer look like those of validation.

    Every ``window`` of such parts is compared with the good parts by the two-sample test of Kolmogorov and Smirnov, in
    its exact form. Where nothing has moved, a window is called moved with a probability of at most ``false_warnings``;
    scores that are equal, as those an exported model clips, lower it. Parts called defects are left out, for they may
    be defects; but where ``window`` parts in a row are, that is told too.

    Args:
        normal: Scores of good parts, on the scale of the scores to come.
        window: Parts to a test. Smaller ones are faster, larger ones see smaller moves.
        false_warnings: Probability of a false warning, for each window.

    Raises:
        ValueError: If ``window`` is below 2, ``false_warnings`` outside ``(0, 1)``, or no good part is below the
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
        # Without the threshold itself, which may be one of them: the others are then a sample of what is below it.
        self.reference = normal.scores[normal.scores < normal.threshold]
        if not len(self.reference):
            msg = f"none of {len(normal.scores)} good parts is below the threshold: there is nothing to compare with"
            raise ValueError(msg)
        self.normal = normal
        self.window = window
        self.false_warnings = false_warnings
        self._good: list[float] = []
        self._defects: list[float] = []  # in a row

    def update(self, scores: ArrayLike) -> Drift | None:
        """Take scores of parts as they come.

        Args:
            scores: Of one part or several; those that are not finite say nothing.

        Returns:
            The last window that has moved, if one has.
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
        """Look at the parts since the last test, which may be few.

        Returns:
            As of :meth:`update`; parts called defects are told of only where they fill a window.
        """
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
    """Refuse options that no monitor can work with.

    Args:
        window: Parts to a test.
        false_warnings: Probability of a false warning.

    Raises:
        ValueError: If one is out of range.
    """
    if window < 2:
        msg = f"window must be at least 2 parts, got {window}"
        raise ValueError(msg)
    if not 0 < false_warnings < 1:
        msg = f"false_warnings must be a probability between 0 and 1, got {false_warnings}"
        raise ValueError(msg)
