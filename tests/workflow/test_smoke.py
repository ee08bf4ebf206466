"""The smoke study, for real: its metrics and its report. What runs again: test_rerun_matrix.py."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from multical.metrics.definitions import WITHOUT_INTERVAL
from support import checkout, forks
from support.checkout import SNAKEMAKE, TARGET, snakemake

#: Names the parameters that Snakemake does not remember, or not as what they mean
ODD_PARAMETERS = """
import inspect
import sys
from multical.dag import dryrun

with dryrun.opened(sys.argv[1:], None) as (workflow, _):
    for rule in workflow.rules:
        for name, value in rule.params._allitems():
            if callable(value) and [*inspect.signature(value).parameters] != ["w"]:
                print(rule.name, name, "is not a function of wildcards alone")
    for job in workflow.dag.jobs:
        for name, value in job.params._allitems():
            if not (name and isinstance(value, str)):
                print(job.rule.name, name, "is", type(value))
"""

pytestmark = [pytest.mark.workflow, pytest.mark.smoke]


def test_metrics_cover_every_run_and_language(smoke: Path) -> None:
    import pandas as pd

    table = pd.read_csv(smoke / "results/smoke/metrics.csv")
    assert (
        list(table.columns)
        == (
            "run model sft smoothing seed benchmark language resource_level readout metric "
            "value ci_low ci_high n"
        ).split()
    )
    text = table[table["readout"] == "text_ppl"]
    assert text.groupby(["run", "language"]).size().shape == (6 * 4,)
    assert set(table.loc[table["readout"] == "letter", "language"]) == {"en", "yo"}
    inside = (text["ci_low"] <= text["value"]) & (text["value"] <= text["ci_high"])
    inside |= text["value"].isna()
    assert set(text.loc[~inside, "metric"]) == WITHOUT_INTERVAL
    assert text.loc[~inside, ["ci_low", "ci_high"]].isna().all(axis=None)


def test_report_shows_figures_and_provenance(smoke: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    snakemake(smoke, "--report", str(page), TARGET)
    text = page.read_text(encoding="utf-8")
    for name in ("ECE by language", "reliability", "Provenance", "main"):
        assert name in text
    # nothing is loaded from elsewhere
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css)"', text)


def test_parameters_are_texts_that_depend_on_wildcards_alone(tmp_path: Path) -> None:
    """Paths are not remembered, what depends on inputs or resources is not compared."""
    targets = ["results/headline.txt", "msp_v2", "msp_v2_verify"]
    (tmp_path / "x.py").write_text(ODD_PARAMETERS, encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": "scripts"}
    done = forks.run([tmp_path / "x.py", *targets], cwd=checkout.REPO, env=environ)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_an_archive_whose_files_nothing_lists_is_an_input(tmp_path: Path) -> None:
    folder = checkout.copy(tmp_path)
    source = "studies:results/msp_v2:source"
    checkout.edit_config(folder, {f"{source}:archive": "mine.tar.xz", f"{source}:manifest": None})
    command = [*SNAKEMAKE, "--dry-run", "results/msp_v2/records/released.parquet"]
    environment = {key: value for key, value in os.environ.items() if key != "MSP_V2_ARCHIVE"}
    done = forks.run(command, cwd=folder, env=environment)
    said = "source.archive: found mine.tar.xz, expected an archive or folder that exists"
    assert said in done.stdout
