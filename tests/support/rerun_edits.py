"""Edits of a finished study, and the jobs that each must run again: the table of the rerun matrix.

A job is its rule and, where the rule has several jobs, the run or model that it is of. Jobs are
of the smoke study, or of the study `logs` of a few committed logs, which is here for its inputs
that are files of the user's.
"""

from __future__ import annotations

import os
import re
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet

SMOKE = "results/smoke"
GEMMA, SMOLLM = "gemma3-270m", "smollm2-135m-instruct"
SFT = [
    f"{model}.facts.{smoothing}.s0" for model in (GEMMA, SMOLLM) for smoothing in ("ls0", "ls0.1")
]
RECORD = f"{SMOKE}/records/{SMOLLM}/cldr-facts.parquet"
LOG = "data/samples_quiz.jsonl"
STYLE = "scripts/multical/figures/default.mplstyle"
PAGE_CODE = "scripts/multical/page"

Jobs = frozenset[str]
Change = Callable[[Path], None]


def jobs(rule: str, names: Iterable[str] = ("",)) -> Jobs:
    """A job of a rule for each name, the one of the study without."""
    return frozenset(f"{rule} {name}".strip() for name in names)


def rules(*names: str) -> Jobs:
    return frozenset(names)


NONE = rules()
SHIFTS = rules(
    "plot_ece_by_lang", "plot_entropy_by_lang", "plot_confidence_vs_accuracy_shift",
    "plot_gap_vs_accuracy", "plot_ece_vs_fertility",
)  # fmt: skip
RELIABILITY = rules("plot_reliability") | jobs("plot_reliability_by_lang", [GEMMA, SMOLLM])
BY_RESOURCE = rules("plot_ece_by_resource", "plot_conditions_by_resource")
TRANSFER = rules("plot_recalibration_transfer", "plot_temperatures_by_lang")
EFFECTS = rules("plot_effects_by_resource") | jobs("plot_effects_by_lang", [GEMMA, SMOLLM])
NAMED = rules("plot_ece_by_lang", "plot_entropy_by_lang", "plot_temperatures_by_lang")
NAMED |= jobs("plot_effects_by_lang", [GEMMA, SMOLLM])
LOSSES = rules("plot_training")
PLOTS = SHIFTS | RELIABILITY | BY_RESOURCE | TRANSFER | EFFECTS | rules("plot_smoothing_sweep")
PLOTS |= LOSSES
HEADLINE, VERDICTS = rules("write_headline"), rules("verify_claims")
#: It shows all that a study makes
PAGE = rules("make_page")
SETTINGS = rules("make_settings_table", "write_headline")
LOGS = rules("compute_metrics of logs")
IMPORTED = rules("import_harness of logs") | LOGS
#: What is made of the metrics, of recalibration, of tests of changes, of bootstraps, of the bins
#: of reliability diagrams, and of records
ESTIMATES = (
    rules("compute_metrics", "plot_smoothing_sweep", "make_main_table", "make_decomposition_table",
          "make_selective_table")
    | SHIFTS | BY_RESOURCE | HEADLINE | VERDICTS
)  # fmt: skip
RECALIBRATION = rules("compute_recalibration", "make_recalibration_table") | TRANSFER | HEADLINE
CHANGES = (
    rules("compute_effects", "make_p_values_table", "plot_effects_by_resource")
    | jobs("plot_effects_by_lang", [GEMMA, SMOLLM]) | HEADLINE
)  # fmt: skip
DRAWN = ESTIMATES | RECALIBRATION | CHANGES
BINS = rules("bin_reliability") | RELIABILITY | HEADLINE
RESULTS = DRAWN | BINS | rules("compute_fertility")
SCORES = jobs("score_run", [GEMMA, SMOLLM, *SFT]) | SETTINGS | RESULTS
TUNED = jobs("score_run", SFT) | SETTINGS | RESULTS
TRAINING = jobs("train_sft", SFT) | TUNED | LOSSES
FETCHED = jobs("fetch_model", [GEMMA, SMOLLM]) | TRAINING | SCORES
TRAINED_AGAIN = jobs("train_sft", SFT[:1]) | LOSSES


