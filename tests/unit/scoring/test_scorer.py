"""Scores of tries against one plain forward per option, on tiny random models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedModel,
    Qwen2Config,
)

from multical.errors import InputError
from multical.models import cpu_attention
from multical.scoring import scorer as scoring
from multical.scoring.scorer import Group, Scorer, Scores
from multical.scoring.tokenized import TokenizedQuestion
from support.plain_scores import LETTERS, VOCABULARY, flat, plainly, questions, score

POSITIONS = 128
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
}
FALCON = {key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")}
FALCON |= {"num_attention_heads": 4, "ffn_hidden_size": 48, "bias": False}
FALCON |= {"max_position_embeddings": POSITIONS}
GEMMA = SIZES | {"head_dim": 8, "sliding_window": 6}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=6),
    "gemma2": Gemma2Config(**GEMMA, final_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**GEMMA),
    "qwen2": Qwen2Config(**SIZES),
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4),
    "falcon": FalconConfig(**FALCON, multi_query=True),
    "falcon 40b": FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=POSITIONS
    ),
}


def build(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    attention = "eager" if config.model_type in ("gemma2", "mamba") else "sdpa"
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # wide enough for scores to differ
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.mark.parametrize("prefix", [0, 3, 12])
@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_are_those_of_plain_forwards(kind: str, prefix: int) -> None:
    """A shared prefix of 12 is longer than the sliding windows."""
    model = build(CONFIGS[kind])
    asked = questions(prefix)
    expected = [plainly(model, question) for question in asked]
    assert flat(score(model, asked)) == pytest.approx(flat(expected), abs=1e-4)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_batch_changes_nothing(kind: str) -> None:
    model = build(CONFIGS[kind])
    asked = questions(4)
    whole = flat(score(model, asked, 10_000))
    alone = flat([result for question in asked for result in score(model, [question])])
    assert whole == pytest.approx(alone, abs=1e-5)
    assert flat(score(model, asked, 1)) == pytest.approx(alone, abs=1e-5)
    backwards = score(model, asked[::-1], 200)[::-1]
    assert flat(backwards) == pytest.approx(alone, abs=1e-5)


def test_batches_keep_to_the_tokens_longest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model is given: the prefix once, then rows whose prefix counts too."""
    model, asked, budget = build(CONFIGS["llama"]), questions(12), 150
    monkeypatch.setattr(scoring, "TRIE_TOKENS", 40)
    group = Group.of(asked)
    shared, longest = len(group.prefix), max(map(len, group.rows))
    assert shared >= 12
    assert any(len(row.questions) > 1 for row in group.rows)
    assert shared + longest <= budget
    scorer, shapes = Scorer(model, LETTERS, budget), []
    monkeypatch.setattr(scorer, "_checked", (True, budget))
    model.base_model.register_forward_pre_hook(
        lambda module, args, given: shapes.append(tuple(given["input_ids"].shape)),
        with_kwargs=True,
    )
    scorer.score(group)
    prefixes = [shape for shape in shapes if shape == (1, shared)]
    batches = [shape for shape in shapes if shape != (1, shared)]
    assert len(prefixes) == 1
    assert sum(rows for rows, _ in batches) == len(group.rows)
    assert all(rows * (shared + width) <= budget for rows, width in batches)
    widths = [width for _, width in batches]
    assert widths == sorted(widths, reverse=True)
    lengths = [len(row) for batch in group.batches(budget) for row in batch]
    assert lengths == sorted(lengths, reverse=True)
    in_rows = [
        question for batch in group.batches(budget) for row in batch for question in row.questions
    ]
    assert sorted(in_rows) == list(range(len(asked)))


@pytest.mark.parametrize("prefix", [0, 12])
@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_a_batch_is_one_row_where_hidden_keys_cost_nothing(
    kind: str, prefix: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_attention, "serves", lambda model: True)
    model, asked, budget = build(CONFIGS[kind]), questions(prefix), 200
    group = Scorer(model, LETTERS, budget).group(asked)
    lengths = [len(group.prefix) + len(row) for row in group.rows]
    assert len(lengths) > 1
    assert scoring.TRIE_TOKENS < max(lengths) <= budget
    assert all(len(batch) == 1 for batch in group.batches(budget))
    expected = flat([plainly(model, question) for question in asked])
    assert flat(score(model, asked, budget)) == pytest.approx(expected, abs=1e-4)


