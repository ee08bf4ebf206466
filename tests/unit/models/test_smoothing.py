"""The smoothed loss against full logits in float64, and against transformers' own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import trl.trainer.utils
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.trainer_pt_utils import LabelSmoother
from trl import SFTConfig

import evaluate_sft
from multical.errors import InputError
from multical.models import sft, smoothing
from multical.models.chat import IGNORED, Chat
from multical.models.examples import Examples
from multical.models.logits import exp_less
from multical.models.params import TrainingJob
from multical.patches import trl as patches
from support import architectures, tiny
from support.programs import TRAINING


def batch(sizes: list[tuple[int, int]], seed: int = 0) -> dict[str, Tensor]:
    """A padded batch; each row has so many prompt tokens and so many trained ones."""
    draw = torch.Generator().manual_seed(seed)
    width = max(map(sum, sizes))
    shape = len(sizes), width
    made = {
        "input_ids": torch.full(shape, 2),
        "labels": torch.full(shape, IGNORED),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
    }
    for row, (prompt, answer) in enumerate(sizes):
        end = prompt + answer
        made["input_ids"][row, :end] = torch.randint(3, 400, (end,), generator=draw)
        made["labels"][row, prompt:end] = made["input_ids"][row, prompt:end]
        made["attention_mask"][row, :end] = 1
    return made


def trainer(kind: str, b: float, folder: Path, model: Any = None) -> Any:
    rows = [{"input_ids": [0, 5], "labels": [IGNORED, 5]}]
    return sft.SmoothedTrainer(
        b,
        model=model or tiny.model(kind),
        processing_class=tiny.tokenizer(),
        train_dataset=sft.Dataset.from_list(rows),
        args=sft_config(folder),
    )


def sft_config(folder: Path) -> SFTConfig:
    fixed: dict[str, Any] = {"bf16": False, "activation_checkpointing": False, "max_length": None}
    fixed |= {"report_to": "none", "dataset_kwargs": {"skip_prepare_dataset": True}}
    return SFTConfig(output_dir=str(folder), use_cpu=True, **fixed)


def reference(kind: str, b: float, inputs: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients as the definition says, from all logits in float64."""
    model = tiny.model(kind).double().train()
    logits = model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[:, :-1]
    labels = inputs["labels"][:, 1:]
    logp = logits[labels != IGNORED].log_softmax(-1)
    nll = -logp.gather(1, labels[labels != IGNORED][:, None])[:, 0]
    loss = ((1 - b) * nll + b * -logp.mean(-1)).mean()
    loss.backward()
    return loss.detach(), gradients(model)


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return slopes(dict(model.named_parameters()))


def slopes(given: dict[str, Any]) -> dict[str, Tensor]:
    return {name: one.grad.double() for name, one in given.items() if one.grad is not None}


def close(found: dict[str, Tensor], expected: dict[str, Tensor], rtol: float) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        error = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert error < rtol, f"{name}: relative error {error:.1e}"


SIZES = [(5, 3), (2, 7), (9, 1), (1, 4)]


