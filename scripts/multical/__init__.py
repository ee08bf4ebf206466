"""Reproduces research on how well language models know what they know; see README.md.

While libraries are imported, Python looks for garbage every 700 new objects, and finds none: that
is a fifth of the time until PyTorch and transformers are there. From here on it looks less often.
"""

import gc

gc.set_threshold(50_000)
