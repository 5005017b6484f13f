"""glibc's heaps: few, and emptied once after the weights have been loaded.

Every thread would get a heap of its own, which keeps the largest batch that it ever computed. Other
C libraries have no such calls; there nothing happens.
"""

import ctypes
import platform

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_HEAPS = 2
_TO_THE_MACHINE = 4 << 20
"""Bytes from which a block is taken from the machine by itself and goes back at once. Left alone,
glibc raises this to 32 MB and keeps what the largest batches have used, in pieces."""


def limit_heaps() -> None:
    """Let all threads share two heaps. To be called before there are threads."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _HEAPS)
        libc.mallopt(_M_MMAP_THRESHOLD, _TO_THE_MACHINE)
        libc.mallopt(_M_TRIM_THRESHOLD, 4 * _TO_THE_MACHINE)


def return_free_memory() -> None:
    """Give what was freed back to the machine."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
