"""The five data sets of paper 2 for `hub_server`: cards, columns, types and layouts, few rows.

Features are written as their cards have them. MMLU's questions are its own where
../shared/data/mmlu is; all other texts are made up.
"""

from __future__ import annotations

import pyarrow as pa
import yaml

from support import hub_repos
from support.hub_repos import Files, Rows

TEXT = pa.string()
TEXTS = pa.list_(TEXT)
SOURCE = {
    "arc": ("allenai/ai2_arc", "ARC-Challenge", "ARC-Challenge"),
    "hellaswag": ("Rowan/hellaswag", "default", "data"),
    "mmlu": ("cais/mmlu", "all", "all"),
    "truthfulqa": ("truthfulqa/truthful_qa", "multiple_choice", "multiple_choice"),
    "winogrande": ("allenai/winogrande", "winogrande_debiased", "winogrande_debiased"),
}
TARGETS = pa.struct([("choices", TEXTS), ("labels", pa.list_(pa.int32()))])
SCHEMAS = {
    "arc": pa.schema(
        [
            ("id", TEXT),
            ("question", TEXT),
            ("choices", pa.struct([("text", TEXTS), ("label", TEXTS)])),
            ("answerKey", TEXT),
        ]
    ),
    "hellaswag": pa.schema(
        [
            ("ind", pa.int32()),
            *((name, TEXT) for name in ("activity_label", "ctx_a", "ctx_b", "ctx")),
            ("endings", TEXTS),
            *((name, TEXT) for name in ("source_id", "split", "split_type", "label")),
        ]
    ),
    "mmlu": pa.schema(
        [("question", TEXT), ("subject", TEXT), ("choices", TEXTS), ("answer", pa.int64())]
    ),
    "truthfulqa": pa.schema(
        [("question", TEXT), ("mc1_targets", TARGETS), ("mc2_targets", TARGETS)]
    ),
    "winogrande": pa.schema(
        [(name, TEXT) for name in ("sentence", "option1", "option2", "answer")]
    ),
}
FEATURES = {
    "arc": """
        - {name: id, dtype: string}
        - {name: question, dtype: string}
        - name: choices
          sequence: [{name: text, dtype: string}, {name: label, dtype: string}]
        - {name: answerKey, dtype: string}
        """,
    "hellaswag": """
        - {name: ind, dtype: int32}
        - {name: activity_label, dtype: string}
        - {name: ctx_a, dtype: string}
        - {name: ctx_b, dtype: string}
        - {name: ctx, dtype: string}
        - {name: endings, sequence: string}
        - {name: source_id, dtype: string}
        - {name: split, dtype: string}
        - {name: split_type, dtype: string}
        - {name: label, dtype: string}
        """,
    "mmlu": """
        - {name: question, dtype: string}
        - {name: subject, dtype: string}
        - {name: choices, sequence: string}
        - name: answer
          dtype: {class_label: {names: {'0': A, '1': B, '2': C, '3': D}}}
        """,
    "truthfulqa": """
        - {name: question, dtype: string}
        - name: mc1_targets
          struct: [{name: choices, sequence: string}, {name: labels, sequence: int32}]
        - name: mc2_targets
          struct: [{name: choices, sequence: string}, {name: labels, sequence: int32}]
        """,
    "winogrande": """
        - {name: sentence, dtype: string}
        - {name: option1, dtype: string}
        - {name: option2, dtype: string}
        - {name: answer, dtype: string}
        """,
}


def arc(split: str, count: int) -> Rows:
    """Three to five options in turn, every fourth row with numbers for labels."""
    rows = []
    for i in range(count):
        options = [f"{split} answer {i} {n}" for n in range(3 + i % 3)]
        labels = list("12345" if i % 4 == 3 else "ABCDE")[: len(options)]
        rows.append(
            {
                "id": f"Mercury_{split}_{i}",
                "question": f"Which is true of {split} {i}?",
                "choices": {"text": options, "label": labels},
                "answerKey": labels[i % 3],
            }
        )
    return rows


def hellaswag(split: str, count: int) -> Rows:
    """Rows of WikiHow with its marks; the test split has no labels."""
    return [
        {
            "ind": i % 7,  # not unique here: the reader must not take it for an id
            "activity_label": "Home and Garden",
            "ctx_a": f"[header] How to mend {split} chair {i}",
            "ctx_b": "",
            "ctx": f"[header] How to mend {split} chair {i}",
            "endings": [f"[title] Ending {n} of {split} {i}." for n in range(4)],
            "source_id": f"wikihow~{i // 2}",
            "split": split,
            "split_type": "indomain",
            "label": "" if split == "test" else str(i % 4),
        }
        for i in range(count)
    ]


def mmlu(split: str, count: int) -> Rows:
    """MMLU's four subjects in turn; a column is an index, where Global-MMLU has a letter."""
    found = hub_repos.mmlu({"validation": "val"}.get(split, split), count)
    return [
        {"question": question, "subject": subject, "choices": options, "answer": answer}
        for subject, question, options, answer in found
    ]


def truthfulqa(split: str, count: int) -> Rows:
    """2, 3, ... 13 options in turn, the right one first."""
    rows = []
    for i in range(count):
        options = [f"{'Yes' if n == 0 else 'No'}, {split} {i} {n}." for n in range(2 + i % 12)]
        targets = {"choices": options, "labels": [1] + [0] * (len(options) - 1)}
        rows.append({"question": f"Is {i} odd?", "mc1_targets": targets, "mc2_targets": targets})
    return rows


def winogrande(split: str, count: int) -> Rows:
    """Sentences with a blank; the test split has no answers."""
    return [
        {
            "sentence": f"In {split} {i} the trophy did not fit the suitcase since _ was too big.",
            "option1": "trophy",
            "option2": "suitcase",
            "answer": "" if split == "test" else str(1 + i % 2),
        }
        for i in range(count)
    ]


ROWS = {
    "arc": arc,
    "hellaswag": hellaswag,
    "mmlu": mmlu,
    "truthfulqa": truthfulqa,
    "winogrande": winogrande,
}
SIZES = {
    "arc": {"train": 9, "test": 11, "validation": 4},
    "hellaswag": {"train": 24, "test": 3, "validation": 3},
    "mmlu": {"test": 24, "validation": 12, "dev": 20},
    "truthfulqa": {"validation": 24},
    "winogrande": {"train": 19, "test": 3, "validation": 5},
}


def rows(kind: str) -> dict[str, Rows]:
    """The rows of a data set by split, in the order of its card."""
    return {split: ROWS[kind](split, count) for split, count in SIZES[kind].items()}


def files(kind: str, by_split: dict[str, Rows] | None = None) -> Files:
    """The repository of a data set, with the rows of `rows` unless others are given."""
    _, config, folder = SOURCE[kind]
    parts = by_split or rows(kind)
    paths = [{"split": split, "path": f"{folder}/{split}-*"} for split in parts]
    info = {
        "config_name": config,
        "features": yaml.safe_load(FEATURES[kind]),
        "splits": [
            {"name": split, "num_bytes": 1, "num_examples": len(own)}
            for split, own in parts.items()
        ],
    }
    head = {"dataset_info": [info], "configs": [{"config_name": config, "data_files": paths}]}
    made = {"README.md": f"---\n{yaml.safe_dump(head)}---\n\n# A data set\n".encode()}
    for split, own in parts.items():
        path = f"{folder}/{split}-00000-of-00001.parquet"
        made[path] = hub_repos.parquet(own, SCHEMAS[kind])
    return made
