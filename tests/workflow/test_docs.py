"""What README and docs say that can be checked: claims, commands, numbers, paths and links."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from snakemake.cli import parse_args

from multical.claims import schema as claims_schema
from multical.config import files
from support import checkout, forks

ROOT = checkout.REPO
STUDIES = files.load().studies
CLAIMS = claims_schema.load(ROOT / "claims.yaml").claims
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
#: First words of a line of a code block, after variables, that make it a command
PROGRAMS = ("make", "snakemake", "git", "rm", "python", ".venv/bin/")


@dataclass(frozen=True)
class Run:
    """Run as it stands in a copy of the repository, with `URL` that of this one."""

    prints: str


@dataclass(frozen=True)
class Dry:
    """It hands Snakemake these targets, which a dry run plans to make."""

    targets: str


@dataclass(frozen=True)
class By:
    """What it starts is run by another test, or by CI: `text` occurs in that file."""

    file: str
    text: str


BUNDLE = By("tests/workflow/test_bundle.py", '"make_bundle"')
UNBUNDLE = By("tests/workflow/test_bundle.py", '"unpack_bundle"')
FIGURES = By("tests/workflow/test_bundle.py", '"figures.txt"')
DOCTOR = By("tests/support/doctor_house.py", "import doctor")
PLAN = By("tests/workflow/test_show_plan.py", '"tools/show_plan.py"')
EXPLAIN = By("tests/workflow/test_show_reasons.py", "tools/show_reasons.py")
PROVENANCE = By("tests/workflow/test_lineage.py", '"tools/show_provenance.py"')
#: Its parts; peers are installed and timed by nobody but who asks
BENCH = By("tests/workflow/test_benchmarks.py", "paper_statistics.check_truth")
GPU = By("tests/workflow/test_gpu_pack.py", "benchmarks/gpu.py")
SUBMIT = By("tests/slurm/test_driver_job.py", '"tools/submit.py"')
DEMO, MANIFEST = "results/demo/headline.txt", "results/inputs/models/gemma3-270m/manifest.json"
VERIFICATION = "results/msp/tables/verification.csv"
ONE_SHOT = "results/msp_v2/one_shot/headline.txt"
LITE_PLAN = 'make plan TARGET=results/lite/headline.txt ARGS="--profile none --card rtx-4090"'
GROUPS = "--groups score_run=score --group-components score=8"
#: How each command of README and docs is run by a test
COMMANDS: dict[str, Run | Dry | By] = {
    "make demo": Dry(f"{DEMO} results/demo/index.html"),
    "make demo CORES=4": Dry(f"{DEMO} results/demo/index.html"),
    "make msp_v2": Dry("msp_v2_verify results/msp_v2/index.html"),
    "MSP_V2_ARCHIVE=main_results.tar.xz make msp_v2": By(
        "tests/support/msp_study.py", "MSP_V2_ARCHIVE"
    ),
    "make lite": Dry("results/lite/headline.txt results/lite/index.html"),
    "make lite CORES=1": Dry("results/lite/headline.txt results/lite/index.html"),
    "make report STUDY=demo": Dry(f"{DEMO} results/demo/index.html"),
    "make report STUDY=mine": By("tests/workflow/test_docs.py", '("mine", "results/mine")'),
    "make verify STUDY=demo": Dry("results/demo/claims/verdicts.json"),
    "make verify STUDY=msp_v2": Dry("results/msp_v2/claims/verdicts.json"),
    "make doctor STUDY=results": DOCTOR,
    "make doctor STUDY=results/demo": DOCTOR,
    "make doctor STUDY=results/msp": DOCTOR,
    'make explain ARGS="--configfile FILE"': By(
        "tests/unit/config/test_config_files.py", '"--configfile", "more.yaml"'
    ),
    "make plan TARGET=results/headline.txt": Run("GPU-hours"),
    LITE_PLAN: By("tests/workflow/test_docs.py", "shlex.split(LITE_PLAN"),
    "make plan TARGET=results/demo/headline.txt": PLAN,
    "make plan TARGET=results/msp/headline.txt": PLAN,
    "make explain TARGET=results/demo/headline.txt": Run("never made"),
    "make explain TARGET=FILE": EXPLAIN,
    "make provenance TARGET=results/demo/figures/ece_by_lang.pdf": PROVENANCE,
    "make provenance TARGET=FILE": PROVENANCE,
    "make submit TARGET=results/demo/headline.txt": SUBMIT,
    "make submit TARGET=results/headline.txt": SUBMIT,
    "make stop": By(SUBMIT.file, '"tools/stop.py"'),
    "make recover ARGS=--cancel": By("tests/slurm/test_killed_driver.py", '"--cancel"'),
    "make env TORCH=cuda": By("tests/workflow/test_environment.py", '"env", "TORCH=cuda"'),
    "make fetch STUDY=results/lite": By("tests/workflow/test_fetch.py", '"tools/fetch.py"'),
    "make bundle STUDY=demo": BUNDLE,
    "make bundle STUDY=smoke": BUNDLE,
    "make bundle STUDY=demo ARGS=--anonymous": By(BUNDLE.file, "--anonymous"),
    "make export STUDY=demo": By("tests/workflow/test_export.py", '"tools/export_results.py"'),
    "make unbundle BUNDLE=multical-demo.zip": UNBUNDLE,
    "make unbundle BUNDLE=FILE": UNBUNDLE,
    "rm -r results/demo/figures": FIGURES,
    "rm -r results/smoke/figures": FIGURES,
    ".venv/bin/snakemake --cores 2 -- $(cat results/demo/bundle/figures.txt)": FIGURES,
    ".venv/bin/snakemake -c2 -- $(cat results/smoke/bundle/figures.txt)": FIGURES,
    "make gpu": GPU,
    'make gpu ARGS="--parts checks"': GPU,
    "make gpu ARGS=\"--only loss 'train gemma-2-2b'\"": GPU,
    "make gpu ARGS=--record": GPU,
    "make gpu-wheels": By(GPU.file, "fetch.report"),
    "make bench": BENCH,
    "make bench ITEMS=startup": BENCH,
    "make bench ITEMS=verbs": BENCH,
    "git clone URL multical && cd multical && make env && source .venv/bin/activate": Run(""),
    "snakemake -c2 docs/coverage.pdf": Dry("docs/coverage.pdf"),
    f"snakemake -c1 {VERIFICATION}": Dry(VERIFICATION),
    f"snakemake -c2 {ONE_SHOT}": Dry(ONE_SHOT),
    f"snakemake -c1 {MANIFEST}": Dry(MANIFEST),
    "snakemake --cores 2 -- results/inputs/models/MODEL/checkpoint": Dry(
        "results/inputs/models/gemma3-270m/checkpoint"
    ),
    "snakemake --profile slurm results/figures/ece_by_lang.pdf": By(
        "tests/workflow/test_slurm_profile.py", '"slurm", "results/figures/ece_by_lang.pdf"'
    ),
    "snakemake --profile slurm results/demo/figures/ece_by_lang.pdf": Dry(
        "results/demo/figures/ece_by_lang.pdf"
    ),
    "snakemake --profile slurm results/demo/headline.txt": Dry(DEMO),
    "snakemake --profile slurm results/headline.txt": By(
        "tests/support/paper_study.py", "/headline.txt"
    ),
    "snakemake --profile slurm results/msp/headline.txt": By(
        "tests/support/paper_msp.py", "/headline.txt"
    ),
    f"snakemake --profile slurm {GROUPS} --resources gpu=1 --set-resource-scopes gpu=local "
    "-- TARGET": Dry(DEMO),
}
#: What stands for a name in commands and paths
PLACEHOLDERS = {
    "RUN": "gemma3-270m.facts.ls0.1.s0", "MODEL": "gemma3-270m", "BENCHMARK": "cldr-facts",
    "BENCHMARK.SFT": "cldr-facts.facts", "STUDY": "demo", "TARGET": DEMO,
    "DATASET/NAME": "arc/calibration", "NAME": "ece_by_lang",
}  # fmt: skip
#: The study that a page's relative paths lie in
STUDY = {"docs/paper2.md": "results/msp"}
#: Paths that neither lie in the repository nor are made by a rule of a study of the config
OTHERS = [
    "slurm/site.yaml",  # of a user's cluster
    "config/local.yaml",  # a user's own entries
    "results/inputs/fetched.sha256",  # of make fetch
    ".snakemake/.*",
    "cache/api/MODEL.sqlite",  # see multical.paths
    "cache/api/MODEL.refused.jsonl",  # see multical.scoring.api
    ".*report.html",  # of the Makefile
    "results/[A-Za-z_]*/bundle/.*|restore.json|ro-crate-metadata.json|figures.txt",  # of a bundle
    "multical/RUN|lm_eval/RUN/|data/BENCHMARK/DEVELOPER/MODEL/|UUID.*",  # of an export
    "records/RUN/BENCHMARK.usage.json",  # of models behind APIs
    "results/(mine|tiny)[./].*",  # of examples
    "figures/BENCHMARK.SFT/",  # a panel
    "logs/.*",  # see multical.paths
    "benchmarks/(gpu.md|wheels)",  # of make gpu
    "plot_NAME.py|scripts/plot_NAME.py|report/NAME.rst",  # to be added
]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """The lines of all code blocks, indented or fenced, a continued line with the next."""
    lines, inside, fenced, before = [], False, False, ""
    for line in text(page).splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced:
            lines.append(line)
        else:
            inside = (line.startswith("    ") and (inside or not before.strip())) or (
                inside and not line.strip()
            )  # fmt: skip
            lines += [line] * inside
        before = line
    return re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()


def ticked(page: str) -> list[str]:
    """What stands in backticks, outside of code blocks."""
    return [" ".join(words.split()) for words in re.findall(r"`([^`]+)`", text(page))]


def commands(page: str) -> set[str]:
    """The commands of a page: in code blocks, and those in backticks that name something."""
    whole = [re.sub(r"\s+#.*", "", line).strip() for line in blocks(page)]
    named = [words for words in ticked(page) if re.search(r"[A-Z]=|results/|docs/", words)]
    return {
        command
        for command in map(" ".join, map(str.split, [*whole, *named]))
        if re.sub(r"^([A-Z_0-9]+=\S* )*", "", command).startswith(PROGRAMS)
        and " " in command
        and not command.startswith("make_")
    }


def filled(words: str) -> str:
    """Words with names for their placeholders."""
    for key, value in PLACEHOLDERS.items():
        words = re.sub(rf"(?<![A-Z.]){re.escape(key)}(?![A-Z.]*[A-Z])", value, words)
    return words


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a new clone has it, with the environment of this one."""
    return with_environment(checkout.copy(tmp_path_factory.mktemp("docs")))