def test_the_check_of_a_longer_row_runs_no_batch_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, checked, ran = Scorer(build(CONFIGS["llama"]), LETTERS, 500), [], []
    difference, together = scorer._difference, scorer._together

    def counted(rows: list[scoring.Row], prefix: list[int]) -> Any:
        ran.append(rows)
        return together(rows, prefix)

    def noted(row: scoring.Row, *rest: Any) -> str:
        checked.append(row)
        return difference(row, *rest)

    monkeypatch.setattr(scorer, "_together", counted)
    monkeypatch.setattr(scorer, "_difference", noted)
    asked = questions(0)
    groups = [scorer.group(some) for some in (asked[:1], asked[:3], asked[:3], asked)]
    for group in groups:
        scorer.score(group)
    assert checked == [groups[i].rows[0] for i in (0, 1, 3)]
    assert ran == [batch for group in groups for batch in group.batches(500)]


def test_a_large_vocabulary_is_added_up_exactly() -> None:
    """In float32 too, where many small terms after a large one are easily lost (up to 2e-4)."""
    torch.manual_seed(0)
    logits = torch.randn(4, 262_144)
    logits[:, 0] = 18
    model = build(LlamaConfig(**{**SIZES, "hidden_size": 4, "vocab_size": 262_144}))
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(logits.T)
    head, wanted = scoring.Head(model), np.array([5, 0, 262_143])
    with torch.inference_mode():
        totals, picked = head.read(torch.eye(4), np.array([2, 0, 3]), wanted)
    assert totals.dtype == picked.dtype == np.float32
    expected = logits.double().logsumexp(-1)
    assert totals.astype(float).tolist() == pytest.approx(expected.tolist(), abs=3e-6)
    assert picked.tolist() == pytest.approx(logits[[2, 0, 3], torch.from_numpy(wanted)].tolist())


@pytest.mark.parametrize("weight", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16])
def test_the_head_rounds_nothing(weight: torch.dtype, states: torch.dtype) -> None:
    """Products of bfloat16 numbers may use AMX, others not: they would be off by 1e-2 there."""
    torch.manual_seed(0)
    model = build(LlamaConfig(**{**SIZES, "hidden_size": 512, "vocab_size": 1024}))
    hidden, wanted = torch.randn(40, 512).to(states), np.arange(40)
    with torch.inference_mode():
        model.get_output_embeddings().weight.normal_(0, 0.1)
        torch.nn.Module.to(model, dtype=weight)
        head = scoring.Head(model)
        totals, picked = head.read(hidden, wanted, wanted)
        logits = hidden.double() @ head.weight.double().T
    assert totals == pytest.approx(logits.logsumexp(-1).numpy(), abs=2e-5)
    assert picked == pytest.approx(logits.diagonal().numpy(), abs=2e-5)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("size", [1, 900])
@pytest.mark.parametrize("kind", ["gemma2", "llama"])
def test_tiles_of_logits_change_nothing(
    kind: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = build(CONFIGS[kind]), questions(4)
    whole = flat(score(model, asked))
    monkeypatch.setattr(scoring, "CPU_LOGITS", size)
    assert flat(score(model, asked)) == pytest.approx(whole, abs=1e-5)


def test_a_question_too_long_is_named() -> None:
    long = TokenizedQuestion([1] * (POSITIONS + 1), [1], [[1, 2], [1, 3]])
    with pytest.raises(InputError, match=f"question q1: {POSITIONS + 1} tokens, .* {POSITIONS}"):
        score(build(CONFIGS["llama"]), [questions(0)[0], long])
    fits = long._replace(multiple_choice=[1] * POSITIONS)
    assert len(score(build(CONFIGS["llama"]), [fits])) == 1


def test_an_option_that_changes_the_first_token_is_refused() -> None:
    """Nothing comes before it: its log-probability would be read at another node."""
    changed = TokenizedQuestion(None, [5, 6], [[7, 8], [9, 10]])
    with pytest.raises(InputError, match=r"question q0: an option changes the first token .*5"):
        score(build(CONFIGS["llama"]), [changed])
    assert (
        len(score(build(CONFIGS["llama"]), [TokenizedQuestion(None, [5], [[5, 8], [5, 9]])])) == 1
    )


def test_a_recurrent_model_runs_each_path_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    config = MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2)
    model = build(config)
    for asked in questions(0), questions(12):
        expected = flat([plainly(model, question) for question in asked])
        assert flat(score(model, asked)) == pytest.approx(expected, abs=1e-4)
        assert flat(score(model, asked, 1)) == pytest.approx(expected, abs=1e-4)
        assert capsys.readouterr().err.count("model type mamba: cannot share tokens") == 2
    assert score(model, multiple_choice(questions(12)))
    assert "model type mamba: cannot share tokens" in capsys.readouterr().err


