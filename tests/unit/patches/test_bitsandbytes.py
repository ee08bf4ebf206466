"""The fast path of 4-bit layers on CPUs: is it still there, and still left aside?"""

from __future__ import annotations

import pytest
import torch

from multical.patches.bitsandbytes import multiply_in_own_dtype


def test_the_fast_path_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has it; the first call fails where it is no longer taken."""
    modules = pytest.importorskip("bitsandbytes.nn.modules")
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)

    def fast_path(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(modules, "_convert_weight_packed_for_cpu", fast_path)
    layer = modules.Linear4bit(64, 64, quant_type="nf4").to("cpu").eval()
    with torch.no_grad():
        with pytest.raises(NotImplementedError):
            layer(torch.ones(1, 64))
        multiply_in_own_dtype(layer)
        assert layer(torch.ones(1, 64)).dtype == torch.float32