@pytest.mark.parametrize("b", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("kind", tiny.KINDS)
def test_loss_and_gradients(kind: str, b: float, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(smoothing, "HELD", 400 * 7)  # 7 of 15 tokens at a time
    monkeypatch.setattr(smoothing, "FOLDED_ON_CPUS", 400 * 3)  # and 3 of these
    made = trainer(kind, b, tmp_path)
    made.model.train()
    inputs = batch(SIZES)
    expected, wanted = reference(kind, b, inputs)
    loss = made.compute_loss(made.model, dict(inputs), num_items_in_batch=torch.tensor(15))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6)
    close(gradients(made.model), wanted, 1e-5)


@pytest.mark.parametrize("kind", ["tied", "gemma2"])
def test_without_a_token_count_the_mean_is_over_the_batch(kind: str, tmp_path: Path) -> None:
    made = trainer(kind, 0.3, tmp_path)
    inputs = batch(SIZES)
    assert made.compute_loss(made.model, dict(inputs)).item() == pytest.approx(
        reference(kind, 0.3, inputs)[0].item(), rel=2e-6
    )


@pytest.mark.parametrize("kind", ["tied", "biased", "gemma2"])
def test_accumulation_changes_no_gradient(kind: str, tmp_path: Path) -> None:
    """Eight rows at once, and as four micro-batches of very different token counts."""
    made = trainer(kind, 0.2, tmp_path)
    made.model.train()
    whole = batch([(3, 1), (2, 1), (1, 9), (4, 8), (6, 2), (2, 2), (7, 5), (1, 6)])
    count = (whole["labels"] != IGNORED).sum()
    made.compute_loss(made.model, dict(whole), num_items_in_batch=count).backward()
    once = copy.deepcopy(gradients(made.model))
    made.model.zero_grad()
    for i in range(0, 8, 2):
        part = {key: value[i : i + 2] for key, value in whole.items()}
        made.compute_loss(made.model, part, num_items_in_batch=count).backward()
    close(gradients(made.model), once, 1e-5)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_equals_the_label_smoother_of_transformers(kind: str, tmp_path: Path) -> None:
    """Its sum over the vocabulary leaves no label out either."""
    made = trainer(kind, 0.1, tmp_path)
    inputs = batch(SIZES)
    output = made.model(inputs["input_ids"], attention_mask=inputs["attention_mask"])
    expected = LabelSmoother(0.1)(output, inputs["labels"], shift_labels=True)
    found = made.compute_loss(made.model, dict(inputs))
    assert found.item() == pytest.approx(expected.item(), rel=2e-6)


def test_metrics_count_trained_tokens_only(tmp_path: Path) -> None:
    made = trainer("llama", 0.1, tmp_path)
    made.model.train()
    inputs = batch(SIZES)
    made.compute_loss(made.model, dict(inputs))
    logits = made.model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    labels = inputs["labels"][:, 1:]
    logp = logits[:, :-1][labels != IGNORED].log_softmax(-1)
    right = (logp.argmax(-1) == labels[labels != IGNORED]).double().mean().item()
    entropy = -(logp.exp() * logp).sum(-1).mean().item()
    assert made._metrics["train"]["mean_token_accuracy"] == [pytest.approx(right)]
    assert made._metrics["train"]["entropy"] == [pytest.approx(entropy, rel=1e-5)]


def test_half_precision_weights_lose_no_precision_in_the_mean() -> None:
    """Sums run in float32: in bfloat16 a mean of many rows would be lost."""
    draw = torch.Generator().manual_seed(1)
    weight = torch.nn.Linear(8, 50_000).weight.detach().to(torch.bfloat16).requires_grad_()
    hidden = torch.randn((6, 8), generator=draw).to(torch.bfloat16)
    targets = torch.tensor([7, 7, 7, 1, 2, 3])
    given = (hidden, weight, None, targets, None)
    excess = log_probs(0.0, *given) - log_probs(1.0, *given)
    wide = weight.detach().double().requires_grad_()
    logits = hidden.double() @ wide.T
    expected = logits.gather(1, targets[:, None])[:, 0] - logits.mean(-1)
    torch.testing.assert_close(excess.double(), expected, rtol=1e-5, atol=4e-6)
    (-log_probs(0.1, *given)).mean().backward()
    torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1).backward()
    close(slopes({"weight": weight}), slopes({"weight": wide}), 1e-2)


def log_probs(b: float, *given: Any) -> Tensor:
    """Of hidden states, weight, bias, targets and soft cap; their mean is the loss."""
    share = 1 / len(given[3])
    found: Tensor = smoothing.SmoothedLogProb.apply(*given, b, share, None)[0]
    return found


def smoothed_nll(hidden: Tensor, head: torch.nn.Linear, targets: Tensor, cap: Any) -> Tensor:
    return -log_probs(0.1, hidden, head.weight, head.bias, targets, cap).mean()


