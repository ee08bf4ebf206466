"""Compiled sums over the rows of many bootstrap samples at once.

`table` (Q, B) holds how often question q occurs in sample b. The samples are neighbours in
memory, so that each step of a loop over rows is the same few operations on B neighbours.
`places` (n,) holds the question of each row of a cell, as an index into `table`. Nothing is
summed across samples, and the rows of each sample are summed in their order, so results do not
depend on the width of a processor's registers, but in their last digits on whether it has fused
products (`FUSED`). Callers check the indices (`resampling.Sample`), not this module.

The first call compiles for some seconds. Numba keeps the compiled code in NUMBA_CACHE_DIR if
that is set, else in __pycache__, or in the user's cache if __pycache__ cannot be written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

NEVER = np.iinfo(np.int32).max
#: Rows that are added to several sums at a time, so few that they stay in a cache.
ROWS = 64
#: The secant method: its most steps, and the distance from the fixed point at which a last step
#: ends it, which is far more exact. Cosines that are damped to less than NOTHING are left out.
STEPS, NEAR, NOTHING = 60, 1e-9, 1e-14
#: Products are added without rounding them first, where the processor can.
FUSED = {"contract"}


@njit(cache=True)
def count(table: Any, places: Any) -> Any:
    """(B,) numbers of rows in each sample."""
    size = np.zeros(table.shape[1], np.int32)
    _count(size, table, places, 0, len(places))
    return size


@njit(cache=True)
def weigh(table: Any, places: Any, values: Any) -> Any:
    """(k, B) sums of (k, n) values."""
    sums = np.zeros((len(values), table.shape[1]))
    for start in range(0, len(places), ROWS):
        for column in range(len(values)):
            end = min(start + ROWS, len(places))
            _weigh(sums[column], table, places, values[column], start, end)
    return sums


@njit(cache=True)
def weigh_groups(table: Any, places: Any, starts: Any, values: Any) -> Any:
    """(k, g, B) sums of (k, n) values and (g, B) numbers of rows, for groups of rows.

    The rows of group i are those from `starts[i]` to `starts[i + 1]`, `starts` being (g + 1,).
    """
    sums = np.zeros((len(values), len(starts) - 1, table.shape[1]))
    sizes = np.zeros((len(starts) - 1, table.shape[1]), np.int32)
    for group in range(len(starts) - 1):
        for start in range(starts[group], starts[group + 1], ROWS):
            end = min(start + ROWS, starts[group + 1])
            for column in range(len(values)):
                _weigh(sums[column, group], table, places, values[column], start, end)
            _count(sizes[group], table, places, start, end)
    return sums, sizes


@njit(cache=True)
def weigh_quantiles(table: Any, places: Any, starts: Any, values: Any, size: Any, bins: int) -> Any:
    """(B,) sums over bins of equal mass of the absolute sum of (n,) values in each bin.

    Rows come in ascending order of confidence. `starts` (g + 1,) cuts them into groups of equal
    confidence. `size` (B,) is the number of rows of each sample. The bin of a group is
    bins (c - 1) // (size - 1), at most bins - 1, where c is the number of rows up to the end of
    the group (`definitions.bin_sums`).
    """
    samples = table.shape[1]
    total, inside = np.zeros(samples), np.zeros(samples)
    up_to = np.zeros(samples, np.int32)
    last = np.maximum(size - 1, 1).astype(np.int64)
    limit = np.full(samples, NEVER, np.int32)  # the least c of the next bin
    if bins > 1:
        limit[:] = 1 + (last + bins - 1) // bins
    for group in range(len(starts) - 1):
        start, end = starts[group], starts[group + 1]
        _count(up_to, table, places, start, end)
        reached = False
        for b in range(samples):
            reached |= up_to[b] >= limit[b]
        if reached:
            for b in range(samples):
                if up_to[b] >= limit[b]:
                    total[b] += abs(inside[b])
                    inside[b] = 0.0
                    following = bins * (up_to[b] - 1) // last[b] + 1
                    limit[b] = NEVER
                    if following < bins:
                        limit[b] = 1 + (following * last[b] + bins - 1) // bins
        _weigh(inside, table, places, values, start, end)
    return total + np.abs(inside)


@njit(cache=True)
def rank(table: Any, places: Any, starts: Any, right: Any, harmonic: Any) -> Any:
    """What AUROC and AURC are made of: pairs, area and number of wrong answers, each (B,).

    A pair is a right answer and a less confident wrong one; ties count as half a pair. The area
    is the sum over ranks of the share of wrong answers up to that rank (`definitions.aurc`).

    Rows come in descending order of confidence. `starts` (s + 1,) cuts them into steps. The rows
    of a step have equal confidence, the wrong ones first, or are all right or all wrong and share
    no confidence with rows of other steps. `right` (n,) is true for right answers. `harmonic`
    holds the harmonic numbers from 0 to the size of the largest sample.
    """
    samples = table.shape[1]
    pairs, area, wrong = np.zeros(samples), np.zeros(samples), np.zeros(samples)
    before, reached = np.zeros(samples, np.uint32), np.zeros(samples)
    r, w = np.zeros(samples, np.uint32), np.zeros(samples, np.uint32)
    for step in range(len(starts) - 1):
        start, end = starts[step], starts[step + 1]
        middle = start
        while middle < end and not right[middle]:
            middle += 1
        r[:], w[:] = 0, 0
        _count(w, table, places, start, middle)
        _count(r, table, places, middle, end)
        # The last formula serves all steps, but its division takes twice as long.
        if middle == start:
            for b in range(samples):
                before[b] += r[b]
                after = harmonic[before[b]]
                area[b] += wrong[b] * (after - reached[b])
                reached[b] = after
        elif middle == end:
            for b in range(samples):
                above = float(before[b])
                before[b] += w[b]
                after = harmonic[before[b]]
                area[b] += w[b] + (wrong[b] - above) * (after - reached[b])
                pairs[b] += w[b] * (above - wrong[b])
                wrong[b] += w[b]
                reached[b] = after
        else:
            for b in range(samples):
                above, size = float(before[b]), r[b] + w[b]
                before[b] += size
                after = harmonic[before[b]]
                share = w[b] / max(size, 1)
                area[b] += w[b] + (wrong[b] - above * share) * (after - reached[b])
                pairs[b] += w[b] * (above - wrong[b] + r[b] * 0.5)
                wrong[b] += w[b]
                reached[b] = after
    return pairs, area, wrong


@njit(cache=True, fastmath=FUSED)
def fixed_points(strength: Any, cosines: Any) -> Any:
    """(B,) numbers sigma that equal the mean of absolute values smoothed by sigma.

    `strength` (B, k) holds what each of the k `cosines` (k, t), k and t even, contributes to
    values at t places. Smoothing multiplies it by exp(-(pi k sigma)^2 / 2), or as sigma = 1 / t if
    sigma is less (`definitions.smece`).
    The mean falls as sigma rises, so the fixed point always lies between a sigma and its mean.
    Each step of the secant method stays between the two. Neighbours are alike, so that the sigma
    and the slope of one sample are the first try for the next.
    """
    found, sigma, slope = np.zeros(len(strength)), 0.1, 1.0
    half = np.ascontiguousarray(cosines[:, : cosines.shape[1] // 2])
    even, odd = np.zeros(half.shape[1]), np.zeros(half.shape[1])
    for b in range(len(strength)):
        low, high, last, mean_last = 0.0, 1.0, 0.0, 0.0
        for step in range(STEPS):
            mean = _smoothed(even, odd, strength[b], half, max(sigma, 1 / cosines.shape[1]))
            low, high = max(low, min(sigma, mean)), min(high, max(sigma, mean))
            if step > 0 and sigma != last:
                slope = max(0.0, (mean_last - mean) / (sigma - last))
            last, mean_last = sigma, mean
            sigma = min(max(sigma - (sigma - mean) / (1.0 + slope), low), high)
            if high - low < NEAR:
                break
        found[b] = sigma
    return found


@njit(cache=True, fastmath=FUSED)
def _smoothed(even: Any, odd: Any, strength: Any, half: Any, sigma: float) -> float:
    """The mean that `fixed_points` describes, from the first half of places.

    Even cosines have the same value at a place and at its mirror image, odd ones the opposite.
    The two absolute values add up to twice the larger of |even| and |odd|. Overwrites both.
    With q = exp(-(pi sigma)^2 / 2), the damping q^(k^2) is the one before times q^(2 k - 1).
    """
    even[:] = 0.0
    odd[:] = 0.0
    q = np.exp(-((np.pi * sigma) ** 2) / 2)
    damping, ratio = 1.0, q
    for k in range(0, len(strength), 2):
        if damping < NOTHING:
            break
        one, other = strength[k] * damping, strength[k + 1] * damping * ratio
        damping *= ratio * ratio * q * q
        ratio *= q * q * q * q
        for t in range(len(even)):
            even[t] += one * half[k, t]
            odd[t] += other * half[k + 1, t]
    total = 0.0
    for t in range(len(even)):
        total += max(abs(even[t]), abs(odd[t]))
    return total / len(even)


@njit(cache=True)
def _count(into: Any, table: Any, places: Any, start: int, end: int) -> None:
    """Add the numbers of the rows from `start` to `end` to `into` (B,)."""
    for row in range(start, end):
        drawn = table[places[row]]
        for b in range(len(into)):
            into[b] += drawn[b]


@njit(cache=True, fastmath=FUSED)
def _weigh(into: Any, table: Any, places: Any, values: Any, start: int, end: int) -> None:
    """Add the values of the rows from `start` to `end` to `into` (B,).

    Adding four at a time reads `into` from memory less often.
    """
    fours = start + (end - start) // 4 * 4
    for row in range(start, fours, 4):
        drawn0, drawn1 = table[places[row]], table[places[row + 1]]
        drawn2, drawn3 = table[places[row + 2]], table[places[row + 3]]
        v0, v1, v2, v3 = values[row], values[row + 1], values[row + 2], values[row + 3]
        for b in range(len(into)):
            into[b] = into[b] + drawn0[b] * v0 + drawn1[b] * v1 + drawn2[b] * v2 + drawn3[b] * v3
    for row in range(fours, end):
        drawn, value = table[places[row]], values[row]
        for b in range(len(into)):
            into[b] += drawn[b] * value
