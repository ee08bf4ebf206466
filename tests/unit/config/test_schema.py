"""The config: what is accepted, and the sentence that each mistake gets."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from multical import paths
from multical.claims import schema as claims_schema
from multical.config import keys, schema, studies
from multical.errors import InputError
from multical.metrics import params as metric_params
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS, SCORES
from multical.params import (
    WORDS,
    Strict,
)
from multical.workflow import job_params, scoring_params
from support import checkout, forks

ROOT = Path(__file__).parents[3]
RAW: dict[str, Any] = checkout.config()
DEMO = ("studies", "results/demo")
REVISION = "0123456789abcdef0123456789abcdef01234567"

Keys = tuple[str, ...]


def edited(path: Keys, value: Any) -> dict[str, Any]:
    """The repository's config with the value at `path` replaced; `...` removes the key."""
    raw: dict[str, Any] = json.loads(json.dumps(RAW))
    place = raw
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return raw


def refusal(raw: Any) -> str:
    """The sentence that a config is refused with."""
    with pytest.raises(InputError) as caught:
        schema.load(raw)
    sentence = str(caught.value)
    assert sentence.startswith("config: ")
    assert "\n" not in sentence
    return sentence


def test_the_config_of_the_repository_loads() -> None:
    loaded = schema.load(RAW)
    demo = studies.runs(loaded.multilingual("results/demo"))
    assert list(demo)[:4] == [
        "gemma3-270m",
        "smollm2-135m-instruct",
        "gemma3-270m.facts.ls0.s0",
        "gemma3-270m.facts.ls0.1.s0",
    ]
    assert len(demo) == 8
    assert demo["gemma3-270m"] == studies.Run("gemma3-270m")


def test_the_schema_for_editors_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "multical.config.schema"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert (ROOT / "config.schema.json").read_text(encoding="utf-8") == done.stdout
    for file in [ROOT / "config.yaml", *(ROOT / "config").glob("*.yaml")]:
        jsonschema.validate(yaml.safe_load(file.read_text("utf-8")), json.loads(done.stdout))


def test_the_table_of_keys_is_current() -> None:
    assert (ROOT / "config/README.md").read_text(encoding="utf-8") == keys.page()


def test_readouts_and_metrics_are_the_ones_there_are() -> None:
    assert get_args(metric_params.Readout) == tuple(READOUTS)
    assert set(SCORES) == set(get_args(metric_params.Distribution))
    assert get_args(metric_params.Metric) == tuple(METRICS)


def test_the_schema_loads_neither_numpy_nor_pandas() -> None:
    """It is loaded at each start of Snakemake."""
    command = "import sys, multical.config.schema, multical.workflow.job_params; "
    command += "import multical.provenance.fingerprint; "
    command += "sys.exit(bool({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", command], cwd=ROOT / "scripts").returncode == 0


def patterns(schema: Any) -> set[str]:
    """The patterns of a JSON schema."""
    if isinstance(schema, dict):
        here = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
        keys = schema.get("patternProperties", {})
        return {*here, *keys}.union(*map(patterns, schema.values()))
    return set().union(*map(patterns, schema)) if isinstance(schema, list) else set()


@pytest.mark.parametrize("model", [schema.Config, claims_schema.Claims])
def test_errors_have_words_in_place_of_patterns(model: type[Strict]) -> None:
    assert patterns(model.model_json_schema()) <= WORDS.keys()


def test_wrong_names_get_words() -> None:
    word = "expected: a language code such as en or zh-Hant"
    assert refusal(edited((*DEMO, "languages"), ["en_GB"])).endswith(f"found 'en_GB', {word}")
    said = refusal(edited(("models", "a/b"), RAW["models"]["gemma3-270m"]))
    assert "found 'a/b', expected: a name of letters, digits, points, dashes and under" in said
    said = refusal(edited(("studies", "results/My"), RAW["studies"]["results/demo"]))
    assert "found 'results/My', expected: results, or at most two folders in it of lower" in said


NAMED = ("models", "benchmarks", "sft_data", "prompts", "studies", "schemes", "request")


def mappings(raw: Any, path: Keys = ()) -> list[Keys]:
    """Paths of all mappings whose keys the schema knows, rather than names."""
    if not isinstance(raw, dict):
        return []
    named = path[-1:] in {(key,) for key in NAMED}
    below = [p for key, value in raw.items() for p in mappings(value, (*path, key))]
    return below if named else [path, *below]


