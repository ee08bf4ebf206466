"""Scores of every causal architecture of transformers against its own plain forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from multical.errors import InputError
from multical.models import logits
from multical.scoring.scorer import Scorer
from support import architectures
from support.plain_scores import LETTERS, flat, plainly, questions, score

#: Those that scale, cap, cut, transform or divide around their head, have a bias there, or need
#: another attention
FEW = """
    bert biogpt bloom codegen cohere cohere2 gemma2 gpt_neo gpt_neox gpt_oss gptj granite
    hyperclovax inkling_text mamba minicpm3 mpt xglm
""".split()
REFUSED = {
    "cpmant": "its logits depend on later tokens, expected a causal model",
    "prophetnet": r"logits of shape \(1, 96\), expected \(1, 8, vocabulary\)",
    "xlnet": "its logits depend on later tokens, expected a causal model",
}
#: What follows a head, as the sizes of `architectures` have it
AFTER = {
    "llama": logits.AfterHead(96, 1, None),
    "cohere": logits.AfterHead(96, 0.6, None),
    "granite": logits.AfterHead(96, 1 / 1.7, None),
    "hyperclovax": logits.AfterHead(96, 1.7, None),
    "minicpm3": logits.AfterHead(96, 1, None),  # it divides the hidden states
    "mpt": logits.AfterHead(96, 1, None),  # its logit_scale does nothing in transformers
    "gemma2": logits.AfterHead(96, 1, 2),
    "inkling_text": logits.AfterHead(90, 1, None),  # the rest is padding
}


def check(kind: str, **more: Any) -> None:
    model = architectures.model(kind, **more)
    asked = questions(12, vocabulary=90)[:3]
    if kind in REFUSED:
        with pytest.raises(InputError, match=f"^model type {kind}: {REFUSED[kind]}$"):
            score(model, asked)
        return
    expected = flat([plainly(model, question) for question in asked])
    assert max(expected) - min(expected) > 0.1
    assert flat(score(model, asked)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", FEW)
def test_scores_are_those_of_plain_forwards(kind: str) -> None:
    check(kind)


@pytest.mark.slow  # half a minute in all
@pytest.mark.parametrize(
    "kind", sorted({*architectures.KINDS} - {*FEW, *architectures.NOT_BUILT})
)  # fmt: skip
def test_all_architectures(kind: str) -> None:
    check(kind)


@pytest.mark.parametrize("new", [False, True])
def test_falcon_with_alibi(new: bool) -> None:
    check("falcon", alibi=True, new_decoder_architecture=new)


@pytest.mark.parametrize("kind", AFTER)
def test_what_follows_the_head(kind: str) -> None:
    size, scale, cap = logits.after_head(architectures.model(kind))
    assert (size, cap) == AFTER[kind][::2]
    assert scale == pytest.approx(AFTER[kind].scale, rel=1e-7)


@pytest.mark.parametrize("kind", ["cohere", "gemma2", "minicpm3"])
def test_half_precision(kind: str) -> None:
    model: Any = architectures.model(kind)
    model.to(dtype=torch.bfloat16)
    asked = questions(4, vocabulary=90)[:3]
    expected = flat([plainly(model, question) for question in asked])
    assert flat(score(model, asked)) == pytest.approx(expected, abs=0.3, rel=0.02)


def test_logits_that_are_not_of_the_head_are_refused() -> None:
    """A forward that adds something of its own, token by token."""
    model = architectures.model("llama")
    own = model.forward
    added = torch.linspace(0, 1, 96)

    def forward(input_ids: Any = None, position_ids: Any = None, **more: Any) -> Any:
        output = own(input_ids=input_ids, position_ids=position_ids, **more)
        output.logits = output.logits + added
        return output

    model.forward = forward
    with pytest.raises(InputError, match="model type llama: its forward turns outputs"):
        Scorer(model, LETTERS, 300)


def test_a_head_that_is_used_otherwise_is_refused() -> None:
    """The head's outputs are right for the probe, but its inputs are not those it is given."""
    model = architectures.model("llama")
    head: Any = model.get_output_embeddings()
    forward = head.forward
    head.forward = lambda hidden: forward(2 * hidden)
    with pytest.raises(InputError, match=r"model type llama: logits .* of its head, expected"):
        Scorer(model, LETTERS, 300)
