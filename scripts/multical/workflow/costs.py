"""What the jobs of a study cost, before they run: tokens and bytes.

Sizes come from files that are made (manifests, headers of safetensors, data), else from sources on
this machine, else from the config, as upper bounds. A token is taken to be `BYTES_PER_TOKEN` bytes
of UTF-8, since the tokenizer may not be fetched yet.
"""

from __future__ import annotations

import json
import math
import statistics
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path

from multical import jsonl, paths
from multical.config.chat_confidence import ChatConfidenceStudy
from multical.config.schema import Config
from multical.config.studies import ModelStudy, MultilingualStudy, Run, scored, trials
from multical.data.benchmark_params import ChoiceBenchmark, CldrBenchmark, HubBenchmark
from multical.data.sft_params import CldrSft, HubSft
from multical.data.sources import File
from multical.errors import InputError
from multical.models.api_params import ApiModel
from multical.models.evaluation_params import EvaluationJob
from multical.models.params import Training, TrainingJob
from multical.scoring.params import Questions, ScoringJob
from multical.scoring.prices import Bill
from multical.workflow import job_params, scoring_params

BYTES_PER_TOKEN = 4
#: Tokens that a prompt's template adds to a question or conversation
TEMPLATE_TOKENS = 20
#: Bytes of a weight: fetch_model and train_sft write float32
WEIGHT_BYTES = 4
#: Bytes of a weight in half precision, of a model that is kept as the hub has it
STORED_BYTES = 2
#: Bytes of a checkpoint beside its weights, mostly the tokenizer, at most
TOKENIZER_BYTES = 40_000_000
#: A training's state is its weights and AdamW's two moments; while one state is saved, the one
#: before still exists
STATE_COPIES = 2 * 3
#: Bytes of a row of records, at most
RECORD_BYTES = 400
#: Bytes of a question or conversation of CLDR facts, at most
CLDR_BYTES = 200
#: Territories in CLDR, at most: each gives a question of each kind
TERRITORIES = 260
#: Questions of the English data sets of the hub, by kind
HUB_QUESTIONS = {
    "arc": 2590,
    "hellaswag": 39905,
    "mmlu": 14042,
    "truthfulqa": 817,
    "winogrande": 10515,
}
#: Bytes of a question with its options, and of a conversation, from the hub; our own guesses
HUB_QUESTION_BYTES = 1000
HUB_CONVERSATION_BYTES = 3000
#: Options of a question of a benchmark in which their number varies; our own guess
OPTIONS = 4
#: How many conversations of a large file are read; their mean stands for all
SAMPLE = 2000

Wildcards = Mapping[str, str]
#: The parameters of a job whose time depends on its tokens
Job = TrainingJob | EvaluationJob | ScoringJob


@dataclass(frozen=True)
class Texts:
    """Questions of one language: their number, and mean bytes of a question with its options."""

    count: int
    size: float


