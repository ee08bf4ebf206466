"""Checks of `make doctor`: models, benchmarks and SFT data of a study, made or to be had.

Compute nodes need no network: local rules fetch everything into results/inputs on the
login node. So what is asked is whether it lies there, or whether this machine can get it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from multical import files, paths
from multical.cluster.checks import Finding, Findings, checked
from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.config.schema import Config
from multical.config.studies import ApiStudy, HarnessStudy, ModelStudy, MultilingualStudy
from multical.data.benchmark_params import ChoiceBenchmark, HubBenchmark, QuestionFile
from multical.data.sft_params import HubSft
from multical.errors import InputError
from multical.models.api_params import ApiModel
from multical.models.fetch_params import FolderModel, HubModel, PypiModel
from multical.params import Strict

#: Seconds to wait for a server
PATIENCE = 10
ELSEWHERE = (
    "make it on a machine with network (snakemake -c1 {target}), and copy results/inputs here "
    "with rsync -a"
)


def inputs(config: Config, root: str) -> Findings:
    """Everything that the study at `root` is made from."""
    study = config.studies[root]
    if isinstance(study, MultilingualStudy):
        yield from checked("hub token", token, config, study.models)
        for name in study.models:
            yield from checked(f"model {name}", model, config, name)
        yield from benchmarks(config, study)
        for name in study.sft_data:
            made = Path(paths.SFT_DATA.format(sft=name))
            key = f"sft_data.{name}.source"
            yield from data(f"sft data {name}", config.sft_data[name].source, made, key)
    elif isinstance(study, ApiStudy):
        yield from answering(config, study.models)
        yield from benchmarks(config, study)
    elif isinstance(study, ChatConfidenceStudy):
        # what another study trains is that study's
        yield from answering(config, [one.run for one in study.models if one.of is None])
        yield from benchmarks(config, study)
    elif isinstance(study, HarnessStudy):
        yield from logs(study)
    else:
        yield from release(root, study)


def answering(config: Config, names: list[str]) -> Findings:
    """Models that are asked as they are, local ones and such as are behind an API."""
    behind = [name for name in names if isinstance(config.models[name].source, ApiModel)]
    local = [name for name in names if name not in behind]
    yield from checked("hub token", token, config, local)
    for name in names:
        yield from checked(f"model {name}", model if name in local else api, config, name)


def benchmarks(config: Config, study: ModelStudy) -> Findings:
    """The benchmarks of a study, and their examples."""
    for name in study.benchmarks:
        made = Path(paths.BENCHMARK.format(benchmark=name))
        source = config.benchmarks[name].source
        yield from data(f"benchmark {name}", source, made, f"benchmarks.{name}.source")
        if study.scoring.num_fewshot and isinstance(source, QuestionFile):
            yield from examples(f"examples {name}", Path(str(source.fewshot)))


def model(config: Config, name: str) -> Findings:
    """A base model: fetched, or to be fetched from here."""
    what, source = f"model {name}", config.models[name].source
    manifest = Path(paths.MODEL_MANIFEST.format(model=name))
    if _is_fetched(source, manifest):
        yield Finding("ok", what, f"fetched into {manifest.parent}: nodes need no network")
    elif isinstance(source, PypiModel):
        yield from packages(what, source, manifest)
    elif isinstance(source, HubModel):
        yield from hub(what, source, manifest, f"models.{name}.source")
    elif isinstance(source, FolderModel) and Path(source.path).is_dir():
        yield Finding("ok", what, f"to be copied from {source.path}")
    elif isinstance(source, FolderModel):
        told = f"no folder {source.path}"
        yield Finding("error", what, told, f"correct models.{name}.source.path in config.yaml")


def api(config: Config, name: str) -> Findings:
    """A model behind an API: whether that answers here, takes the key, and has the model."""
    from multical.scoring.api_client import Client

    what, source = f"model {name}", config.api(name)
    key = f"models.{name}.source"
    access = source.access.model_copy(update={"timeout": PATIENCE})
    try:
        names = Client(source, access).models()
    except InputError as error:
        cure = f"set ${source.access.key}, or correct" if source.access.key else "correct"
        yield Finding("error", what, str(error), f"{cure} {key} in config.yaml")
        return
    if names and source.model not in names:
        told = f"{source.url} lists no {source.model}, but {', '.join(names[:5])}"
        yield Finding("warning", what, told, f"correct {key}.model in config.yaml")
    else:
        yield Finding("ok", what, f"{source.url} answers; nothing was asked of the model")


def packages(what: str, source: PypiModel, manifest: Path) -> Findings:
    """Whether pip, as the user has set it up, finds the packages of a model."""
    with ThreadPoolExecutor() as pool:
        reasons = list(filter(None, pool.map(_not_found, source.packages)))
    if reasons:
        cure = ELSEWHERE.format(target=manifest)
        yield Finding("error", what, f"not fetched, and pip cannot: {reasons[0]}", cure)
    else:
        yield Finding("ok", what, "not fetched yet; pip finds its packages")


def token(config: Config, names: list[str]) -> Findings:
    """Whether the hub takes the user's token, if a model of the study is still to come."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    missing = [
        name
        for name in names
        if isinstance(source := config.models[name].source, HubModel)
        and not _is_fetched(source, Path(paths.MODEL_MANIFEST.format(model=name)))
    ]
    if not missing:
        return
    if get_token() is None:
        yield Finding("ok", "hub token", "none, which is enough for public models")
        return
    try:
        yield Finding("ok", "hub token", f"is {HfApi().whoami()['name']}'s")
    except HfHubHTTPError as error:
        told = f"refused ({_line(error)})"
        yield Finding("error", "hub token", told, "hf auth login, or unset HF_TOKEN")
    except Exception as error:  # of the HTTP library; the model's own line has the cure
        yield Finding("warning", "hub token", f"not checked ({_line(error)})", "see the models")


