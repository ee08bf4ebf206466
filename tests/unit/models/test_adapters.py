"""Adapters against full training, and merged ones against kept ones, on tiny models."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import score_run
import train_sft
from multical.data import conversations
from multical.errors import InputError
from multical.models import adapters, adapting, checkpoints, placement, sft
from multical.models.params import Adapter
from multical.scoring.params import ScoringJob
from support import tiny
from support.programs import SCORING, command, read_log
from unit.models.test_smoothing import SIZES, batch, reference, trainer

ADAPTER: dict[str, Any] = {"rank": 4, "alpha": 8.0}


def adapted(kind: str, rank: int = 4, alpha: float = 8.0, **more: Any) -> Any:
    """A tiny model with an adapter, still without effect."""
    model = tiny.model(kind)
    adapting.add(model, Adapter(rank=rank, alpha=alpha, **more), seed=0)
    return model


def layers(model: Any) -> dict[str, Any]:
    """The adapted modules by name."""
    return {name: one for name, one in model.named_modules() if hasattr(one, "lora_A")}


@pytest.mark.parametrize("b", [0.0, 0.3])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_gradients_are_those_of_full_training_seen_through_the_adapter(
    kind: str, b: float, tmp_path: Path
) -> None:
    """With W + s B A, the gradient of B is s G A' and that of A is s B' G, for G that of W.

    G is from all logits in float64, so the smoothed loss is exact, too.
    """
    model, inputs = adapted(kind), batch(SIZES)
    expected, wanted = reference(kind, b, inputs)
    made = trainer(kind, b, tmp_path, model)
    model.train()
    loss = made.compute_loss(model, dict(inputs), num_items_in_batch=torch.tensor(15))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6)
    trained = {name for name, one in model.named_parameters() if one.grad is not None}
    assert all(".lora_" in name for name in trained)
    assert len(trained) == 2 * len(layers(model)) > 0
    for name, layer in layers(model).items():
        left, right = layer.lora_B["default"].weight, layer.lora_A["default"].weight
        gradient = wanted[f"{name}.weight"]
        assert close(left.grad, 2 * gradient @ right.detach().double().T), name
        assert not right.grad.any()  # since B is 0


def close(found: Tensor | None, expected: Tensor) -> bool:
    assert found is not None
    return bool((found.double() - expected).norm() <= 2e-5 * expected.norm())


def test_all_linear_modules_are_adapted_but_the_head() -> None:
    names = {name.rpartition(".")[2] for name in layers(adapted("llama"))}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert set(layers(adapted("llama", modules=["q_proj"]))) == {
        f"model.layers.{number}.self_attn.q_proj" for number in (0, 1)
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with data and a model."""
    conversations.write(tmp_path / "data.jsonl", tiny.pairs())
    tiny.folder(tmp_path / "base", "tied")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *args: Any, **changes: Any) -> Path:
    monkeypatch.setattr(sys, "argv", command(*args, **changes))
    train_sft.main()
    return Path(args[0]) / (args[1] if len(args) > 1 else "out")


def loaded(folder: Path) -> Any:
    return adapters.load(checkpoints.verified(folder / "manifest.json"))[0]