def with_environment(folder: Path) -> Path:
    """Give a folder this environment as its own, which `make env` finds up to date."""
    (folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != "lock":
            (folder / ".venv" / part.name).symlink_to(part)
    shutil.copy(ROOT / "envs/requirements.lock", folder / ".venv/lock")
    return folder


def bash(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a page as its reader would, with no cluster's values set."""
    environ = {key: value for key, value in os.environ.items() if "MULTICAL" not in key}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_each_command_is_run_by_a_test() -> None:
    found = set[str]().union(*map(commands, PAGES))
    assert found - COMMANDS.keys() == set(), "not in the table"
    assert COMMANDS.keys() - found == set(), "in no page"


def test_each_verb_is_one_of_the_makefile() -> None:
    verbs = set(re.findall(r"^\.PHONY: (.*)$", text("Makefile"), re.M)[0].split())
    for page in PAGES:
        for words in ticked(page):
            if re.match(r"make [a-z_0-9-]+$", words):
                assert words.removeprefix("make ") in verbs, page


@pytest.mark.parametrize("command", [key for key, how in COMMANDS.items() if isinstance(how, By)])
def test_other_tests_run_it(command: str) -> None:
    how = COMMANDS[command]
    assert isinstance(how, By)
    assert how.text in text(how.file)


@pytest.mark.workflow
@pytest.mark.parametrize("command", [key for key, how in COMMANDS.items() if isinstance(how, Run)])
def test_it_runs(copy: Path, command: str) -> None:
    how = COMMANDS[command]
    assert isinstance(how, Run)
    if "git clone" in command:  # `make env` takes minutes, and a network
        link = f"cp -P {copy}/.venv . -r && make env"
        done = bash(command.replace("URL", str(ROOT)).replace("make env", link), copy.parent)
    else:
        done = bash(command, copy)
    assert done.returncode == 0, done.stderr
    assert how.prints in done.stdout
    if "results/headline.txt" in command:  # the table of docs/costs.md
        row = r"^\| (train|score) (?:on )?(.*?) \| \d+ \| \S+ \| (\S+) \| (\S+) \| (\S+) \|$"
        rows = re.findall(row, text("docs/costs.md"), re.M)
        assert len(rows) == 5
        for verb, data, *hours in rows:
            data = data.lower().replace("tulu 3", "tulu3")
            for model, one in zip(("gemma-2-2b", "mistral-7b", "llama-3.1-8b"), hours, strict=True):
                line = rf"{verb}_\w+ +{model} +{data} .* {re.escape(one)}$"
                assert re.search(line, done.stdout, re.M), line


@pytest.mark.workflow
def test_the_plan_of_one_gpu_is_that_of_its_table(copy: Path) -> None:
    row = r"^\| (train|score) (?:on )?(\S+) \| (\d+ \| \S+ \| \S+ \| \S+e\+\d+) \| (.*) \|$"
    rows = re.findall(row, text("docs/costs.md"), re.M)
    assert len(rows) == 3
    (total,) = re.findall(r"^\| all, .* \| 29 \| +\| +\| +\| (.*) \|$", text("docs/costs.md"), re.M)
    environ = {key: value for key, value in os.environ.items() if "MULTICAL" not in key}
    for card, name in enumerate(("rtx-4090", "a5000")):
        words = shlex.split(LITE_PLAN.replace("rtx-4090", name))
        given = dict(word.split("=", 1) for word in words[2:])
        arguments = [given["TARGET"], *given["ARGS"].split()]
        program = [sys.executable, "tools/show_plan.py", *arguments]
        done = forks.run(program, cwd=copy, env=environ)
        assert done.returncode == 0, done.stderr
        assert f" {total.split(' | ')[card]} of wall time" in done.stdout
        for verb, data, sizes, hours in rows:
            cells = [*sizes.split(" | "), hours.split(" | ")[card]]
            line = rf"{verb}_\w+ +\S+ +{data} +" + " +".join(map(re.escape, cells))
            assert re.search(f"{line}$", done.stdout, re.M), line


#: In the place of Snakemake and of Python: notes its arguments, and leaves files for what make does
#: next
RECORDER = """#!/bin/sh
printf '%s\\n' "$*" >> calls
for word; do case $word in
  results/*) mkdir -p "${word%/*}" && touch "$word";;
esac; done
"""


@pytest.mark.parametrize("command", [key for key, how in COMMANDS.items() if isinstance(how, Dry)])
def test_it_hands_snakemake_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    how = COMMANDS[command]
    assert isinstance(how, Dry)
    monkeypatch.chdir(ROOT)  # which has the profile
    call = re.sub(r"^\S*snakemake ", "", filled(command))
    if command.startswith("make "):
        call = calls(command, tmp_path)[0]
    assert parse_args(shlex.split(call))[1].targets == how.targets.split()


def calls(command: str, folder: Path) -> list[str]:
    """How a verb of the Makefile calls Snakemake, in an empty folder."""
    for name in ("Makefile", "envs", "report"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(ROOT / "envs/requirements.lock", folder / ".venv/lock")
    for name in ("snakemake", "python"):
        (folder / ".venv/bin" / name).write_text(RECORDER)
        (folder / ".venv/bin" / name).chmod(0o755)
    bash(f"{command} SNAKEMAKE={folder}/.venv/bin/snakemake", folder)
    lines = (folder / "calls").read_text().splitlines()
    return [line for line in lines if not line.startswith("tools/")]


@pytest.mark.parametrize(
    ("study", "root"),
    [("mine", "results/mine"), ("results/mine", "results/mine"), ("results", "results")],
)
def test_a_report_is_made_from_nothing(tmp_path: Path, study: str, root: str) -> None:
    targets = [f"{root}/headline.txt", f"{root}/index.html"]
    made, reported = calls(f"make report STUDY={study}", tmp_path)
    assert parse_args(shlex.split(made))[1].targets == targets
    assert parse_args(shlex.split(reported))[1].targets == targets
    assert f"--report {root}/report.html -- " in reported


def paths(page: str) -> list[str]:
    """The paths of a page: in backticks, and below results/ in code blocks."""
    found = [words for words in ticked(page) if re.fullmatch(r"[\w.*/-]+", words)]
    found = [
        words
        for words in found
        if re.search(
            r"/|\.(py|md|csv|pdf|json|ya?ml|rst|html|txt|tex|parquet|smk|cff|lock)$", words
        )
        and not words.startswith((".parquet", ".about", ".json", ".tex", ".csv"))
    ]
    for line in blocks(page):
        found += re.findall(r"(?<![\w/])results/[\w./-]+\.[a-z]+", re.sub(r"\s#.*", "", line))
    return [words for words in found if "." in words.strip("./") or "/" in words]


def made(page: str) -> set[str]:
    """The files of a page that rules must make, their placeholders filled in."""
    found = set()
    for path in paths(page):
        if exists(page, path) or any(re.fullmatch(other, path) for other in OTHERS):
            continue
        if path in " ".join(COMMANDS):  # the test of that command makes it, or plans it
            continue
        rooted = (
            path if path.startswith("results/") else f"{STUDY.get(page, 'results/demo')}/{path}"
        )
        if not rooted.endswith("/") and rooted not in STUDIES:
            found.add(filled(rooted))
    return found


def exists(page: str, path: str) -> bool:
    if path.startswith("results/") and path != "results/README.md":
        return path == "results/"  # what a study has made here proves nothing
    folders = (ROOT, (ROOT / page).parent)
    return any((folder / path).exists() or any(folder.glob(path)) for folder in folders)


@pytest.mark.workflow
def test_paths_exist_or_are_made(copy: Path) -> None:
    """A dry run plans all files that pages say a study has, and all targets of commands."""
    targets = set[str]().union(*map(made, PAGES))
    targets |= {x for how in COMMANDS.values() if isinstance(how, Dry) for x in how.targets.split()}
    assert "results/demo/tables/settings.csv" in targets
    quiet = ["--quiet", "rules", "host", "progress", "reason"]
    done = forks.run(
        [*checkout.SNAKEMAKE, "--dry-run", *quiet, "--", *sorted(targets)],
        cwd=copy,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_folders_exist_or_are_those_of_outputs(page: str) -> None:
    outputs = text("scripts/multical/paths.py")
    for path in paths(page):
        if path.endswith("/") and not exists(page, path):
            known = filled(path.rstrip("/")) in STUDIES
            known |= any(re.fullmatch(one, path) for one in OTHERS)
            assert known or f"/{path.rstrip('/').split('/')[-1]}" in outputs, path


def test_readme_is_short_and_shows_each_room() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) <= 120
    tree = "\n".join(blocks("README.md"))
    rooms = [path.parent.name for path in (ROOT / "scripts/multical").glob("*/__init__.py")]
    assert [room for room in rooms if not re.search(rf"^ +{room}/ ", tree, re.M)] == []


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_reviewers_read_each_claim_as_it_is_tested() -> None:
    expected = claims_schema.load_expected(ROOT / "expected/claims.yaml")
    row = r"^\| ([MP]\d) \|.*\| `(.*)` \| `(.*)` \| (.*) \|$"
    table = re.findall(row, text("docs/reviewers.md"), re.M)
    assert [found[0] for found in table] == list(CLAIMS)
    for name, command, evidence, verdict in table:
        root = "results/" + command.removeprefix("make verify STUDY=")
        assert STUDIES[root].kind in CLAIMS[name].tested_on
        assert {evidence} == {f"{root}/{part.evidence}" for part in CLAIMS[name].parts}
        assert verdict == " or ".join((expected.of(root) or {}).get(name, ["not entered yet"]))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", text(page)):
        file, _, anchor = target.partition("#")
        path = (ROOT / page).parent / file if file else ROOT / page
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), target
