"""Nothing from elsewhere is run, unpickled or unpacked astray, and no token is written down.

Archives of paper 2 that would leave their folder are in test_msp_import, folders of pickled
weights in test_fetch_model.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fetch_model
from multical import errors
from multical.cluster import site
from multical.config import schema
from multical.data import hub_datasets
from multical.errors import InputError, redacted
from multical.models import checkpoints
from multical.models.fetch_params import PypiModel
from support import checkout, forks, hub_server, rules, tiny
from support.hub_server import Hub
from support.tiny_study import tiny_study

PROGRAMS = sorted(
    path
    for folder in ("scripts", "benchmarks", "envs")
    for path in (checkout.REPO / folder).rglob("*.py")
    if ".venv" not in path.parts
)
#: Rules that only ask for files
WITHOUT_COMMAND = {"all", "msp_v2", "msp_v2_verify"}
RULES = sorted((checkout.REPO / "rules").glob("*.smk"))
#: Modules that make objects, and so run code, out of bytes
UNPICKLERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
#: What a call may be named that runs text, unpickles, or unpacks by the paths of an archive
RUNS = {"eval", "exec", "os.system", "os.popen", "torch.load", "read_pickle", "extractall"}


def faults(source: str, name: str = "") -> list[str]:
    """What in a program could run what others wrote."""
    return [fault for node in ast.walk(ast.parse(source)) for fault in _faults(node, name)]


def _faults(node: ast.AST, name: str) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        named = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
        yield from (one for one in named if one.split(".")[0] in UNPICKLERS)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from _trusted((getattr(key, "value", None), value) for key, value in pairs)
    if not isinstance(node, ast.Call):
        return
    called = ast.unparse(node.func)
    given = {one.arg: one.value for one in node.keywords}
    if called in RUNS or called.split(".")[-1] in {"read_pickle", "extractall"}:
        yield called
    if called == "yaml.load" and "BaseLoader" not in ast.unparse(node):
        yield called
    spread = [ast.unparse(one.value) for one in node.keywords if one.arg is None]
    if called.endswith(".from_pretrained") and "scripts/" in name and "SAFE" not in spread:
        yield f"{called} without SAFE"
    if "shell" in given and ast.unparse(given["shell"]) != "False":
        yield f"{called}: shell"
    if "allow_pickle" in given and ast.unparse(given["allow_pickle"]) != "False":
        yield f"{called}: allow_pickle"
    yield from _trusted(given.items())


def _trusted(pairs: Any) -> Iterator[str]:
    for key, value in pairs:
        if key == "trust_remote_code" and ast.unparse(value) != "False":
            yield "trust_remote_code"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_no_program_runs_what_others_wrote(program: Path) -> None:
    place = program.relative_to(checkout.REPO).as_posix()
    assert faults(program.read_text(encoding="utf-8"), place) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "torch.load(x)", "pd.read_pickle(x)", "eval(x)",
     "np.load(x, allow_pickle=True)", "archive.extractall()", "yaml.load(x)", "os.system(x)",
     "subprocess.run(x, shell=True)", "A.from_pretrained(x, trust_remote_code=True)",
     "A.from_pretrained(x)", "safe = {'trust_remote_code': True}"],
)  # fmt: skip
def test_such_programs_would_be_found(source: str) -> None:
    assert faults(source, "scripts/x.py")


@pytest.mark.workflow
def test_no_code_in_a_config_runs(tmp_path: Path) -> None:
    """Snakemake would run it with `__use_yte__`; it reads config.yaml before we are asked."""
    folder = checkout.copy(tmp_path / "clone")
    code = "__use_yte__: true\n__definitions__:\n- import os\n- os.mkdir('ran')\n"
    (folder / "config.yaml").write_text(code, encoding="utf-8")
    done = forks.run([*checkout.SNAKEMAKE, "--dry-run"], cwd=folder)
    assert done.returncode != 0
    assert "config.yaml: __use_yte__: found code for Snakemake to run" in done.stdout + done.stderr
    assert not (folder / "ran").exists()


@pytest.mark.workflow
def test_no_file_beside_programs_hides_a_library(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path / "clone")
    (folder / "scripts/scipy.py").touch()
    done = forks.run([*checkout.SNAKEMAKE, "--dry-run"], cwd=folder)
    assert done.returncode != 0
    assert "scripts/scipy: hides the module of that name" in done.stdout + done.stderr


@pytest.mark.workflow
def test_what_would_change_results_does_not_reach_jobs(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path / "clone")
    tiny_study(folder)
    program = "import os\nfor pair in os.environ.items():\n    print(*pair)\nraise SystemExit(1)\n"
    (folder / "scripts/make_benchmark.py").write_text(program, encoding="utf-8")
    unseen = {"ACCELERATE_MIXED_PRECISION": "bf16", "PYTHONPATH": "/opt", "MPLBACKEND": "other"}
    other = {"ANYTHING_ELSE": "", "MPLCONFIGDIR": str(tmp_path)}
    environ = os.environ | forks.environment() | unseen | other
    command = [*checkout.SNAKEMAKE, "--", "results/inputs/benchmarks/quiz.parquet"]
    done = forks.run(command, cwd=folder, env=environ)
    lines = (folder / "logs/make_benchmark/quiz.log").read_text().splitlines()
    given = dict(line.partition(" ")[::2] for line in lines)
    assert "ANYTHING_ELSE" in given
    assert not given.keys() & unseen.keys()
    assert given["MPLCONFIGDIR"] == str(folder / ".snakemake/matplotlib")
    said = done.stdout + done.stderr
    assert "$ACCELERATE_MIXED_PRECISION: not handed to jobs, since it would change" in said
    assert "$PYTHONPATH: /opt: not handed to jobs, whose results it could change" in said


#: JSON of our own, which no one else wrote: "file: function"
OWN_JSON = {
    "adopt_trial.py: main",  # compared before
    "bundle/entries.py: read",  # of YAML that was read
    "bundle/contents.py: _machines", "bundle/contents.py: _traced", "workflow/drivers.py: record",
    "cluster/inputs.py: _not_found",  # of pip
    "data/outlines.py: _rows",  # errors are those of its caller
    "multical/fixity.py: _read",  # suppressed
}  # fmt: skip


def test_json_that_is_too_deep_is_refused_wherever_it_is_read() -> None:
    """Lists in lists in lists raise a RecursionError, which is no ValueError."""
    found = set()
    for path in (checkout.REPO / "scripts").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                unguarded = _json_loads(function) - {
                    call
                    for one in ast.walk(function)
                    if isinstance(one, ast.Try)
                    and any("RecursionError" in ast.unparse(h.type or h) for h in one.handlers)
                    for call in _json_loads(*one.body)
                }
                if unguarded:
                    found.add(f"{'/'.join(path.parts[-2:])}: {function.name}")
    assert {name.removeprefix("scripts/") for name in found} == OWN_JSON


def _json_loads(*nodes: ast.AST) -> set[ast.AST]:
    called = {one for node in nodes for one in ast.walk(node) if isinstance(one, ast.Call)}
    return {call for call in called if ast.unparse(call.func) == "json.loads"}


@pytest.mark.workflow
def test_rules_quote_all_that_they_hand_to_the_shell(tmp_path: Path) -> None:
    commands = rules.commands(tmp_path)
    assert {rule for rule, command in commands.items() if command is None} == WITHOUT_COMMAND
    for rule, command in commands.items():
        fields = set(re.findall(r"\{([^{}]+)\}", command or ""))
        assert [name for name in fields - {"threads"} if not name.endswith(":q")] == [], rule
    assert not any("\n    run:" in file.read_text(encoding="utf-8") for file in RULES)


def test_make_hands_targets_and_studies_on_as_they_are(tmp_path: Path) -> None:
    text = (checkout.REPO / "Makefile").read_text(encoding="utf-8")
    recipes = re.findall(r"^\t@?(\$\(BIN\)/python .*(?:TARGET|STUDY).*)$", text, re.MULTILINE)
    assert len(recipes) == 5
    show = tmp_path / "show"
    show.write_text("import sys\nprint(sys.argv[1:])\n", encoding="utf-8")
    for recipe in recipes:
        words = re.sub(r"^\S+ \S+", f"{sys.executable} {show}", recipe)
        makefile = tmp_path / "Makefile"
        makefile.write_text(f"all:\n\t@{words}\n", encoding="utf-8")
        hostile = "a b; touch pwned `touch pwned` '\""
        given = [f"TARGET={hostile}", f"STUDY={hostile}"]
        for values, said in ((given, hostile), ([], None)):
            done = subprocess.run(
                ["make", "--silent", *values], cwd=tmp_path, capture_output=True, text=True,
                check=True,
            )  # fmt: skip
            assert ast.literal_eval(done.stdout)[-1:] == ([] if said is None else [said])
    assert not (tmp_path / "pwned").exists()


# models and data


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil-was-run"),))


def test_code_and_pickles_beside_a_model_are_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny.folder(tmp_path / "own").parent / "checkpoint"
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "rng_state.pth"):
        torch.save(Evil(), folder / name)
    (folder / "evil.py").write_text("open('evil-was-run', 'w')\n", encoding="utf-8")
    for name, kinds in (
        ("config.json", {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.Slow", "evil.Fast"]}),
    ):
        about = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps({**about, "auto_map": kinds}), encoding="utf-8")
    model, _ = checkpoints.load(folder)
    assert type(model).__module__.startswith("transformers.")
    assert not Path("evil-was-run").exists()
    pickle.loads(pickle.dumps(Evil()))  # it would have left the file
    assert Path("evil-was-run").exists()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serve() as hub:
        hub.point(monkeypatch, tmp_path / "cache")
        monkeypatch.setattr("multical.data.hub.WAIT", 0.0)
        monkeypatch.chdir(tmp_path)
        yield hub


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {"data/test.tar": tar({"0.pth": pickle.dumps(Evil()), "0.txt": b"x"})},
        {"data/test.txt": b"a line\n"},
    ],
    ids=["archive", "text"],
)
def test_data_sets_are_tables_alone(served: Hub, files: dict[str, bytes]) -> None:
    repo = served.add("datasets", "lab/odd", files)
    with pytest.raises(InputError, match="of the format"):
        hub_datasets.split(repo.name, repo.revision, None, "test")
    assert not Path("evil-was-run").exists()


def test_a_program_in_a_data_set_is_not_run(served: Hub) -> None:
    evil = b"open('evil-was-run', 'w')\n"
    repo = served.add("datasets", "lab/odd", {"odd.py": evil, "README.md": b"# odd\n"})
    with pytest.raises(InputError):
        hub_datasets.split(repo.name, repo.revision, None, "test")
    assert not Path("evil-was-run").exists()


def test_members_of_packages_stay_where_they_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, scratch = tmp_path / "wheels", tmp_path / "in/scratch"
    wheels.mkdir()
    scratch.mkdir(parents=True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    about = "evil-1.0.0.dist-info"
    members = {
        "../../NOTICE.md": b"notice",
        "../../tiny.gguf": b"weights",
        "/../../../planted": b"planted",
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: evil\nVersion: 1.0.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    with zipfile.ZipFile(wheels / "evil-1.0.0-py3-none-any.whl", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    before = set(tmp_path.rglob("*"))
    source = evil_model(["NOTICE.md"])
    licences = fetch_model.download(source, scratch)
    assert licences == {"NOTICE.md": b"notice"}
    made = set(tmp_path.rglob("*")) - before
    assert {path.relative_to(scratch).as_posix() for path in made} == {
        "tiny.gguf", "evil-1.0.0-py3-none-any.whl"
    }  # fmt: skip


def evil_model(licence_files: list[str]) -> PypiModel:
    """A model in a package that would run code."""
    return PypiModel(
        kind="pypi",
        packages=["evil==1.0.0"],
        gguf="tiny.gguf",
        sha256="0" * 64,
        licence_files=licence_files,
    )


def test_packages_with_a_program_to_run_are_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = f"open({str(tmp_path / 'evil-was-run')!r}, 'w')\n".encode()
    members = {"evil-1.0.0/setup.py": evil, "evil-1.0.0/PKG-INFO": b"Name: evil\nVersion: 1.0.0\n"}
    with gzip.open(tmp_path / "evil-1.0.0.tar.gz", "wb") as stream:
        stream.write(tar(members))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    source = evil_model([])
    with pytest.raises(InputError, match="pip cannot download"):
        fetch_model.download(source, tmp_path / "scratch")
    assert not (tmp_path / "evil-was-run").exists()


# tokens


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://me:pass@host/x: gone", "https://***@host/x: gone"),
        ("http://x@host/a?b=1&access_token=abc (4)", "http://***@host/a?b=1&access_token=*** (4)"),
        ("told hf_ABCDEFGHIJKLMNOPQRSTUVWX.", "told ***."),
        ("key s3cret-of-mine!", "key ***!"),
        ("hf_hub, user@host: http://host/a@b?tokens", "hf_hub, user@host: http://host/a@b?tokens"),
    ],
)  # fmt: skip
def test_what_is_hidden_and_what_is_not(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "s3cret-of-mine")
    monkeypatch.setenv("USE_TOKEN", "true")
    assert redacted(text) == said


def test_programs_hide_tokens_in_what_they_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-mine")

    def main() -> None:
        raise InputError("https://me:word@host: no download (a-token-of-mine)")

    with pytest.raises(SystemExit) as caught:
        errors.program(main)
    assert caught.value.code == "error: https://***@host: no download (***)"


def test_tracebacks_hide_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-token-of-mine")

    def main() -> None:
        raise OSError("no download (a-token-of-mine)")

    with pytest.raises(SystemExit) as caught:
        errors.program(main)
    assert str(caught.value.code).startswith("Traceback")
    assert "OSError: no download (***)" in str(caught.value.code)


def test_a_login_in_the_config_is_refused() -> None:
    raw = checkout.config()
    raw["studies"]["results/msp_v2"]["source"]["repository"] = "https://me:word@host/x"
    with pytest.raises(InputError, match=r"source\.repository"):
        schema.load(raw)


# the shell

HOSTILE = [
    "$(touch pwned)", "`touch pwned`", "a; touch pwned", "a' ; touch pwned '", 'a"; touch pwned "',
    "a\ntouch pwned", "a\n", "{wildcards}", "{root}", "a|b", "a&b", "a>b", "*", "~", "-a", "a\0b",
]  # fmt: skip
#: All of it at once, as the name of a folder or file
NAME = """a $(touch pwned1)`touch pwned2`; touch pwned3 & '"\\ * ~ | >pwned4 #"""


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("section", ["models", "benchmarks", "sft_data", "prompts", "studies"])
def test_hostile_names_are_refused(section: str, name: str) -> None:
    raw = checkout.config()
    raw[section][name] = next(iter(raw[section].values()))
    with pytest.raises(InputError):
        schema.load(raw)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "place",
    [
        ("models", "gemma-2-2b", "source", "repo"),
        ("models", "gemma-2-2b", "source", "revision"),
        ("models", "gemma3-270m", "source", "gguf"),
        ("benchmarks", "global-mmlu", "source", "split"),
        ("studies", "results/msp_v2", "source", "commit"),
        ("studies", "results/demo", "figures", "reference_language"),
    ],
)
def test_hostile_values_are_refused(place: tuple[str, ...], name: str) -> None:
    raw = checkout.config()
    entry = raw
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = name
    with pytest.raises(InputError):
        schema.load(raw)