def of_smoothing(smoothing: str) -> Jobs:
    """The jobs of one smoothing's runs, and of what is made of them."""
    runs = [f"{model}.facts.{smoothing}.s0" for model in (GEMMA, SMOLLM)]
    return jobs("train_sft", runs) | jobs("score_run", runs) | SETTINGS | RESULTS | LOSSES


def without(some: Jobs, *names: str) -> Jobs:
    """Jobs but those of runs or models with these names."""
    return frozenset(job for job in some if not any(name in job for name in names))


def figure(rule: str) -> Jobs:
    return rules(rule) | HEADLINE


@dataclass(frozen=True)
class Edit:
    """A change of a checkout, and the jobs that must run again because of it."""

    name: str
    change: Change
    jobs: Jobs
    overlooked: bool = (
        False  # by Snakemake without multical.patches.snakemake: it would do less, or more
    )


def text(file: str, old: str, new: str) -> Change:
    """Another text in a file."""

    def change(folder: Path) -> None:
        found = (folder / file).read_text(encoding="utf-8")
        assert old in found, f"{file}: no {old!r} to change"
        (folder / file).write_text(found.replace(old, new, 1), encoding="utf-8")

    return change


def code(*files: str) -> Change:
    """Code in programs or modules that changes no result."""
    return all_of(*(_appended(f"scripts/{file}.py", "\n\nADDED = 1\n") for file in files))


def lock(pin: str, version: str = "99") -> Change:
    """Another version of a library."""
    return text("envs/requirements.lock", f"\n{pin}==", f"\n{pin}=={version}.")


def lost(*files: str) -> Change:
    """Files or folders that are deleted."""

    def change(folder: Path) -> None:
        for file in files:
            path = folder / file
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def all_of(*changes: Change) -> Change:
    """Several changes as one."""

    def change(folder: Path) -> None:
        for each in changes:
            each(folder)

    return change


def _appended(file: str, more: str) -> Change:
    def change(folder: Path) -> None:
        with open(folder / file, "a", encoding="utf-8") as stream:
            stream.write(more)

    return change


def _touched(*patterns: str) -> Change:
    """Files with the time of now, the last ones first."""

    def change(folder: Path) -> None:
        for pattern in patterns:
            for path in sorted(folder.glob(pattern), reverse=True):
                os.utime(path)

    return change


def _older(file: str, replace: Change) -> Change:
    """Another content, in a new file of an old time that takes the place of the other."""

    def change(folder: Path) -> None:
        time = (folder / file).stat().st_mtime - 1000
        replace(folder)
        os.utime(folder / file, (time, time))

    return change


def _other_parquet(file: str) -> Change:
    """The same rows in a file of other bytes."""

    def change(folder: Path) -> None:
        table = pyarrow.parquet.read_table(folder / file)
        (folder / file).unlink()
        pyarrow.parquet.write_table(table, folder / file, compression="none")

    return change


def _one_answer_less(folder: Path) -> None:
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / LOG).write_text("".join(lines[:-1]), encoding="utf-8")


def forgotten(file: str) -> Change:
    """A result as it comes without its record, which Snakemake names by the path in base 64."""
    name = urlsafe_b64encode(f"{SMOKE}/{file}".encode()).decode()
    return lost(f".snakemake/metadata/{name}")


def config(old: str, new: str) -> Change:
    """Another text in the smoke study, or else in the first file of the config that has it."""

    def change(folder: Path) -> None:
        for file in sorted((folder / "config").glob("*.yaml")):
            found = file.read_text(encoding="utf-8")
            places = [found.find(old, max(found.find("  results/smoke:"), 0)), found.find(old)]
            if (at := next((place for place in places if place >= 0), -1)) >= 0:
                file.write_text(found[:at] + new + found[at + len(old) :], encoding="utf-8")
                return
        raise AssertionError(f"config: no {old!r} to change")

    return change


