"""Records and metrics in the schema of Every Eval Ever (https://evalevalai.com), version 0.3.0.

A run on a benchmark is a file of aggregate results, one for each language, readout and metric, and
a file of samples: each question in each language and readout that has a distribution over the
options. A sample belongs to the accuracy of its readout and language, and has the confidence and
the distribution among its metadata. All calibration metrics of these readouts can be computed
from it. Files lie where the datastore wants them, below `data/BENCHMARK/DEVELOPER/MODEL/`.

Models without a repository on the hub have an id of the made-up developer `multical`.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from multical.bundle.dictionary import described
from multical.bundle.exports import Export, Part, Texts, text_or_none, write_lines
from multical.data.benchmark_params import ChoiceBenchmark, HubBenchmark
from multical.files import sha256, write_json
from multical.metrics.definitions import METRICS
from multical.metrics.readouts import READOUTS
from multical.models.api_params import ApiModel
from multical.models.fetch_params import HubModel, PypiModel
from multical.params import canonical
from multical.stats.blocks import readings

VERSION = "0.3.0"
DEVELOPER = "multical"
#: Metrics of which more is better, and those of which neither more nor less is
HIGHER = frozenset({"accuracy", "resolution", "auroc"})
NEITHER = frozenset(
    {"confidence", "confidence_right", "confidence_wrong", "gap", "uncertainty", "entropy",
     "normalised_entropy"}
)  # fmt: skip
#: Metrics that the schema knows by the same name; ours have a prefix
CANONICAL = frozenset({"accuracy", "auroc"})


def write(export: Export, part: Part, folder: Path, organization: str) -> tuple[int, int]:
    """Write both files of a run on a benchmark; the numbers of results and of samples."""
    aggregate = aggregated(export, part, organization)
    place = f"data/{part.file.benchmark}/{aggregate['model_info']['id']}"
    name = _uuid4(export.study, part.file.path, sha256(part.file.path))
    path = f"{place}/{name}_samples.jsonl"
    rows = write_lines(folder / path, samples(export, part, aggregate))
    if rows:
        aggregate["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": path,
            "hash_algorithm": "sha256",
            "checksum": sha256(folder / path),
            "total_rows": rows,
        }
    else:  # no readout has a distribution
        (folder / path).unlink()
    write_json(folder / place / f"{name}.json", aggregate)
    return len(aggregate["evaluation_results"]), rows


def aggregated(export: Export, part: Part, organization: str) -> dict[str, Any]:
    """The aggregate results of a run on a benchmark, but for the mention of the samples."""
    keys, model = part.block.keys, _model(export, part)
    own = (export.metrics["run"] == keys["run"]) & (
        export.metrics["benchmark"] == part.file.benchmark
    )
    source = _source_data(export, part)
    return {
        "schema_version": VERSION,
        "evaluation_id": f"{part.file.benchmark}/{model['id']}/{export.made}",
        "evaluation_timestamp": str(part.file.made),
        "retrieved_timestamp": str(export.made),
        "source_metadata": {
            "source_name": f"multical, {export.study}",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            # who evaluates has trained the SFT runs, but not the base models
            "evaluator_relationship": "first_party" if keys["sft"] else "third_party",
        },
        "eval_library": {"name": "multical", "version": export.commit or "unknown"},
        "model_info": model,
        "evaluation_results": [
            _result(row, export, part, source)
            for row in export.metrics[own].itertuples()
            if math.isfinite(row.value)
        ],
    }


def samples(export: Export, part: Part, aggregate: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each question, language, and readout with a distribution over the options."""
    for name in export.params.readouts:
        for language, readout in readings(part.block, name).items():
            if readout.probabilities is None:
                continue
            texts = part.texts(language)
            for (question_id, row), chances in zip(
                part.rows(language), readout.probabilities, strict=True
            ):
                distribution = chances[~np.isnan(chances)]
                yield {
                    "schema_version": VERSION,
                    "evaluation_id": aggregate["evaluation_id"],
                    "model_id": aggregate["model_info"]["id"],
                    "evaluation_name": _name(part, language),
                    "evaluation_result_id": f"{language}/{name}/accuracy",
                    "sample_id": question_id,
                    "interaction_type": "single_turn",
                    **_answered(
                        texts[question_id], int(row.gold), int(distribution.argmax()), name
                    ),
                    "metadata": _metadata(row, language, name, distribution),
                }


