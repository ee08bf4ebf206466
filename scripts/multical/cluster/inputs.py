"""Checks of `make doctor`: whether a study's models and data are here, or can be fetched.

Compute nodes need no network: local rules fetch everything into results/inputs on the
login node.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from multical import files, paths
from multical.cluster.checks import Finding, Findings, checked, fail, ok, one_line, warn
from multical.config.chat_confidence import ChatConfidenceStudy, ReleasedStudy
from multical.config.schema import Config
from multical.config.studies import (
    ApiStudy,
    HarnessStudy,
    Measured,
    ModelStudy,
    MultilingualStudy,
)
from multical.data.benchmark_params import ChoiceBenchmark, HubBenchmark, QuestionFile
from multical.data.sft_params import HubSft
from multical.errors import InputError
from multical.models.api_params import ApiModel
from multical.models.fetch_params import FolderModel, HubModel, PypiModel
from multical.params import Strict
from multical.workflow import job_params, question_checks

#: Seconds to wait for a server
TIMEOUT_S = 10
ELSEWHERE = (
    "make it on a machine with network (snakemake -c1 {target}), and copy results/inputs here "
    "with rsync -a"
)


def inputs(config: Config, root: str) -> Findings:
    """Checks of everything that the study at `root` is made from."""
    study = config.studies[root]
    yield from checked("headline", products, config, root)
    yield from checked("questions", questions, config, root)
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
        # models of another study are checked with that study
        yield from answering(config, [model.run for model in study.models if model.of is None])
        yield from benchmarks(config, study)
    elif isinstance(study, HarnessStudy):
        yield from logs(study)
    else:
        yield from release(root, study)


def products(config: Config, root: str) -> Findings:
    """Whether a study asks for all that the figures and tables of its headline need."""
    if isinstance(config.studies[root], Measured):
        job_params.check_products(config, root)
        yield ok("headline", "its figures and tables have all metrics that they need")


def questions(config: Config, root: str) -> Findings:
    """Whether local files of questions have the languages, options and examples of a study."""
    for sentence in question_checks.faults(config, root):
        yield fail("questions", sentence, "correct the config, or the file")


def answering(config: Config, names: list[str]) -> Findings:
    """The models that a study only scores: local ones, and those behind an API."""
    sources = {name: config.models[name].source for name in names}
    local = [name for name, source in sources.items() if not isinstance(source, ApiModel)]
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
            yield local_path(f"examples {name}", "file", str(source.fewshot))


def model(config: Config, name: str) -> Findings:
    """Whether a base model is fetched, or can be fetched from here."""
    subject, source = f"model {name}", config.models[name].source
    manifest = Path(paths.MODEL_MANIFEST.format(model=name))
    if _is_fetched(source, manifest):
        yield ok(subject, f"fetched into {manifest.parent}: nodes need no network")
    elif isinstance(source, PypiModel):
        yield from packages(subject, source, manifest)
    elif isinstance(source, HubModel):
        yield from hub(subject, source, manifest, f"models.{name}.source")
    elif isinstance(source, FolderModel):
        yield local_path(subject, "folder", source.path)


def api(config: Config, name: str) -> Findings:
    """Whether an API answers, accepts the key, and has the model."""
    from multical.scoring.api_client import Client

    subject, source = f"model {name}", config.api(name)
    key = f"models.{name}.source"
    access = source.access.model_copy(update={"timeout": TIMEOUT_S})
    try:
        names = Client(source, access).models()
    except InputError as error:
        variable = f"set ${source.access.key}, or " if source.access.key else ""
        yield fail(subject, str(error), f"{variable}correct {key} in the config")
        return
    if names and source.model not in names:
        message = f"{source.url} lists no {source.model}, but {', '.join(names[:5])}"
        yield warn(subject, message, f"correct {key}.model in the config")
    else:
        yield ok(subject, f"{source.url} answers; nothing was asked of the model")


def packages(subject: str, source: PypiModel, manifest: Path) -> Findings:
    """Whether pip, with the user's settings, finds the packages of a model."""
    with ThreadPoolExecutor() as pool:
        reasons = list(filter(None, pool.map(_not_found, source.packages)))
    if reasons:
        message = f"not fetched, and pip cannot: {reasons[0]}"
        yield fail(subject, message, ELSEWHERE.format(target=manifest))
    else:
        yield ok(subject, "not fetched yet; pip finds its packages")


def token(config: Config, names: list[str]) -> Findings:
    """Whether the hub accepts the user's token, if a model is still to be fetched."""
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
        yield ok("hub token", "none, which is enough for public models")
        return
    try:
        yield ok("hub token", f"is {HfApi().whoami()['name']}'s")
    except HfHubHTTPError as error:
        message = f"refused ({one_line(error)})"
        yield fail("hub token", message, "hf auth login, or unset HF_TOKEN")
    except Exception as error:  # from the HTTP library; the model's own line has the remedy
        yield warn("hub token", f"not checked ({one_line(error)})", "see the models")