def figures(setting: str) -> Change:
    """A setting of the smoke study's figures."""

    def change(folder: Path) -> None:
        file = folder / "config/demo.yaml"
        before, smoke, after = file.read_text("utf-8").partition("  results/smoke:")
        key = setting.partition(":")[0]
        own = re.sub(
            rf"(figures:\n(?: {{6}}.*\n)*? {{6}}){key}: .*", rf"\g<1>{setting}", after, count=1
        )
        assert own != after
        file.write_text(before + smoke + own, encoding="utf-8")

    return change


def drawing(setting: str) -> Change:
    """A setting of the figures of all studies."""
    return text("config.yaml", "figures: {", f"figures: {{{setting}, ")


def smoothing(values: str) -> Change:
    """Other smoothings of the smoke study."""
    return config("smoothing: [0.0, 0.1]\n", f"smoothing: [{values}]\n")


MODELS = f"models: [{GEMMA}, {SMOLLM}]\n    sft_data: [facts]\n    smoothing: [0.0, 0.1]\n"
ONE_MODEL = MODELS.replace(f"{GEMMA}, ", "")
REORDERED = all_of(
    config("      steps: 2\n      max_length: 128\n      save_every: 2\n",
           "      save_every:   2   # reordered\n\n      max_length: 128\n      steps: 2\n"),
    config(MODELS, '"models": [ gemma3-270m,\n      smollm2-135m-instruct ]\n'
           "    smoothing: [0.0, 0.1]\n    sft_data: [facts] # reordered\n"),
    config("  high: [ar, cs, de, ", "  high: [de, cs, ar, "),
)  # fmt: skip
NUMBERS = all_of(  # YAML has 5e-5 as a string
    config("learning_rate: 5.0e-5\n", "learning_rate: 5e-5\n"),
    config("smoothing: [0.0, 0.1]\n", "smoothing: [0, 1.0e-1]\n"),
)
LAYOUT = all_of(
    text("scripts/multical/models/smoothing.py", "\nimport", "\n\n# a comment\nimport"),
    text("scripts/multical/scoring/scorer.py", '"""Scoring', '"""How scoring works'),
    text(
        "scripts/multical/scoring/tokenized.py",
        "return max(map(len, self.sequences()))",
        "return (\n            max(map(len, self.sequences()))\n        )",
    ),
)
SWAPPED = all_of(
    config("      batch_size: 4\n", "      batch_size: 2\n"),
    config("      steps: 2\n", "      steps: 4\n"),
)
SEED = config("replicates: 100", "replicates: 100, seed: 1")
FOLDS = config("    metrics:\n", "    recalibration: {folds: 4}\n    metrics:\n")
METRICS = code("compute_metrics")
SMOOTHING = all_of(smoothing("0.0, 0.2"), figures("smoothing: 0.2"))
FRENCH = all_of(
    config("es, fa, fr, hi, ", "es, fa, hi, "), config("mid: [af, bn,", "mid: [af, bn, fr,")
)
PROMPT = config('cloze: "{question}"', 'cloze: "{question} "')
TOKENIZED = text(
    "scripts/multical/scoring/tokenized.py", "max(map(len, self.sequences()))",
    "max(len(tokens) for tokens in self.sequences())"
)  # fmt: skip
GAINED = all_of(
    text("rules/metrics.smk", '"by_language": paths.RELIABILITY_BY_LANG}',
         '"by_language": paths.RELIABILITY_BY_LANG, "note": "{root}/bins.txt"}'),
    text("rules/common.smk", "command(program, inputs, outputs, *options)}",
         "command(program, inputs, [x for x in outputs if x != 'note'], *options)}"),
    text("rules/common.smk", '            " 2>&1 | tee {log:q}"\n\n\n',
         '            " 2>&1 | tee {log:q}" + " && touch {output.note:q}" * ("note" in outputs)\n'),
)  # fmt: skip
SHELL = text(
    "rules/figures.smk", 'command("write_headline",', '"exec " + command("write_headline",'
)
CLAIM = text("claims.yaml", "threshold: 0.03", "threshold: 0.02")
OLDER_DATA = _older(LOG, _one_answer_less)
TOUCHED_INPUTS = _touched(
    "scripts/**/*.py", "rules/*", "*.yaml", "Snakefile", "results/inputs/*/*.*", "data/*"
)
TOUCHED_RESULTS = _touched(
    f"{SMOKE}/**/*.*", f"{SMOKE}/runs/*/checkpoint/.*", f"{SMOKE}/runs/*/checkpoint"
)
OTHER_STUDY = config("learning_rate: [5.0e-6,", "learning_rate: [6.0e-6,")
OTHER_ORDER = config(MODELS, MODELS.replace(f"{GEMMA}, {SMOLLM}", f"{SMOLLM}, {GEMMA}"))
LOST_METRICS = lost(f"{SMOKE}/metrics.csv", f"{SMOKE}/summary.csv")
LOST_WEIGHTS = lost(f"{SMOKE}/runs/{SFT[0]}/checkpoint")
LOSS = code("multical/models/smoothing")
OTHER_RECORDS = _other_parquet(RECORD)

