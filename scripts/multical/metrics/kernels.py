"""Sums over the rows of many bootstrap samples at once, compiled.

`table` is (Q, B): how often question q occurs in sample b, one sample beside the next, so that
each step of a loop over rows is the same few operations on B neighbours. A row of a cell is the
question at its place, (n,). Nothing is summed across samples, and each sample's rows are summed
in their order: results do not depend on the width of a processor's registers. Nothing is
checked here: callers see to indices (`resampling.Sample`).

The first call compiles, some seconds; what is compiled is kept in __pycache__, or, where that
cannot be written, in the user's cache or in NUMBA_CACHE_DIR.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

NEVER = np.iinfo(np.int32).max
#: Rows of the table that stay in a cache while several sums take them.
ROWS = 64


@njit(cache=True)
def count(table: Any, places: Any) -> Any:
    """(B,) numbers of rows."""
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
    """(k, g, B) sums of (k, n) values, and numbers of rows, of groups between (g + 1,) starts."""
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
    """(B,) sums over bins of equal mass of the absolute sums of (n,) values in them.

    Rows come in ascending order; `starts` (g + 1,) cuts them into groups of equals; `size` is
    (B,). A group is in bin i of `bins` iff that is bins (c - 1) // (size - 1), at most
    bins - 1, where c is the number of rows up to its end (`metrics.bin_sums`).
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
    """(B,) pairs of a right answer and a less sure wrong one, equals counting half; areas; wrong.

    Rows come in descending order. `starts` (s + 1,) cuts them into steps: rows of equal
    confidence, first the wrong ones, or any that are all right or all wrong and share no
    confidence with others. `right` (n,) tells them apart, `harmonic` are the harmonic numbers
    from 0 to the size of the largest sample. The area is the sum over ranks of the share of
    wrong answers up to there (`metrics.aurc`).
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
        # One formula would do, but with a division for each sample it takes twice as long.
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


@njit(cache=True)
def _count(into: Any, table: Any, places: Any, start: int, end: int) -> None:
    """Add the numbers of some rows to (B,)."""
    for row in range(start, end):
        drawn = table[places[row]]
        for b in range(len(into)):
            into[b] += drawn[b]


@njit(cache=True)
def _weigh(into: Any, table: Any, places: Any, values: Any, start: int, end: int) -> None:
    """Add the values of some rows to (B,), four at a time: `into` is fetched less often."""
    fours = start + (end - start) // 4 * 4
    for row in range(start, fours, 4):
        one, two = table[places[row]], table[places[row + 1]]
        three, four = table[places[row + 2]], table[places[row + 3]]
        x, y, z, last = values[row], values[row + 1], values[row + 2], values[row + 3]
        for b in range(len(into)):
            into[b] = into[b] + one[b] * x + two[b] * y + three[b] * z + four[b] * last
    for row in range(fours, end):
        drawn, value = table[places[row]], values[row]
        for b in range(len(into)):
            into[b] += drawn[b] * value
