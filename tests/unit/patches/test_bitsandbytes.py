"""bitsandbytes is read when it is used; its fast path on CPUs is still there, and left aside."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

from multical.patches.bitsandbytes import multiply_in_own_dtype, read_later

ROOT = Path(__file__).parents[3]


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


@pytest.fixture
def unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `slow` that is read later: a file each time that it is, and a module in it."""
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/__init__.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path)!r}, 'read').touch(exist_ok=False)\n"
        "from slow.inner import value\n",
        encoding="utf-8",
    )
    (tmp_path / "slow/inner.py").write_text("value = 3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("slow", "slow.inner"):
        monkeypatch.setitem(sys.modules, name, None)  # so that both go at the end
        del sys.modules[name]
    read_later("slow")
    return tmp_path / "read"


def test_a_package_is_read_at_its_first_use(unread: Path) -> None:
    slow = import_module("slow")
    read_later("slow")  # changes nothing
    assert slow is sys.modules["slow"]
    assert slow.__spec__ is not None
    assert not unread.exists()
    assert slow.value == 3
    assert unread.exists()
    assert import_module("slow.inner") is slow.inner
    with pytest.raises(AttributeError, match=r"module 'slow' has no attribute 'nothing'"):
        slow.nothing  # noqa: B018


def test_a_module_in_a_package_reads_it_first(unread: Path) -> None:
    assert import_module("slow.inner").value == 3
    assert unread.exists()
    assert import_module("slow").value == 3


def test_a_package_that_cannot_be_read(unread: Path) -> None:
    unread.touch()
    with pytest.raises(FileExistsError):
        import_module("slow").value  # noqa: B018
    assert "slow" not in sys.modules
    read_later("missing")
    with pytest.raises(ModuleNotFoundError):
        import_module("missing")


@pytest.mark.slow
def test_a_training_without_adapters_does_not_read_it() -> None:
    """transformers imports peft, which imports it, and with it PyTorch's compiler."""
    asked = "[name in sys.modules for name in ('peft', 'torch._inductor.compile_fx')]"
    said = subprocess.run(
        [sys.executable, "-c", f"import sys, train_sft; print({asked})"],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "[True, False]", said.stderr