EDITS = [
    # what changes no result
    Edit("nothing", lambda folder: None, NONE),
    Edit("touched programs, rules, config and inputs", TOUCHED_INPUTS, NONE),
    Edit("touched results and weights", TOUCHED_RESULTS, NONE),
    Edit("reordered and reformatted config", REORDERED, NONE),
    Edit("the same numbers, written otherwise", NUMBERS, NONE),
    Edit("languages in another order", config("[en, fr, bn, yo]", "[yo, en, fr, bn]"), NONE),
    Edit("comments, docstrings and layout of code", LAYOUT, NONE),
    Edit("comment lines of the lock", text("envs/requirements.lock", "# Exact", "# All"), NONE),
    Edit("a library that no program uses", lock("ruff"), NONE),
    Edit("a module that no program of the study uses", code("multical/workflow/costs"), NONE),
    Edit("another study's settings", OTHER_STUDY, NONE),
    Edit("a comment in the claims", text("claims.yaml", "# Paper 1.", "# Of paper 1."), NONE),
    Edit("the expected verdicts", _appended("expected/claims.yaml", "# as of now\n"), NONE),
    Edit("lost logs", lost("logs"), NONE),
    # the page alone
    Edit("captions", _appended("report/reliability.rst", "\nMore.\n"), PAGE),
    Edit("the style of the page", _appended(f"{PAGE_CODE}/page.css", "a { color: red }\n"), PAGE),
    Edit("the program of the page", code("multical/page/facts"), PAGE),
    Edit("what only `make plan` reads", config("parameters: 134515008", "parameters: 1"), PAGE),
    Edit("a lost intermediate", LOST_METRICS, NONE),
    # figures, tables and verdicts
    Edit("one figure's program", code("plot_ece_by_resource"), figure("plot_ece_by_resource")),
    Edit("a rule's shell command", SHELL, HEADLINE),
    Edit("a setting of figures", figures("reference_language: fr"),
         SHIFTS | RECALIBRATION | jobs("plot_effects_by_lang", [GEMMA, SMOLLM])
         | rules("make_selective_table")),
    Edit("plot style", code("multical/figures/style"), PLOTS | HEADLINE),
    Edit("the style file", _appended(STYLE, "lines.markersize: 5\n"), PLOTS | HEADLINE),
    Edit("a format of figures", drawing("formats: [pdf, png, svg]"), PLOTS | HEADLINE),
    Edit("names of languages", drawing("language_names: true"), NAMED | HEADLINE),
    Edit("a library that only figures use", lock("matplotlib"), PLOTS | HEADLINE),
    Edit("a library of that library", lock("pillow"), PLOTS | HEADLINE),
    Edit("a claim's threshold", CLAIM, VERDICTS),
    Edit("models in another order", OTHER_ORDER, SETTINGS | LOSSES),
    Edit("an output more of a rule, and its command", GAINED, BINS, overlooked=True),
    # metrics
    Edit("a metric's definition", code("multical/metrics/definitions"), DRAWN | BINS | LOGS),
    Edit("a module that only modules import", code("multical/metrics/bootstrap"), DRAWN | LOGS),
    # which compiles loops of metrics, and those of scoring on CPUs
    Edit("a library of a library of metrics", lock("llvmlite"), SCORES | LOGS),
    Edit("the seed of intervals", SEED, DRAWN),
    Edit("the folds of recalibration", FOLDS, RECALIBRATION),
    Edit("a method of recalibration", code("multical/metrics/recalibration"), RECALIBRATION),
    Edit("tests of changes", code("multical/stats/effects"), CHANGES | VERDICTS),
    Edit("a language's resource level", FRENCH, RESULTS),
    Edit("the level of a language of no study", config("low: [am,", "low: [gsw, am,"), NONE),
    Edit("one model less", config(MODELS, ONE_MODEL), without(RESULTS | SETTINGS | LOSSES, GEMMA)),
    Edit("other records", OTHER_RECORDS, RESULTS),
    Edit("older records in their place", _older(RECORD, OTHER_RECORDS), RESULTS, overlooked=True),
    Edit("metrics without their record", forgotten("metrics.csv"), ESTIMATES, overlooked=True),
    Edit("lost metrics of other records", all_of(LOST_METRICS, OTHER_RECORDS), RESULTS),
    Edit("lost metrics of another seed", all_of(LOST_METRICS, SEED), DRAWN),
    Edit("lost metrics of another program", all_of(LOST_METRICS, METRICS), ESTIMATES | LOGS),
    # scores
    Edit("the scoring of options", TOKENIZED, SCORES),
    Edit("a prompt", PROMPT, SCORES),
    Edit("another language", config("[en, fr, bn, yo]", "[en, fr, bn, yo, am]"), SCORES),
    Edit("lost records of another program", all_of(lost(RECORD), TOKENIZED), SCORES),
    Edit("lost records of another prompt", all_of(lost(RECORD), PROMPT), SCORES),
    Edit("the schema of records", code("multical/records"), SCORES | IMPORTED),
    # training
    Edit("the loss", LOSS, TRAINING),
    Edit("a library that only training uses", lock("trl"), TRAINING),
    Edit("a library of that one", lock("accelerate"), TRAINING),
    Edit("one smoothing more", smoothing("0.0, 0.1, 0.3"), of_smoothing("ls0.3")),
    Edit("the smoothing of one run", SMOOTHING, of_smoothing("ls0.2")),
    Edit("two settings that swap their values", SWAPPED, TRAINING),
    Edit("lost weights of another loss", all_of(LOST_WEIGHTS, LOSS), TRAINING),
    Edit("weights lost, another prompt", all_of(LOST_WEIGHTS, PROMPT), SCORES | TRAINED_AGAIN),
    Edit("a library of models, unseen in any program", lock("tokenizers"), FETCHED),
    Edit("a library of their templates and of tables", lock("Jinja2"), FETCHED),
    # inputs that are files of the user's
    Edit("a data file", _one_answer_less, IMPORTED),
    Edit("an older data file in its place", OLDER_DATA, IMPORTED, overlooked=True),
    Edit("a touched data file of more than 1 MB", _touched(LOG), NONE, overlooked=True),
]  # fmt: skip

EDITS = [
    replace(edit, jobs=edit.jobs | PAGE) if edit.jobs - IMPORTED - HEADLINE else edit
    for edit in EDITS
]
BY_NAME = {edit.name: edit for edit in EDITS}