@pytest.mark.parametrize("cap", [None, 30.0])
@pytest.mark.parametrize("vocabulary", [49_152, 262_144])
def test_large_vocabularies_against_float64(vocabulary: int, cap: float | None) -> None:
    """Loss to 1e-5 and gradients to 1e-4, of logits that spread as a trained model's do."""
    draw = torch.Generator().manual_seed(2)
    hidden = torch.randn((12, 24), generator=draw).requires_grad_()
    head = torch.nn.Linear(24, vocabulary)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=draw) + 0.5)
    targets = torch.randint(0, vocabulary, (12,), generator=draw)
    targets[-3:] = vocabulary - 1  # the same label more than once, in the last tile
    loss = smoothed_nll(hidden, head, targets, cap)
    loss.backward()
    given = {"hidden": hidden, "weight": head.weight, "bias": head.bias}
    wide = {name: one.detach().double().requires_grad_() for name, one in given.items()}
    logits = wide["hidden"] @ wide["weight"].T + wide["bias"]
    if cap is not None:
        logits = cap * torch.tanh(logits / cap)
    expected = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    close(slopes(given), slopes(wide), 1e-4)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("tokens", range(2, 18))
def test_a_second_thread_changes_nothing(tokens: int) -> None:
    """Not a bit of the log-probabilities and gradients. Of one token torch splits the sums."""
    hidden, head = torch.randn(tokens, 64).requires_grad_(), torch.nn.Linear(64, 49_152)
    targets = torch.randint(0, 49_152, (tokens,))
    given: dict[str, Any] = {"hidden": hidden, "weight": head.weight, "bias": head.bias}
    made = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for one in given.values():
            one.grad = None
        found = log_probs(0.1, *given.values(), targets, None)
        (-found.mean()).backward()
        made.append({"found": found.detach(), **slopes(given)})
    for name, expected in made[0].items():
        assert torch.equal(made[1][name], expected), name


def weighted(given: dict[str, Any], targets: Tensor, cap: float | None, weights: Tensor) -> Tensor:
    """The loss from all logits, with a weight for each token."""
    logits = given["hidden"] @ given["weight"].T + given["bias"]
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    options: Any = {"label_smoothing": 0.1, "reduction": "none"}
    return (torch.nn.functional.cross_entropy(logits, targets, **options) * weights).sum()


@pytest.mark.parametrize("cap", [None, 3.0])
@pytest.mark.parametrize("weights", [[0.2] * 5, [0.7] * 5, [0.2, 0.2, 0.2, 0.2, 0.3]])
def test_weights_other_than_expected(weights: list[float], cap: Any, monkeypatch: Any) -> None:
    """0.2 is expected; the loss of any other weights has its gradients too, each time anew."""
    passes = spied(monkeypatch)
    draw = torch.Generator().manual_seed(3)
    hidden = torch.randn((5, 8), generator=draw).requires_grad_()
    head, targets = torch.nn.Linear(8, 300), torch.tensor([1, 2, 3, 299, 299])
    given: dict[str, Any] = {"hidden": hidden, "weight": head.weight, "bias": head.bias}
    loss = -(log_probs(0.1, *given.values(), targets, cap) * torch.tensor(weights)).sum()
    loss.backward(retain_graph=True)
    assert len(passes) == (1 if len(set(weights)) == 1 else 2)
    first = slopes(given)
    loss.backward()
    wide = {name: one.detach().double().requires_grad_() for name, one in given.items()}
    weighted(wide, targets, cap, torch.tensor(weights).double()).backward()
    close(first, slopes(wide), 1e-5)
    close(slopes(given), {name: 2 * one for name, one in slopes(wide).items()}, 1e-5)