@dataclass
class Sizes:
    """Tokens and bytes of the models, data and runs of a config, with their files in `folder`.

    Every method raises `InputError` where neither a file nor the config gives a size.
    """

    config: Config
    folder: Path = Path()
    _texts: dict[str, dict[str, Texts]] = field(default_factory=dict)
    _samples: dict[tuple[Path, int], tuple[float, float]] = field(default_factory=dict)

    def parameters(self, model: str) -> int:
        """Number of weights of a base model."""
        entry = self.config.models[model]
        places = [self._file(paths.MODEL_CHECKPOINT, model=model)]
        if entry.source.kind == "folder":
            places.append(self.folder / entry.source.path)
        for place in places:
            # beside weights in the folder itself, those in sub-folders are copies
            if files := [*place.glob("*.safetensors")] or [*place.rglob("*.safetensors")]:
                return sum(map(weights, files))
        if entry.parameters is None:
            raise InputError(
                f"config: models.{model}.parameters: missing, expected the number of weights, "
                "since the model is not fetched yet"
            )
        return entry.parameters

    def model_bytes(self, model: str) -> int:
        """Bytes of a base model's checkpoint."""
        manifest = self._file(paths.MODEL_MANIFEST, model=model)
        if manifest.exists():
            return listed_bytes(manifest)
        as_is = getattr(self.config.models[model].source, "as_is", False)
        weight_bytes = STORED_BYTES if as_is else WEIGHT_BYTES
        return weight_bytes * self.parameters(model) + TOKENIZER_BYTES

    def run_bytes(self, root: str, run: Run) -> int:
        """Bytes of an SFT run's checkpoint."""
        manifest = self._file(paths.RUN_MANIFEST, root=root, run=run.id)
        return listed_bytes(manifest) if manifest.exists() else self.model_bytes(run.model)

    def scratch_bytes(self, root: str, run: Run) -> int:
        """Bytes of the state that a training saves in order to resume, at most."""
        training = self.config.multilingual(root).training
        if self.steps(str(run.sft), training) <= training.save_every:
            return 0  # the last step's weights are the result, and nothing else is saved
        return STATE_COPIES * WEIGHT_BYTES * self.parameters(run.model)

    def job_bytes(self, rule: str, wildcards: Wildcards) -> dict[str, int]:
        """Bytes that a job writes under `folder`, at most, by part of the study.

        Empty for rules whose files are small, such as tables and figures, or are links to other
        files, as with adopt_trial.
        """
        match rule:
            case "fetch_model":
                return {"base models": self.model_bytes(wildcards["model"])}
            case "make_benchmark" if not wildcards["part"]:
                return {"benchmarks and SFT data": self._benchmark_bytes(wildcards["benchmark"])}
            case "make_sft_data":
                size = self._held_out_bytes if wildcards["part"] else self._sft_bytes
                return {"benchmarks and SFT data": size(wildcards["sft"])}
            case "train_sft":
                root = wildcards["root"]
                run = job_params.run(self.config, root, wildcards["run"])
                return {
                    "checkpoints": self.run_bytes(root, run),
                    "scratch": self.scratch_bytes(root, run),
                }
            case "score_run" | "merge_records":
                return {"records": self._records_bytes(**wildcards)}
            case "score_api":
                return {"records": RECORD_BYTES * self.bill(**wildcards).requests}
        return {}

    def tokens(self, wildcards: Wildcards, job: Job) -> float:
        """Tokens that a job reads; for scoring, without few-shot examples."""
        if isinstance(job, ScoringJob):
            return self._scoring_tokens(job)
        sft = str(job_params.run(self.config, wildcards["root"], wildcards["run"]).sft)
        if isinstance(job, EvaluationJob):
            return math.prod(self._held_out(sft, job.max_length))
        _, length = self._conversations(sft, job.max_length)
        return self.steps(sft, job) * job.batch_size * length

    def bill(self, root: str, run: str, benchmark: str) -> Bill:
        """The cost of asking a model behind an API a benchmark, if no answers are cached."""
        job, total = scoring_params.api_scoring(self.config, root, run, benchmark), Bill()
        for texts in self.questions(job).values():
            tokens = (1 + job.num_fewshot) * (texts.size / BYTES_PER_TOKEN + TEMPLATE_TOKENS)
            requests = texts.count * len(job.prompts)
            total += Bill(requests, requests * tokens, requests)
        return total

    def steps(self, sft: str, training: Training | TrainingJob) -> int:
        """Optimizer steps of a training."""
        if training.steps is not None:
            return training.steps
        count, _ = self._conversations(sft, training.max_length)
        return math.ceil((training.epochs or 1) * count / training.batch_size)

    def questions(self, job: Questions) -> dict[str, Texts]:
        """The questions that a job asks, by language."""
        limit = job.questions_per_language
        return {
            language: Texts(min(texts.count, limit or texts.count), texts.size)
            for language, texts in self._languages(job.benchmark).items()
            if job.languages is None or language in job.languages
        }

    def _scoring_tokens(self, job: ScoringJob) -> float:
        listed = job.multiple_choice_languages
        total = 0.0
        for language, texts in self.questions(job).items():
            multiple_choice = listed is None or language in listed
            orders = self._options(job.benchmark) if job.option_order == "cyclic" else 1
            readings = sum(
                orders * multiple_choice
                + (prompt.cloze is not None)
                + (prompt.unconditional is not None)
                for prompt in job.prompts
            )
            total += readings * texts.count * (texts.size / BYTES_PER_TOKEN + TEMPLATE_TOKENS)
        return total

    def _options(self, benchmark: str) -> int:
        return self.config.benchmarks[benchmark].options or OPTIONS

    def _languages(self, benchmark: str) -> dict[str, Texts]:
        """A benchmark's questions by language; upper bounds while the benchmark is not made."""
        if benchmark not in self._texts:
            data = self._benchmark(benchmark)
            source = self.config.benchmarks[benchmark].source
            odd_rows = source.odd_rows if isinstance(source, File) else None
            self._texts[benchmark] = (
                read_texts(data, odd_rows) if isinstance(data, Path) else _bound(benchmark, data)
            )
        return self._texts[benchmark]

    def _conversations(self, sft: str, longest: int) -> tuple[float, float]:
        """Number and mean tokens of conversations; upper bounds while they are not made."""
        data = self._sft(sft)
        if isinstance(data, Path):
            count, length = self._sample(data, longest)
            is_made = data == self._file(paths.SFT_DATA, sft=sft)
            held_out = 0 if is_made else job_params.held_out_of(self.config.sft_data[sft].source)
            return max(1, count - held_out), length
        if isinstance(data, HubSft):
            return self._examples(sft, data), min(longest, data.mean_tokens or longest)
        return TERRITORIES * len(data.kinds), longest

    def _held_out(self, sft: str, longest: int) -> tuple[float, float]:
        """Number and mean tokens of the held-out conversations."""
        file = self._file(paths.HELDOUT_DATA, sft=sft)
        if file.exists():
            return self._sample(file, longest)
        _, length = self._conversations(sft, longest)
        return job_params.held_out_of(self.config.sft_data[sft].source), length

    def _sample(self, path: Path, longest: int) -> tuple[float, float]:
        if (path, longest) not in self._samples:
            self._samples[path, longest] = sample(path, longest)
        return self._samples[path, longest]

    def _records_bytes(self, root: str, run: str, benchmark: str, shard: str = "") -> int:
        """Bytes of the records of a shard, or of all shards merged."""
        shards = scoring_params.shards(self.config, root, benchmark)
        merged = shard not in shards
        job = scoring_params.scoring(
            self.config, root, run, benchmark, next(iter(shards)) if merged else shard
        )
        if merged:
            languages = self.config.multilingual(root).languages
            job = job.model_copy(update={"languages": languages})
        count = sum(texts.count for texts in self.questions(job).values())
        return RECORD_BYTES * count * len(job.prompts)

    def _benchmark_bytes(self, benchmark: str) -> int:
        data = self._benchmark(benchmark)
        if isinstance(data, Path):
            return size(data)
        return int(sum(texts.count * texts.size for texts in _bound(benchmark, data).values()))

    def _sft_bytes(self, sft: str) -> int:
        data = self._sft(sft)
        if isinstance(data, Path):
            return size(data)
        if isinstance(data, HubSft):
            return HUB_CONVERSATION_BYTES * self._examples(sft, data)
        return CLDR_BYTES * TERRITORIES * len(data.kinds)

    def _held_out_bytes(self, sft: str) -> int:
        count, _ = self._held_out(sft, 1)
        return int(HUB_CONVERSATION_BYTES * count)

    def _examples(self, sft: str, source: HubSft) -> int:
        """Number of conversations of a data set of the hub that is not yet made."""
        if source.examples is not None:
            return source.examples
        if source.rows is None:
            raise InputError(
                f"config: sft_data.{sft}.source.rows: found null, expected their number, since "
                "the data are not made yet, and examples says all"
            )
        return max(1, source.rows - source.held_out)

    def _benchmark(self, name: str) -> Path | CldrBenchmark | HubBenchmark | ChoiceBenchmark:
        """A benchmark's file, made or not yet copied; else its source."""
        file = self._file(paths.BENCHMARK, benchmark=name)
        source = self.config.benchmarks[name].source
        if file.exists():
            return file
        return self.folder / source.path if isinstance(source, File) else source

    def _sft(self, name: str) -> Path | CldrSft | HubSft:
        """The file of SFT data, made or not yet copied; else their source."""
        file, source = self._file(paths.SFT_DATA, sft=name), self.config.sft_data[name].source
        if file.exists():
            return file
        return self.folder / source.path if isinstance(source, File) else source

    def _file(self, pattern: str, **wildcards: str) -> Path:
        return self.folder / pattern.format(**wildcards)


