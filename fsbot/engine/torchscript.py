"""The same computation without Python between its operations."""

import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function, device: str = "cpu") -> Function:
    """A module or function as one call; on a GPU, where kernels are waited for anyway, as it is.

    A step of the decoder is some 400 operations of microseconds. Python's lock changes hands after
    each of them if another thread wants it, so that two workers got hardly further than one; what
    is compiled takes the lock once. The function must be in TorchScript's part of Python.
    """
    # Python 3.14 is not supported by TorchScript.
    if device != "cpu" or sys.version_info >= (3, 14):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)  # type: ignore[no-any-return]