def hub(
    subject: str,
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
    page = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    elsewhere = ELSEWHERE.format(target=made)
    try:
        api.auth_check(repo, repo_type=kind)
        info = api.repo_info(repo, repo_type=kind, revision=source.revision, timeout=TIMEOUT_S)
    except GatedRepoError:
        whom = "without a token" if get_token() is None else "to your token"
        message, remedy = (
            f"{repo} is gated, and closed {whom}",
            f"ask at {page}, then hf auth login",
        )
    except RevisionNotFoundError:
        message = f"{repo} has no commit {source.revision}"
        remedy = f"correct {key}.revision in the config"
    except RepositoryNotFoundError:
        message = f"{page} does not exist, or is private"
        remedy = f"correct {key}.repo in the config, or hf auth login"
    except OfflineModeIsEnabled:
        message = "not fetched, and HF_HUB_OFFLINE forbids it"
        remedy = "unset HF_HUB_OFFLINE on the login node; jobs set it"
    except HfHubHTTPError as error:
        message, remedy = f"not fetched, and the hub answers: {one_line(error)}", elsewhere
    except Exception as error:  # from the HTTP library: no network, no such host, too slow
        message = f"not fetched, and no answer from {api.endpoint} ({one_line(error)})"
        remedy = elsewhere
        if source.revision is None:
            message += f", and {key}.revision names no commit"
            remedy = f"name one ({page}/commits lists them), then {elsewhere}"
    else:
        if source.revision:
            gate = "gated, and " if info.gated else ""
            yield ok(subject, f"not fetched yet; {repo} at the hub is {gate}open to you")
            return
        message = f"no commit is named; the newest of {repo} is {info.sha}"
        remedy = f"set {key}.revision to it in the config"
    yield fail(subject, message, remedy)


def data(subject: str, source: object, made: Path, key: str) -> Findings:
    """Whether a benchmark or SFT data are made, or can be made from here."""
    path = getattr(source, "path", None)
    if made.exists() and getattr(source, "revision", "") is not None:
        yield ok(subject, f"made: {made}")
    elif isinstance(source, HubBenchmark | ChoiceBenchmark | HubSft):
        yield from hub(subject, source, made, key, kind="dataset")
    elif path is None:
        yield ok(subject, "to be made from the installed CLDR")
    else:
        yield local_path(subject, "file", path)


def local_path(
    subject: str, kind: str, path: str, remedy: str = "or correct the config"
) -> Finding:
    """Whether a file or a folder exists; an archive may be either."""
    is_there = {"file": Path.is_file, "folder": Path.is_dir}.get(kind, Path.exists)
    if is_there(Path(path)):
        return ok(subject, f"to be read from {path}")
    return fail(subject, f"no {kind} {path}", f"put it there, {remedy}")


def logs(study: HarnessStudy) -> Findings:
    """Whether the sample logs of a harness study exist."""
    patterns = {pattern for run in study.runs for pattern in run.samples.values()}
    missing = []
    for pattern in sorted(patterns):
        try:
            files.find(pattern)
        except InputError as error:
            missing.append(str(error))
    if missing:
        message = f"{len(missing)} of {len(patterns)} missing ({missing[0]})"
        yield fail("sample logs", message, "put them there, or correct the config")
    else:
        yield ok("sample logs", f"{len(patterns)} of {len(patterns)} here")


def release(root: str, study: ReleasedStudy) -> Findings:
    """Whether released outputs are imported, in a local archive, or at the authors' repository."""
    subject, source = "released outputs", study.source
    records = Path(paths.RELEASED_RECORDS.format(root=root))
    name = source.variable or "source.archive"
    if records.exists():
        yield ok(subject, f"imported: {records}")
    elif source.local:
        yield local_path(subject, "archive", source.local, f"or name another with {name}")
    else:
        assert source.repository is not None  # else there is an archive
        try:
            request = urllib.request.Request(source.repository, method="HEAD")
            urllib.request.urlopen(request, timeout=TIMEOUT_S).close()
        except (OSError, ValueError) as error:
            message = f"no answer from {source.repository} ({one_line(error)})"
            yield fail(subject, message, f"copy the archive here, and name it with {name}")
        else:
            yield ok(subject, f"to be downloaded from {source.repository}")


def _is_fetched(source: Strict, manifest: Path) -> bool:
    """Whether a manifest says that its model was fetched from this source."""
    try:
        recorded = json.loads(manifest.read_text(encoding="utf-8"))["source"]
        return type(source).model_validate(recorded) == source
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False


def _not_found(package: str) -> str:
    """Why pip does not find `NAME==VERSION`; empty if it does. Nothing is downloaded."""
    name, _, version = package.partition("==")
    command = [sys.executable, "-m", "pip", "index", "versions", name, "--json"]
    command += ["--only-binary=:all:", "--retries=0", f"--timeout={TIMEOUT_S}"]
    try:
        pip = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=2 * TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return f"no answer for {name} in {2 * TIMEOUT_S} s"
    if pip.returncode:
        return (pip.stderr.strip() or "no reason").splitlines()[-1].removeprefix("ERROR: ")
    versions = json.loads(pip.stdout)["versions"]
    return "" if version in versions else f"{package} is not among {', '.join(versions[:5])}"
