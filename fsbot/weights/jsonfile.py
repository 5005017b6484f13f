"""Small JSON files that come with models from elsewhere."""

import json
from pathlib import Path

from fsbot.errors import UserError

LIMIT = 32 << 20  # the index of a sharded model lists every tensor; tokenizers are not read


def read_json_object(path: Path) -> dict[str, object]:
    """The object in `path`, {} if there is no such file.

    Raises UserError naming the file if it is too large, not JSON or not an object.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT + 1)
        values = json.loads(content) if len(content) <= LIMIT else None
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a JSON object of at most {LIMIT} bytes")
    return values
