"""make explain's program on a tiny study: the edits that it names, and what follows from each."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from multical.provenance.fingerprint import LOCK, read_lock
from support import checkout, forks
from support.tiny_study import STUB, edit, snakemake, tiny_study

VERDICTS = "results/tiny/claims/verdicts.json"
SNAPSHOTS = ".snakemake/snapshots"
RECORDS, TUNED = "results/tiny/records", "little.own.ls0.1.s0"
Said = dict[str, list[str]]

RUNS = "little.own.ls0.1.s0, little.own.ls0.2.s0, little.own.ls0.s0"
TRAINED = f"3 train_sft ({RUNS})"
LATER = f"3 score_run ({RUNS}), compute_metrics, verify_claims"
SCORED = f"4 score_run (little, {RUNS})"
RETRAINED = [TRAINED, f"then {LATER}"]
RESCORED = [SCORED, "then compute_metrics, verify_claims"]
MEASURED = "compute_metrics, verify_claims"
REMADE = ["make_sft_data", f"then {TRAINED}, {LATER}"]
REFETCHED = ["fetch_model", f"then {SCORED}, {TRAINED}, {MEASURED}"]
NUMPY = read_lock(LOCK)["numpy"]

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a tiny study, its verdicts made by stubs."""
    folder = checkout.copy(tmp_path_factory.mktemp("made"))
    tiny_study(folder)
    edit(folder, "config.yaml", "    - 0.1\n", "    - 0.1\n    - 0.2\n")
    stub = STUB.format(module="claims.report").replace(
        '"--usage"', '"--json", "--markdown", "--page"'
    )
    stub = stub.replace('for flag in ("--output"', 'for flag in ("--sidecar", "--output"')
    (folder / "scripts/verify_claims.py").write_text(stub, encoding="utf-8")
    for name, weights in (("little", "weights"), ("other", "others!")):
        (folder / name / "sub").mkdir(parents=True)
        (folder / name / "config.json").write_text("{}", encoding="utf-8")
        (folder / name / "sub/model.safetensors").write_text(weights, encoding="utf-8")
    scored = (folder / "scripts/score_run.py").read_text(encoding="utf-8")
    scored = scored.replace(
        'write_text("made\\n")', "write_text(given[flag])"
    )  # of each run its own
    (folder / "scripts/score_run.py").write_text(scored, encoding="utf-8")
    snakemake(folder, VERDICTS)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """One to change things in."""
    return shutil.copytree(made, tmp_path / "copy", symlinks=True)


def explain(folder: Path, *arguments: str) -> Any:
    return forks.run(
        [sys.executable, "tools/show_reasons.py", *arguments],
        cwd=folder,
    )  # fmt: skip


def reasons(folder: Path, target: str = VERDICTS) -> Said:
    """What the program prints: the lines of jobs by reason, each on one line."""
    done = explain(folder, target)
    assert (done.returncode, done.stderr) == (0, "")
    head, *blocks = re.sub(r"\n    (?=\w)|\n        (?=\S)", " ", done.stdout).split("\n\n")
    said = {}
    for block in blocks:
        reason, *jobs = [line.strip() for line in block.splitlines()]
        said[reason] = jobs
    assert head.startswith(f"{target}: ")
    plural = "reason" if len(said) == 1 else "reasons"
    assert head.rstrip().endswith(f" for {len(said)} {plural}" if said else ": nothing to do")
    return said


def set_key(*path: Any, to: Any, name: str = "config.yaml") -> Callable[[Path], None]:
    """Write a value, or the result of a function of the old one, in a place of a YAML file."""

    def change(folder: Path) -> None:
        file = folder / name
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        inner = raw
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = to(inner[path[-1]]) if callable(to) else to
        file.write_text(yaml.safe_dump(raw, allow_unicode=True), encoding="utf-8")

    return change


def of_study(*path: Any, to: Any) -> Callable[[Path], None]:
    return set_key("studies", "results/tiny", *path, to=to)


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: edit(folder, name, old, new)


def removed(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def renamed(folder: Path) -> None:
    """A function of a module, wherever that calls it."""
    file = folder / TOKENIZED
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("common_prefix", "first_in_common"), encoding="utf-8")


def add_model(folder: Path) -> None:
    model = {"source": {"kind": "folder", "path": "little"}, "chat_format": "plain"}
    set_key("models", "large", to=model)(folder)


