"""What metrics and readouts are called."""

from __future__ import annotations

import re

from multical import names
from multical.metrics.declared import METRICS, READOUTS
from support.checkout import REPO


def test_every_metric_and_readout_has_a_name() -> None:
    known = [names.metric_name(metric) for metric in METRICS]
    known += [names.readout_name(readout) for readout in READOUTS]
    assert not [name for name in known if "_" in name]
    assert len(set(known)) == len(known)


def test_the_glossary_calls_readouts_by_their_names() -> None:
    text = " ".join((REPO / "docs/glossary.md").read_text(encoding="utf-8").split())
    told = dict(re.findall(r"- `(\w+)`, \*([^*]+)\*:", text))
    assert len(told) > 5
    assert told == {readout: names.readout_name(readout) for readout in told}
