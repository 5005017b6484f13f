"""Fetch openai-whisper's own files: fail fast without a network, go on where it broke off."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from fsbot.errors import UserError
from fsbot.weights.store import sha256_of
from fsbot.weights.wheels import BLOCK, Report

TIMEOUT = 10.0  # seconds to connect, and of silence in the middle
NOT_SATISFIABLE = 416
PARTIAL = 206


def fetch_url(url: str, sha256: str, most: int, partial: Path, report: Report) -> None:
    """Download `url` into `partial`, going on where an earlier attempt left off.

    `most`: bytes beyond which this cannot be the file. If the connection breaks, what has arrived
    stays for the next attempt; a file with the wrong sha256 is deleted.

    Raises UserError if the server cannot be reached, breaks off, or sends something else.
    """
    host = urlsplit(url).hostname
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            if response.status != PARTIAL:
                start = 0  # the server sends the whole file
            total = start + int(response.headers.get("Content-Length", 0))
            with partial.open("r+b" if start else "wb") as output:
                output.seek(start)
                while block := response.read(BLOCK):
                    output.write(block)
                    report(output.tell(), total)
                    if output.tell() > most:
                        break
                arrived = output.tell()
        if arrived > most:
            partial.unlink()
            raise UserError(f"{host}: sends more than the {most} bytes that were expected")
        if arrived < total:  # http.client says nothing when the connection closes early
            raise UserError(f"{host}: broke off after {arrived} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code != NOT_SATISFIABLE or not start:
            raise UserError(f"{host}: the server says {error.code} {error.reason}") from None
        # All of it had arrived already: the sum decides.
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise UserError(f"{host}: {reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(f"{host}: broke off: {error or type(error).__name__}") from None
    if (found := sha256_of(partial)) != sha256:
        size = partial.stat().st_size
        partial.unlink()
        raise UserError(f"{host}: {size} bytes with sha256 {found} came, expected {sha256}")
