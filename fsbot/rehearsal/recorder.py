"""One `uuid_record`: which bytes reach its file, and when.

Clock-free: `push` is one 20 ms frame of the leg's media. Sources: FACTS.md sections 0 to 3,
captures timeline_*.csv and growth_*.csv, record_callback in switch_ivr_async.c.
"""

import contextlib
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fsbot.rehearsal.sound import FRAME_SECONDS, Layout

DEFAULT_BUFFER_BYTES = 65536
DEFAULT_PRE_BUFFER_FRAMES = 25
EXTENSIONS = frozenset({".raw", ".r8", ".r16"})
_TRUE = frozenset({"yes", "on", "true", "t", "enabled", "active", "allow"})


class CannotRecord(Exception):
    """FreeSWITCH would answer `-ERR Cannot record session!`."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What the recording variables ask for.

    `sample_rate` None: the channel's own. `buffer_bytes` 0: every frame is written at once.
    """

    layout: Layout = Layout.MIX
    sample_rate: int | None = None
    buffer_bytes: int = DEFAULT_BUFFER_BYTES
    pre_buffer_frames: int = DEFAULT_PRE_BUFFER_FRAMES
    append: bool = False
    min_seconds: int = 0
    answer_required: bool = False

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> "RecordingOptions":
        """Inline variables of the command laid over the channel's."""
        get = {name.lower(): value for name, value in variables.items()}.get
        if is_true(get("record_read_only", "")):
            layout = Layout.READ
        elif is_true(get("record_write_only", "")):
            layout = Layout.WRITE
        elif is_true(get("record_stereo_swap", "")):
            layout = Layout.STEREO_SWAPPED
        elif is_true(get("record_stereo", "")):
            layout = Layout.STEREO
        else:
            layout = Layout.MIX
        buffering = get("enable_file_write_buffering", "true")
        if buffering.isdigit():
            buffer_bytes = int(buffering)
        else:
            buffer_bytes = DEFAULT_BUFFER_BYTES if is_true(buffering) else 0
        return cls(
            layout=layout,
            sample_rate=_number(get("record_sample_rate", "")) or None,
            buffer_bytes=buffer_bytes,
            pre_buffer_frames=_number(
                get("record_pre_buffer_frames", ""), DEFAULT_PRE_BUFFER_FRAMES
            ),
            append=is_true(get("record_append", "")),
            min_seconds=_number(get("record_min_sec", "")),
            answer_required=is_true(get("record_answer_req", "")),
        )


def is_true(value: str) -> bool:
    """FreeSWITCH's idea of truth: a word for yes, or a number that is not zero."""
    return value.lower() in _TRUE or (value.isdigit() and int(value) != 0)


def _number(value: str, default: int = 0) -> int:
    return int(value) if value.isdigit() else default