KNOWN = mappings(RAW)


def models(base: type[Strict] = Strict) -> Iterator[type[Strict]]:
    """All sections of the config, and those of which they are made."""
    for model in base.__subclasses__():
        yield model
        yield from models(model)


#: Keys that mean something where they are missing
#: Mappings from names that others chose
FREE = ("resource_levels", "languages", "answer", "values")
OPTIONAL = {
    name
    for model in models()
    for name, field in model.model_fields.items()
    if not field.is_required()
}


@pytest.mark.parametrize("path", KNOWN, ids=".".join)
def test_unknown_keys_are_refused_at_every_level(path: Keys) -> None:
    sentence = refusal(edited((*path, "colour"), 1))
    assert "colour" in sentence
    assert all(key in sentence for key in path)


@pytest.mark.parametrize("path", [p for p in KNOWN[1:] if p[-1] not in FREE], ids=".".join)
def test_missing_keys_are_named(path: Keys) -> None:
    place = RAW
    for key in path:
        place = place[key]
    for key in place:
        if key not in OPTIONAL:
            said = refusal(edited((*path, key), ...))
            assert f"missing keys ['{key}']" in said or f"'{key}'" in said


VALUES = [
    ("smoothing", [0.0, 0.1, 1.0], "found 1.0, .* less than 1"),
    ("smoothing", [0.0, 0.1, -0.1], "found -0.1, .* greater than or equal to 0"),
    ("smoothing", [0.0, 0.1, float("nan")], "found nan"),
    ("smoothing", [0.0, 0.1, "much"], "found 'much', .* number"),
    ("smoothing", [], "at least 1 item"),
    ("seeds", [-1], "found -1"),
    ("seeds", [2**32], "found 4294967296"),
    ("seeds", [0.5], "found 0.5"),
    ("questions_per_language", 0, "found 0"),
    ("training.learning_rate", 0, "found 0, .* greater than 0"),
    ("training.learning_rate", "fast", "found 'fast'"),
    ("training.weight_decay", float("inf"), "found inf, .* finite"),
    ("training.warmup_ratio", 1, "found 1, .* less than 1"),
    (
        "training.gradient_accumulation_steps",
        9973,
        "batch_size .* and gradient_accumulation_steps 9973",
    ),
    (
        "training.scale",
        {"processes": 9973},
        "gradient_accumulation_steps 1 and scale.processes 9973",
    ),
    ("training.scale", {"sharding": "fsdp"}, "fsdp and 1 process, expected at least 2"),
    ("training.scale", {"gpus": 2}, "training.scale: unknown keys"),
    ("training.epochs", 2, "epochs 2.0 and steps .*, expected exactly one"),
    ("training.steps", None, "epochs None and steps None, expected exactly one"),
    ("training.steps", 1.5, "found 1.5"),
    ("training.max_length", 7, "found 7"),
    ("training.matmul_precision", "low", "found 'low', .*'highest'"),
    ("scoring.dtype", "int8", "found 'int8', .*'float32'"),
    ("scoring.batch_tokens", 0, "found 0"),
    ("scoring.languages_per_job", 0, "found 0, .* greater than or equal to 1"),
    ("scoring.languages_per_job", 21, "found 21, .* less than or equal to 20"),
    ("scoring.num_fewshot", -1, "found -1, .* greater than or equal to 0"),
    (
        "scoring.num_fewshot",
        2,
        "scoring.num_fewshot: found 2, expected 0, since cldr-facts has no examples$",
    ),
    ("training.batch_size", 10**30, "batch_size: found 10+, .* less than or equal to 1000000"),
    ("training.adapter", {"rank": 10**9, "alpha": 1}, "rank: found 10+, .* or equal to 65536"),
    ("metrics.bins", 0, "found 0"),
    ("metrics.bins", 10**9, "metrics.bins: found 1000000000, .* less than or equal to 10000"),
    ("metrics.bootstrap.replicates", 10**12, "replicates: found .* or equal to 1000000"),
    ("metrics.bootstrap.level", 1, "found 1, .* less than 1"),
    ("metrics.bootstrap.replicates", -1, "found -1"),
    ("figures.smoothing", 0, "found 0, .* greater than 0"),
    # names that something else must define
    ("models", ["gpt"], "found 'gpt', expected one of .*gemma3-270m"),
    ("sft_data", ["flan"], "found 'flan', expected one of .*facts"),
    ("benchmarks", ["quiz"], "found 'quiz', expected one of .*cldr-facts"),
    ("scoring.prompt", "terse", "found 'terse', expected one of .*default"),
    ("metrics.readouts", ["text_ppl", "vibes"], "found 'vibes', .*'letter'"),
    (
        "metrics.readouts",
        ["text_ppl", "text_pmi"],
        "needs unconditional for the readout text_pmi: found 'default'",
    ),
    ("metrics.metrics", ["ECE"], "found 'ECE', .*'ece'"),
    ("languages", [], "languages: Value should have at least 1 item"),
    ("languages", ["en", "tlh"], "found 'tlh', expected one of"),
    ("languages", ["en", "ny"], "found 'ny', expected one of"),  # not a language of cldr-facts
    ("languages", ["en", False], "found False, .*string"),  # what YAML makes of `no`
    ("figures.benchmark", "mmlu", "found 'mmlu'"),
    ("figures.readout", "margin", "found 'margin', expected one of .*text_ppl"),
    ("figures.sft", "alpaca", "found 'alpaca'"),
    ("figures.smoothing", 0.3, r"found 0.3, expected one of .*0.1"),
    ("figures.seed", 7, "found 7"),
    ("figures.reference_language", "ny", "found 'ny'"),
    ("smoothing", [0.1, 0.2], "figures.smoothing: found 0.0"),  # no plain SFT to compare with
    # the same twice
    ("models", ["gemma3-270m", "gemma3-270m"], "found 'gemma3-270m' twice"),
    ("smoothing", [0, 0.1, 0.0], "found 0.0 twice"),
    ("seeds", [0, 1, 0], "found 0 twice"),
    ("benchmarks", ["cldr-facts", "cldr-facts"], "found 'cldr-facts' twice"),
    ("languages", ["en", "fr", "en"], "found 'en' twice"),
    (
        "scoring.multiple_choice_languages",
        ["en", "tlh"],
        "_languages: found 'tlh', expected one of",
    ),
    ("scoring.multiple_choice_languages", ["en", "en"], "found 'en' twice"),
    ("metrics.readouts", ["text_ppl", "text_ppl"], "found 'text_ppl' twice"),
    ("metrics.metrics", ["ece", "ece"], "found 'ece' twice"),
    ("smoothing", [0.0, 0.1, 0.1000000001], r"two runs are named gemma3-270m\.facts\.ls0\.1\.s0"),
]