def _bound(name: str, source: CldrBenchmark | HubBenchmark | ChoiceBenchmark) -> dict[str, Texts]:
    """An upper bound of the questions, by language, of a benchmark that is not yet made."""
    if isinstance(source, CldrBenchmark):
        return dict.fromkeys(source.languages, Texts(source.questions_per_language, CLDR_BYTES))
    if isinstance(source, ChoiceBenchmark):
        count = source.questions or HUB_QUESTIONS[source.kind]
    elif source.rows is not None:
        count = source.rows
    else:
        raise InputError(
            f"config: benchmarks.{name}.source.rows: found null, expected the number of questions "
            "of a language, since the benchmark is not made yet"
        )
    return dict.fromkeys(source.spoken, Texts(count, HUB_QUESTION_BYTES))


def disk_bytes(config: Config, root: str, folder: Path = Path()) -> dict[str, list[int]]:
    """Bytes that each job of the study at `root` needs under `folder`, at most, by part.

    The parts in `passing` do not all need their space at the same time. Runs that are already
    trained need no scratch. Empty for studies that fetch and train no model. Raises `InputError`,
    which names the config key, where a model's size is not known.
    """
    if not isinstance(config.studies[root], MultilingualStudy | ChatConfidenceStudy):
        return {}
    sizes = Sizes(config, folder)
    parts = ["base models", "benchmarks and SFT data", "checkpoints", "scratch", "records"]
    needed: dict[str, list[int]] = {part: [] for part in parts}
    for rule, wildcards in jobs(config, root):
        for part, count in sizes.job_bytes(rule, wildcards).items():
            if part != "scratch" or not (folder / paths.RUN_MANIFEST.format(**wildcards)).exists():
                needed[part].append(count)
    return needed