def multiple_choice(asked: list[TokenizedQuestion]) -> list[TokenizedQuestion]:
    """The same questions without the plain prompt."""
    return [TokenizedQuestion(one.multiple_choice, [], [[]] * len(one.options)) for one in asked]


@pytest.mark.parametrize("kind", CONFIGS)
def test_letters_alone(kind: str) -> None:
    model, asked = build(CONFIGS[kind]), questions(12)
    alone, whole = score(model, multiple_choice(asked)), score(model, asked)
    for one, other in zip(alone, whole, strict=True):
        assert one.letter_logits == pytest.approx(other.letter_logits, abs=1e-4)
        assert one.logsumexp == pytest.approx(other.logsumexp, abs=1e-4)


def test_a_model_that_cannot_share_a_prefix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For letters alone; without a prefix such a model shares the rest."""
    plain_cache = Scorer._prefix_cache

    def forgetful(self: Scorer, tokens: list[int], rows: int) -> Any:
        cache = plain_cache(self, tokens, rows)
        layers: list[Any] = cache.layers if cache else []
        for layer in layers:
            layer.values.zero_()
        return cache

    monkeypatch.setattr(Scorer, "_prefix_cache", forgetful)
    model, asked = build(CONFIGS["llama"]), questions(12)
    expected = flat([plainly(model, question) for question in asked])
    letters = [
        Scores(one.letter_logits, one.logsumexp, [0.0] * len(one.text_logliks))
        for one in (plainly(model, question) for question in asked)
    ]
    assert flat(score(model, multiple_choice(asked))) == pytest.approx(flat(letters), abs=1e-4)
    assert flat(score(model, asked)) == pytest.approx(expected, abs=1e-4)
    assert capsys.readouterr().err.count("model type llama: cannot share tokens") == 2
    assert score(model, multiple_choice(questions(0)))
    assert not capsys.readouterr().err


@pytest.mark.parametrize("prefix", [0, 3])
def test_a_model_that_ignores_the_mask(
    prefix: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Scorer, "_masks", lambda *_: None)
    model, asked = build(CONFIGS["llama"]), questions(prefix)
    expected = flat([plainly(model, question) for question in asked])
    assert flat(score(model, asked)) == pytest.approx(expected, abs=1e-4)
    assert "model type llama: cannot share tokens" in capsys.readouterr().err


@pytest.mark.parametrize("kind", CONFIGS)
def test_tokens_are_shared(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    score(build(CONFIGS[kind]), questions(12))
    assert not capsys.readouterr().err


def test_token_ids_beyond_the_embedding_are_refused() -> None:
    beyond = TokenizedQuestion([1, 2, VOCABULARY], [], [[], []])
    expected = f"question q0: token id {VOCABULARY}, but the model knows {VOCABULARY} tokens"
    with pytest.raises(InputError, match=expected):
        score(build(CONFIGS["llama"]), [beyond])
    with pytest.raises(InputError, match=f"letters: token id {VOCABULARY},"):
        Scorer(build(CONFIGS["llama"]), [[1], [VOCABULARY]], 300)
    inside = TokenizedQuestion([1, 2, VOCABULARY - 1], [], [[], []])
    assert len(score(build(CONFIGS["llama"]), [inside])) == 1


def test_a_model_that_sees_later_tokens_is_refused() -> None:
    config = BertConfig(vocab_size=VOCABULARY, hidden_size=32, num_attention_heads=4)
    with pytest.raises(InputError, match="model type bert: its logits depend on later tokens"):
        score(build(config), questions(0))


@pytest.mark.parametrize(
    "question", [TokenizedQuestion([], [], [[], []]), TokenizedQuestion(None, [], [[5], [6]])]
)
def test_prompts_without_tokens_are_refused(question: TokenizedQuestion) -> None:
    with pytest.raises(InputError, match="question q0: found a prompt without tokens, expected"):
        score(build(CONFIGS["llama"]), [question])


@pytest.mark.parametrize("prefix", [0, 1])
def test_prompts_of_one_token(prefix: int) -> None:
    """Every text before the options is a token or two."""
    model = build(CONFIGS["llama"])
    start = [5] * prefix
    asked = [TokenizedQuestion([*start, first], [*start, 6], [[*start, 6, 8], [*start, 6, 9]])
             for first in (6, 7)]  # fmt: skip
    expected = flat([plainly(model, question) for question in asked])
    assert flat(score(model, asked)) == pytest.approx(expected, abs=1e-4)
    assert flat(score(model, asked[:1])) == pytest.approx(expected[: len(expected) // 2], abs=1e-4)
