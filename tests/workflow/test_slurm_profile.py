"""slurm/profile.yaml against the workflow and a site's values; no cluster is needed."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yte
from snakemake_executor_plugin_slurm import Executor

from multical.cluster import site
from multical.errors import InputError
from support import checkout, forks

REPO = checkout.REPO
SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake"))]


def profile(monkeypatch: pytest.MonkeyPatch, **values: str) -> dict[str, Any]:
    """The profile as Snakemake reads it, for a site's values."""
    monkeypatch.chdir(REPO)
    for key in site.SHAPES:
        monkeypatch.setenv(f"MULTICAL_{key.upper()}", values.get(key, ""))
    with open("slurm/profile.yaml", encoding="utf-8") as stream:
        return dict(yte.process_yaml(stream, require_use_yte=True))


def rules() -> dict[str, str]:
    """The text of each rule of the workflow that runs a program."""
    text = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    parts = re.split(r"^rule (\w+):\n", text, flags=re.MULTILINE)[1:]
    bodies = zip(parts[::2], parts[1::2], strict=True)
    return {name: body for name, body in bodies if "    shell:\n" in body}


def test_every_cluster_rule_has_its_needs_and_no_other_name_is_in_the_profile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listed = forks.run([*SNAKEMAKE, "--list-rules"], cwd=REPO, check=True)
    assert set(rules()) <= set(listed.stdout.split())
    cluster = {name for name, body in rules().items() if "    localrule: " not in body}
    needs = profile(monkeypatch)["set-resources"]
    assert set(needs) == cluster == {"train_sft", "evaluate_sft", "score_run"}
    threads = profile(monkeypatch)["set-threads"]
    assert set(threads) == cluster
    assert threads.pop("train_sft") == 2  # one to feed the GPU
    for name, number in threads.items():
        assert f"    threads: {number}\n" in rules()[name]
    for name, resources in needs.items():
        for key, least in (("runtime", 60), ("mem_mb", 1000)):
            asked = [value(resources[key], "gemma3-270m", attempt=n) for n in (1, 2, 3)]
            assert asked == [asked[0], 2 * asked[0], 3 * asked[0]], name
            assert asked[0] >= least


def value(expression: str, run: str, attempt: int = 1, root: str = "results") -> float:
    """A resource as Snakemake evaluates it for a job."""
    wildcards = argparse.Namespace(root=root, run=run)
    return float(eval(expression, {"wildcards": wildcards, "attempt": attempt}))


def test_small_models_ask_for_what_they_did_and_larger_ones_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs = profile(monkeypatch)["set-resources"]
    for run in ("gemma3-270m", "gemma3-270m.facts.ls0.1.s0"):
        asked = {rule: (value(one["runtime"], run), value(one["mem_mb"], run))
                 for rule, one in needs.items()}  # fmt: skip
        assert asked == {
            "train_sft": (240, 10000), "evaluate_sft": (120, 5000), "score_run": (120, 5000)
        }  # fmt: skip
    train, score = needs["train_sft"], needs["score_run"]
    large = "llama-3.1-8b.tulu3.lr2e-05"
    # in process 0 the weights as float32, and in each of four processes what else there is
    weights = 4 * 8030261248 / 1e6
    assert value(train["mem_mb"], large) > weights + 4 * 20000
    assert value(train["mem_mb"], large, attempt=4) == 2 * value(train["mem_mb"], large)
    assert [value(train["runtime"], large, attempt=n) for n in (1, 4)] == [1440, 1440]
    for run in ("llama-3.1-8b", large):
        assert value(score["mem_mb"], run) > weights
        assert value(score["runtime"], run, attempt=2) == 240
    assert value(score["mem_mb"], "gemma-2-2b") < value(score["mem_mb"], "mistral-7b")


