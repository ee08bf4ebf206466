"""glibc gives freed memory back to the system, and gets it back page by page.

Until never: it is a default of glibc that suits other programs.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees from now on, for what it allocates next.

    Memory that is free already, as after a model was loaded, goes back. A training step on CPUs
    allocates gradients and activations of the same sizes each time. A third of its time may go into
    the pages of fresh memory; of a scored batch, a twentieth. Does nothing without glibc's malloc.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.malloc_trim(0)
        libc.mallopt(M_MMAP_MAX, 0)  # mapped memory is always given back
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never, as the largest of sizes