class RecordingFile:
    """A headerless s16le file that grows as FreeSWITCH's does.

    `write_side_idle`: nothing is played to the leg (it is parked), so the pre-buffer's lag
    stays for good and what it holds at the end is lost. A path without an extension gets
    FreeSWITCH's two files named after it, which stay empty here.
    """

    def __init__(
        self, path: Path, options: RecordingOptions, rate: int, write_side_idle: bool
    ) -> None:
        """Create the file. Raises CannotRecord for a path that FreeSWITCH cannot record to."""
        self.path = path
        self.masked = False
        self.paused = False
        self.stands_still = False
        """What was sent to the leg ended on part of a frame, and nothing is sent behind it."""
        self._unread: deque[bytes] = deque()
        self._options = options
        self._rate = rate
        self._idle = write_side_idle and options.layout is not Layout.READ
        self._frames_seen = 0
        self._frames_written = 0
        self._pre_buffer: deque[bytes] = deque()
        self._buffer = bytearray()
        self._failed = False
        self._descriptor = self._open()

    @property
    def seconds_written(self) -> float:
        return self._frames_written * FRAME_SECONDS

    def push(self, frame: bytes) -> None:
        """20 ms of the leg's media went by."""
        if self.paused or self._native:
            return
        if self.stands_still or self._unread:
            # Once sound is sent again, what had waited stays late (switch_core_media_bug_read).
            self._unread.append(frame)
            if self.stands_still:
                return
            frame = self._unread.popleft()
        if self.masked:
            frame = bytes(len(frame))
        lag = self._options.pre_buffer_frames
        if self._options.layout is Layout.WRITE:
            lag = 0
        self._frames_seen += 1
        if lag == 0 or self._frames_seen == 1:
            self._write([frame])
        elif self._frames_seen <= lag + 1:
            self._pre_buffer.append(frame)
        elif self._idle:
            self._pre_buffer.append(frame)
            self._write([self._pre_buffer.popleft()])
        else:
            if self._pre_buffer:
                self._write(self._pre_buffer)
                self._pre_buffer.clear()
            self._write([frame])

    def stop(self, hung_up: bool) -> str:
        """Flush and close; the file is complete (or deleted) after this.

        Returns Record-Completion-Cause, empty if FreeSWITCH gives none (the disk was full).
        """
        if self._pre_buffer and not self._idle:
            self._write(self._pre_buffer)
        if not self._writes_nothing:
            self._out(self._buffer)
        if self.path.exists():
            os.close(os.open(self.path, os.O_RDONLY))
        self.abandon()
        if self._failed or self._native:
            return ""
        if not self._frames_written and not self._options.append:
            self.path.unlink(missing_ok=True)
            return "empty-file"
        if self.seconds_written < self._options.min_seconds and not self._options.append:
            self.path.unlink(missing_ok=True)
            return "input-too-short"
        return "success-silence" if hung_up else "success-maxtime"

    def abandon(self) -> None:
        """Close as a killed FreeSWITCH does: what is still buffered is lost."""
        os.close(self._descriptor)

    def _open(self) -> int:
        if self._native:
            return self._open_native()
        if self.path.suffix not in EXTENSIONS:
            raise CannotRecord(self.path)
        mode = os.O_WRONLY | (os.O_APPEND if self._options.append else 0)
        try:
            _make_directories(self.path.parent)
            # FreeSWITCH touches the file before it opens it: watchers see CLOSE_WRITE at once.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644))
            if (self.path.parent / str(self._rate)).is_dir():
                raise CannotRecord(self.path)
            descriptor = os.open(self.path, mode)
            if not self._options.append:
                _truncate(descriptor)
            return descriptor
        except OSError as error:
            raise CannotRecord(self.path) from error

    @property
    def _native(self) -> bool:
        """A path without an extension: the codec's own bytes go to two other files."""
        return not self.path.suffix

    def _open_native(self) -> int:
        try:
            _make_directories(self.path.parent)
            os.close(os.open(f"{self.path}-out.PCMU", os.O_WRONLY | os.O_CREAT, 0o644))
            return os.open(f"{self.path}-in.PCMU", os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            raise CannotRecord(self.path) from error

    @property
    def _writes_nothing(self) -> bool:
        return 0 < self._options.buffer_bytes < 2 * self._options.layout.channels

    def _write(self, frames: "deque[bytes] | list[bytes]") -> None:
        self._frames_written += len(frames)
        data = b"".join(frames)
        if not self._options.buffer_bytes:
            self._out(data)
            return
        self._buffer += data
        # One block a write, however much waits: a block smaller than a frame never catches up.
        if len(self._buffer) >= self._options.buffer_bytes and not self._writes_nothing:
            self._out(self._buffer[: self._options.buffer_bytes])
            del self._buffer[: self._options.buffer_bytes]

    def _out(self, data: bytes | bytearray) -> None:
        try:
            if data:
                os.write(self._descriptor, data)
        except OSError:
            self._failed = True


def _truncate(descriptor: int) -> None:
    # After the opening, not with it: watchers of the real one see OPEN, then MODIFY.
    with contextlib.suppress(OSError):  # /dev/full and its like cannot be truncated
        os.ftruncate(descriptor, 0)


def _make_directories(directory: Path) -> None:
    if not directory.is_dir():
        _make_directories(directory.parent)
        directory.mkdir(mode=0o750, exist_ok=True)
