"""Temperatures of bootstrap replicates: temperature scaling, fitted anew in each sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from multical.metrics.definitions import CHUNK
from multical.metrics.readouts import Floats
from multical.metrics.recalibration import COLDEST, HOTTEST, Answers, nll_slopes
from multical.metrics.resampling import Sample

#: Ratios of neighbouring temperatures on the two grids of a search, as differences of their logs
COARSE, FINE = 0.2, 0.01
#: Questions whose numbers of occurrences are multiplied at once, for all samples
ROWS = 1024


def fit_temperatures(answers: Sequence[Answers], samples: Sequence[Sample]) -> Floats:
    """(B,) temperatures that `fit_temperature` finds in each sample, NaN for one without rows.

    The answers of several languages are pooled. Each has a sample, and all samples share a table.
    The slope of the negative log-likelihood falls with the temperature and is a sum over
    questions, so that its sign on a grid of temperatures is a matrix product for all samples. A
    fine grid covers the cells of a coarse one in which it changes. Between two temperatures, it is
    taken as linear in log T, which puts T within 1e-4 of its value.
    """
    coarse = _grid(COLDEST, HOTTEST, COARSE)
    crossing = (_slopes(answers, samples, coarse) > 0).sum(axis=0)
    low, high = max(crossing.min() - 1, 0), min(crossing.max(), len(coarse) - 1)
    fine = _grid(coarse[low], coarse[high], FINE)
    found = _zeros(fine, _slopes(answers, samples, fine))
    differ = [np.flatnonzero(np.nanmin(x.scores, 1) != np.nanmax(x.scores, 1)) for x in answers]
    varied = [sample.of(rows).size for sample, rows in zip(samples, differ, strict=True)]
    found[np.sum(varied, axis=0) == 0] = 1.0
    found[np.sum([sample.size for sample in samples], axis=0) == 0] = np.nan
    return found


def _grid(low: float, high: float, distance: float) -> Floats:
    return np.geomspace(low, high, max(int(np.ceil(np.log(high / low) / distance)), 1) + 1)


def _slopes(answers: Sequence[Answers], samples: Sequence[Sample], grid: Floats) -> Floats:
    """(G, B) slopes of the summed loss by 1 / T, at a grid of temperatures (G,)."""
    table, functions = samples[0].table, [nll_slopes(part) for part in answers]
    questions, sums = len(table), []
    for chunk in np.array_split(grid, -(-len(grid) * questions // CHUNK)):
        of_question = np.zeros((len(chunk), questions))
        for slopes, sample in zip(functions, samples, strict=True):
            for line, divisor in zip(of_question, chunk, strict=True):
                line += np.bincount(sample.places, slopes(divisor), questions)
        product = np.zeros((len(chunk), table.shape[1]))
        for start in range(0, questions, ROWS):
            rows = slice(start, start + ROWS)
            product += of_question[:, rows] @ table[rows].astype(float)
        sums.append(product)
    return np.concatenate(sums)


def _zeros(grid: Floats, slopes: Floats) -> Floats:
    """(B,) temperatures at which slopes (G, B) change their sign, or the end of the range."""
    above = np.clip((slopes > 0).sum(axis=0), 1, len(grid) - 1)
    before, after = (np.take_along_axis(slopes, i[None], axis=0)[0] for i in (above - 1, above))
    share = np.clip(before / np.where(before > after, before - after, 1), 0, 1)
    return np.asarray(grid[above - 1] ** (1 - share) * grid[above] ** share)
