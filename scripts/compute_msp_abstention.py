"""Compute scores of paper 2 when a model may abstain below a confidence threshold.

Both phrasings of a (data set, model) are pooled and shuffled with a seed. The first k answers
train, the others test. For the data set `all`, one threshold per model serves all data sets, and
scores are means over them. The rows of a single data set use only its own k answers. `value`
comes from the config's seed. `mean`, `low` and `high` are the mean and the 95 % range over
further seeds. If a k leaves a data set nothing to test, neither that data set nor `all` has rows
for it. Writes the tables scores, abstention (percentage of abstentions) and thresholds, and the
curves for the figures: the score at each threshold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pandas as pd

from multical import records
from multical.errors import program
from multical.figures import latex, msp_tables, outputs
from multical.figures.params import AbstentionTables
from multical.metrics import abstention
from multical.metrics.abstention import Counts, Ranked
from multical.metrics.readouts import Floats

TABLES = ("scores", "abstention", "thresholds")
FITTING = 2  # methods that fit side by side on a page, once for each of two schemes
COLUMNS = ["dataset", "model", "k", "scheme", "method"]


class Answers:
    """All answers of one (data set, model, method), in the order before they are shuffled."""

    def __init__(self, rows: pd.DataFrame, method: str) -> None:
        readout = msp_tables.readout(msp_tables.in_split_order(rows), method)
        self.confidence, self.correct = readout.confidence, readout.correct
        self.everything = Ranked(self.confidence, self.correct)

    def training(self, k: int | str, seed: int) -> Ranked:
        """The first k of the shuffled answers."""
        size = len(self.confidence)
        train = abstention.permutation(size, seed)[: abstention.training_size(k, size)]
        return Ranked(self.confidence[train], self.correct[train])

    def test_counts(self, training: Ranked, thresholds: Floats) -> Counts:
        """(3, T) counts, as of `Ranked.counts`, of the answers that do not train."""
        return self.everything.counts(thresholds) - training.counts(thresholds)


def main() -> None:
    args = outputs.arguments(
        __doc__, AbstentionTables, ["records"], outputs.TABLE, curves=outputs.CURVES
    )
    params: AbstentionTables = args.params
    abstaining = params.abstention
    frame = records.read(args.records)
    values: dict[str, dict[tuple, list[float]]] = {name: defaultdict(list) for name in TABLES}
    curves: list[pd.DataFrame] = []
    for method in params.methods:
        data: dict[str, dict[str, Answers]] = defaultdict(dict)
        for keys, rows in msp_tables.answer_groups(frame, params, method, by_prompt=False):
            data[keys["model"]][keys["dataset"]] = Answers(rows, method)
            msp_tables.check_main_k(abstaining, {keys["dataset"]: len(rows)})
        for seed in [abstaining.seed, *range(abstaining.seeds)]:
            for k in dict.fromkeys([*abstaining.ks, abstaining.main_k]):
                for name, key, value in draw(data, k, seed, method, params):
                    values[name][key].append(value)
        curves += score_curves(data, method, params)
    for name in TABLES:
        table = spread(values[name], params)
        printed = print_table(table[table["k"] == str(abstaining.main_k)], name, params)
        msp_tables.write_table(args, name, table, printed, abstaining.seed)
    msp_tables.write_data(args.curves, pd.concat(curves, ignore_index=True))


def trained(
    data: dict[str, dict[str, Answers]], k: int | str, seed: int, params: AbstentionTables
) -> Iterator[tuple[str, list[str], dict[str, dict[str, Ranked]], Floats, Counts]]:
    """What thresholds are chosen from, for each scope of one split.

    A scope is a data set or `all`. It is left out if k leaves one of its data sets nothing to
    test. Yields the scope, its data sets, the training answers by model and data set, the grid of
    T thresholds that the models share, and (models, data sets, 3, T) training counts on that grid.
    """
    training = {
        model: {
            name: answers.training(k, seed)
            for name, answers in by_dataset.items()
            if abstention.can_train(k, len(answers.confidence))
        }
        for model, by_dataset in data.items()
    }
    for dataset, chosen in msp_tables.scopes(params):
        if any(set(chosen) - set(by_dataset) for by_dataset in training.values()):
            continue
        ranked = [[by_dataset[name] for name in chosen] for by_dataset in training.values()]
        points = abstention.grid([one for row in ranked for one in row], params.abstention.grid)
        counts = np.array([[one.counts(points) for one in row] for row in ranked])
        yield dataset, chosen, training, points, counts


def tested(
    data: dict[str, dict[str, Answers]],
    training: dict[str, dict[str, Ranked]],
    chosen: list[str],
    thresholds: Floats,
) -> Counts:
    """(models, data sets, 3, T) counts of the answers that do not train.

    `thresholds` (models, T) has those of each model.
    """
    return np.array([
        [data[model][name].test_counts(training[model][name], row) for name in chosen]
        for model, row in zip(data, thresholds, strict=True)
    ])  # fmt: skip


def draw(
    data: dict[str, dict[str, Answers]],
    k: int | str,
    seed: int,
    method: str,
    params: AbstentionTables,
) -> Iterator[tuple[str, tuple, float]]:
    """Table, key and value of each number from one split."""
    schemes = params.abstention.schemes
    for dataset, chosen, training, points, counts in trained(data, k, seed, params):
        # The threshold -inf gives the score without abstention.
        never = np.full(len(data), -np.inf)
        best = [abstention.choose(counts, points, penalty) for penalty in schemes.values()]
        thresholds = np.stack([never, *best], axis=1)
        tests = tested(data, training, chosen, thresholds)
        shares = abstention.abstained(tests).mean(axis=1)
        for column, (scheme, penalty) in enumerate(schemes.items(), start=1):
            score = abstention.scores(tests, penalty).mean(axis=1)
            for row, model in enumerate(data):
                key = (dataset, model, str(k), scheme)
                yield "scores", (*key, method), score[row, column]
                yield "abstention", (*key, method), shares[row, column]
                yield "thresholds", (*key, method), thresholds[row, column]
                if method == "msp":
                    yield "scores", (*key, "none"), score[row, 0]
                    yield "abstention", (*key, "none"), 0.0


def spread(values: dict[tuple, list[float]], params: AbstentionTables) -> pd.DataFrame:
    """The value of the first split, and the mean and 95 % range of the others."""
    rows = []
    for key, (value, *others) in values.items():
        low, high = np.quantile(others, [0.025, 0.975]) if others else (np.nan, np.nan)
        mean = np.mean(others) if others else np.nan
        rows.append((*key, value, mean, low, high))
    return msp_tables.in_order(
        pd.DataFrame(rows, columns=[*COLUMNS, "value", "mean", "low", "high"]), params
    )


def print_table(table: pd.DataFrame, name: str, params: AbstentionTables) -> pd.DataFrame:
    """A row per data set and model, a column per scheme and method, cells "value [low, high]".

    If too many methods are to fit side by side, each scheme has rows of its own instead.
    """
    number = latex.rounded(3 if name == "thresholds" else 1)
    text = [
        f"{number(row.value)} [{number(row.low)}, {number(row.high)}]"
        for row in table.itertuples(index=False)
    ]
    schemes = table["scheme"].str.capitalize()
    dataset, column = table["dataset"], table["method"].map(msp_tables.METHOD_NAMES)
    order = [msp_tables.METHOD_NAMES[method] for method in ("none", *msp_tables.METHODS)]
    if len(params.methods) > FITTING:
        dataset = dataset.map(params.dataset_names) + ", " + schemes.str.lower()
    else:
        column = schemes + ", " + column
        order = [f"{scheme}, {method}" for scheme in schemes.unique() for method in order]
    long = table[["model"]].assign(dataset=dataset, column=column, text=text)
    wide = long.pivot(index=["dataset", "model"], columns="column", values="text")
    wide = wide.reindex(
        index=pd.MultiIndex.from_frame(long[["dataset", "model"]].drop_duplicates()),
        columns=[name for name in order if name in wide],
    )
    return wide.fillna("--").reset_index().rename(columns={"model": "LLM"})


def score_curves(
    data: dict[str, dict[str, Answers]], method: str, params: AbstentionTables
) -> Iterator[pd.DataFrame]:
    """Test score and abstention at each threshold of the grid, for the main k and seed.

    The column `chosen` marks the threshold that training chose.
    """
    k, seed = params.abstention.main_k, params.abstention.seed
    for dataset, chosen, training, points, counts in trained(data, k, seed, params):
        tests = tested(data, training, chosen, np.tile(points, (len(data), 1)))
        shares = abstention.abstained(tests).mean(axis=1)
        best, score = {}, {}
        for scheme, penalty in params.abstention.schemes.items():
            best[scheme] = abstention.choose(counts, points, penalty)
            score[scheme] = abstention.scores(tests, penalty).mean(axis=1)
        for row, model in enumerate(data):
            for scheme in params.abstention.schemes:
                yield pd.DataFrame({
                    "dataset": dataset,
                    "model": model,
                    "method": method,
                    "scheme": scheme,
                    "threshold": points,
                    "score": score[scheme][row],
                    "abstained": shares[row],
                    "chosen": points == best[scheme][row],
                })  # fmt: skip


if __name__ == "__main__":
    program(main)
