# Copyright (C) 2026 anomalib_plugins contributors
# SPDX-License-Identifier: Apache-2.0

"""Scores of good parts: how often a score is a false alarm, and whether scores have moved. Without torch."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, ks_2samp

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