@pytest.mark.parametrize("name", ["a{root}", "{wildcards}", "a\nb", "a\n", "a\0b", "a\x1b[2J", ""])
@pytest.mark.parametrize(
    ("section", "source"),
    [
        ("models", {"kind": "folder"}),
        ("benchmarks", {"kind": "file"}),
        ("sft_data", {"kind": "file"}),
    ],
)
def test_paths_that_snakemake_would_read_otherwise_are_refused(
    section: str, source: dict[str, str], name: str
) -> None:
    raw = checkout.config()
    next(iter(raw[section].values()))["source"] = source | {"path": name}
    with pytest.raises(InputError, match=r"source.*path"):
        schema.load(raw)


@pytest.mark.parametrize("value", [name for name in HOSTILE if "\0" not in name])
@pytest.mark.parametrize("key", site.SHAPES)
def test_hostile_values_of_a_cluster_are_refused(key: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"MULTICAL_{key.upper()}"):
        site.load(tmp_path / "none.yaml", {f"MULTICAL_{key.upper()}": value})


def hostile_study(folder: Path, name: str) -> None:
    """The tiny study, with a hostile name of its model, questions and data, and such a prompt."""
    tiny_study(folder)
    raw = checkout.config(folder)
    for section, entry, old, new in (
        ("models", "little", "little", name),
        ("benchmarks", "quiz", "quiz.jsonl", f"{name}.quiz.jsonl"),
        ("sft_data", "own", "own.jsonl", f"{name}.jsonl"),
    ):
        (folder / old).rename(folder / new)
        raw[section][entry]["source"]["path"] = new
    raw["prompts"]["default"]["multiple_choice"] = f"{name} {{wildcards}} {{question}} {{options}}"
    (folder / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    stub = (folder / "scripts/score_run.py").read_text(encoding="utf-8")
    keep = "\nPath(given['--output'] + '.params').write_text(given['--params'])\n"
    (folder / "scripts/score_run.py").write_text(stub + keep, encoding="utf-8")


@pytest.mark.workflow
def test_hostile_paths_and_prompts_reach_programs_as_they_are(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path / "clone")
    hostile_study(folder, NAME)
    target = "results/tiny/records/little.own.ls0.1.s0/quiz.parquet"
    done = forks.run([*checkout.SNAKEMAKE, target], cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    given = json.loads((folder / f"{target}.params").read_text(encoding="utf-8"))
    assert (
        given["prompts"][0]["multiple_choice"] == f"{NAME} {{wildcards}} {{question}} {{options}}"
    )
    about = json.loads((folder / "results/inputs/sft/own.about.json").read_text(encoding="utf-8"))
    assert about["source"]["path"] == f"{NAME}.jsonl"
    assert not [path for path in tmp_path.rglob("pwned*") if path.is_file()]


@pytest.mark.workflow
def test_hostile_targets_are_no_files_of_a_study(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path / "clone")
    tiny_study(folder)
    targets = [f"results/tiny/runs/{name}/manifest.json" for name in HOSTILE if "\0" not in name]
    for target in targets[:3]:
        done = forks.run(
            [sys.executable, "tools/show_provenance.py", "--", target],
            cwd=folder,
        )  # fmt: skip
        assert done.returncode == 1
        assert "no rule makes it" in done.stderr
    assert not list(tmp_path.rglob("pwned*"))