def passing(config: Config) -> dict[str, str]:
    """The parts of a study's files that are temporary, and how long a run keeps them."""
    scratch = {"scratch": "while it is trained"}
    if config.keep_checkpoints:
        return scratch
    return {**scratch, "checkpoints": "until all that reads its weights is made"}


def jobs(config: Config, root: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rule and wildcards of each job of a study that costs time or space, except scoring by API."""
    study = config.model_study(root)
    yield from (("fetch_model", {"model": name}) for name in fetched(config, study))
    yield from (("make_benchmark", {"benchmark": name, "part": ""}) for name in study.benchmarks)
    if isinstance(study, MultilingualStudy):
        parts = ["", paths.HELDOUT] if study.training.tried else [""]
        for name, part in product(study.sft_data, parts):
            yield "make_sft_data", {"sft": name, "part": part}
        for run in job_params.trained(config, root):
            yield "train_sft", {"root": root, "run": run.id}
        yield from (("evaluate_sft", {"root": root, "run": run.id}) for run in trials(study))
    for name, benchmark in scored(study):
        if job_params.is_behind_api(config, root, name):
            continue
        wildcards = {"root": root, "run": name, "benchmark": benchmark}
        shards = scoring_params.shards(config, root, benchmark)
        yield from (("score_run", {**wildcards, "shard": shard}) for shard in shards)
        if "" not in shards:
            yield "merge_records", wildcards


def fetched(config: Config, study: ModelStudy) -> list[str]:
    """The base models that a study fetches; SFT runs of another study need none here."""
    if isinstance(study, ChatConfidenceStudy):
        names = [model.run for model in study.models if model.of is None]
    else:
        names = study.models
    return [name for name in names if not isinstance(config.models[name].source, ApiModel)]


def weights(file: Path) -> int:
    """Number of weights in a safetensors file, from its header."""
    try:
        with open(file, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        return sum(math.prod(header[name]["shape"]) for name in header if name != "__metadata__")
    except (
        OSError,
        ValueError,
        RecursionError,
        KeyError,
        TypeError,
        struct.error,
        OverflowError,
    ) as error:
        raise InputError(f"{file}: not a safetensors file ({error!r})") from error


def listed_bytes(manifest: Path) -> int:
    """Bytes of all files that a manifest lists."""
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        return sum(entry["bytes"] for entry in files.values())
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{manifest}: not a manifest of a checkpoint ({error!r})") from error


def read_texts(path: Path, odd_rows: str | None) -> dict[str, Texts]:
    """Number and mean length of a benchmark's questions, by language."""
    from multical.data import questions  # here, since they load pandas
    from multical.data.odd_rows import OddRows

    frame = questions.read(path, OddRows(odd_rows))
    frame["size"] = [
        sum(len(text.encode()) for text in (question, *options))
        for question, options in zip(frame["question"], frame["options"], strict=True)
    ]
    sizes = frame.groupby("language")["size"]
    return {str(name): Texts(len(group), float(group.mean())) for name, group in sizes}


def sample(path: Path, longest: int) -> tuple[float, float]:
    """Number of conversations in a JSON Lines file, and their mean tokens, each cut to `longest`.

    In a file of more than `SAMPLE` lines, the first lines stand for all.
    """
    try:
        with open(path, "rb") as stream:
            lines = [line for line in islice(stream, SAMPLE) if line.strip()]
            rest = stream.read(1)
        contents = [
            [(message["content"] or "").encode() for message in jsonl.parse(line)["messages"] or ()]
            for line in map(bytes.decode, lines)
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not conversations as JSON Lines ({error!r})") from error
    if not contents:
        raise InputError(f"{path}: found no conversations, expected at least one")
    tokens = [
        min(longest, sum(map(len, texts)) / BYTES_PER_TOKEN + TEMPLATE_TOKENS) for texts in contents
    ]
    count = size(path) / statistics.mean(map(len, lines)) if rest else len(lines)
    return count, statistics.mean(tokens)


def size(path: Path) -> int:
    """Bytes of a file."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: no such file ({error.strerror})") from error