def spied(monkeypatch: Any) -> list[list[int | None]]:
    """Where the gradients of each pass are. To refer to them would have autograd copy them."""
    found, real = [], smoothing._pass

    def seen(*given: Any) -> Any:
        outputs, made = real(*given)
        found.append([None if one is None else one.data_ptr() for one in made])
        return outputs, made

    monkeypatch.setattr(smoothing, "_pass", seen)
    return found


def test_a_tied_weight_has_one_matrix_of_gradients(tmp_path: Path, monkeypatch: Any) -> None:
    """It is the one that the head makes, and no sum of two."""
    passes = spied(monkeypatch)
    made = trainer("tied", 0.1, tmp_path)
    passes.clear()  # of the check
    made.compute_loss(made.model, batch(SIZES)).backward()
    ((_, gradient, _),) = passes
    assert made.model.lm_head.weight.grad.data_ptr() == gradient


def test_gradients_of_a_tied_weight_take_the_same_memory_in_each_step(tmp_path: Path) -> None:
    made = trainer("tied", 0.1, tmp_path)
    weight, places = made.model.lm_head.weight, set()
    for _ in range(3):
        made.model.zero_grad()
        made.compute_loss(made.model, batch(SIZES)).backward()
        places.add(weight.grad.data_ptr())
    assert len(places) == 1


