"""Scoring of models whose layers are on two devices, against one device.

No test here has a GPU: the devices are pretended (support.pretended).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model

import score_run
from multical import records
from multical.data import questions
from multical.errors import InputError
from multical.models import placement
from multical.scoring.scorer import Group, Scorer, Scores
from multical.scoring.tokenized import TokenizedQuestion
from support import tiny
from support.pretended import ONE, OTHER, devices
from unit.scoring.test_score_run import PARAMS, arguments, quiz

LETTERS = [[10 + i, 50 + i] for i in range(4)]


def scores(model: Any) -> list[Scores]:
    """The scores of questions that share a prefix, with letters and texts."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(3, 400, (12, 24), generator=generator).tolist()
    asked = [
        TokenizedQuestion([*drawn[0][:8], *row[8 : 12 + at]], drawn[0][:8], [row[20:22], row[22:]])
        for at, row in enumerate(drawn)
    ]
    scorer = Scorer(model, LETTERS, 150)
    found = scorer.score(Group.of(asked))
    assert scorer.shares  # no error made each text run by itself
    return found


def places(kind: str, head: str) -> dict[str, str]:
    inner = {"biased": "final_layernorm"}.get(kind, "norm")
    first = {"model.embed_tokens": ONE, "model.rotary_emb": ONE, "model.layers.0": ONE}
    return {**first, "model.layers.1": OTHER, f"model.{inner}": OTHER, "lm_head": head}


@pytest.mark.parametrize(
    ("kind", "head"),
    [*((kind, ONE) for kind in tiny.KINDS), ("llama", OTHER), ("biased", OTHER)],
)
def test_scores_are_those_of_one_device(kind: str, head: str) -> None:
    """The head is with the embedding, as a tied one is, or with the last layer."""
    torch.set_float32_matmul_precision("highest")
    expected = scores(tiny.model(kind))
    with devices(), torch.no_grad():
        model = dispatch_model(tiny.model(kind), device_map=places(kind, head))
        assert {str(one.device) for one in model.parameters()} == {ONE, OTHER}
        found = scores(model)
    for one, other in zip(found, expected, strict=True):
        assert one.letter_logits == pytest.approx(other.letter_logits, abs=1e-4)
        assert one.logsumexp == pytest.approx(other.logsumexp, abs=1e-4)
        assert one.text_logliks == pytest.approx(other.text_logliks, abs=1e-4)


def test_records_are_those_of_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files of a model, which transformers loads onto the devices."""
    tiny.folder(tmp_path / "model")
    questions.write(tmp_path / "quiz.parquet", quiz())
    # another thread would not know of the devices
    monkeypatch.setenv("HF_DEACTIVATE_ASYNC_LOAD", "1")

    def scored(output: str, *more: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["", *arguments(tmp_path, PARAMS, output), *more])
        score_run.main()
        return records.read(tmp_path / output)

    expected = scored("one.parquet")
    spread = {"device_map": places("llama", ONE)}
    monkeypatch.setattr(placement, "over", lambda gpus: lambda config: spread if gpus == 2 else {})
    with devices():
        found = scored("two.parquet", "--gpus", "2")
    assert list(found["question_id"]) == list(expected["question_id"])
    for name in ("letter_logits", "text_logliks", "logsumexp"):
        for one, other in zip(found[name], expected[name], strict=True):
            assert one == pytest.approx(other, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize(("here", "gpus", "fits"), [(0, 4, True), (2, 2, True), (2, 3, False)])
def test_as_many_gpus_as_asked_or_none(
    monkeypatch: pytest.MonkeyPatch, here: int, gpus: int, fits: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: here)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (80 + gpu, 90))
    if not fits:
        with pytest.raises(InputError, match="--gpus: 3, but 2 GPUs here, expected so many or n"):
            placement.over(gpus)
        return
    found = placement.over(gpus)(None)
    spread = {"device_map": "balanced", "max_memory": {0: 80, 1: 81, "cpu": 2**50}}
    assert found == (spread if here else {})
    assert placement.over(1)(None) == {}


def test_a_model_larger_than_its_gpus_is_refused() -> None:
    model: Any = tiny.model("llama")
    placement.check(model, 2)
    cases: list[tuple[bool, set[Any]]] = [(True, {0, 1}), (True, {"cpu"}), (False, {0, "cpu"})]
    for fit, found in [*cases, (False, {0, "disk"})]:
        model.hf_device_map = {str(place): place for place in found}
        if fit:
            placement.check(model, 2)
            continue
        with pytest.raises(InputError, match="models: gpus: found 2, which have too little memor"):
            placement.check(model, 2)
