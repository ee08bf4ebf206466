"""What a study of paper 2 finds: of maximum softmax probabilities (MSP), and of abstention."""

from __future__ import annotations

from math import nan

import pandas as pd

from multical import paths
from multical.config.schema import Config
from multical.figures import msp_tables
from multical.page.finding_parts import Detail, Finding, Part, part_of
from multical.workflow import msp_params

#: A correlation with a smaller p-value is named
ALPHA = 0.05
ABOUT_R = (
    "r is the correlation across models, and p that of r = 0, not corrected for the number of "
    "tests; claim P3 has tests of its own. "
)


def find(config: Config, root: str) -> Finding:
    """How well confidence fits accuracy, and tells right answers from wrong ones."""
    shown = msp_params.calibration_figure(config, root, "")
    error, level = shown.error, msp_params.intervals(config, root).bootstrap.level
    numbers = {"AUROC": "msp_auroc", "calibration error": error}
    columns = ["dataset", "prompt", "model", *numbers.values(), "calibration_error"]
    points = _read(root, "points", columns)
    found = _read(root, "correlations", ["dataset", "prompt", "x", "y", "r", "p"])
    found = found[found["x"] == "accuracy"].set_index("y")
    means = {name: f"{points[column].mean():.3f}" for name, column in numbers.items()}
    guess, gains = msp_params.guess(config, root), _gains(config, root)
    able = [] if guess is None else [
        _compared(root, "accuracy", guess, f"The accuracy is above that of a guess, {guess:.3g},")
    ]  # fmt: skip
    knows = _compared(root, "auroc", 0.5, "The AUROC is above that of a guess, 0.5,")

    def r(column: str) -> str:
        return f"r = {found['r'][column]:.2f}, p = {found['p'][column]:.2g}"

    # accuracies that differ by chance have links to nothing
    guessing = any(not part.holds for part in able)

    def linked(column: str, more: str, less: str) -> str:
        if guessing:
            return ""
        if found["p"][column] >= ALPHA:
            return f", with no clear link to accuracy ({r(column)})"
        word = more if found["r"][column] > 0 else less
        return f", {word} in more accurate models ({r(column)})"

    return Finding(
        lead=(
            f"{''.join(map(_guessing, able))}The confidence of {len(points)} chat models misses "
            f"their accuracy by {means['calibration error']} on average (calibration error)"
            f"{linked(error, 'more', 'less')}; it tells right answers from wrong ones better than "
            f"a guess in {len(knows.holds)} of {knows.total} models (mean AUROC {means['AUROC']})"
            f"{linked('msp_auroc', 'better', 'worse')}.{_gained(gains)}"
        ),
        numbers=[
            f"Maximum softmax probabilities of {len(points)} models: "
            + ", ".join(
                f"{name} {means[name]} ({points[column].min():.3f} to {points[column].max():.3f})"
                for name, column in numbers.items()
            ),
            "Correlation with accuracy across models: "
            + ", ".join(f"{name} ({r(column)})" for name, column in numbers.items()),
        ],
        parts=[
            *able,
            knows,
            *(
                part_of(
                    "Abstaining when unsure beats both always and never answering where a wrong "
                    f"answer costs {penalty:g},",
                    rows,
                )
                for penalty, rows in gains.items()
            ),
        ],
        unit="models",
        decided=(
            f"Counted by the {100 * level:g} % interval of each model, without a correction for "
            "their number: undecided if it includes that of a guess. Scores with abstention are "
            "compared without intervals."
        ),
        note=(
            f"{'' if guessing else ABOUT_R}"
            f"The calibration error {means['calibration error']} is the mean over models, data "
            f"sets and phrasings, in bins of equal {'width' if 'width' in error else 'mass'}. With "
            "all answers of a model pooled in one set of bins of equal mass, as claim P1 tests it, "
            f"the mean is {points['calibration_error'].mean():.3f}: there, gaps of opposite sign "
            "cancel, and more answers share a bin."
        ),
    )