def test_no_rule_retries_and_no_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(path.read_text() for path in (REPO / "rules").glob("*.smk"))
    assert "retries:" not in text
    read = profile(monkeypatch)
    assert read["retries"] >= 1
    assert not [key for key in read if "array" in key]


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        ("", {"gpu": 1}),
        ("gpus", {"gpu": 1}),
        ("gpus:a100", {"gpu": 1, "gpu_model": "'a100'"}),
        ("gres", {"gres": "'gpu:1'"}),
        ("gres:a100", {"gres": "'gpu:a100:1'"}),
        ("none", {}),
    ],
)
def test_gpu_request_styles(
    monkeypatch: pytest.MonkeyPatch, gpus: str, expected: dict[str, object]
) -> None:
    needs = profile(monkeypatch, gpus=gpus)["set-resources"]["score_run"]
    assert {key: needs[key] for key in needs.keys() - {"runtime", "mem_mb"}} == expected


SCALED: dict[str, Any] = {
    "results/demo": {"kind": "multilingual", "training": {"steps": 1}},
    "results/smoke": {"kind": "multilingual", "training": {"scale": {"processes": 4}}},
    "results/msp": {"kind": "released"},
}


@pytest.mark.parametrize(
    ("gpus", "key", "asked"),
    [
        ("", "gpu", {"results/smoke": 4, "results/demo": 1}),
        ("gpus:a100", "gpu", {"results/smoke": 4, "results/demo": 1}),
        ("gres", "gres", {"results/smoke": "gpu:4", "results/demo": "gpu:1"}),
        ("gres:a100", "gres", {"results/smoke": "gpu:a100:4", "results/demo": "gpu:a100:1"}),
    ],
)
def test_a_gpu_for_each_process_of_a_training(
    gpus: str, key: str, asked: dict[str, object]
) -> None:
    """As Snakemake evaluates the expression for a job of each study."""
    scaled = site.training_gpus({"studies": SCALED})
    found = site.Site(gpus=gpus or "gpus").request(scaled)
    for root, expected in asked.items():
        assert eval(str(found[key]), {"wildcards": argparse.Namespace(root=root)}) == expected


@pytest.mark.parametrize(
    "text",
    ["studies: [", "studies: {results: 1}", "[]", "models: {}", "include: [x.yaml]", None],
)
def test_a_config_that_is_wrong_is_left_to_the_snakefile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("config.yaml").write_text(text)
    found = site.config([])
    assert site.training_gpus(found) == 1
    assert site.billions(found) == 0
    assert site.scoring_memory(found) == 5000
    assert site.scoring_gpus(found) == 1


def test_the_profile_reads_what_the_command_line_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("studies: {results/demo: {training: {steps: 1}}}")
    more = "studies: {results/demo: {training: {scale: {processes: 4}}}}"
    Path("more.yaml").write_text(more)
    command = ["snakemake", "--profile", "slurm", "--configfile", "more.yaml", "--cores", "2"]
    assert site.training_gpus(site.config(command)) == site.training_gpus(
        {"studies": {"results/demo": {"training": {"scale": {"processes": 4}}}}}
    )
    assert site.training_gpus(site.config(command[:3])) == 1


def test_the_weights_of_a_job_s_model() -> None:
    """By the run's name, which may have dots of its own; of models that say nothing, none."""
    models = {"big-7b": 7.24e9, "big-7b.5": 9e9, "small": 3e8}
    told = {name: {"parameters": int(size)} for name, size in models.items()}
    found = str(site.billions({"models": {**told, "unknown": {"chat_format": "plain"}}}))
    assert "{" not in found  # which Snakemake would format in a run time
    asked = ["big-7b", "big-7b.x.ls0.s0", "big-7b.5.x.lr1e-05", "big-7bb", "small", "unknown.x"]
    assert [value(found, run) for run in asked] == [7.24, 7.24, 9, 0, 0, 0]


@pytest.mark.parametrize(("gpus", "key", "asked"), [("gpus", "gpu", [4, 4, 1, 1]),
    ("gres:a100", "gres", [f"gpu:a100:{n}" for n in (4, 4, 1, 1)])])  # fmt: skip