def test_gradients_of_a_tied_weight_do_not_overwrite_each_other(tmp_path: Path) -> None:
    """Neither those of micro-batches nor, in one backward pass, those of two losses."""
    made, found = trainer("tied", 0.1, tmp_path), []
    for together in (False, True, False):
        made.model.zero_grad()
        batches = [batch(SIZES, seed) for seed in (0, 1)]
        if together:
            sum(made.compute_loss(made.model, one) for one in batches).backward()
        else:
            for one in batches:
                made.compute_loss(made.model, one).backward()
        found.append(made.model.lm_head.weight.grad.clone())
    for other in found[1:]:
        assert torch.allclose(other, found[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_memory_does_not_grow_with_the_tiles(cap: Any, dtype: Any, monkeypatch: Any) -> None:
    tokens, vocabulary, size = 24, 1000, 2
    monkeypatch.setattr(smoothing, "FOLDED_ON_CPUS", size * vocabulary)

    class Made(TorchDispatchMode):
        """Counts the results of operations that have the size of a tile, and their own memory."""

        tiles = 0

        def __torch_dispatch__(self, call: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = call(*args, **kwargs or {})
            given = "out" in (kwargs or {}) or call.is_view or call._schema.name.endswith("_")
            if isinstance(made, Tensor) and not given:
                self.tiles += made.numel() == size * vocabulary
            return made

    hidden, weight = torch.randn(tokens, 8, dtype=dtype), torch.randn(vocabulary, 8, dtype=dtype)
    given = hidden.requires_grad_(), weight.requires_grad_(), None, torch.arange(tokens)
    with Made() as made:
        smoothing.SmoothedLogProb.apply(*given, cap, 0.1, 1.0, None)
    assert made.tiles == 1 + (dtype != torch.float32) + bool(cap)


@pytest.mark.parametrize("padding", [None, 2])
def test_gradient_of_a_lookup(padding: int | None) -> None:
    """As torch's, with rows that are looked up twice, and with padding."""
    weight = torch.nn.Parameter(torch.randn(9, 4, generator=torch.Generator().manual_seed(7)))
    ids, slope = torch.tensor([[1, 2, 2], [8, 1, 1]]), torch.arange(24.0).view(2, 3, 4)
    expected = torch.nn.functional.embedding(ids, weight, padding)
    found = smoothing.Uses(weight).embedding(ids, weight, padding)
    assert torch.equal(found, expected)
    assert torch.equal(*(torch.autograd.grad(rows, weight, slope)[0] for rows in (found, expected)))


def test_an_evaluation_makes_no_gradients(tmp_path: Path, monkeypatch: Any) -> None:
    made = trainer("tied", 0.3, tmp_path)
    passes = spied(monkeypatch)
    with torch.no_grad():
        loss = made.compute_loss(made.model, batch(SIZES))
    assert loss.item() == pytest.approx(reference("tied", 0.3, batch(SIZES))[0].item(), rel=2e-6)
    assert passes == [[None, None, None]]


def test_nothing_to_train_has_gradients_of_zero(tmp_path: Path) -> None:
    """As in a micro-batch of fillers."""
    made = trainer("biased", 0.3, tmp_path)
    inputs = batch(SIZES)
    inputs["labels"][:] = IGNORED
    loss = made.compute_loss(made.model, inputs, num_items_in_batch=torch.tensor(15))
    loss.backward()
    assert loss.item() == 0
    assert not any(one.any() for one in gradients(made.model).values())


def test_powers_of_e_from_powers_of_2() -> None:
    gaps = torch.linspace(0, 200, 4001)
    found = exp_less(30 - gaps[None], torch.tensor([30.0]))
    torch.testing.assert_close(found[0].double(), (-gaps.double()).exp(), rtol=2e-5, atol=1e-38)


def test_of_equal_logits_the_first_is_the_top() -> None:
    hidden, weight = torch.ones(3, 2), torch.tensor([[0.0, 0], [2, 1], [1, 2], [0, 1]])
    given = (hidden, weight, None, torch.tensor([1, 2, 3]), None, 0.1, None, None)
    assert smoothing.SmoothedLogProb.apply(*given)[2].tolist() == [True, False, False]


@pytest.mark.parametrize("kind", ["tied", "gemma2"])
def test_autocast_against_float64(kind: str, tmp_path: Path) -> None:
    made = trainer(kind, 0.1, tmp_path)
    inputs = batch(SIZES)
    expected, wanted = reference(kind, 0.1, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        loss = made.compute_loss(made.model, dict(inputs))
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-2)
    close(gradients(made.model), wanted, 0.1)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("cap", [None, 3.0])
def test_a_weight_with_another_use(cap: float | None, first: bool) -> None:
    """Before the head's or after it: its gradient is the sum, and the other's is as it was."""
    draw = torch.Generator().manual_seed(5)
    hidden, head = torch.randn((4, 8), generator=draw), torch.nn.Linear(8, 300)
    targets = torch.tensor([1, 2, 2, 299])
    uses = [lambda: head.weight.sum(), lambda: smoothed_nll(hidden, head, targets, cap)]
    losses = [use() for use in (uses if first else uses[::-1])]
    alone = [torch.autograd.grad(one, head.weight, retain_graph=True)[0] for one in losses]
    both = torch.autograd.grad(losses, head.weight)[0]
    torch.testing.assert_close(both, alone[0] + alone[1])
    assert any((one == 1).all() for one in alone)


@pytest.mark.parametrize("cap", [None, 3.0])
def test_a_head_alone_is_trained(cap: float | None) -> None:
    """Hidden states of a frozen backbone have no gradient."""
    draw = torch.Generator().manual_seed(6)
    hidden, head = torch.randn((4, 8), generator=draw), torch.nn.Linear(8, 300)
    targets = torch.tensor([1, 2, 2, 299])
    smoothed_nll(hidden, head, targets, cap).backward()
    found = slopes(dict(head.named_parameters()))
    head.zero_grad()
    logits = head(hidden)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1).backward()
    close(found, slopes(dict(head.named_parameters())), 1e-5)


def test_a_head_that_escapes_smoothing_is_an_error(tmp_path: Path, monkeypatch: Any) -> None:
    made = trainer("llama", 0.1, tmp_path)
    monkeypatch.setattr(patches, "HEAD", "is_rich_available")
    with pytest.raises(RuntimeError, match="expected TRL's head to call"):
        made.compute_loss(made.model, batch(SIZES))


@pytest.mark.parametrize(("temperature", "scale"), [(2.0, 1.0), (1.0, 0.3)])
def test_scaled_logits(temperature: float, scale: float) -> None:
    draw = torch.Generator().manual_seed(6)
    shapes = {"hidden": (3, 8), "weight": (300, 8), "bias": (300,)}
    found = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    expected = {name: one.double().requires_grad_() for name, one in found.items()}
    for one in found.values():
        one.requires_grad_()
    targets = torch.tensor([1, 2, 299])
    given = (*found.values(), targets, temperature, 96, 3.0, scale, ())
    with smoothing.smoothed_head(0.1, 1 / 3):
        logp, *_ = trl.trainer.utils._ChunkedLogProbFunction.apply(*given)
    (-logp.mean()).backward()
    hidden, weight, bias = expected.values()
    logits = 3 * torch.tanh((hidden @ weight.T + bias) * scale / temperature / 3)
    loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    loss.backward()
    assert -logp.mean().item() == pytest.approx(loss.item(), rel=1e-5)
    close(slopes(found), slopes(expected), 1e-5)


@pytest.mark.parametrize("cap", [None, 3.0])
def test_a_frozen_head_is_left_alone(cap: float | None) -> None:
    draw = torch.Generator().manual_seed(4)
    head = torch.nn.Linear(8, 300, bias=False).requires_grad_(False)
    targets = torch.tensor([1, 2, 299])
    hidden = torch.randn((3, 8), generator=draw).requires_grad_()
    smoothed_nll(hidden, head, targets, cap).backward()
    assert head.weight.grad is None
    expected = hidden.detach().clone().requires_grad_()
    logits = expected @ head.weight.T
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    torch.nn.functional.cross_entropy(logits, targets, label_smoothing=0.1).backward()
    torch.testing.assert_close(hidden.grad, expected.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("b", [-0.1, 1.0, 1.5, float("nan")])
def test_smoothing_outside_its_range_is_refused(b: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 0 and less than 1"):
        trainer("llama", b, tmp_path)


@pytest.mark.parametrize(
    "kind",
    ["cohere", "cohere2", "falcon_h1", "granite", "hyperclovax", "minicpm3", "gemma2", "gptj"],
)
def test_what_models_do_around_their_head(kind: str, tmp_path: Path) -> None:
    """Scaled logits and divided hidden states: the loss from the logits of the forward itself."""
    made = trainer(kind, 0.2, tmp_path, architectures.model(kind))
    inputs = batch(SIZES)
    inputs["input_ids"] %= 96
    inputs["labels"][inputs["labels"] > 0] %= 96
    made.model.eval()
    with torch.no_grad():
        whole = made.model(inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    labels = inputs["labels"][:, 1:]
    expected = torch.nn.functional.cross_entropy(
        whole[:, :-1][labels != IGNORED], labels[labels != IGNORED], label_smoothing=0.2
    )
    found = made.compute_loss(made.model, dict(inputs), num_items_in_batch=torch.tensor(15))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_token_ids_beyond_the_embedding_are_refused(tmp_path: Path) -> None:
    model = tiny.model("llama", vocabulary=100)
    examples = Examples.of(tiny.pairs(2), Chat(tiny.tokenizer(), "plain"), 512, "pairs.jsonl")
    largest = max(int(row["input_ids"].max()) for row in examples.rows)
    job = TrainingJob.model_validate(TRAINING)
    sentence = f"conversations: token id {largest}, but the model knows 100 tokens"
    with pytest.raises(InputError, match=sentence):
        sft.train(model, tiny.tokenizer(), examples, job, tmp_path)
    with pytest.raises(InputError, match=sentence):
        evaluate_sft.summed_loss(model, examples)


@pytest.mark.parametrize("kind", ["bert", "mpt"])
def test_a_head_that_trl_does_not_know_is_refused(kind: str, tmp_path: Path) -> None:
    """BERT transforms its hidden states; MPT does not scale, though a key of its config says so."""
    sentence = rf"model type {kind}: log-probabilities .* in training, expected .* cannot be fine-"
    with pytest.raises(InputError, match=sentence):
        trainer(kind, 0.1, tmp_path, architectures.model(kind))
