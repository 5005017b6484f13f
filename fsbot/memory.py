"""What the libraries beneath torch keep of memory, limited."""

import ctypes
import os
import platform

_M_ARENA_MAX = -8  # malloc.h
_HEAPS = 2

_KERNELS = 32
"""Every number of rows that a layer meets gets a kernel of its own from oneDNN, which keeps 1,024
of them: 360 MB for 16 streams, and hours of one call until they are there. 32 take 7 MB and no
more CPU, 16 take 20 % more of it for 12 streams."""


def limit_memory() -> None:
    """Keep fewer kernels, and let all threads share two heaps where the C library is glibc.

    By itself every thread would get a heap, which keeps the largest batch that it ever computed.
    To be called before there are threads and before the first inference. A limit that the
    environment sets stands.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KERNELS))
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def return_free_memory() -> None:
    """Give what was freed back to the machine, where the C library is glibc."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
