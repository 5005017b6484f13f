"""A robot's class, out of the file that its author wrote."""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path

from fsbot.errors import UserError
from fsbot.robot.robot import Robot

MODULE = "fsbot_robot_file"


def load_robot(path: Path) -> type[Robot]:
    """The one subclass of Robot that is defined in a file. Raises UserError."""
    if not path.is_file():
        raise UserError(f"there is no robot {path}", "Set robot.file to a Python file.")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file", "Set robot.file to one that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit, too
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"the robot {path} does not load: {type(error).__name__}: {error}",
            f"Mend {where.filename}, line {where.lineno}.",
        ) from error
    robots = [
        found
        for _, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Robot) and found.__module__ == MODULE
    ]
    if len(robots) != 1:
        names = ", ".join(robot.__name__ for robot in robots) or "none"
        raise UserError(
            f"the robot {path} must define one subclass of fsbot.api.Robot, and has: {names}"
        )
    return robots[0]