def import_anew(folder: Path) -> None:
    """A new module, which training imports."""
    (folder / "scripts/multical/anew.py").write_text("FAR = 1\n", encoding="utf-8")
    edit(
        folder, "scripts/train_sft.py", "import sys\n", "import sys\n\nfrom multical import anew\n"
    )


def copy_conversations(folder: Path) -> None:
    shutil.copy(folder / "own.jsonl", folder / "mine.jsonl")


STUDY = "config.yaml: studies.results/tiny"
RATE = of_study("training", "learning_rate", to=1.0e-4)
RATED = {f"{STUDY}.training.learning_rate 5e-05 -> 0.0001": RETRAINED}
TOKENIZED = "scripts/multical/scoring/tokenized.py"
SMOOTHING = "scripts/multical/models/smoothing.py"
#: Runs that are new
NEW = RUNS.replace("s0,", "s1,").replace("ls0.s0", "ls0.s1")
SEEDED = f"3 train_sft ({NEW}), 3 score_run ({NEW}), compute_metrics, verify_claims"
LARGE = (
    f"4 score_run (large, {RUNS.replace('little', 'large')}), "
    f"3 train_sft ({RUNS.replace('little', 'large')})"
)

MORE = "results/tiny/runs/little.own.ls0.s0/more"

#: Edits, and all that is said of them
EDITS: dict[str, tuple[list[Callable[[Path], Any]], Said]] = {
    "a value": ([RATE], RATED),
    "a nested value": (
        [of_study("metrics", "bootstrap", "replicates", to=7)],
        {f"{STUDY}.metrics.bootstrap.replicates 100 -> 7": [MEASURED]},
    ),
    "a list": (
        [of_study("metrics", "readouts", to=["text_ppl"])],
        {f"{STUDY}.metrics.readouts -text_sum -letter": [MEASURED]},
    ),
    "a list in place of null": (
        [of_study("languages", to=["en"])],
        {f'{STUDY}.languages null -> ["en"]': [f"{SCORED}, {MEASURED}"]},
    ),
    "two keys that are valid only together": (
        [of_study("training", "steps", to=None), of_study("training", "epochs", to=1.0)],
        {f"{STUDY}.training.epochs null -> 1.0": RETRAINED,
         f"{STUDY}.training.steps 2 -> null": RETRAINED},
    ),
    "runs that are new, and others removed; of the figures no file was made": (
        [of_study("seeds", to=[1]), of_study("figures", "seed", to=1)],
        {f"{STUDY}.seeds +1 -0": [SEEDED]},
    ),
    "a run is removed": (
        [of_study("smoothing", to=[0.0, 0.1])],
        {f"{STUDY}.smoothing -0.2": [MEASURED]},
    ),
    "a key is added that nothing uses": ([add_model], {}),
    "a model on more GPUs": ([set_key("models", "little", "gpus", to=4)], {}),
    "a model is added and used, beside another edit": (
        [add_model, of_study("models", to=["little", "large"]), RATE],
        {"config.yaml: models.large added": [
            f"fetch_model, {LARGE}", "then compute_metrics, verify_claims"],
         **RATED,
         f"{STUDY}.models +large": [f"{LARGE}, compute_metrics, verify_claims"]},
    ),
    "another file of conversations": (
        [copy_conversations, set_key("sft_data", "own", "source", "path", to="mine.jsonl")],
        {"config.yaml: sft_data.own.source.path own.jsonl -> mine.jsonl": REMADE},
    ),
    "a language of another resource level": (
        [set_key("resource_levels", "high", to=lambda names: [x for x in names if x != "fr"]),
         set_key("resource_levels", "low", to=lambda names: [*names, "fr"])],
        {"config.yaml: resource_levels.high -fr": [MEASURED],
         "config.yaml: resource_levels.low +fr": [MEASURED]},
    ),
    "a claim's test": (
        [set_key("claims", "M1", "parts", 0, "threshold", to=0.1, name="claims.yaml")],
        {"claims.yaml: claims.M1.parts.0.threshold 0.0 -> 0.1": ["verify_claims"]},
    ),
    "a claim is removed": (
        [set_key("claims", to=lambda all: {"M1": all["M1"]}, name="claims.yaml")],
        {f"claims.yaml: claims.{name} removed": ["verify_claims"]
         for name in ("M2", "M3", "P1", "P2", "P3", "P4")},
    ),
    "a constant and a function": (
        [edited(SMOOTHING, '"""\n\nfrom', '"""\n\nADDED = 1\nfrom'),
         edited(TOKENIZED, "\n\n\ndef ", "\n\n\ndef more():\n    pass\n\n\ndef ")],
        {f"{TOKENIZED}: more added": RESCORED, f"{SMOOTHING}: ADDED added": RETRAINED},
    ),
    "a renamed function, and two that call it": (
        [renamed],
        {f"{TOKENIZED}: TokenizedQuestion.start, shared_prefix changed; first_in_common added; "
         "common_prefix removed": RESCORED},
    ),
    "a new import": (
        [import_anew],
        {"scripts/multical/anew.py: a new file": RETRAINED,
         "scripts/train_sft.py: from multical import anew added": RETRAINED},
    ),
    "a comment, the config in another order": (
        [edited(TOKENIZED, '"""\n\nfrom', '"""\n\n# a comment\nfrom'), of_study("models", to=list)],
        {},
    ),
    "an entry of the lock": (
        [edited("envs/requirements.lock", "numpy==", "numpy==9.")],
        {f"envs/requirements.lock: numpy {NUMPY} -> 9.{NUMPY}": [
            f"{SCORED}, compute_metrics", "then verify_claims"]},
    ),
    "an entry of the lock that no program of these uses": (
        [edited("envs/requirements.lock", "matplotlib==", "matplotlib==9.")], {}),
    "the content of a file": (
        [edited("own.jsonl", "What is 7", "How much is 7")], {"input changed: own.jsonl": REMADE}
    ),
    "files of a folder": (
        [lambda folder: (folder / "little/config.json").rename(folder / "little/other.json")],
        {"input appeared: little/other.json": REFETCHED,
         "input vanished: little/config.json": REFETCHED},
    ),
    "weights in a sub-folder": (
        [edited("little/sub/model.safetensors", "weights", "others!")],
        {"input changed: little/sub/model.safetensors": REFETCHED},
    ),
    "another folder in the place of a model's": (
        [lambda folder: (folder / "little").rename(folder / "old"),
         lambda folder: (folder / "other").rename(folder / "little")],
        {"input changed: little/sub/model.safetensors": REFETCHED},
    ),
    "records of two runs that changed places": (
        [lambda folder: (folder / RECORDS / "little").rename(folder / "aside"),
         lambda folder: (folder / RECORDS / TUNED).rename(folder / RECORDS / "little"),
         lambda folder: (folder / "aside").rename(folder / RECORDS / TUNED)],
        {f"input changed: {RECORDS}/{name}/quiz.parquet": [MEASURED] for name in ("little", TUNED)},
    ),
    "the path of a file that was moved": (
        [lambda folder: (folder / "own.jsonl").rename(folder / "mine.jsonl"),
         set_key("sft_data", "own", "source", "path", to="mine.jsonl")],
        {"config.yaml: sft_data.own.source.path own.jsonl -> mine.jsonl": REMADE},
    ),
    "a shell command": (
        [edited("rules/train.smk", "--loss-log", "--more --loss-log")],
        {"shell command of train_sft: +--more": RETRAINED},
    ),
    "an output is gone": (
        [removed("results/tiny/claims/verdicts.json")],
        {"output missing: it was made, and is gone": ["verify_claims"]},
    ),
    "an output that the rule did not have": (
        [edited("rules/train.smk", "        usage=paths.TRAINING_USAGE,",
                '        more="{root}/runs/{run}/more",\n        usage=paths.TRAINING_USAGE,'),
         edited("rules/metrics.smk", "        all_records,\n",
                f'        lambda w: [*all_records(w), "{MORE}"],\n')],
        {f"output missing: {MORE}, which train_sft did not make then": [
            "train_sft (little.own.ls0.s0)",
            "then score_run (little.own.ls0.s0), compute_metrics, verify_claims"],
         f"input appeared: {MORE}": ["compute_metrics", "then verify_claims"]},
    ),
    "settings that the plan gives, without an edit of the config": (
        [edited("scripts/multical/workflow/job_params.py", '"seed": sft_run.seed,',
                '"seed": sft_run.seed + 1,')],
        {"settings changed: seed 0 -> 1": RETRAINED},
    ),
    "several at once": (
        [RATE, of_study("metrics", "bins", to=9),
         edited("quiz.jsonl", "What is 3", "How much is 3"),
         edited(TOKENIZED, '"""\n\nfrom', '"""\n\nADDED = 1\nfrom')],
        {"input changed: quiz.jsonl": [
            "make_benchmark", f"then {SCORED}, compute_metrics, verify_claims"],
         **RATED,
         f"{TOKENIZED}: ADDED added": RESCORED,
         f"{STUDY}.metrics.bins 15 -> 9": [MEASURED]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_each_edit_is_named_with_what_follows(copy: Path, name: str) -> None:
    edits, said = EDITS[name]
    for change in edits:
        change(copy)
    assert reasons(copy) == said


def test_a_job_that_never_ran(made: Path) -> None:
    (said,) = reasons(made, "results/tiny/headline.txt").items()
    assert said[0] == "output missing: never made"
    assert "plot_reliability_by_lang" in said[1][0]


def test_what_is_not_known_is_said_to_be(copy: Path) -> None:
    shutil.rmtree(copy / SNAPSHOTS)
    RATE(copy)
    edit(copy, TOKENIZED, '"""\n\nfrom', '"""\n\nADDED = 1\nfrom')
    assert reasons(copy) == {
        "settings changed: learning_rate 5e-05 -> 0.0001": RETRAINED,
        "code of scripts/score_run.py changed; the old code is not known": RESCORED,
    }


def test_a_torn_snapshot_is_passed_over(copy: Path) -> None:
    (copy / SNAPSHOTS / "0.json").write_text('{"settings": {', encoding="utf-8")
    RATE(copy)
    assert reasons(copy) == RATED


def test_jobs_without_a_record_are_told(copy: Path) -> None:
    shutil.rmtree(copy / ".snakemake/metadata")
    done = explain(copy, VERDICTS)
    assert "no record of how it was made: " in done.stdout


def test_each_snapshot_is_kept_once_and_the_one_that_fits_is_found(copy: Path) -> None:
    kept = copy / SNAPSHOTS
    again = ("--force", "results/inputs/sft/own.jsonl")  # which is made as it was
    snakemake(copy, *again)
    assert len(list(kept.iterdir())) == 1
    RATE(copy)
    snakemake(copy, *again)
    assert len(list(kept.iterdir())) == 2
    assert reasons(copy) == RATED  # though the newest snapshot has that rate
    of_study("training", "learning_rate", to=5.0e-5)(copy)
    assert reasons(copy) == {}


@pytest.mark.parametrize(
    ("edits", "sentence"),
    [
        ([set_key("models", "little", "source", "path", to="litle")],
         "models.little.source.path: found litle, expected a folder with files"),
        ([set_key("benchmarks", "quiz", "source", "path", to="quizz.jsonl")],
         "benchmarks.quiz.source.path: found quizz.jsonl, expected a file that exists"),
        ([removed("own.jsonl")],
         "sft_data.own.source.path: found own.jsonl, expected a file that exists"),
    ],
)  # fmt: skip
def test_files_that_the_config_names_must_be_there(
    copy: Path, edits: list[Callable[[Path], None]], sentence: str
) -> None:
    """Although all results are there."""
    for change in edits:
        change(copy)
    done = explain(copy, VERDICTS)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {VERDICTS}: config: {sentence}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--", "results/tiny/nix.csv"], "results/tiny/nix.csv: no rule makes it, expected .*"),
        (["--", "--help"], "--help: no rule makes it, expected .*"),
        (["--", "a; touch pwned `touch pwned`"], "a; touch pwned .*: no rule makes it, .*"),
        (["--", "results/{root}/metrics.csv"], "results/{root}/metrics.csv: .*"),
        (["--", "score_run"], "score_run: .*wildcards.*"),
        ([], "dry run: Missing input files for rule all: .*"),  # this study is not the default
    ],
)
def test_refusals(made: Path, arguments: list[str], sentence: str) -> None:
    done = explain(made, *arguments)
    assert done.returncode == 1
    assert re.fullmatch(f"error: {sentence}\n", done.stderr)
    assert done.stdout == ""
    assert not (made / "pwned").exists()
