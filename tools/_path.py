"""Imported first by each tool, so that it finds the package `multical` in scripts/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