def test_the_gpus_of_a_scoring_are_those_of_its_model(
    gpus: str, key: str, asked: list[Any]
) -> None:
    models = {"big-70b": {"gpus": 4}, "one": {"gpus": 1}, "other": {}}
    request = site.Site(gpus=gpus).request(site.scoring_gpus({"models": models}))[key]
    runs = ["big-70b", "big-70b.facts.ls0.s0", "one", "big-70bb"]
    names = [{"wildcards": argparse.Namespace(run=run)} for run in runs]
    assert [eval(str(request), name) for name in names] == asked
    assert site.scoring_gpus({"models": {"other": {}}}) == 1


def test_memory_of_models_in_4_bits() -> None:
    studies = {"results/msp": {"scoring": {"quantization": "nf4"}}, "results/demo": {"scoring": {}}}
    found = str(site.scoring_memory({"studies": studies}))
    asked = ["results/msp", "results/demo", "results/msp/base"]
    names = [{"wildcards": argparse.Namespace(root=root)} for root in asked]
    assert [eval(found, name) for name in names] == [2500, 5000, 5000]
    assert site.scoring_memory({"studies": {"results/demo": {"scoring": {}}}}) == 5000


def test_waits_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/slurm.md, which has them from here and from the plugin."""
    said = profile(monkeypatch)
    assert said["latency-wait"] == 60
    assert said["slurm-status-attempts"] / said["max-status-checks-per-second"] == 5 * 60
    assert said["slurm-init-seconds-before-status-checks"] == 20
    assert "max_sleep_time = 180" in inspect.getsource(Executor.check_active_jobs)


def test_account_and_partitions_are_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(profile(monkeypatch)["default-resources"]) == {"runtime", "mem_mb", "disk_mb"}
    given = profile(monkeypatch, account="my-project", partitions="a100,h100")
    assert given["default-resources"]["slurm_account"] == "'my-project'"
    assert given["default-resources"]["slurm_partition"] == "'a100,h100'"


def test_jobs_without_gpus_have_partitions_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given = profile(monkeypatch, partitions="a100,h100", cpu_partitions="cpu")
    assert given["default-resources"]["slurm_partition"] == "'cpu'"
    asked = {one["slurm_partition"] for one in given["set-resources"].values()}
    assert asked == {"'a100,h100'"}
    monkeypatch.setenv("MULTICAL_PARTITIONS", "")
    with pytest.raises(InputError, match="CPU_PARTITIONS: cpu_partitions: found no partitions, ex"):
        site.load()


@pytest.mark.parametrize(
    ("key", "submitted"),
    [
        ("models", set()),
        ("statistics", {"compute_metrics"}),
        ("figures", {"compute_metrics", "plot_ece_by_lang", "make_main_table"}),
    ],
)
def test_more_rules_are_jobs_by_one_key(tmp_path: Path, key: str, submitted: set[str]) -> None:
    assert site.Site(submit=key).submits("verify_claims") == (key != "models")
    checkout.copy(tmp_path)
    done = forks.run(
        [sys.executable, "tools/show_plan.py", "results/smoke/headline.txt"],
        cwd=tmp_path,
        env={**os.environ, "MULTICAL_SUBMIT": key},
    )
    assert done.returncode == 0, done.stderr
    where = dict(re.findall(r"^  (\w+) +\d+  (here|cluster) ", done.stdout, re.M))
    more = {"compute_metrics", "plot_ece_by_lang", "make_main_table"} - submitted
    beside = {"fetch_model", "make_benchmark", "write_headline", *more}
    assert {where[rule] for rule in beside} == {"here"}
    assert {where[rule] for rule in {"train_sft", "score_run", *submitted}} == {"cluster"}


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """A dry run of the paper-scale study, from a fresh clone, and its seconds."""
    folder = checkout.copy(tmp_path_factory.mktemp("paper"))
    started = time.monotonic()
    done = forks.run(
        [*SNAKEMAKE, "-n", "--profile", "slurm", "results/figures/ece_by_lang.pdf"],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if "MULTICAL" not in key},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - started


@pytest.mark.workflow
def test_the_plan_of_the_paper_scale_study(paper: tuple[str, float]) -> None:
    table = paper[0].split("Job stats:")[1].split("\n\n")[0]
    counts = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.M)}
    assert {rule: counts[rule] for rule in PAPER} == PAPER
    # 120 s on a machine that others use as well; alone it takes five
    assert paper[1] < 120


@pytest.mark.workflow
def test_gpus_of_the_paper_scale_study(paper: tuple[str, float]) -> None:
    jobs = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)$", paper[0], re.M)
    asked = Counter(
        (rule, gpu[1] if (gpu := re.search(r"\bgpu=(\d+)", resources)) else "")
        for rule, resources in jobs
    )
    assert {(rule, gpus): asked[rule, gpus] for rule, gpus in asked if gpus} == {
        ("train_sft", "4"): 45, ("evaluate_sft", "1"): 27, ("score_run", "1"): 2130
    }  # fmt: skip
    assert asked["adopt_trial", ""] == 9


#: Jobs of it: 27 of the trainings are trials; 10 x 3 runs on 42 + 29 languages
PAPER = {
    "fetch_model": 3, "make_benchmark": 2, "make_sft_data": 3 + 3,
    "train_sft": 27 + 18, "evaluate_sft": 27, "choose_learning_rate": 9, "adopt_trial": 9,
    "score_run": 30 * (42 + 29), "merge_records": 60, "compute_metrics": 1, "plot_ece_by_lang": 1,
}  # fmt: skip


def test_dry_run_without_slurm(tmp_path: Path) -> None:
    """The needs of a job and the site's values meet in the job."""
    checkout.copy(tmp_path)
    (tmp_path / "slurm/site.yaml").write_text("partitions: gpu\naccount: 007\nqos: long\n")
    training = "studies:results/smoke:training"
    spread = {"gradient_accumulation_steps": 2, "scale": {"processes": 2}}
    edits: dict[str, Any] = {f"{training}:{key}": one for key, one in spread.items()}
    checkout.edit_config(tmp_path, edits | {"models:gemma3-270m:gpus": 3})
    done = forks.run(
        [*SNAKEMAKE, "--profile", "slurm", "-n", "results/smoke/figures/ece_by_lang.pdf"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if "MULTICAL" not in key},
    )
    assert done.returncode == 0, done.stderr
    jobs = re.split(r"\n(?=\[)", done.stdout)
    train = next(job for job in jobs if "rule train_sft:" in job)
    resources = re.search(r"resources: (.*)", train)
    assert resources
    asked = {
        "gpu=2",
        "slurm_partition=gpu",
        "slurm_account=007",
        "qos=long",
        "runtime=240",
        "mem_mb=10000",
    }
    assert asked <= set(resources[1].split(", "))
    for run, gpus in (("gemma3-270m", 3), ("smollm2-135m-instruct", 1)):
        scores = [job for job in jobs if "rule score_run:" in job and f"run={run}" in job]
        assert scores
        for score in scores:
            assert f"gpu={gpus}" in re.split(r"[\s,]+", score)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("acount: x", r"site.yaml: found \['acount'\], expected the keys"),
        ("partitions: 'gpu; rm'", r"site.yaml: partitions: found 'gpu; rm', expected a match"),
        ("gpus: [1", "site.yaml: not readable as YAML"),
        ("- gpu", "site.yaml: found list, expected the keys"),
    ],
)
def test_a_wrong_site_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        site.load(file, {})


def test_the_environment_goes_first(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("account: mine\ngpus: gres\n")
    assert site.load(file, {"MULTICAL_GPUS": "none"}) == site.Site("mine", None, "none")
    with pytest.raises(InputError, match="environment: MULTICAL_GPUS: gpus: found '8'"):
        site.load(file, {"MULTICAL_GPUS": "8"})
    assert site.load(tmp_path / "none.yaml", {}) == site.Site()