@pytest.mark.parametrize(("key", "value", "sentence"), VALUES)
def test_values_of_a_study(key: str, value: Any, sentence: str) -> None:
    said = refusal(edited((*DEMO, *key.split(".")), value))
    assert_match(sentence, said)
    assert "results/demo" in said


def assert_match(pattern: str, text: str) -> None:
    assert re.search(pattern, text), text


BAD_NAMES = ["a/b", "a b", "..", "-a", ".a", "", "a\n", "é", "a:b", "a{b}", "/a"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("section", ["models", "benchmarks", "sft_data", "prompts"])
def test_names_that_would_break_paths(section: str, name: str) -> None:
    assert repr(name) in refusal(edited((section, name), next(iter(RAW[section].values()))))


@pytest.mark.parametrize(
    "root",
    ["demo", "results/", "results/a/b/c", "results/a/claims", "/results", "results/..",
     "../results", "results/Demo", "results/inputs", "results/records", "results/figures",
     "results/scratch"],
)  # fmt: skip
def test_roots_of_studies(root: str) -> None:
    assert root in refusal(edited(("studies", root), RAW["studies"]["results/demo"]))


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("source", "sha256"), "abc", "found 'abc'"),
        (("source", "packages"), ["gemma>=1"], "found 'gemma>=1'"),
        (("source", "packages"), ["--index-url==1"], "found '--index-url==1'"),
        (("source", "packages"), [], "at least 1 item"),
        (("source", "gguf"), "../../x.gguf", "found '../../x.gguf'"),
        (("source", "kind"), "torrent", "'pypi', 'hub', 'folder'"),
        (("source",), {"path": "x"}, "kind"),
        (("source",), {"kind": "hub", "repo": "a/b", "revision": "main"}, "found 'main'"),
        (("source",), {"kind": "hub", "repo": "b", "revision": REVISION}, "found 'b'"),
        (("source",), "gemma", "gemma3-270m.source: found 'gemma'"),
        (("chat_format",), "alpaca", "found 'alpaca', .*'plain'"),
        (("chat_date",), "26 Jul 2024", "chat_date: found '26 Jul 2024', expected"),
        (("chat_date",), "2024-02-30", "chat_date: day is out of range for month"),
        (("chat_date",), "2024-07-26", "chat_date: found 2024-07-26, expected none, since only"),
    ],
)
def test_sources_of_models(path: Keys, value: Any, sentence: str) -> None:
    said = refusal(edited(("models", "gemma3-270m", *path), value))
    assert_match(sentence, said)
    assert "models.gemma3-270m" in said