def _answered(text: Texts, gold: int, answer: int, readout: str) -> dict[str, Any]:
    """What a sample says of a question and the answer."""
    chosen, right = text.options[answer], text.options[gold]
    return {
        "sample_hash": hashlib.sha256(f"{text.question}{right}".encode()).hexdigest(),
        "input": {"raw": text.question, "reference": [right], "choices": text.options},
        "output": {"raw": [chosen]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": chosen,
                "extraction_method": f"the likeliest option of the readout {readout}",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": float(answer == gold), "is_correct": answer == gold},
    }


def _metadata(row: Any, language: str, readout: str, chances: np.ndarray) -> dict[str, str]:
    """What else a sample says; all values are texts."""
    values = {
        "language": language,
        "subject": text_or_none(row.subject),
        "culture": text_or_none(row.culture),
        "readout": readout,
        "gold": str(int(row.gold)),
        "confidence": repr(float(chances.max())),
        "probabilities": json.dumps(chances.tolist()),
    }
    return {name: value for name, value in values.items() if value is not None}


def _result(row: Any, export: Export, part: Part, source: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics.csv."""
    metric, params = METRICS[row.metric], export.params
    low, high = metric.bounds
    details: dict[str, Any] = {"num_samples": int(row.n)}
    if math.isfinite(row.ci_low) and math.isfinite(row.ci_high):
        details["num_bootstrap_samples"] = params.bootstrap.replicates
        details["confidence_interval"] = {
            "lower": row.ci_low,
            "upper": row.ci_high,
            "confidence_level": params.bootstrap.level,
            "method": "bootstrap over questions",
        }
    own = {"readout": row.readout} | ({"bins": params.bins} if metric.binned else {})
    neither = {"direction": "neither more nor less is better"} if row.metric in NEITHER else {}
    return {
        "evaluation_result_id": f"{row.language}/{row.readout}/{row.metric}",
        "evaluation_name": _name(part, row.language),
        "source_data": source,
        "metric_config": {
            "evaluation_description": described(metric.function),
            "metric_id": row.metric if row.metric in CANONICAL else f"multical.{row.metric}",
            "metric_name": row.metric,
            "metric_kind": row.metric,
            "metric_parameters": own,
            "lower_is_better": row.metric not in HIGHER,
            "score_type": "continuous",
            "min_score": low,
            "max_score": "Infinity" if math.isinf(high) else high,
            "additional_details": {
                "readout": described(READOUTS[row.readout]), **neither,
            },
        },
        # a mean may exceed the bound of its terms by a rounding error
        "score_details": {"score": min(max(row.value, low), high), "uncertainty": details},
        "generation_config": {
            "additional_details": {
                "method": "log-likelihoods of the options; nothing is generated",
                "prompt": _prompt(part),
            }
        },
    }  # fmt: skip


def _name(part: Part, language: str) -> str:
    return f"{part.file.benchmark}/{language}"


def _prompt(part: Part) -> str:
    return str(next(iter(part.block.languages.values()))["prompt"].iloc[0])


def _model(export: Export, part: Part) -> dict[str, Any]:
    """The model of a run: that of the hub, or one of our own with the base model it comes from."""
    keys = part.block.keys
    entry = export.config.models.get(keys["model"])
    source = entry.source if entry else None
    published = source.repo if isinstance(source, HubModel) and not keys["sft"] else None
    is_open = isinstance(source, HubModel | PypiModel) and not keys["sft"]
    details = {
        "deployment_type": "externally_managed" if isinstance(source, ApiModel) else
        "self_deployed" if source else "unknown",
        "model_availability": "open_weights" if is_open else "unknown",
        "base_model": keys["model"],
        **{name: str(keys[name]) for name in ("sft", "smoothing", "seed") if keys["sft"]},
    }  # fmt: skip
    if source:
        details["source"] = canonical(source.asked if isinstance(source, ApiModel) else source)
    return {
        "name": keys["run"],
        "id": published or f"{DEVELOPER}/{keys['run']}",
        "additional_details": details,
    }


def _source_data(export: Export, part: Part) -> dict[str, Any]:
    """The benchmark."""
    entry = export.config.benchmarks.get(part.file.benchmark)
    source = entry.source if entry else None
    if isinstance(source, HubBenchmark | ChoiceBenchmark):
        return {
            "dataset_name": part.file.benchmark,
            "source_type": "hf_dataset",
            "hf_repo": source.repo,
            "additional_details": {"source": canonical(source)},
        }
    details = {"additional_details": {"source": canonical(source)}} if source else {}
    return {"dataset_name": part.file.benchmark, "source_type": "other", **details}


def _uuid4(*parts: str) -> str:
    """A UUID of version 4 that is the same for the same parts."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
