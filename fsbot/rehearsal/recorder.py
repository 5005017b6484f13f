"""One `uuid_record`: which bytes reach its file, and when.

Clock-free: `push` is one 20 ms frame of the leg's media. Sources: FACTS.md sections 0 to 3,
captures timeline_*.csv and growth_*.csv, record_callback in switch_ivr_async.c.
"""

import contextlib
import os
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fsbot.rehearsal.sound import FRAME_SECONDS, Layout

DEFAULT_BUFFER_BYTES = 65536
DEFAULT_PRE_BUFFER_FRAMES = 25
EXTENSIONS = frozenset({".raw", ".r8", ".r16"})
_RATES = frozenset((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000))
_TRUE = frozenset({"yes", "on", "true", "t", "enabled", "active", "allow"})


class CannotRecord(Exception):
    """FreeSWITCH would answer `-ERR Cannot record session!`."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """What the recording variables ask for.

    `sample_rate` None: the channel's own. `buffer_bytes` 0: every frame is written at once.
    `initial_silence`, `final_silence`: seconds of silence, before the first sound and after it,
    that end the recording; 0: none does. `silence_threshold`: the mean of samples below which a
    frame is silent; 0: no frame is.
    """

    layout: Layout = Layout.MIX
    sample_rate: int | None = None
    buffer_bytes: int = DEFAULT_BUFFER_BYTES
    pre_buffer_frames: int = DEFAULT_PRE_BUFFER_FRAMES
    append: bool = False
    min_seconds: int = 0
    answer_required: bool = False
    bridge_required: bool = False
    hang_up_on_error: bool = False
    initial_silence: float = 0.0
    final_silence: float = 0.0
    silence_threshold: int = 0
    threaded: bool = True

    @classmethod
    def from_variables(
        cls, variables: Mapping[str, str], codec_channels: int = 1
    ) -> "RecordingOptions":
        """variables: as `looked_up` gives them, or of the braces alone, in any case of letters.

        codec_channels: of the leg's codec.
        """
        get = {name.lower(): value for name, value in variables.items()}.get

        def on(name: str) -> bool:
            return is_true(get(name, ""))

        initial, final = (get(f"record_{which}_timeout_ms") for which in ("initial", "final"))
        timeouts = [number(each) / 1000 if each is not None else -1 for each in (initial, final)]
        threshold = 200 if max(timeouts) >= 0 else 0
        asked = get("record_silence_threshold")
        if asked is not None and number(asked) >= 0:
            threshold = number(asked)
        buffering = get("enable_file_write_buffering", "true")
        rate = number(get("record_sample_rate", ""))
        pre_buffer = get("record_pre_buffer_frames")
        return cls(
            layout=_layout(on, codec_channels),
            sample_rate=rate if rate in _RATES else None,
            buffer_bytes=max(0, number(buffering)) or DEFAULT_BUFFER_BYTES * is_true(buffering),
            pre_buffer_frames=(
                DEFAULT_PRE_BUFFER_FRAMES if pre_buffer is None else max(0, number(pre_buffer))
            ),
            append=on("record_append"),
            min_seconds=max(0, number(get("record_min_sec", ""))),
            answer_required=on("record_answer_req") or on("media_bug_answer_req"),
            bridge_required=on("record_bridge_req"),
            hang_up_on_error=on("record_hangup_on_error"),
            initial_silence=max(0.0, timeouts[0]),
            final_silence=max(0.0, timeouts[1]),
            silence_threshold=threshold,
            threaded=is_true(get("record_use_thread", "true")),
        )

    def on_file(self, path: Path) -> "RecordingOptions":
        """Appending opens a headerless file for reading too, which makes it mono, at a rate that
        its extension says (sndfile_file_open in mod_sndfile.c)."""
        if not self.append:
            return self
        rate = 16000 if path.suffix == ".r16" else 8000
        return replace(self, layout=self.layout.summed, sample_rate=rate)


def looked_up(*places: Mapping[str, str]) -> dict[str, str]:
    """A recording's variables by their names in small letters: each from the first place that has
    it (get_recording_var: the braces, the channel, the global variables). An empty value is none.
    """
    found: dict[str, str] = {}
    for place in reversed(places):
        found |= {name.lower(): value for name, value in place.items() if value}
    return found


def _layout(on: Callable[[str], bool], codec_channels: int) -> Layout:
    ways = "rw"
    if on("record_write_only"):
        ways = "w"
    if on("record_read_only"):
        ways = "r"
    if codec_channels == 2:
        return Layout((ways, ways))
    left, right = (way if way in ways else "" for way in "rw")
    if on("record_stereo_swap"):
        return Layout((right, left))
    return Layout((left, right) if on("record_stereo") else (ways,))


def is_true(value: str) -> bool:
    """FreeSWITCH's idea of truth: a word for yes, or a number that is not zero."""
    is_number = re.fullmatch(r"[+-]?[0-9.]+", value) is not None
    return value.lower() in _TRUE or (is_number and number(value) != 0)


def number(text: str) -> int:
    """What C's atoi makes of it: the digits it begins with, 0 without any."""
    found = re.match(r"\s*[+-]?[0-9]+", text)
    return int(found[0]) if found else 0


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
        self.failed = False
        """A frame could not be written."""
        self.silent_too_long = False
        """The silence has lasted as long as a variable allows: FreeSWITCH stops the recording."""
        self._silent_frames = 0
        self._spoken = False
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
        self._watch_for_silence(frame)
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
        if self.failed or self._native:
            return ""
        if not self._frames_written and not self._options.append:
            self.path.unlink(missing_ok=True)
            return "empty-file"
        if self.seconds_written < self._options.min_seconds and not self._options.append:
            self.path.unlink(missing_ok=True)
            return "input-too-short"
        if self.silent_too_long:
            return "success-silence" if self._spoken else "no-input-timeout"
        return "success-silence" if hung_up else "success-maxtime"

    def _watch_for_silence(self, frame: bytes) -> None:
        threshold = self._options.silence_threshold
        if not threshold:
            return
        divisor = max(1, self._rate // 8000)
        if np.abs(np.frombuffer(frame, "<i2").astype(np.int32)).mean() * divisor >= threshold:
            self._spoken, self._silent_frames = True, 0
            return
        self._silent_frames += 1
        allowed = self._options.final_silence if self._spoken else self._options.initial_silence
        if 0 < allowed <= self._silent_frames * FRAME_SECONDS:
            self.silent_too_long = True

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
            self.failed = True


def _truncate(descriptor: int) -> None:
    # After the opening, not with it: watchers of the real one see OPEN, then MODIFY.
    with contextlib.suppress(OSError):  # /dev/full and its like cannot be truncated
        os.ftruncate(descriptor, 0)


def _make_directories(directory: Path) -> None:
    if not directory.is_dir():
        _make_directories(directory.parent)
        directory.mkdir(mode=0o750, exist_ok=True)