def hub(
    what: str,
    source: HubModel | HubBenchmark | ChoiceBenchmark | HubSft,
    made: Path,
    key: str,
    kind: str = "model",
) -> Findings:
    """Whether this user may fetch a model or data set from the hub, at its revision."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api, repo = HfApi(), source.repo
    folder = "datasets/" if kind == "dataset" else ""
    page, login = f"{api.endpoint}/{folder}{repo}", "then hf auth login"
    elsewhere = ELSEWHERE.format(target=made)
    unnamed = "" if source.revision else f", and {key}.revision names no commit"
    try:
        api.auth_check(repo, repo_type=kind)
        found = api.repo_info(repo, repo_type=kind, revision=source.revision, timeout=PATIENCE)
    except GatedRepoError:
        whom = "without a token" if get_token() is None else "to your token"
        yield Finding(
            "error", what, f"{repo} is gated, and closed {whom}", f"ask at {page}, {login}"
        )
    except RevisionNotFoundError:
        told = f"{repo} has no commit {source.revision}"
        yield Finding("error", what, told, f"correct {key}.revision in config.yaml")
    except RepositoryNotFoundError:
        told = f"{page} does not exist, or is private"
        yield Finding("error", what, told, f"correct {key}.repo in config.yaml, or hf auth login")
    except OfflineModeIsEnabled:
        told = "not fetched, and HF_HUB_OFFLINE forbids it"
        yield Finding("error", what, told, "unset HF_HUB_OFFLINE on the login node; jobs set it")
    except HfHubHTTPError as error:
        yield Finding("error", what, f"not fetched, and the hub answers: {_line(error)}", elsewhere)
    except Exception as error:  # of the HTTP library: no network, no such host, too slow
        told = f"not fetched, and no answer from {api.endpoint} ({_line(error)}){unnamed}"
        name = f"name one ({page}/commits lists them), then " if unnamed else ""
        yield Finding("error", what, told, f"{name}{elsewhere}")
    else:
        if unnamed:
            told = f"no commit is named; the newest of {repo} is {found.sha}"
            yield Finding("error", what, told, f"set {key}.revision to it in config.yaml")
            return
        yield Finding("ok", what, f"not fetched yet; {repo} at the hub is open to you")


def data(what: str, source: object, made: Path, key: str) -> Findings:
    """A benchmark or SFT data: made, or to be made from what is here."""
    path = getattr(source, "path", None)
    if made.exists() and getattr(source, "revision", "") is not None:
        yield Finding("ok", what, f"made: {made}")
    elif isinstance(source, HubBenchmark | ChoiceBenchmark | HubSft):
        yield from hub(what, source, made, key, kind="dataset")
    elif path is None:
        yield Finding("ok", what, "to be made from the installed CLDR")
    elif Path(path).is_file():
        yield Finding("ok", what, f"to be made from {path}")
    else:
        yield Finding("error", what, f"no file {path}", "put it there, or correct config.yaml")


def examples(what: str, path: Path) -> Findings:
    """A local file of few-shot examples, which scoring reads where it is."""
    if path.is_file():
        yield Finding("ok", what, f"there: {path}")
    else:
        yield Finding("error", what, f"no file {path}", "put it there, or correct config.yaml")


def logs(study: HarnessStudy) -> Findings:
    """The sample logs of a harness study."""
    patterns = {pattern for run in study.runs for pattern in run.samples.values()}
    missing = []
    for pattern in sorted(patterns):
        try:
            files.find(pattern)
        except InputError as error:
            missing.append(str(error))
    if missing:
        told = f"{len(missing)} of {len(patterns)} missing ({missing[0]})"
        yield Finding("error", "sample logs", told, "put them there, or correct config.yaml")
    else:
        yield Finding("ok", "sample logs", f"{len(patterns)} of {len(patterns)} there")


def release(root: str, study: ReleasedStudy) -> Findings:
    """Released outputs: imported, in a local archive, or at the authors' repository."""
    what, source = "released outputs", study.source
    records = Path(paths.RELEASED_RECORDS.format(root=root))
    archive = os.environ.get("MSP_V2_ARCHIVE") or source.archive
    if records.exists():
        yield Finding("ok", what, f"imported: {records}")
    elif archive:
        if Path(archive).exists():
            yield Finding("ok", what, f"to be read from {archive}")
        else:
            cure = "put it there, or name another with MSP_V2_ARCHIVE"
            yield Finding("error", what, f"no archive {archive}", cure)
    else:
        try:
            request = urllib.request.Request(source.repository, method="HEAD")
            urllib.request.urlopen(request, timeout=PATIENCE).close()
        except (OSError, ValueError) as error:
            told = f"no answer from {source.repository} ({_line(error)})"
            cure = "copy the archive here, and name it with MSP_V2_ARCHIVE"
            yield Finding("error", what, told, cure)
        else:
            yield Finding("ok", what, f"to be downloaded from {source.repository}")


def _is_fetched(source: Strict, manifest: Path) -> bool:
    """Whether there is a model that was fetched from a source, as its manifest says."""
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))["source"]
        return type(source).model_validate(found) == source
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _not_found(package: str) -> str:
    """Why pip does not find `NAME==VERSION`; empty if it does. Nothing is downloaded."""
    name, _, version = package.partition("==")
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--json"]
    command += ["--only-binary=:all:", "--retries=0", f"--timeout={PATIENCE}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {name} in {2 * PATIENCE} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason"]
        return lines[-1].removeprefix("ERROR: ")
    versions = json.loads(done.stdout)["versions"]
    return "" if version in versions else f"{package} is not among {', '.join(versions[:5])}"


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:120]