MMLU: dict[str, Any] = RAW["benchmarks"]["global-mmlu"]["source"]
ARC = {"kind": "arc", "repo": "allenai/ai2_arc", "revision": REVISION, "seed": 0}
OWN = {"kind": "file", "path": "x.jsonl"}
TULU = {"kind": "hub", "repo": "a/b", "revision": REVISION, "layout": "messages", "seed": 0}


@pytest.mark.parametrize(
    ("section", "source", "sentence"),
    [
        ("benchmarks", MMLU | {"revision": "main"}, "source.revision: found 'main'"),
        ("benchmarks", MMLU | {"repo": "Global-MMLU"}, "source.repo: found 'Global-MMLU'"),
        ("benchmarks", MMLU | {"languages": ["en", "en"]}, "'en' twice"),
        ("benchmarks", MMLU | {"languages": []}, "at least 1 item"),
        ("benchmarks", MMLU | {"split": "../test"}, "source.split: found '../test'"),
        ("benchmarks", MMLU | {"odd_rows": "drop"}, "source.odd_rows: found 'drop'"),
        ("benchmarks", MMLU | {"fewshot": "dev"}, r"unknown keys \['fewshot'\]"),
        ("benchmarks", MMLU | {"kind": "mmlu_prox"}, "'file', 'hub', 'arc', 'hellaswag'"),
        ("benchmarks", MMLU | {"rows": 0}, "source.rows: found 0"),
        ("benchmarks", ARC | {"questions": 0}, "source.questions: found 0"),
        ("benchmarks", ARC | {"fewshot": -1}, "source.fewshot: found -1"),
        ("benchmarks", ARC | {"split": "test"}, r"unknown keys \['split'\]"),
        ("benchmarks", {k: v for k, v in ARC.items() if k != "seed"}, r"missing keys \['seed'\]"),
        ("sft_data", TULU | {"layout": "xml"}, "source.layout: found 'xml'"),
        ("sft_data", TULU | {"examples": 0}, "source.examples: found 0"),
        ("sft_data", TULU | {"held_out": -1}, "source.held_out: found -1"),
        ("sft_data", OWN | {"held_out": -1}, "source.held_out: found -1"),
        ("sft_data", OWN | {"odd_rows": "drop"}, "source.odd_rows: found 'drop'"),
        ("sft_data", {k: v for k, v in TULU.items() if k != "seed"}, r"missing keys \['seed'\]"),
    ],
)
def test_sources_of_data_at_the_hub(section: str, source: dict[str, Any], sentence: str) -> None:
    entry: dict[str, Any] = {"source": source}
    if section == "benchmarks":
        entry["options"] = None
    assert_match(sentence, refusal(edited((section, "mine"), entry)))


#: Numbers of languages of the data sets of the hub
AT_HUB = {
    "global-mmlu": 42, "global-mmlu-lite": 23, "mmlu-prox": 29, "mmlu-prox-lite": 29, "mmmlu": 14,
    "belebele": 122, "include": 44, "include-lite": 44,
}  # fmt: skip


