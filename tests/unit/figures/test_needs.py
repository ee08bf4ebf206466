"""What figures and tables need, as `figures.needs` lists it and as their programs find it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, get_args

import pytest

from multical.figures import needs
from multical.metrics.definitions import METRICS
from multical.metrics.params import Readout
from multical.metrics.readouts import READOUTS
from support.synthetic import make_records

SCRIPTS = Path(__file__).parents[3] / "scripts"


def program(name: str) -> Path:
    names = (f"plot_{name}", f"make_{name}_table", f"write_{name}")
    (file,) = [file for x in names if (file := SCRIPTS / f"{x}.py").exists()]
    return file


#: What a program selects that chooses by its table: entropy_by_lang draws normalised_entropy only
#: where it is
CHOSEN = {"entropy_by_lang": {"entropy"}}


def selected(name: str) -> set[str]:
    """The metrics that a program selects from its tables: METRICS, or its argument `metric`."""
    if name in CHOSEN:
        return CHOSEN[name]
    tree = ast.parse(program(name).read_text(encoding="utf-8"))
    listed: Any = None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "METRICS":
            listed = ast.literal_eval(node.value)
    for node in ast.walk(tree):
        if not isinstance(node, ast.keyword) or node.arg != "metric" or listed:
            continue
        if isinstance(node.value, ast.Constant | ast.List):
            listed = ast.literal_eval(node.value)
    return {listed} if isinstance(listed, str) else set(listed or ())


PRODUCTS = [*needs.METRICS, *sorted(needs.COMPARISONS - needs.METRICS.keys())]
#: They draw the metrics that there are
ANY = {"effects_by_lang", "effects_by_resource", "p_values"}


@pytest.mark.parametrize("name", PRODUCTS)
def test_programs_select_these_metrics(name: str) -> None:
    assert selected(name) == set(needs.METRICS.get(name, ()))
    text = program(name).read_text(encoding="utf-8")
    assert (name in needs.COMPARISONS) == ("need_tuned" in text or "tables.compared" in text)


def test_all_programs_are_listed() -> None:
    for file in SCRIPTS.glob("*.py"):
        name = file.stem.removeprefix("plot_").removeprefix("make_").removesuffix("_table")
        if "tables.chosen(" in file.read_text(encoding="utf-8") and file.stem.startswith("plot_"):
            assert (name in needs.METRICS) == bool(selected(name)), name


@pytest.mark.parametrize("readout", get_args(Readout))
def test_metrics_of_a_readout(readout: Readout) -> None:
    frame = make_records(["m"], ["en"], 20, 0)
    if readout == "text_pmi":
        frame = frame.assign(text_logliks_alone=frame["text_logliks"])
    try:
        found = READOUTS[readout](frame)
    except Exception:  # a readout that these records have not
        pytest.skip("not in the made-up records")
    assert needs.metrics_of(readout) == {x for x in METRICS if METRICS[x].applies(found)}


def test_faults_are_told_at_once() -> None:
    def faults(*names: str, readout: Any = "letter", tuned: bool = True) -> dict[str, str]:
        return dict(needs.faults(names, readout, ["ece", "accuracy"], tuned))

    assert faults("ece_by_lang") == {}
    assert faults("selective") == {
        "metrics.metrics": "found none of auroc, aurc, augrc, which selective needs, expected all"
    }
    assert faults("headline", "selective") == {
        "metrics.metrics": "found none of confidence, auroc, aurc, augrc, which the headline's "
        "tables and figures need, expected all"
    }
    assert faults("entropy_by_lang", readout="letter_full") == {
        "figures.readout": "found letter_full, which has no entropy that entropy_by_lang needs"
    }
    assert faults("p_values", "effects_by_lang", tuned=False) == {
        "figures.sft": "found null, expected the SFT data of runs, with which base models are "
        "compared in effects_by_lang, p_values"
    }
