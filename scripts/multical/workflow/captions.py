"""What the captions of the report say of a study: from its config, and from its numbers.

The Snakefile adds `functions` to the config, where captions (report/*.rst) find them:
`{% set about = snakemake.config.about(snakemake.wildcards) %}`. A sentence that does not apply is
empty. Numbers are read from the study's tables when the report is made.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

from multical import paths
from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import HarnessStudy
from multical.figures.params import ConditionsAndGuess
from multical.labels import FEW, label
from multical.names import readout_name
from multical.workflow import job_params, msp_params


class About:
    """A study with metrics by language, as one panel of its figures shows it."""

    def __init__(self, config: Config, root: str, panel: str = "") -> None:
        self.root, self.study = root, config.measured(root)
        self.shown = job_params.figure(config, root, ConditionsAndGuess, panel)
        self.seeds = job_params.shown_seeds(self.study)
        self.trained = getattr(self.study, "seeds", self.seeds)
        self.reference = self.study.figures.reference_language
        self.level = job_params.resource_levels(config, root).get(self.reference)
        self.least = self.study.metrics.least

    @property
    def conditions(self) -> str:
        """The conditions that figures compare."""
        if self.shown.smoothing is None:
            return "the base model alone"
        return (
            f"base model, after SFT on {self.shown.sft}, and after SFT on it with label smoothing "
            f"b = {self.shown.smoothing:g}{remedies(self.study)}"
        )

    @property
    def levels(self) -> str:
        """Which resource level the reference language belongs to, in brackets."""
        return f" ({self.reference} is a {self.level}-resource language)" if self.level else ""

    @property
    def counted(self) -> str:
        """Which languages count in means."""
        least = self.shown.least_questions
        return f" with {least} questions or more" if least > 1 else ""

    @property
    def guess(self) -> str:
        """What the dotted line is, if the figure has one."""
        options = self.shown.options
        return f"The dotted line is a random guess ({1 / options:.2g})." if options else ""

    @property
    def trainings(self) -> str:
        """What values and intervals say of the spread between trainings."""
        if len(self.seeds) > 1:
            return (
                "Values of SFT runs, and the ends of their intervals, are means over "
                f"{len(self.seeds)} training seeds. The spread between trainings is in "
                "stats/effects.csv."
            )
        if self.shown.sft is None:
            return ""
        return (
            f"The SFT runs are of one training seed ({self.seeds[0]}), and the intervals do not "
            "include the spread between trainings."
        )

    @property
    def pooled(self) -> str:
        """What a diagram shows of several trainings."""
        if len(self.seeds) < 2:
            return ""
        return f"The answers of SFT runs of {len(self.seeds)} training seeds are pooled."

    @property
    def tested(self) -> str:
        """What tests and intervals of changes say of other trainings."""
        if len(self.trained) < 2:
            return "They take the trained models, of one seed, as they are."
        return (
            f"Changes are means over {len(self.trained)} training seeds; intervals and tests cover "
            "other trainings too."
        )

    @property
    def bars(self) -> str:
        """What thin bars are, if there are any."""
        return "A thin bar is the standard deviation between seeds." * (len(self.trained) > 1)

    @property
    def entropy(self) -> str:
        """The unit of entropies."""
        return "divided by that of a uniform guess, ln k," if self._mixed else "(nats)"

    @property
    def uniform(self) -> str:
        """What the dotted line in the figure of entropies is, if it has one."""
        drawn = self.shown.options or self._mixed
        return "The dotted line is a uniform guess." if drawn else ""

    @property
    def _mixed(self) -> bool:
        """Whether entropies of questions with k options are divided by ln k, since k varies."""
        return not self.shown.options and "normalised_entropy" in self.study.metrics.metrics

    @property
    def questions(self) -> str:
        """How many questions the languages have, and which have few."""
        counts = self._counts
        if not counts:
            return ""
        from multical.figures.language_names import language  # here: babel loads slowly

        least, most = min(counts.values()), max(counts.values())
        if least == most:
            return f"Each language has {most} questions."
        few = [f"{language(tag)} ({tag}, {n})" for tag, n in counts.items() if n < self._enough]
        text = f"Languages have {least} to {most} questions."
        return f"{text} Values of those with few say little: {', '.join(few)}." if few else text

    @property
    def few(self) -> str:
        """What open points are, if there are any."""
        few = any(n < self._enough for n in self._counts.values())
        return "Open points are languages with few questions." if few else ""

    @cached_property
    def _counts(self) -> dict[str, int]:
        """The number of questions of each language, from the fewest up."""
        counts = {row["language"]: int(float(row["n"])) for row in self._rows(paths.METRICS)}
        return dict(sorted(counts.items(), key=lambda pair: (pair[1], pair[0])))

    @property
    def _enough(self) -> float:
        """The number of questions that is not few, as in `figures.tables.few`."""
        return max(self.shown.least_questions, FEW * median(self._counts.values() or [0]))

    @property
    def at_chance(self) -> str:
        """Which models answer no better than by chance, by the intervals of their accuracies."""
        if not self.shown.options:
            return ""
        chance = 1 / self.shown.options
        names = [
            f"{row['model']} ({self._condition(row)}: {float(row['value']):.3f})"
            for row in self._rows(paths.SUMMARY)
            if row["group"] == "all" and row["ci_low"] and float(row["ci_low"]) <= chance
        ]
        if not names:
            return ""
        return (
            f"Read by {readout_name(self.shown.readout)}, the accuracy over all languages is not "
            f"above chance ({chance:.2g}) for {', '.join(names)}: its calibration says little."
        )

    def _condition(self, row: Mapping[str, str]) -> str:
        name = label(float(row["smoothing"]) if row["smoothing"] else None)
        return f"{name}, seed {row['seed'].removesuffix('.0')}" if row["sft"] else name

    def _rows(self, path: str) -> list[dict[str, str]]:
        """The rows of accuracies that the panel shows; none if the table is not made."""
        shown, seeds = self.shown, ["", *map(str, self.seeds)]
        return [
            row
            for row in _accuracies(path.format(root=self.root))
            if (row["benchmark"], row["readout"]) == (shown.benchmark, shown.readout)
            if row["sft"] in ("", shown.sft) and row["seed"].removesuffix(".0") in seeds
        ]


@cache
def _accuracies(path: str) -> list[dict[str, str]]:
    """The rows of accuracies in a table; none if there is no such file. A report reads it once."""
    if not Path(path).exists():
        return []
    with Path(path).open(encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["metric"] == "accuracy"]


#: What a fit to the points of models says
LINE = (
    "With the line go its R² and p, that of a test that its slope is 0. The test takes the models "
    "as the sample, and its p is not corrected for the number of lines; claims rest on tests of "
    "their own. Models with fewer than three different values have no line."
)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


class AboutAnswers:
    """A study of paper 2, as one panel of its figures shows it."""

    line = LINE

    def __init__(self, config: Config, root: str, panel: str = "") -> None:
        study = msp_params.study_at(config, root)
        names = {dataset.id: dataset.name for dataset in study.datasets}
        self.data = f"data set {names[panel[:-1]]}" if panel else "all data sets"
        self.scored_here = isinstance(study, ChatConfidenceStudy)
        self.first = study.datasets[0].name
        self.k = study.abstention.main_k
        self.costs = listed(
            f"{100 * penalty:g} in the {name} score"
            for name, penalty in study.abstention.schemes.items()
        )
        self.num_fewshot, self.runs = 0, ""
        if isinstance(study, ChatConfidenceStudy):
            self.num_fewshot = study.scoring.num_fewshot
            self.runs = f"Runs of this study, with its prompts {', '.join(study.prompt_names)}."


#: Names of figures and tables that their parts do not give
WHOLE = {
    "accuracy_vs_auroc_margin_entropy": "accuracy against AUROC of margin and entropy",
    "score_vs_threshold_margin_entropy": "score against threshold of margin and entropy",
    "mann_whitney": "Mann-Whitney",
    "p_values": "p-values",
    "platt": "Platt scaling",
}


def readable(name: str) -> str:
    """The name of a figure or table in words."""
    if name in WHOLE:
        return WHOLE[name]
    words = {
        "ece": "ECE",
        "auroc": "AUROC",
        "platt": "(Platt)",
        "lang": "language",
        "vs": "against",
    }
    return " ".join(words.get(word, word) for word in name.split("_"))


def about(config: Config, wildcards: Any) -> About | AboutAnswers:
    """What the captions of a job with these wildcards can say."""
    root, panel = wildcards.root, wildcards.get("panel", "")
    answered = config.studies[root].kind in ("released", "chat_confidence")
    return (AboutAnswers if answered else About)(config, root, panel)


def shown(categories: Mapping[Any, Mapping[Any, Any]]) -> list[str]:
    """The studies of a report, from its records as Snakemake hands them to captions."""
    records = [
        record for parts in categories.values() for part in parts.values() for record in part
    ]
    return sorted({root for record in records if (root := record.raw_wildcards.get("root"))})


def remedies(study: Any) -> str:
    """The soft cap and the temperature of a study's trainings, in brackets, if they have any."""
    training = getattr(study, "training", None)
    soft_cap, temperature = getattr(training, "soft_cap", None), getattr(training, "temperature", 1)
    told = [f"a soft cap of {soft_cap:g}"] if soft_cap else []
    told += [f"a temperature of {temperature:g}"] if temperature != 1 else []
    return f" (all SFT with {' and '.join(told)} in the loss)" if told else ""


def summary(config: Config, root: str) -> str:
    """A study in a line: its kind, models, data and seeds."""
    study = config.studies[root]
    parts = {"models": [getattr(one, "name", one) for one in getattr(study, "models", [])]}
    if isinstance(study, HarnessStudy):
        parts["models"] = list(dict.fromkeys(run.model for run in study.runs))
        parts["benchmarks"] = list(dict.fromkeys(run.benchmark for run in study.runs))
    for key, name in (
        ("sft_data", "SFT data"), ("smoothing", "label smoothing"), ("seeds", "training seeds"),
        ("benchmarks", "benchmarks"),
    ):  # fmt: skip
        if not isinstance(study, HarnessStudy) and (values := getattr(study, key, None)):
            parts[name] = values
    lists = (f"{name}: {', '.join(map(str, values))}" for name, values in parts.items() if values)
    return f"``{root}/`` ({study.kind}). {'; '.join(lists)}{remedies(study)}"


def functions(config: Config) -> dict[str, Any]:
    """What captions can call, by name."""
    return {
        "about": partial(about, config), "shown": shown, "summary": partial(summary, config)
    }  # fmt: skip