def test_a_benchmark_has_the_languages_of_its_source() -> None:
    source: dict[str, Any] = {**RAW["benchmarks"]["mmlu-prox"]["source"]}
    raw = edited(("benchmarks", "prox"), {"options": None, "source": source})
    study = raw["studies"]["results/demo"]
    study["benchmarks"] = ["prox"]
    study["figures"]["benchmark"] = "prox"
    raw["resource_levels"]["mid"].remove("af")  # which then is of the level unknown
    schema.load(raw)
    study["languages"] = ["en", "el"]
    assert "results/demo.languages: found 'el', expected one of ['af', 'ar'," in refusal(raw)
    study["languages"] = ["de", "sw"]
    key = "results/demo.figures.reference_language"
    assert f"{key}: found 'en', expected one of ['de', 'sw']" in refusal(raw)
    study["languages"] = None
    source["languages"] = ["ru", "sw"]
    letters = "scoring.multiple_choice_languages: found 'en', expected one of ['ru', 'sw']"
    assert letters in refusal(raw)
    study["scoring"]["multiple_choice_languages"] = ["sw"]
    assert f"{key}: found 'en', expected one of ['ru', 'sw']" in refusal(raw)
    counts = {name: len(RAW["benchmarks"][name]["source"]["languages"]) for name in AT_HUB}
    assert counts == AT_HUB


@pytest.mark.parametrize(("section", "part"), [("benchmarks", "fewshot"), ("sft_data", "heldout")])
def test_no_name_is_that_of_a_part_of_another(section: str, part: str) -> None:
    name, entry = next(iter(RAW[section].items()))
    said = refusal(edited((section, f"{name}.{part}"), entry))
    assert_match(rf"{section}: found {name}.{part} beside {name}", said)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("benchmarks", "cldr-facts", "options"), 11, "found 11, .* 10"),
        (("benchmarks", "cldr-facts", "source", "held_out"), 1, "found 1, .* less than 1"),
        (("benchmarks", "cldr-facts", "source", "kinds"), ["flag"], "found 'flag'"),
        (("benchmarks", "cldr-facts", "source", "languages"), ["en_GB"], "found 'en_GB'"),
        (("benchmarks", "cldr-facts", "source", "languages"), ["en", "en"], "'en' twice"),
        (("resource_levels", "high"), ["en", "en"], "found 'en' twice"),
        (("resource_levels", "low"), ["en"], "'en' is in two levels"),
        (("resource_levels", "none"), ["en"], "'high', 'mid' or 'low'"),
        (("prompts", "default", "multiple_choice"), "{question}", r"expected \{options\}"),
        (("prompts", "default", "cloze"), "Well?", r"found 'Well\?', expected \{question\}"),
        (("prompts", "default", "headings"), {"A": {"fr": "x"}}, "A: found .'fr'., .* default"),
        (
            ("prompts", "default", "headings"),
            {"A": {"default": "x"}},
            r"expected \{A\} in multiple",
        ),
        (("prompts", "default", "headings"), {"options": {"default": "x"}}, "has another meaning"),
        (("prompts", "default", "headings"), {"A B": {"default": "x"}}, "found 'A B'"),
        (("models",), ["gemma3-270m"], "models: .*dict"),
        (("studies",), None, "studies: found None"),
    ],
)
def test_other_sections(path: Keys, value: Any, sentence: str) -> None:
    assert_match(sentence, refusal(edited(path, value)))


