"""The same computation without Python between its operations."""

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


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


def inference(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Without gradients, and what is compiled as it stands.

    TorchScript's optimiser would take 0.5 s of the first two calls, with large models 15 s, and
    gains nothing: the work is in PyTorch's kernels.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return function(*args, **kwargs)

    return run
