"""Figures and the main table: they are made, the same each time, or refused in a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from multical.errors import InputError
from multical.figures import language_plots, style
from multical.figures import tables as results
from multical.params import option
from support import figure_data, forks

SCRIPTS = Path(__file__).parents[3] / "scripts"
COMMON = ["benchmark", "readout", "sft", "seed", "level"]
AXIS = ["reference_language", "language_names"]
#: script -> (table it reads, further parameters, outputs)
PROGRAMS = {
    "plot_ece_by_lang": ("metrics", ["smoothing", *AXIS], ("pdf", "png")),
    "plot_entropy_by_lang": (
        "metrics",
        ["smoothing", *AXIS, "options"],
        ("pdf", "png"),
    ),
    "plot_confidence_vs_accuracy_shift": (
        "metrics",
        ["smoothing", "reference_language"],
        ("pdf", "png"),
    ),
    "plot_gap_vs_accuracy": (
        "metrics",
        ["smoothing", "reference_language", "options"],
        ("pdf", "png"),
    ),
    "plot_ece_vs_fertility": ("metrics", ["smoothing", "reference_language"], ("pdf", "png")),
    "plot_reliability": ("reliability", ["smoothing", "options"], ("pdf", "png")),
    "plot_smoothing_sweep": ("summary", ["options"], ("pdf", "png")),
    "plot_ece_by_resource": ("summary", [], ("pdf", "png")),
    "plot_conditions_by_resource": ("summary", ["options"], ("pdf", "png")),
    "plot_reliability_by_lang": ("reliability_by_lang", ["smoothing", "model"], ("pdf", "png")),
    "plot_culture": ("culture", ["smoothing", "options"], ("pdf", "png")),
    "plot_effects_by_lang": (
        "effects",
        ["smoothing", *AXIS, "model"],
        ("pdf", "png"),
    ),
    "plot_effects_by_resource": ("effects_over_languages", ["smoothing"], ("pdf", "png")),
    "make_decomposition_table": ("summary", [], ("csv", "tex")),
    "make_main_table": ("summary", [], ("csv", "tex")),
    "plot_recalibration_transfer": (
        "recalibration",
        ["smoothing", "reference_language"],
        ("pdf", "png"),
    ),
    "plot_temperatures_by_lang": (
        "temperatures",
        ["smoothing", *AXIS],
        ("pdf", "png"),
    ),
    "make_recalibration_table": ("recalibration", ["reference_language"], ("csv", "tex")),
}
#: What a script reads beside its table
BESIDE = {"plot_ece_vs_fertility": ["fertility"]}
EVERY = pytest.mark.parametrize("name", PROGRAMS)
#: Programs that embed fonts as readers get them, in two processes: the others' are cut alike, and
#: by far slower than they draw
WHOLE = ("plot_ece_by_lang", "plot_reliability", "plot_effects_by_lang")


def arguments(name: str, table: Path, out: Path, *beside: Path, **changes: Any) -> list[str]:
    kind, keys, outputs = PROGRAMS[name]
    params = {key: figure_data.PARAMS[key] for key in ["study", *COMMON, *keys]}
    params |= changes
    files = [text for end in outputs for text in (f"--{end}", str(out / f"{name}.{end}"))]
    files += ["--sidecar", str(out / f"{name}.json")]
    files += [text for path in beside for text in (option(path.stem), str(path))]
    return [option(kind), str(table), "--params", json.dumps(params), "--code", "abc", *files]


@pytest.fixture
def make(
    monkeypatch: pytest.MonkeyPatch, small: dict[str, Path]
) -> Callable[..., dict[str, bytes]]:
    """Run a script's main in this process; its outputs by suffix. Warnings are errors."""
    figure_data.draw_once(monkeypatch)

    def run(name: str, tables: dict[str, Path], out: Path, **changes: Any) -> dict[str, bytes]:
        table = tables[PROGRAMS[name][0]]
        monkeypatch.syspath_prepend(str(SCRIPTS))
        beside = [tables.get(kind, small[kind]) for kind in BESIDE.get(name, [])]
        monkeypatch.setattr(sys, "argv", [name, *arguments(name, table, out, *beside, **changes)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            __import__(name)
            sys.modules[name].main()
        return {end: (out / f"{name}.{end}").read_bytes() for end in (*PROGRAMS[name][2], "json")}

    return run


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return figure_data.write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    levels = {"en": "high", "de": "high", "el": "mid", "yo": "low", "am": "low"}
    return figure_data.write_tables(tmp_path_factory.mktemp("small"), levels)


def settings(name: str) -> Any:
    """Those of matplotlib with which a program is run twice."""
    return {} if name in WHOLE else figure_data.QUICK


#: Run in a new process for each line, settings, and a program and its arguments, in a fork
RUN_ALL = """
import json, os, runpy, sys
import matplotlib.pyplot, multical.figures.style, pandas
for line in sys.stdin:
    if os.fork() == 0:
        settings, sys.argv = json.loads(line)
        matplotlib.rcParams.update(settings)
        runpy.run_path(sys.argv[0], run_name="__main__")
        break
    assert os.wait()[1] == 0, line
"""


@pytest.fixture(scope="session")
def fresh(small: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what all programs make in another process.

    It has another hash seed, time zone and working folder, which has a matplotlibrc.
    """
    folder = tmp_path_factory.mktemp("fresh")
    beside = {name: [small[kind] for kind in BESIDE.get(name, [])] for name in PROGRAMS}
    commands = {
        x: [str(SCRIPTS / f"{x}.py"), *arguments(x, small[table], folder, *beside[x])]
        for x, (table, *_) in PROGRAMS.items()
    }
    lines = [json.dumps([settings(x), command]) for x, command in commands.items()]
    stray = "lines.linewidth: 30\naxes.facecolor: red\nfont.size: 20\npdf.compression: 0\n"
    (folder / "matplotlibrc").write_text(stray, encoding="utf-8")
    more = {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "PYTHONPATH": str(SCRIPTS)}
    subprocess.run(
        [sys.executable, "-c", RUN_ALL], input="\n".join(lines), text=True, check=True,
        cwd=folder, env=os.environ | more,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def unknown(
    small: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Path]]:
    """Tables of languages of unknown level: they alone, and beside languages of known levels."""
    changed: list[dict[str, Path]] = []
    for place, known in enumerate(("mid|low", "high|mid|low")):
        folder = tmp_path_factory.mktemp("unknown")
        for kind, path in small.items():
            table = pd.read_csv(path)
            for column in {"group", "resource_level"} & set(table):
                if place and kind in ("summary", "reliability", "recalibration", "culture"):
                    table = table[~table[column].isin(["mid", "low"])]
                if place and "over" in kind:
                    table = table[~table[column].str.contains("mid|low")]
                elif not place:
                    table = table[~table[column].isin(["low"])]
                table[column] = table[column].replace(known.split("|"), "unknown")
            table.to_csv(folder / path.name, index=False)
        changed.append({kind: folder / path.name for kind, path in small.items()})
    return changed


@EVERY
def test_languages_of_unknown_level(
    name: str, make: Callable[..., Any], unknown: list[dict[str, Path]], tmp_path: Path
) -> None:
    for changed in unknown:
        assert make(name, changed, tmp_path)


@EVERY
def test_same_input_same_bytes(
    name: str, make: Callable[..., Any], small: dict[str, Path], fresh: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.undo()  # draw PDFs, too
    with style.plt.rc_context(settings(name)):
        here = make(name, small, tmp_path)
    outputs = PROGRAMS[name][2]
    assert [(fresh / f"{name}.{end}").read_bytes() for end in outputs] == [here[e] for e in outputs]
    sidecar = json.loads(here["json"])
    assert sidecar["params"]["benchmark"] == "cldr-facts"
    assert sidecar["seed"] == 0
    if "pdf" in outputs:
        assert b"Date" not in here["pdf"]
        assert (b"/FontFile2" in here["pdf"]) == (name in WHOLE)


CASES: dict[str, dict[str, Any]] = {
    "one language, one model": {"languages": {"en": "high"}, "models": ("gemma3-270m",)},
    "long tags, other smoothings": {
        "languages": {"zh-Hant-TW": "high", "nan": "low", "en": "high"},
        "smoothings": (0.0, 0.05, 0.1, 0.3),
    },
    "two levels, one smoothing": {
        "languages": {"en": "high", "yo": "low"},
        "smoothings": (0.0, 0.1),
    },
    "71 languages, 3 models": {
        "languages": figure_data.SEVENTY_ONE,
        "models": ("Llama-3.1-8B", "Mistral_7B-v0.1", "gemma-2-2b"),
    },
    "3 SFT sets": {
        "languages": {"en": "high", "bn": "mid", "yo": "low"},
        "sets": ("alpaca", "a-mixture-with-a-long-name", "facts"),
    },
}


@pytest.fixture(scope="session")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return {
        case: figure_data.write_tables(tmp_path_factory.mktemp("size"), **given)
        for case, given in CASES.items()
    }


@EVERY
@pytest.mark.parametrize("case", CASES)
def test_every_size(
    name: str, case: str, make: Callable[..., Any], sizes: dict[str, Any], tmp_path: Path
) -> None:
    (model, *_) = CASES[case].get("models", figure_data.MODELS)
    own = {"model": model} if "model" in PROGRAMS[name][1] else {}
    made = make(name, sizes[case], tmp_path, **own)
    assert all(len(content) > 300 for content in made.values())


def places(frame: pd.DataFrame) -> pd.Series:
    """The language, group of languages or resource level of each row."""
    (name,) = {"language", "group", "level"} & set(frame)
    return frame[name]


@EVERY
def test_missing_intervals_and_values(
    name: str, make: Callable[..., Any], small: dict[str, Path], tmp_path: Path
) -> None:
    kind = PROGRAMS[name][0]
    frame = pd.read_csv(small[kind])
    if kind.startswith("reliability"):
        frame.loc[places(frame).isin(["yo", "low"]), "n"] = 0
    else:
        ends = ["ci_low", "ci_high"]
        frame.loc[places(frame).isin(["yo", "low"]), ends] = np.nan
        first = frame.index[places(frame).isin(["am", "mid"])]
        frame.loc[first, ["value", *ends]] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert make(name, {kind: tmp_path / "t.csv"}, tmp_path)


SMOOTHED = "SFT + smoothing 0.1"


def _drop_run(frame: pd.DataFrame) -> pd.DataFrame:
    if "run" in frame:
        return frame[frame["run"] != "smollm2-135m-instruct.facts.ls0.1.s0"]
    own = (frame["model"] == "smollm2-135m-instruct") & (frame["after"] == SMOOTHED)
    return frame[~own]


def _drop_row(frame: pd.DataFrame) -> pd.DataFrame:
    metric = frame["metric"].isin(["ece", "entropy", "accuracy"]) if "metric" in frame else True
    place = places(frame).isin(["yo", "low"])
    run = frame["smoothing"] == 0.1 if "smoothing" in frame else frame["after"] == SMOOTHED
    return frame.drop(frame.index[metric & place & run])


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "column": (lambda f: f.drop(columns="readout"), "no column ['readout']"),
    "run": (_drop_run, "no rows for smollm2-135m-instruct, SFT + smoothing 0.1"),
    "row": (_drop_row, "which another run has"),
    "twice": (lambda f: pd.concat([f, f]), "two rows for gemma3-270m, "),
    "benchmark": (lambda f: f.assign(benchmark="mmlu"), "no rows with benchmark ['cldr-facts']"),
    "readout": (lambda f: f.assign(readout="letter"), "found ['letter']"),
    "number": (
        lambda f: f.assign(**{"seed" if "seed" in f else "seeds": "zero"}),
        ": found 'zero', expected a number",
    ),
    "name": (lambda f: f.assign(model=None), "line 2: model"),
    "rows": (lambda f: f.iloc[:0], "no rows"),
}


@EVERY
@pytest.mark.parametrize("fault", BAD)
def test_bad_tables_are_refused(
    name: str, fault: str, make: Callable[..., Any], small: dict[str, Path], tmp_path: Path
) -> None:
    kind = PROGRAMS[name][0]
    change, sentence = BAD[fault]
    change(pd.read_csv(small[kind])).to_csv(tmp_path / "bad.csv", index=False)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError) as error:
        make(name, {kind: tmp_path / "bad.csv"}, out)
    message = str(error.value)
    assert sentence in message
    assert str(tmp_path / "bad.csv") in message
    assert "\n" not in message
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"smoothing": "some"},
            "smoothing: found 'some', expected: Input should be a valid number",
        ),
        ({"seed": 0.5}, "seed: found 0.5, expected: Input should be a valid integer"),
        ({"colour": "red"}, "unknown keys .'colour'."),
        ({"smoothing": 0.7}, r"no rows for gemma3-270m, SFT \+ smoothing 0.7"),
        ({"sft": "alpaca"}, "SFT set alpaca"),
    ],
)
def test_bad_parameters_are_refused(
    changes: dict[str, Any], sentence: str, make: Callable[..., Any],
    tables: dict[str, Path], tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(InputError, match=sentence):
        make("plot_ece_by_lang", tables, tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "plot_ece_by_lang.py")]
    command += arguments("plot_ece_by_lang", tmp_path / "gone.csv", tmp_path)
    done = forks.run(command)
    assert done.returncode == 1
    assert "gone.csv" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_garbled_and_unknown_cells(tables: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    frame = pd.read_csv(tables["metrics"])
    frame.assign(resource_level="tiny").to_csv(bad, index=False)
    with pytest.raises(InputError, match="resource_level: found 'tiny', expected one of"):
        results.read(bad, "metrics")
    bad.write_bytes(b"\xff\xfe\x00garbage\x00")
    with pytest.raises(InputError, match=r"bad.csv"):
        results.read(bad, "metrics")
    bad.write_text("")
    with pytest.raises(InputError, match=r"bad.csv"):
        results.read(bad, "metrics")


def test_main_table_holds_the_summary(
    make: Callable[..., Any], tables: dict[str, Path], tmp_path: Path
) -> None:
    made = make("make_main_table", tables, tmp_path)
    table = pd.read_csv(tmp_path / "make_main_table.csv")
    assert len(table) == 2 * 4 * 4  # models, conditions, groups
    summary = pd.read_csv(tables["summary"])
    row = summary.query(
        "run == 'gemma3-270m.facts.ls0.2.s0' and group == 'mid' and metric == 'rmsce'"
    ).iloc[0]
    ours = table.query(
        "model == 'gemma3-270m' and condition == 'SFT + smoothing 0.2' and group == 'mid'"
    ).iloc[0]
    assert ours[["rmsce", "rmsce_low", "rmsce_high"]].tolist() == [
        row.value,
        row.ci_low,
        row.ci_high,
    ]
    tex = made["tex"].decode()
    body = tex[tex.index(r"\midrule") :]
    assert tex.count(r"\tiny") == 2 * 4 * 9
    assert tex.count(r"\midrule") == 2
    assert f"& {row.value:.3f} &" in body
    assert {line.count("&") for line in tex.splitlines() if line.endswith(r"\\")} == {11}


def test_recalibration_table_holds_the_summary(
    make: Callable[..., Any], tables: dict[str, Path], tmp_path: Path
) -> None:
    made = make("make_recalibration_table", tables, tmp_path)
    table = pd.read_csv(tmp_path / "make_recalibration_table.csv")
    assert len(table) == 2 * 4 * 4 * 10  # models, conditions, groups, methods and fits
    source = pd.read_csv(tables["recalibration"])
    query = "model == 'gemma3-270m' and group == 'low' and method == 'platt' and fit == 'high'"
    row = source.query(query + " and smoothing == 0.1 and metric == 'debiased_ece2'").iloc[0]
    ours = table.query(query + " and condition == 'SFT + smoothing 0.1'").iloc[0]
    found = ours[["debiased_ece2", "debiased_ece2_low", "debiased_ece2_high"]].tolist()
    assert found == [row.value, row.ci_low, row.ci_high]
    tex = made["tex"].decode()
    ece = source.query(query + " and smoothing == 0.1 and metric == 'ece'").iloc[0]
    lines = [x for x in tex.splitlines() if f"& {ece.value:.3f} &" in x and "0.1" in x]
    assert {line.count("&") for line in lines} == {2 + 10}
    assert tex.count(r"\midrule") == 2
    order = ["none", "temperature", "Platt", "isotonic"]
    assert sorted(order, key=tex.index) == order


def test_recalibration_without_a_high_resource_language(
    make: Callable[..., Any], small: dict[str, Path], tmp_path: Path
) -> None:
    frame = pd.read_csv(small["recalibration"])
    frame[frame["fit"] != "high"].to_csv(tmp_path / "r.csv", index=False)
    for name in ("plot_recalibration_transfer", "make_recalibration_table"):
        assert make(name, {"recalibration": tmp_path / "r.csv"}, tmp_path)
    assert len(pd.read_csv(tmp_path / "make_recalibration_table.csv").query("fit == 'high'")) == 0


def test_every_condition_is_shown_whichever_sft_set_is_chosen(
    make: Callable[..., Any], tmp_path: Path
) -> None:
    tables = figure_data.write_tables(
        tmp_path, {"en": "high", "yo": "low"}, smoothings=(0.0, 0.1), sets=("facts", "alpaca")
    )
    one, other, base = (
        make("plot_conditions_by_resource", tables, tmp_path, **changes)["png"]
        for changes in ({}, {"sft": "alpaca"}, {"sft": None, "seed": None})
    )
    assert one == other
    assert base != one


def test_a_model_that_the_table_lacks(
    make: Callable[..., Any], small: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no rows with model \['large'\], found \['gemma3-270m'"):
        make("plot_reliability_by_lang", small, tmp_path, model="large")


def _cone_responses(colour: str, kind: str) -> np.ndarray:
    """CIELAB of a colour as a dichromat sees it (Machado et al. 2009, severity 1)."""
    simulate = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                   [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
    }[kind]  # fmt: skip
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(simulate) @ linear, 0, 1)
    xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                    [0.0193339, 0.1191920, 0.9503041]]) @ linear  # fmt: skip
    ratio = xyz / [0.95047, 1.0, 1.08883]
    f = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("kind", ["normal", "protan", "deutan", "tritan"])
def test_colours_differ_for_colour_blind_readers(kind: str) -> None:
    conditions = [style.condition_style(c) for c in (None, 0.0, 0.1, 0.2)]
    for styles in (conditions, list(style.LEVEL_STYLE.values())):
        for (one, marker), (two, other) in combinations(styles, 2):
            distance = np.linalg.norm(_cone_responses(one, kind) - _cone_responses(two, kind))
            assert distance > 20, (kind, one, two, distance)
            assert marker != other


def test_a_condition_always_looks_the_same() -> None:
    assert style.condition_style(0.1) == ("#0072b2", "^")
    assert style.condition_style(0.2) == ("#56b4e9", "D")
    assert results.label(None) == "base"
    assert results.label(0.0) == "SFT"
    assert results.label(0.1) == "SFT + smoothing 0.1"


def test_names_do_not_overlap() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 60))
    fig, ax = style.plt.subplots(figsize=(3.4, 2.6))
    style.scatter(ax, x, y, "k", "o")
    fig.draw_without_rendering()
    far = np.argsort(-np.hypot(x, y))[:8]
    language_plots.label_points(ax, x, y, {int(i): f"l{i}" for i in far})
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    style.plt.close(fig)
