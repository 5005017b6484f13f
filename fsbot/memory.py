"""glibc's heaps: few, and emptied once after the weights have been loaded.

Every thread would get a heap of its own, which keeps the largest batch that it ever computed. Other
C libraries have no such calls; there nothing happens.
"""

import ctypes
import platform

_M_ARENA_MAX = -8  # malloc.h
_HEAPS = 2


def limit_heaps() -> None:
    """Let all threads share two heaps. To be called before there are threads."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _HEAPS)


def return_free_memory() -> None:
    """Give what was freed back to the machine."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
