# SPDX-License-Identifier: Apache-2.0
"""Medians, quantiles and what they are worth."""
import random

RESAMPLES = 2000


def quantile(values, q):
    """Linear between the two nearest ranks."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values):
    return quantile(values, 0.5)


def interval(values, statistic=median, confidence=0.95):
    """Percentile bootstrap. Seeded: the same figures always get the same interval."""
    chance = random.Random(20260101)
    found = [statistic(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    rest = (1 - confidence) / 2
    return quantile(found, rest), quantile(found, 1 - rest)
