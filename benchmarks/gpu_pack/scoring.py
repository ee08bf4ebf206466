"""How fast scoring is at the shapes of the papers' models, beside lm-evaluation-harness.

Questions are random tokens, as many as MMLU's have on average in English: a question with its
options 115, one without them 75, the text of an option 10. With five examples each question comes
after those of its subject. A question of 512 tokens shares none with others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import torch

from gpu_pack import shapes
from gpu_pack.machine import Machine
from gpu_pack.rows import Row, Verdict
from multical.scoring.scorer import Scorer
from multical.scoring.tokenized import TokenizedQuestion

OPTIONS = 4
#: As in config/paper1.yaml
BATCH_TOKENS = 32_768
#: Seconds that a measurement should take, and its largest number of questions (of a part)
SECONDS, MOST = 5.0, 1000
#: Of the card's peak, at 512 tokens
TARGET, AIMED_AT = 0.5, "llama-3.1-8b"
LARGE = "llama-3.1-70b-instruct"


class Case(NamedTuple):
    """Questions of a kind: tokens of a prompt, of an option's text (0: letters) and of examples."""

    name: str
    prompt: int
    option: int
    examples: int


CASES = [
    Case("512 tokens, letters", 512, 0, 0),
    Case("letters, zero-shot", 115, 0, 0),
    Case("letters, five-shot", 115, 0, 5 * 115),
    Case("texts, zero-shot", 75, 10, 0),
    Case("texts, five-shot", 75, 10, 5 * 85),
]


def check(name: str) -> Callable[[Machine], Iterator[Row]]:
    """The check of a name: `matrix product`, or `score MODEL`."""
    if name == "matrix product":
        return matrix_product
    model = name.removeprefix("score ")
    return partial(large if model == LARGE else score, name, model)


def matrix_product(machine: Machine) -> Iterator[Row]:
    """What share of its peak the card reaches at best."""
    peak, source = machine.peak
    found = f"{machine.measured / 1e12:.3g} TFLOP/s, {machine.measured / peak:.0%} of {source}"
    yield Row("matrix product", "bfloat16, square, large", found, f"{peak / 1e12:.4g} TFLOP/s")


def score(name: str, model_name: str, machine: Machine) -> Iterator[Row]:
    """Speed of a model in bfloat16, against lm-evaluation-harness."""
    settings = shapes.config(model_name, machine)
    needed = 2 * shapes.size(settings) / 1e9
    if machine.card and needed > machine.memory - 6:
        yield too_large(name, needed + 6, machine)
        return
    model = shapes.model(settings, machine, torch.bfloat16)
    for case in CASES:
        yield from measured(name, model, case, machine)