def test_what_a_file_of_questions_has_to_say(tmp_path: Path) -> None:
    source = {"kind": "file", "path": "quiz.jsonl"}
    raw = edited(("benchmarks", "cldr-facts", "source"), source)
    schema.load(raw)
    scoring = raw["studies"]["results/demo"]["scoring"]
    scoring["num_fewshot"] = 2
    said = refusal(raw)
    assert said.endswith("since cldr-facts has no examples (benchmarks.cldr-facts.source.fewshot)")
    source["fewshot"] = str(tmp_path / "fewshot.jsonl")
    loaded = schema.load(raw)
    assert scoring_params.fewshot_file(loaded, "results/smoke", "cldr-facts", "made") == []
    with pytest.raises(
        InputError, match=r"^config: benchmarks\.cldr-facts\.source\.fewshot: found "
    ):
        scoring_params.fewshot_file(loaded, "results/demo", "cldr-facts", "made")
    (tmp_path / "fewshot.jsonl").touch()
    files = scoring_params.fewshot_file(loaded, "results/demo", "cldr-facts", "made")
    assert files == [source["fewshot"]]
    job = job_params.benchmark(loaded, "cldr-facts")
    assert job.source.model_dump(exclude_defaults=True) == {"kind": "file", "path": "quiz.jsonl"}
    scoring["languages_per_job"] = 1
    assert "expected studies.results/demo.languages beside it" in refusal(raw)
    raw["studies"]["results/demo"]["languages"] = ["en", "fr"]
    shards = scoring_params.shards(schema.load(raw), "results/demo", "cldr-facts")
    assert shards == {"/en": ["en"], "/fr": ["fr"]}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*DEMO, "training", "learning_rate"), "2e-5"),  # YAML 1.1 reads that as a text
        ((*DEMO, "languages"), ["en", "zh", "yo"]),
        ((*DEMO, "scoring", "multiple_choice_languages"), []),
        ((*DEMO, "scoring", "multiple_choice_languages"), None),
        (("models", "a.b_c-1"), {"chat_format": "tulu", "source": {"kind": "folder", "path": "x"}}),
        (("benchmarks", "own"), {"options": None, "source": {"kind": "file", "path": "x.jsonl"}}),
        (("benchmarks", "own"), {"options": 4, "source": MMLU | {"fewshot_split": "dev"}}),
        (("benchmarks", "own"), {"options": 4, "source": MMLU | {"languages": {"English": "en"}}}),
        (("benchmarks", "own"), {"options": None, "source": ARC}),
        (("sft_data", "own"), {"source": TULU | {"examples": 9, "held_out": 5}}),
        (("sft_data", "own"), {"source": TULU | {"config": "x", "odd_rows": "leave_out"}}),
        (("sft_data", "own"), {"source": OWN | {"held_out": 5, "odd_rows": "leave_out"}}),
        (("benchmarks", "own"), {"options": None, "source": OWN | {"odd_rows": "leave_out"}}),
    ],
)
def test_what_is_accepted(path: Keys, value: Any) -> None:
    schema.load(edited(path, value))


def test_the_learning_rate_is_a_number_however_it_is_written() -> None:
    loaded = schema.load(edited((*DEMO, "training", "learning_rate"), "2e-5"))
    assert loaded.multilingual("results/demo").training.learning_rate == 2e-5


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that Snakemake reads when it starts."""
    folder = tmp_path_factory.mktemp("clone")
    for part in ("rules", "scripts", "envs", "report", "config"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / file, folder)
    return folder


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "steps: 32", "steps: 32\n      epochs: 3",
            "config/demo.yaml: studies.results/demo.training: found epochs 3.0 and steps 32, "
            "expected exactly one of them",
        ),
        ("seeds: [0]", "seed: [0]", "config/demo.yaml: studies.results/demo: unknown keys"),
        (
            "seeds: [0]", "seeds: [0]\n    seeds: [1]",
            "config/demo.yaml: studies.results/demo.seeds: found twice, in lines ",
        ),
    ],
)  # fmt: skip
def test_snakemake_says_it_and_starts_nothing(
    clone: Path, old: str, new: str, sentence: str
) -> None:
    text = (ROOT / "config/demo.yaml").read_text(encoding="utf-8")
    assert old in text
    (clone / "config/demo.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "snakemake"), "-n", "--cores", "1"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = forks.run(command, cwd=clone, env=environment)
    assert done.returncode != 0
    said = done.stdout + done.stderr  # a dry run says everything on stdout
    assert len([line for line in said.splitlines() if sentence in line]) == 1, said
    assert "Traceback" not in said
    assert not (clone / "results").exists()


def test_learning_rates_are_compared_on_conversations_of_a_file() -> None:
    raw = edited((*DEMO, "training", "learning_rate"), [1e-5, 2e-5])
    names = raw["studies"]["results/demo"]["sft_data"]
    for name in names:
        raw["sft_data"][name] = {"source": OWN}
    assert f"(sft_data.{names[0]}.source.held_out of kind file or hub)" in refusal(raw)
    for name in names:
        raw["sft_data"][name] = {"source": OWN | {"held_out": 5}}
    loaded = schema.load(raw)
    assert set(names) <= set(job_params.with_held_out(loaded))
    assert job_params.held_out_of(loaded.sft_data[names[0]].source) == 5
    job = job_params.sft_data(loaded, names[0], paths.HELDOUT)
    assert job.model_dump(exclude_defaults=True) == {
        "source": {**OWN, "held_out": 5},
        "held_out": True,
    }
