"""Models are made without what no program here runs, and transformers finds the same names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Says the same of ours, in a fork, and of transformers alone: each takes seconds to import
CODE = """
import os, sys
sys.path.insert(0, "scripts")
import torch
from multical.patches import imports
if os.fork() == 0:
    imports.import_models()
else:
    assert os.wait()[1] == 0
import transformers.models
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.utils import import_utils
sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, vocab_size=9)
config = LlamaConfig(num_attention_heads=1, num_key_value_heads=1, **sizes)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_config(config).eval()
logits = model(input_ids=torch.tensor([[1, 2, 3]])).logits
structure = transformers.models._import_structure
names = sorted((name, sorted(objects)) for name, objects in structure.items())
print(logits.sum().item(), len(names), hash(str(names)))
print("scipy" in sys.modules)
assert import_utils.is_scipy_available()
"""


def test_the_same_models_with_fewer_libraries() -> None:
    said = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parents[3],
        env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert said[0] == said[2]
    assert said[1::2] == ["False", "True"]
