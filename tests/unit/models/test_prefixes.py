"""Conversations as a tree: the same loss and gradients as in rows, and where it is not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, MambaConfig

from multical.models import prefixes
from multical.models.chat import IGNORED
from support import tiny
from unit.models.test_smoothing import close, gradients, reference, trainer

#: Two share five tokens, of which the last has two different labels; two are the same; one is alone
ROWS = [
    ([5, 6, 7, 8, 9, 10], 2),
    ([5, 6, 7, 8, 9, 11, 12, 13], 2),
    ([5, 6, 14], 1),
    ([5, 6, 14], 1),
    ([20, 21, 22, 23], 1),
]


def batch() -> dict[str, Tensor]:
    """A padded batch; each row's last tokens are trained."""
    shape = len(ROWS), max(len(row) for row, _ in ROWS)
    made = {
        "input_ids": torch.full(shape, 2),
        "labels": torch.full(shape, IGNORED),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
    }
    for at, (row, trained) in enumerate(ROWS):
        made["input_ids"][at, : len(row)] = torch.tensor(row)
        made["labels"][at, len(row) - trained : len(row)] = torch.tensor(row[-trained:])
        made["attention_mask"][at, : len(row)] = 1
    return made


def lengths(made: Any) -> list[int]:
    """The numbers of tokens per row that the model gets from now on."""
    seen: list[int] = []

    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        seen.append(kwargs["input_ids"].shape[1])

    made.model.base_model.register_forward_pre_hook(note, with_kwargs=True)
    return seen


@pytest.mark.parametrize("b", [0.0, 0.1])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_loss_and_gradients(kind: str, b: float, tmp_path: Path) -> None:
    made = trainer(kind, b, tmp_path)
    made.model.train()
    seen = lengths(made)
    expected, wanted = reference(kind, b, batch())
    loss = made.compute_loss(made.model, batch(), num_items_in_batch=torch.tensor(7))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6)
    close(gradients(made.model), wanted, 1e-5)
    assert seen == [14]


def test_metrics_are_those_of_rows(tmp_path: Path) -> None:
    found = []
    for shares in (True, False):
        made = trainer("tied", 0.1, tmp_path)
        assert made.shares
        made.shares = shares
        made.model.train()
        made.compute_loss(made.model, batch())
        found.append({key: values[0] for key, values in made._metrics["train"].items()})
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_tree_of_little_use_or_too_large_is_not_made(monkeypatch: Any) -> None:
    model, ids = tiny.model("tied"), torch.arange(12).view(2, 6)
    real = torch.ones_like(ids)
    assert prefixes.tree(model, ids, real) is None
    ids[1, :2] = ids[0, :2]
    assert prefixes.tree(model, ids, real) is not None
    monkeypatch.setattr(prefixes, "LARGEST", 9)
    assert prefixes.tree(model, ids, real) is None


@pytest.mark.parametrize("key", ["sliding_window", "attention_chunk_size"])
def test_rows_longer_than_a_window_are_no_tree(key: str) -> None:
    model, ids = tiny.model("tied"), torch.ones((2, 6), dtype=torch.long)
    for window, made in ((6, True), (5, False)):
        setattr(model.config, key, window)
        assert (prefixes.tree(model, ids, torch.ones_like(ids)) is not None) == made


def test_dropout_shares_nothing_and_draws_nothing() -> None:
    model = tiny.model("tied")
    assert prefixes.shareable(model)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.2
    state = torch.get_rng_state()
    assert not prefixes.shareable(model.eval())
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training


def test_recurrent_layers_share_nothing() -> None:
    config = MambaConfig(vocab_size=40, hidden_size=8, num_hidden_layers=1, state_size=4)
    assert not prefixes.shareable(AutoModelForCausalLM.from_config(config))