def _compared(root: str, measure: str, guess: float, says: str) -> Part:
    """The models whose interval of a measure lies above that of a guess."""
    columns = ["dataset", "model", "method", "measure", "prompt", "value", "ci_low", "ci_high"]
    rows = _read(root, "intervals", columns)
    rows = rows[(rows["method"] == "msp") & (rows["measure"] == measure)]
    return part_of(says, rows.set_index("model"), guess)


def _guessing(able: Part) -> str:
    """Of how many models it is not shown that they answer better than a guess; none if of none."""
    number = able.total - len(able.holds)
    if not number:
        return ""
    who = "None" if number == able.total else f"Only {len(able.holds)}"
    return f"{who} of {able.total} models is shown to answer better than a guess (by accuracy). "


# -- abstention


def _gains(config: Config, root: str) -> dict[float, pd.DataFrame]:
    """By the penalty of a wrong answer, what each model scores, and gains by abstaining.

    The gains are over always answering (`over_always`), and over the better of always and never
    answering (`value`). None of a study that has no mean scores over splits.
    """
    section = msp_params.abstention(config, root).abstention
    path = paths.STUDY_TABLE.format(root=root, name="scores.csv")
    table = msp_tables.read_table(path, ["dataset", "model", "k", "scheme", "method", "mean"])
    found = {}
    for scheme, penalty in section.schemes.items():
        scores = msp_tables.scores(table, scheme, section.main_k)
        if {"msp", "none"} <= set(scores) and scores["msp"].notna().any():
            scores = scores.reindex(table["model"].unique())
            gain = msp_tables.gains(scores, "msp")
            over_always = scores["msp"] - scores["none"]
            found[penalty] = scores.assign(
                over_always=over_always, value=gain, ci_low=nan, ci_high=nan
            )
    return found


def _gained(gains: dict[float, pd.DataFrame]) -> str:
    """The mean gains, as a sentence."""
    if not gains:
        return ""
    (cost, always, better), *more = [
        (f"{penalty:g}", f"{rows['over_always'].mean():+.1f}", f"{rows['value'].mean():+.1f}")
        for penalty, rows in gains.items()
    ]
    others = ", ".join(f"by {a} and {b} where it costs {penalty}" for penalty, a, b in more)
    return (
        f" Abstaining where confidence is low changes the score by {always} against always "
        f"answering, and by {better} against the better of always and never answering, where a "
        f"wrong answer costs {cost}{f' ({others})' * bool(others)}."
    )


def detail(config: Config, root: str) -> Detail | None:
    """A row for each model: its scores with and without abstention, and what it gains by it."""
    gains = _gains(config, root)
    if not gains:
        return None
    k = msp_params.abstention(config, root).abstention.main_k
    titles = {
        "none": "score, always answering",
        "msp": "score, abstaining when unsure",
        "over_always": "gain over always answering",
        "value": "gain over the better of always and never answering",
    }
    made = [
        [str(model), f"{penalty:g}"]
        + [f"{row[name]:{'+' * ('gain' in title)}.1f}" for name, title in titles.items()]
        for penalty, rows in gains.items()
        for model, row in rows.iterrows()
    ]
    below = sum(int((rows["none"] < 0).sum()) for rows in gains.values())
    never = "" if not below else (
        f" Where always answering scores less than that ({below} of {len(made)} times here), never "
        "answering is the better of the two, and the gain over the better equals the score with "
        "abstention."
    )  # fmt: skip
    return Detail(
        key="abstention",
        name="Abstention",
        title="What abstention gains",
        about=(
            "A right answer scores 100, an abstention 0, and a wrong answer loses 100 times its "
            "cost. The model abstains below a threshold of its confidence (MSP), chosen on "
            f"{k} labelled questions of each data set. Scores are means over data sets and random "
            f"splits. Never answering scores 0.{never}"
        ),
        caption="Scores with and without abstention",
        rows=[["model", "a wrong answer costs", *titles.values()], *made],
    )


def _read(root: str, name: str, columns: list[str]) -> pd.DataFrame:
    """The rows of a table of paper 2 on all data sets and phrasings together."""
    path = paths.STUDY_TABLE.format(root=root, name=f"{name}.csv")
    table = msp_tables.read_table(path, columns)
    return table[(table["dataset"] == msp_tables.ALL) & table["prompt"].isna()]