def test_at_full_rank_the_first_step_is_that_of_full_training(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With A the identity, AdamW moves B, and so the weights, as it moves the weights themselves.

    Embeddings and norms stay, which the full training moves too, without effect on this step.
    """

    def identity(model: Any, adapter: Adapter, seed: int) -> None:
        real(model, adapter, seed)
        for layer in layers(model).values():
            torch.nn.init.eye_(layer.lora_A["default"].weight)

    real = adapting.add
    monkeypatch.setattr(adapting, "add", identity)
    settings = {"steps": 1, "warmup_ratio": 0.0}
    full = loaded(run(monkeypatch, base, "full", **settings))
    low = loaded(run(monkeypatch, base, "low", **settings, adapter={"rank": 24, "alpha": 24.0}))
    before = loaded(base / "base").state_dict()
    frozen = 0
    for name, weight in low.state_dict().items():
        if not name.endswith("_proj.weight"):
            assert torch.equal(weight, before[name])
            frozen += 1
            continue
        moved, expected = weight - before[name], full.state_dict()[name] - before[name]
        assert expected.abs().max() > 5e-3
        assert (moved - expected).norm() < 1e-3 * expected.norm(), name
    assert frozen > 0


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_merged_and_kept_are_the_same_model(
    base: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    """In every bit of each weight, so that scores are the same; also when loaded in 4 bits."""
    settings = ADAPTER | {"dropout": 0.2, "quantization": quantization}
    merged = run(monkeypatch, base, "merged", adapter=settings)
    kept = run(monkeypatch, base, "kept", adapter=settings | {"merge": False})
    assert read_log(kept) == read_log(merged)
    assert read_log(kept)[-1]["loss"] < read_log(kept)[0]["loss"]
    files = json.loads((kept / "manifest.json").read_text())["files"]
    assert {"model.safetensors", "adapter/adapter_model.safetensors"} <= set(files)
    weights = base / "base/checkpoint/model.safetensors"
    assert weights.samefile(kept / "checkpoint/model.safetensors")
    assert not weights.samefile(merged / "checkpoint/model.safetensors")
    assert str(base).encode() not in b"".join(
        one.read_bytes() for one in kept.rglob("*") if one.is_file()
    )
    one, other = loaded(merged).state_dict(), loaded(kept).state_dict()
    assert one.keys() == other.keys() == loaded(base / "base").state_dict().keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    ids = torch.arange(3, 30)[None]
    for bits in ("none", "nf4"):
        job = ScoringJob.model_validate(SCORING | {"quantization": bits})
        models = (
            score_run.load(folder / "checkpoint", job, placement.over(1))[0]
            for folder in (merged, kept)
        )
        assert torch.equal(*(model(input_ids=ids).logits for model in models))
    full = run(monkeypatch, base, "full")
    configs = [(one / "checkpoint/config.json").read_text() for one in (merged, full)]
    assert configs[0] == configs[1]


def test_the_merged_model_is_the_trained_one(tmp_path: Path) -> None:
    """Also of 4-bit weights: what is multiplied in training is what is merged."""
    ids = torch.arange(3, 60)[None]
    for kind in tiny.KINDS:
        folder = tiny.folder(tmp_path / kind, kind).parent / "checkpoint"
        for quantization in ("none", "nf4"):
            model, _ = adapters.base(folder, quantization, "float32", "cpu")
            adapting.add(model, Adapter(rank=3, alpha=6.0), 0)
            for layer in layers(model).values():
                torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
            own = model.eval()(input_ids=ids).logits
            found = adapters.merged(model)(input_ids=ids).logits
            assert (found - own).abs().max() < 5e-5 * own.abs().max(), (kind, quantization)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_killed_run_ends_the_same(
    base: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    """With dropout, whose masks depend on random states; checkpoints have no frozen weights."""
    settings = {"adapter": ADAPTER | {"dropout": 0.2, "quantization": quantization}}
    whole = run(monkeypatch, base, "whole", **settings)
    real = sft.SmoothedTrainer.log

    def stop(self: Any, *args: Any) -> None:
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(sft.SmoothedTrainer, "log", stop)
        with pytest.raises(KeyboardInterrupt):
            run(patch, base, "part", **settings)
    (checkpoint,) = base.glob("part.scratch-*/checkpoint-3")
    saved = load_file(checkpoint / "adapter_model.safetensors")
    assert {one.dtype for one in saved.values()} == {torch.float32}
    assert not (checkpoint / "model.safetensors").exists()
    part = run(monkeypatch, base, "part", **settings)
    for name in ("checkpoint/model.safetensors", "loss.jsonl"):
        assert (part / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapter": {"rank": 0, "alpha": 8.0}}, "--params: adapter.rank: found 0, expected: "),
        ({"adapter": {"rank": 4}}, "--params: adapter: missing keys ['alpha'], expected ['rank'"),
        (
            {"adapter": ADAPTER | {"modules": ["q_proj", "query"]}},
            "training.adapter.modules: found ['query'], expected some of ['q_proj', 'k_proj', "
            "'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']",
        ),
        (
            {"adapter": ADAPTER | {"modules": ["lm_head"]}},
            "training.adapter.modules: found ['lm_head'], expected some of ['q_proj'",
        ),
        (
            {"adapter": ADAPTER, "scale": {"processes": 2, "sharding": "fsdp"}},
            "found adapter and scale.sharding fsdp, expected sharding none",
        ),
        (
            {"adapter": ADAPTER | {"quantization": "nf4"}, "scale": {"processes": 2}},
            "found adapter.quantization nf4 and scale.processes 2, expected 1 process",
        ),
    ],
)
def test_wrong_settings_get_a_sentence(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    with pytest.raises((InputError, SystemExit)) as error:
        run(monkeypatch, base, **changes)
    assert re.search(re.escape(sentence), str(error.value) + capsys.readouterr().err)
    assert not (base / "out").exists()


def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    adapted("llama").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="no adapter of this model"):
        adapting.restore(adapted("llama", modules=["q_proj"]), tmp_path)


@pytest.mark.parametrize("scale", [{"activation_checkpointing": True}, {"padding_free": True}])
def test_scales_give_the_same_losses(
    base: Path, monkeypatch: pytest.MonkeyPatch, scale: dict[str, Any]
) -> None:
    plain = read_log(run(monkeypatch, base, "plain", adapter=ADAPTER))
    scaled = read_log(run(monkeypatch, base, "scaled", adapter=ADAPTER, scale=scale))
    found, expected = ([step["loss"] for step in log] for log in (scaled, plain))
    assert found == pytest.approx(expected, rel=1e-5)
