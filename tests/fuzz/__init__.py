"""Bytes that nobody should send, to whatever reads bytes from a socket.

Each module here is one target: `check(data)` raises AssertionError, or whatever else the code under
test lets out; `seeds()` gives what to begin with; MOST_BYTES is how long inputs get. `test_fuzz.py`
runs them shortly with hypothesis; `python -m tests.fuzz TARGET --seconds 600` for long, with
atheris (`.[fuzz]`).
"""
