"""Tokens, seconds and bytes of jobs, by hand and against what was measured."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from multical.config import schema
from multical.config.schema import Config
from multical.data import conversations, questions
from multical.errors import InputError
from multical.workflow import job_params, scoring_params
from multical.workflow.costs import Sizes, disk_bytes, jobs, passing, sample, weights
from multical.workflow.timings import (
    CARDS,
    CPU_FLOPS,
    FLOP,
    Duration,
    Timings,
    recorded_seconds,
)
from support import checkout, hub_repos, tiny

RAW: dict[str, Any] = checkout.config()
ROOT, LITE = "results/demo", "results/lite"
BASE, TUNED = "gemma3-270m", "gemma3-270m.facts.ls0.1.s0"
TRAINING = {"root": ROOT, "run": TUNED}
SCORING = {"root": ROOT, "run": BASE, "benchmark": "cldr-facts", "shard": ""}


def demo(**changed: Any) -> Config:
    """The repository's config with keys of the demo's training replaced."""
    raw = json.loads(json.dumps(RAW))
    raw["studies"][ROOT]["training"] |= changed
    return schema.load(raw)


def timings(folder: Path, loaded: Config, **then: Any) -> Timings:
    """Timings where every training remembers its settings of now, but for `then`."""

    def remembered(output: str) -> dict[str, Any] | None:
        root, _, rest = output.partition("/runs/")
        if not rest:
            return None
        job = job_params.training(loaded, root, rest.split("/")[0])
        return job.model_dump(mode="json", exclude_defaults=True) | then

    return Timings(Sizes(loaded, folder), remembered)


def record(folder: Path, name: str, text: str) -> None:
    (folder / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "logs" / name).write_text(f"s\th:m:s\n{text}\n", encoding="utf-8")


def trained(folder: Path, run: str, text: str, root: str = ROOT) -> None:
    record(folder, f"{root}/train_sft/{run}.tsv", text)


def test_weights_are_counted_as_the_model_counts_them(tmp_path: Path) -> None:
    for kind in ("llama", "tied"):
        tiny.folder(tmp_path / kind, kind)
        count = tiny.model(kind, len(tiny.tokenizer())).num_parameters()
        assert weights(tmp_path / kind / "checkpoint/model.safetensors") == count


def test_a_model_is_as_large_as_its_checkpoint_or_as_its_config_says(tmp_path: Path) -> None:
    sizes = Sizes(demo(), tmp_path)
    assert sizes.parameters(BASE) == 268098176
    # what fetch_model made of it: 1072419256 of weights, 33541718 beside them
    assert 0 < sizes.model_bytes(BASE) - (1072419256 + 33541718) < 10_000_000

    manifest = tiny.folder(tmp_path / f"results/inputs/models/{BASE}", "llama")
    files = [file for file in (manifest.parent / "checkpoint").iterdir() if file.is_file()]
    assert sizes.model_bytes(BASE) == sum(file.stat().st_size for file in files)
    assert sizes.parameters(BASE) < 100_000


def test_a_model_of_no_known_size_is_named(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(RAW))
    del raw["models"][BASE]["parameters"]
    with pytest.raises(InputError, match=rf"^config: models.{BASE}.parameters: missing, expected"):
        disk_bytes(schema.load(raw), ROOT, tmp_path)


def test_a_local_model_needs_no_number(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "own", "llama")
    raw = json.loads(json.dumps(RAW))
    source = {"kind": "folder", "path": "own/checkpoint"}
    raw["models"][BASE] = {"source": source, "chat_format": "plain"}
    count = tiny.model("llama", len(tiny.tokenizer())).num_parameters()
    assert Sizes(schema.load(raw), tmp_path).parameters(BASE) == count
    weights_file = next(tmp_path.rglob("model.safetensors"))
    weights_file.with_name("sub").mkdir()
    weights_file.rename(weights_file.parent / "sub" / weights_file.name)
    assert Sizes(schema.load(raw), tmp_path).parameters(BASE) == count


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 20, (2).to_bytes(8, "little") + b"[]"]
)
def test_what_is_no_safetensors_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    if content.endswith(b"[]"):
        assert weights(file) == 0
        return
    with pytest.raises(InputError, match="not a safetensors file"):
        weights(file)


def disk(loaded: Config, folder: Path) -> dict[str, int]:
    """Bytes of each part, of all jobs at once."""
    return {part: sum(sizes) for part, sizes in disk_bytes(loaded, ROOT, folder).items()}


def test_disk_of_the_demo(tmp_path: Path) -> None:
    needed = disk(demo(), tmp_path)
    assert list(needed) == [
        "base models",
        "benchmarks and SFT data",
        "checkpoints",
        "scratch",
        "records",
    ]
    # measured: 1.65 GB of base models, 4.94 GB of checkpoints, 0.2 MB of data
    assert 1.65e9 < needed["base models"] < 1.72e9
    assert 4.94e9 < needed["checkpoints"] < 5.15e9
    assert 2e5 < needed["benchmarks and SFT data"] < 2e6
    assert needed["records"] == 8 * 41 * 110 * 400
    assert needed["scratch"] == 0  # it saves nothing but the end
    # weights and two moments of each, in two checkpoints, of 3 runs a model
    saving = disk_bytes(demo(save_every=10), ROOT, tmp_path)["scratch"]
    assert sorted(saving) == 3 * [134515008 * 4 * 3 * 2] + 3 * [268098176 * 4 * 3 * 2]
    assert disk_bytes(demo(), "results/msp_v2", tmp_path) == {}


def test_disk_of_study_2(tmp_path: Path) -> None:
    """Local models alone: no APIs, nor what another study trains."""
    loaded = schema.load(RAW)
    needs = disk_bytes(loaded, "results/msp", tmp_path)
    stored = [2 * (one.parameters or 0) for one in loaded.models.values()]
    assert len(needs["base models"]) == 13
    assert max(needs["base models"]) == 2 * 70553706496 + 40_000_000
    assert {size - 40_000_000 for size in needs["base models"]} <= set(stored)
    assert sum(needs["records"]) == 13 * 2 * 21407 * 400
    small = disk_bytes(loaded, "results/demo/msp", tmp_path)
    assert small["base models"] == [4 * 134515008 + 40_000_000]
    assert not small["checkpoints"]
    assert sum(small["records"]) == 7 * 2 * 6 * 110 * 400


def test_tokens_of_what_was_made(tmp_path: Path) -> None:
    sizes = Sizes(demo(steps=3, batch_size=4, max_length=40), tmp_path)
    settings = job_params.training(sizes.config, ROOT, TUNED)
    # nothing is made yet: all conversations may be as long as can be
    assert sizes.tokens(TRAINING, settings) == 3 * 4 * 40

    pairs: list[conversations.Conversation] = [
        {"id": str(size), "messages": [{"role": "user", "content": "x" * size}, ANSWER]}
        for size in (36, 396)
    ]
    conversations.write(tmp_path / "results/inputs/sft/facts.jsonl", pairs)
    # 40 / 4 + 20, and one that is cut
    assert sizes.tokens(TRAINING, settings) == 3 * 4 * (30 + 40) / 2
    epochs = settings.model_copy(update={"steps": None, "epochs": 5.0})
    assert sizes.steps("facts", epochs) == 3  # 10 conversations in batches of 4


def test_data_of_the_hub_that_are_not_made(tmp_path: Path) -> None:
    """At most as many questions as the data set has; conversations as many as are asked for."""
    raw = json.loads(json.dumps(RAW))
    hub = {"repo": "a/b", "revision": "0" * 40}
    few: dict[str, Any] = {"languages": ["en", "sw"]}
    raw["benchmarks"] = {
        "all": {"options": 4, "source": hub_repos.source("global-mmlu")},
        "few": {"options": 4, "source": hub_repos.source("mmlu-prox", **few)},
        "arc": {"options": None, "source": {"kind": "arc", **hub, "seed": 0}},
        "swag": {"options": 4, "source": {"kind": "hellaswag", **hub, "seed": 0, "questions": 9}},
    }
    sft = {"kind": "hub", **hub, "layout": "messages", "seed": 0, "examples": 100}
    raw["sft_data"]["facts"]["source"] = sft
    raw["studies"] = {ROOT: raw["studies"][ROOT]}
    raw["studies"][ROOT]["benchmarks"] = ["all", "few", "arc", "swag"]
    raw["studies"][ROOT]["figures"]["benchmark"] = "all"
    needed = disk(schema.load(raw), tmp_path)
    questions = 42 * 14042 + 2 * 11759 + 2590 + 9
    assert needed["benchmarks and SFT data"] == 1000 * questions + 3000 * 100
    assert needed["records"] == 8 * questions * 400
    sizes = Sizes(schema.load(raw), tmp_path)
    job = scoring_params.scoring(sizes.config, ROOT, BASE, "few")
    own = job.model_copy(update={"languages": ["sw", "yo"], "questions_per_language": 50})
    assert {k: v.count for k, v in sizes.questions(own).items()} == {"sw": 50}
    raw["benchmarks"]["few"]["source"]["rows"] = None
    with pytest.raises(InputError, match=r"^config: benchmarks.few.source.rows: found null"):
        disk_bytes(schema.load(raw), ROOT, tmp_path)
    raw["benchmarks"]["few"]["source"]["rows"] = 11759
    training = sizes.config.multilingual(ROOT).training
    changed = {"steps": None, "epochs": 2.0, "batch_size": 8, "max_length": 9}
    assert sizes.steps("facts", training.model_copy(update=changed)) == 25
    del sft["examples"]
    with pytest.raises(InputError, match=r"^config: sft_data.facts.source.rows: found null"):
        disk_bytes(schema.load(raw), ROOT, tmp_path)
    sft |= {"rows": 110, "held_out": 10, "mean_tokens": 30.5}
    sizes = Sizes(schema.load(raw), tmp_path)
    settings = job_params.training(sizes.config, ROOT, TUNED)
    settings = settings.model_copy(update={"steps": None, "epochs": 2.0})
    assert sizes.steps("facts", settings) == 13  # 200 in batches of 16
    assert sizes.tokens(TRAINING, settings) == 13 * 16 * 30.5
    assert sizes.tokens(TRAINING, settings.model_copy(update={"max_length": 20})) == 13 * 16 * 20


ANSWER: conversations.Message = {"role": "assistant", "content": "yyyy"}


def test_tokens_of_questions(tmp_path: Path) -> None:
    import pandas as pd

    rows = [
        {
            "question_id": str(number),
            "language": language,
            "question": letter * 20,
            "options": [letter * 10, letter * 10 + "!!"],
            "answer": 0,
        }
        for language, letter in (("en", "a"), ("ru", "\u0434"), ("fr", "e"))
        for number in range(4)
    ]
    questions.write(tmp_path / "results/inputs/benchmarks/cldr-facts.parquet", pd.DataFrame(rows))
    sizes = Sizes(demo(), tmp_path)
    job = scoring_params.scoring(sizes.config, ROOT, BASE, "cldr-facts")
    job = job.model_copy(update={"multiple_choice_languages": ["en"]})

    def tokens(**changed: Any) -> float:
        return sizes.tokens(SCORING, job.model_copy(update=changed))

    # 42 bytes of English and French, 82 of Russian; each prompt has 20 tokens beside
    assert tokens(languages=["fr"]) == 4 * (42 / 4 + 20)
    assert tokens(languages=["ru"]) == 4 * (82 / 4 + 20)
    assert tokens(languages=["en"]) == 2 * tokens(languages=["fr"])
    assert tokens() == 4 * (3 * 42 / 4 + 82 / 4 + 80)
    letters_only = [job.prompts[0].model_copy(update={"cloze": None})] * 2
    letters = tokens(languages=["fr"], multiple_choice_languages=None, prompts=letters_only)
    assert letters == 2 * tokens(languages=["fr"])
    assert tokens(multiple_choice_languages=None) == 2 * tokens(multiple_choice_languages=[])
    in_turn = tokens(languages=["en"], option_order="cyclic")
    assert demo().benchmarks["cldr-facts"].options == 4
    assert in_turn == (1 + 4) * tokens(languages=["fr"])
    alone = [job.prompts[0].model_copy(update={"unconditional": "Answer:"})]
    assert tokens(languages=["fr"], prompts=alone) == 2 * tokens(languages=["fr"])
    assert tokens(questions_per_language=1) == tokens() / 4
    assert tokens(questions_per_language=9) == tokens()
    assert sizes.job_bytes("score_run", SCORING) == {"records": 12 * 400}


def test_jobs_by_language_add_up_to_one_for_all(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(RAW))
    raw["studies"][ROOT]["scoring"]["languages_per_job"] = 5
    cut, whole = schema.load(raw), demo()
    sizes, clock = Sizes(cut, tmp_path), Timings(Sizes(cut, tmp_path), lambda output: None)
    shards = [job for rule, job in jobs(cut, ROOT) if rule == "score_run" and job["run"] == BASE]
    assert [len(job["shard"].split("+")) for job in shards] == [5] * 8 + [1]
    tokens, seconds = 0.0, 0.0
    for job in shards:
        settings = scoring_params.scoring(cut, ROOT, BASE, "cldr-facts", job["shard"])
        tokens += sizes.tokens(job, settings)
        seconds += clock.of("score_run", job, 1, None).seconds or 0
    once = Timings(Sizes(whole, tmp_path), lambda output: None)
    all_languages = scoring_params.scoring(whole, ROOT, BASE, "cldr-facts")
    assert tokens == sizes.tokens(SCORING, all_languages)
    alone = once.of("score_run", SCORING, 1, None).seconds or 0
    assert seconds == pytest.approx(alone + 8 * 30)  # each job has to start
    # the shards stay beside what they are merged into
    records = [disk(one, tmp_path)["records"] for one in (cut, whole)]
    assert records == [2 * records[1], 8 * 41 * 110 * 400]
    # a recorded job of other languages is scaled by its tokens: ar and de have two prompts, then en
    record(tmp_path, f"{ROOT}/score_run/{BASE}.cldr-facts{shards[0]['shard']}.tsv", "60\t0:01:00")
    clock = Timings(Sizes(cut, tmp_path), lambda output: None)
    found = clock.of("score_run", shards[1], 1, None)
    assert (found.source, found.factor, found.records) == ("scaled", pytest.approx(6 / 7), 1)


def test_a_large_file_is_sampled(tmp_path: Path) -> None:
    file = tmp_path / "many.jsonl"
    one = json.dumps({"id": "1", "messages": [{"role": "user", "content": "x" * 40}]}) + "\n"
    file.write_text(one * 5000, encoding="utf-8")
    assert sample(file, 1000) == (pytest.approx(5000), 30)
    file.write_text(one + "{}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"many.jsonl: not conversations"):
        sample(file, 1000)
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"found no conversations"):
        sample(file, 1000)


def test_estimates_are_by_hand_what_they_say(tmp_path: Path) -> None:
    loaded = demo()
    flop = 6 * 268098176 * 32 * 16 * 128
    clock = timings(tmp_path, loaded)
    a100 = 0.4 * 312e12
    assert clock.of("train_sft", TRAINING, 1, None) == Duration(30 + flop / a100, "estimated")
    assert clock.of("train_sft", TRAINING, 4, None).seconds == 30 + flop / a100 / 4
    small = Timings(Sizes(loaded, tmp_path), lambda output: None, card=CARDS["a5000"])
    assert small.of("train_sft", TRAINING, 1, None).seconds == 30 + flop / (0.4 * 111.1e12)
    assert clock.of("train_sft", TRAINING, 0, None).seconds == 30 + flop / CPU_FLOPS
    scorings = [clock.of("score_run", SCORING, gpus, None) for gpus in (1, 4)]
    assert scorings[0] == scorings[1]  # its GPUs work one after the other
    given = Timings(Sizes(loaded, tmp_path), lambda output: None, flops=1e12)
    assert given.of("train_sft", TRAINING, 1, None).seconds == 30 + flop / 1e12
    # six languages of 41 have two prompts; a question of at most 200 bytes
    flop = 2 * 268098176 * (41 + 6) * 110 * (200 // 4 + 20)
    assert given.of("score_run", SCORING, 1, None).seconds == pytest.approx(30 + flop / 1e12)


@pytest.mark.parametrize(("card", "hours"), [("rtx-4090", 3.99), ("a5000", 5.81)])
def test_one_gpu_makes_the_lite_study_in_six_hours(tmp_path: Path, card: str, hours: float) -> None:
    """50,000 conversations of 448 tokens nine times, and ten runs that read all questions twice."""
    loaded = schema.load(RAW)
    clock = Timings(Sizes(loaded, tmp_path), lambda output: None, card=CARDS[card])
    own = [(rule, job) for rule, job in jobs(loaded, LITE) if rule in FLOP]
    assert Counter(rule for rule, _ in own) == {"train_sft": 9, "score_run": 20}
    seconds = sum(clock.of(rule, job, 1, None).seconds or 0 for rule, job in own)
    trained = 6 * 391 * 128 * 448 * 9
    asked = 2 * 2 * (23 * 400 + 29 * 588) * (1000 // 4 + 20) * 10
    by_hand = 29 * 30 + 596049920 * (trained + asked) / (0.4 * CARDS[card].peak)
    assert seconds == pytest.approx(by_hand)
    assert round(seconds / 3600, 2) == hours
    assert hours < 6


def test_a_job_s_own_record_counts_first(tmp_path: Path) -> None:
    trained(tmp_path, TUNED, "100.5\t0:01:40")
    trained(tmp_path, "gemma3-270m.facts.ls0.s0", "7\t0:00:07")
    found = timings(tmp_path, demo()).of("train_sft", TRAINING, 1, None)
    assert found == Duration(100.5, "recorded")


def test_a_record_with_other_settings_is_scaled(tmp_path: Path) -> None:
    trained(tmp_path, TUNED, "100\t0:01:40")
    found = timings(tmp_path, demo(), steps=8).of("train_sft", TRAINING, 1, None)
    assert found == Duration(400, "scaled", 4, 1)
    # a setting that costs nothing does not matter
    found = timings(tmp_path, demo(), learning_rate=0.1).of("train_sft", TRAINING, 1, None)
    assert found.source == "recorded"


def test_records_of_the_model_stand_in_the_nearest_first(tmp_path: Path) -> None:
    def found() -> Duration:
        return timings(tmp_path, demo()).of("train_sft", TRAINING, 1, None)

    trained(tmp_path, "smollm2-135m-instruct.facts.ls0.s0", "5\t0:00:05")
    assert found().source == "estimated"
    # the smoke study has 2 steps of 4, the demo 32 of 16
    for run, seconds in (("gemma3-270m.facts.ls0.s0", 10), (TUNED, 20)):
        trained(tmp_path, run, f"{seconds}\t-", root="results/smoke")
    assert found() == Duration(15 * 64, "scaled", 64, 2)
    trained(tmp_path, "gemma3-270m.facts.ls0.2.s0", "90\t0:01:30")
    assert found() == Duration(90, "scaled", 1, 1)


PAPER = "results"
TRIAL = {"root": PAPER, "run": "gemma-2-2b.alpaca.lr5e-06"}


def test_trials_are_trained_and_what_is_adopted_is_not(tmp_path: Path) -> None:
    loaded = schema.load(RAW)
    listed = [*jobs(loaded, PAPER)]
    counts = Counter(rule for rule, _ in listed)
    assert counts == {
        "fetch_model": 3, "make_benchmark": 2, "make_sft_data": 3 + 3,
        "train_sft": 27 + 18, "evaluate_sft": 27, "score_run": 2130, "merge_records": 60,
    }  # fmt: skip
    assert ("evaluate_sft", TRIAL) in listed
    trained = {wildcards["run"] for rule, wildcards in listed if rule == "train_sft"}
    assert "gemma-2-2b.alpaca.ls0.1.s0" in trained
    assert "gemma-2-2b.alpaca.ls0.s0" not in trained
    sizes = Sizes(loaded, tmp_path)
    adopted = {"root": PAPER, "run": "gemma-2-2b.alpaca.ls0.s0"}
    assert sizes.job_bytes("adopt_trial", adopted) == {}


def test_a_trial_s_loss_costs_a_pass_over_what_is_held_out(tmp_path: Path) -> None:
    clock = Timings(Sizes(schema.load(RAW), tmp_path), lambda output: None)
    assert clock.tokens("evaluate_sft", TRIAL) == 1000 * 110
    flop = 2 * 2614341888 * 1000 * 110
    found = clock.of("evaluate_sft", TRIAL, 1, None)
    assert found == Duration(30 + flop / (0.4 * 312e12), "estimated")
    pairs: list[conversations.Conversation] = [
        {"id": "1", "messages": [{"role": "user", "content": "x" * 36}, ANSWER]}
    ]
    conversations.write(tmp_path / "results/inputs/sft/alpaca.heldout.jsonl", pairs)
    assert clock.tokens("evaluate_sft", TRIAL) == 30


def test_what_a_file_holds_out_is_not_trained_on(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(RAW))
    source = {"kind": "file", "path": "own.jsonl", "held_out": 3, "odd_rows": "leave_out"}
    raw["sft_data"]["alpaca"]["source"] = source
    messages = [{"role": "user", "content": "x" * 36}, ANSWER]
    text = json.dumps({"messages": messages}) + "\n"
    (tmp_path / "own.jsonl").write_text(9 * text + '{"messages": null}\n', encoding="utf-8")
    sizes = Sizes(schema.load(raw), tmp_path)
    assert sizes._conversations("alpaca", 512)[0] == 10 - 3
    assert sizes._held_out("alpaca", 512)[0] == 3


def test_weights_that_are_not_kept_need_not_be_there_at_once() -> None:
    kept = schema.load(RAW)
    assert list(passing(kept)) == ["scratch"]
    assert list(passing(schema.load({**RAW, "keep_checkpoints": False}))) == [
        "scratch",
        "checkpoints",
    ]


def test_other_rules_are_recorded_or_not_known(tmp_path: Path) -> None:
    clock = timings(tmp_path, demo())
    wildcards = {"root": ROOT}
    path = f"logs/{ROOT}/compute_metrics.tsv"
    assert clock.of("compute_metrics", wildcards, 0, path).source == "not known"
    record(tmp_path, f"{ROOT}/compute_metrics.tsv", "4.5\t0:00:04")
    assert clock.of("compute_metrics", wildcards, 0, path) == Duration(4.5, "recorded")
    assert clock.of("all", {}, 0, None).seconds is None


def test_a_size_that_is_not_known_is_a_reason(tmp_path: Path) -> None:
    raw = json.loads(json.dumps(RAW))
    del raw["models"][BASE]["parameters"]
    found = timings(tmp_path, schema.load(raw)).of("train_sft", TRAINING, 1, None)
    assert found.seconds is None
    assert "models.gemma3-270m.parameters" in found.reason


@pytest.mark.parametrize("text", ["", "s\th:m:s\n", "s\th:m:s\n-\t-\n", "a\tb\n1\t2\n"])
def test_a_record_that_says_nothing_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.tsv"
    assert recorded_seconds(file) is None
    file.write_text(text, encoding="utf-8")
    assert recorded_seconds(file) is None