def large(name: str, model_name: str, machine: Machine) -> Iterator[Row]:
    """Speed of a model in 4 bits, of letters."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        yield Row(name, "4 bits", f"bitsandbytes does not load: {error}", "", "absent")
        return
    settings = shapes.config(model_name, machine)
    needed = 0.58 * shapes.size(settings) / 1e9
    if machine.card and needed > machine.memory - 6:
        yield too_large(name, needed + 6, machine)
        return
    model = shapes.in_four_bits(settings, machine)
    for case in CASES[:3]:
        yield from measured(name, model, case, machine, "4 bits")


def too_large(check: str, needed: float, machine: Machine) -> Row:
    """The row of a model that does not fit."""
    found = f"needs {needed:.0f} GB, {machine.memory:.0f} are free"
    return Row(check, "", found, "", "absent")


def measured(
    check: str, model: Any, case: Case, machine: Machine, precision: str = "bfloat16"
) -> Iterator[Row]:
    """The rows of a case: ours, and the harness's."""
    from scoring_ours import flop

    if machine.tiny:
        case = case._replace(**{key: -(-getattr(case, key) // 8) for key in case._fields[1:]})
    batch = BATCH_TOKENS // (64 if machine.tiny else 1)
    vocabulary = model.config.vocab_size
    scorer = Scorer(model, [[token] for token in range(OPTIONS)], batch)

    def ours(asked: Sequence[TokenizedQuestion]) -> None:
        scorer.score(scorer.group(asked))

    count, seconds = paced(ours, case, vocabulary, machine)
    asked = questions(case, count, vocabulary)
    peak, source = machine.peak
    share = flop(scorer.group(asked), model) / seconds / peak
    tokens = sum(map(len, chain.from_iterable(one.sequences() for one in asked)))
    found = f"{count / seconds:.3g} questions/s, {tokens / seconds:.3g} tokens/s, "
    found += f"{share:.0%} of peak" + f", {machine.held():.1f} GB" * bool(machine.card)
    setting = f"{case.name}, {precision}, {count} questions"
    if check == f"score {AIMED_AT}" and case.name == CASES[0].name:
        ok: Verdict = "-" if machine.tiny else "yes" if share >= TARGET else "missed"
        yield Row(check, setting, found, f"{TARGET:.0%} of {source} or more", ok)
    else:
        yield Row(check, setting, found)
    if precision == "bfloat16":
        yield against_harness(check, model, case, count / seconds, machine)


def against_harness(check: str, model: Any, case: Case, ours: float, machine: Machine) -> Row:
    """How many times as fast as lm-evaluation-harness, whose batches have as many tokens."""
    setting = f"{case.name}, bfloat16"
    try:
        from lm_eval.models.huggingface import HFLM
    except ImportError as error:
        return Row(check, setting, f"lm-eval does not load: {error}", "lm-eval", "absent")
    from support import tiny

    def speed(size: int) -> float:
        harness = HFLM(pretrained=model, tokenizer=tiny.tokenizer(), batch_size=size)

        def theirs(asked: Sequence[TokenizedQuestion]) -> None:
            harness._loglikelihood_tokens(requests(asked), disable_tqdm=True)  # noqa: SLF001

        count, seconds = paced(theirs, case, model.config.vocab_size, machine)
        return count / seconds

    longest = case.examples + 2 * (case.prompt + case.option)
    size = max(1, BATCH_TOKENS // (64 if machine.tiny else 1) // longest)
    while size:
        try:
            rate = speed(size)
            break
        except torch.OutOfMemoryError:
            size //= 2
            torch.cuda.empty_cache()
    else:
        return Row(check, setting, "lm-eval: out of memory with one text", "lm-eval", "-")
    ratio = ours / rate
    found = f"{ratio:.3g} x its {rate:.3g} questions/s, batches of {size} texts"
    ok: Verdict = "-" if machine.tiny else "yes" if ratio >= 1 else "missed"
    return Row(check, setting, found, "lm-eval: 1 x or more", ok)


def paced(
    function: Callable[[Any], None], case: Case, vocabulary: int, machine: Machine
) -> tuple[int, float]:
    """Seconds for some questions, and their number, chosen so that this takes `SECONDS`."""
    few = 4 if machine.tiny else 32
    for seed in (1, 2):  # the first fills caches
        one = machine.seconds(partial(function, questions(case, few, vocabulary, seed))) / few
    count = few if machine.tiny else int(min(MOST, max(few, SECONDS / one)))
    machine.held(reset=True)
    asked = questions(case, count, vocabulary)
    return count, machine.seconds(partial(function, asked))


def questions(case: Case, count: int, vocabulary: int, seed: int = 0) -> list[TokenizedQuestion]:
    """Random questions of a case, up to half longer or shorter than its means, or all of 512."""
    generator = random.Random(seed)

    def draw(mean: int, vary: bool = True) -> list[int]:
        length = generator.randint(-(-mean // 2), mean + mean // 2) if vary else mean
        return [generator.randrange(10, vocabulary) for _ in range(length)]

    examples = draw(case.examples, vary=False)
    made = []
    for _ in range(count):
        prompt = [*examples, *draw(case.prompt, vary=case.name != CASES[0].name)]
        if case.option:
            options = [prompt + draw(case.option) for _ in range(OPTIONS)]
            made.append(TokenizedQuestion(None, prompt, options))
        else:
            made.append(TokenizedQuestion(prompt, [], [[]] * OPTIONS))
    return made


def requests(asked: Sequence[TokenizedQuestion]) -> list[tuple[tuple[str, str], Any, Any]]:
    """Contexts and continuations for the harness: letters, or texts of options."""
    made = []
    for number, one in enumerate(asked):
        for option in range(OPTIONS):
            context = one.multiple_choice or one.cloze
            rest = [option] if one.multiple_choice else one.options[option][len(context) :]
            made.append(((str(number), str(option)), list(context), list(rest)))
    return made
