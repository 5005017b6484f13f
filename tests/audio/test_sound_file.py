"""Sound files as killed recorders, streams and other machines leave them."""

import os
import shlex
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fsbot.audio.sound_file import SoundReader, _Mended, as_wav
from fsbot.errors import UserError

RATE = 8000
TONE = (np.sin(np.arange(RATE) / 5) * 9000).astype(np.int16)
"""One second."""


def read(path: Path, rate: int | None = None, channels: int | None = None) -> np.ndarray:
    reader = SoundReader(path, rate, channels)
    blocks = []
    while len(block := reader.read(1000)):
        blocks.append(block)
    return np.concatenate(blocks)


def wav(path: Path, **options: str) -> bytearray:
    soundfile.write(path, TONE / 32768, RATE, **options)
    return bytearray(path.read_bytes())


def with_sizes(content: bytearray, riff: int | None, data: int | None) -> bytearray:
    if riff is not None:
        content[4:8] = struct.pack("<I", riff)
    if data is not None:
        place = content.index(b"data") + 4
        content[place : place + 4] = struct.pack("<I", data)
    return content


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "ULAW"])
@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0, 0),
        (None, 0),
        (36, 0),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x7FFFF024, 0x7FFFF000),
        (0x80000024, 0x80000000),
        (0, 800),
    ],
)
def test_sizes_that_were_never_written(tmp_path: Path, subtype: str, riff: int, data: int) -> None:
    path = tmp_path / "a.wav"
    content = with_sizes(wav(path, subtype=subtype), riff, data)
    if data == 800 and subtype == "ULAW":
        content += bytes(4096)  # what is left alone behind a sound is shorter than this
    path.write_bytes(content)
    got = read(path)[: len(TONE), 0]
    assert len(got) == len(TONE)
    assert np.abs(got * 32768 - TONE).max() < 600


def test_a_killed_recorder_that_says_how_much_there_is_is_believed(tmp_path: Path) -> None:
    """What stands behind the sound is no sound: a chunk, or a short footer."""
    path = tmp_path / "a.wav"
    content = wav(path)
    for behind in (b"x", b"TAG" + bytes(125), b"LIST" + struct.pack("<I", 8) + b"INFOabcd"):
        path.write_bytes(content + behind)
        assert len(read(path)) == len(TONE)
    empty = with_sizes(content[: content.index(b"data") + 8], None, 0)
    path.write_bytes(empty + b"LIST" + struct.pack("<I", 8) + b"INFOabcd")
    with pytest.raises(UserError, match="it is empty"):
        SoundReader(path)


def test_extensible_and_rf64(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    for form in ("WAVEX", "RF64"):
        soundfile.write(path, TONE, RATE, format=form)
        assert len(read(path)) == len(TONE)


@pytest.mark.parametrize("said", [0, 0xFFFFFFFFFFFFFFFF])
def test_rf64_without_its_sizes(tmp_path: Path, said: int) -> None:
    content = wav(tmp_path / "plain.wav")
    head, data = content[12 : content.index(b"data")], content[content.index(b"data") + 8 :]
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, said, said, said, 0)
    path = tmp_path / "a.wav"
    path.write_bytes(
        b"RF64\xff\xff\xff\xffWAVE" + sizes + bytes(head) + b"data\xff\xff\xff\xff" + data
    )
    assert len(read(path)) == len(TONE)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 20, 36, 43, 44])
def test_cut_off_within_the_header(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(path)[:length])
    with pytest.raises(UserError) as refused:
        SoundReader(path)
    assert "cannot be read" in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("cut", [1, 2, 7000])
def test_cut_off_within_the_sound(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(path)[:-cut])
    assert len(read(path)) == len(TONE) - (cut + 1) // 2


def test_flac_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(-9999, 9999, 10 * RATE).astype(np.int16)
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    reader = SoundReader(path)
    got = np.concatenate([reader.read(3 * RATE), reader.read(3 * RATE)])[:, 0]
    assert len(got) > 4 * RATE
    assert (np.rint(got * 32768) == noise[: len(got)]).all()
    with pytest.raises(UserError, match=r"a\.flac is damaged 4\.\d s after its beginning"):
        reader.read(3 * RATE)


def test_flac_of_unknown_length(tmp_path: Path) -> None:
    """As a writer leaves it that could not seek: the number of samples is 0 in its header."""
    noise = np.random.default_rng(2).integers(-9999, 9999, 3 * RATE + 123).astype(np.int16)
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    reader = SoundReader(path)
    assert reader.seconds is None
    assert (np.rint(read(path)[:, 0] * 32768) == noise).all()


def test_ctrl_c_while_libsndfile_asks_for_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    wav(path)
    reader = SoundReader(path)
    with monkeypatch.context() as patch:
        told = _Mended.tell

        def tell(source: _Mended) -> int:
            signal.raise_signal(signal.SIGINT)
            return told(source)

        patch.setattr(_Mended, "tell", tell)
        with pytest.raises(KeyboardInterrupt):
            reader.read(100)
        with pytest.raises(KeyboardInterrupt):
            SoundReader(path)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(reader.read(RATE)) == RATE - 100


def test_sound_without_a_header(tmp_path: Path) -> None:
    for name in ("a.raw", "a.RAW", "a.pcm", "a"):
        (tmp_path / name).write_bytes(TONE.tobytes() + b"x")
        given = {} if name.lower().endswith(".raw") else {"rate": RATE}
        assert (np.rint(read(tmp_path / name, **given)[:, 0] * 32768) == TONE).all()
    assert read(tmp_path / "a.raw", channels=2).shape == (RATE // 2, 2)
    with pytest.raises(UserError, match="--rate and --channels"):
        SoundReader(tmp_path / "a.pcm")


def test_a_header_is_believed_whatever_the_name(tmp_path: Path) -> None:
    content = wav(tmp_path / "a.wav")
    (tmp_path / "a.raw").write_bytes(content)
    assert len(read(tmp_path / "a.raw", rate=48000, channels=2)) == len(TONE)


@pytest.mark.parametrize(
    "content", [b"hello\n" * 99, b"%PDF-1.7\n" + bytes(99), b"OggS" + bytes(99), b"RIFF of course"]
)
def test_what_is_no_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read: "):
        SoundReader(path)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is a directory"):
        SoundReader(tmp_path)
    with pytest.raises(UserError, match="there is no sound file"):
        SoundReader(tmp_path / "none.wav")
    with pytest.raises(UserError, match="/dev/null is no file and no pipe"):
        SoundReader(Path("/dev/null"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav(path)
    path.chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        SoundReader(path)


def test_a_named_pipe(tmp_path: Path) -> None:
    content = wav(tmp_path / "a.wav")
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=[bytes(content)])
    writing.start()
    assert len(read(pipe)) == len(TONE)
    writing.join()


READ_STANDARD_INPUT = """
import sys
from pathlib import Path
from fsbot.audio.sound_file import SoundReader
from fsbot.errors import UserError
try:
    reader = SoundReader(Path("-"), *map(int, sys.argv[1:]))
    total = 0
    while n := len(reader.read(1000)):
        total += n
    print(total)
except UserError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("cat a.wav | $READ", "8000"),
        ("$READ < a.wav", "8000"),
        ("cat zero.wav | $READ", "8000"),
        ("cat a.flac | $READ", "8000"),
        ("cat a.raw | $READ 8000", "8000"),
        ("cat a.raw | $READ 8000 2", "4000"),
        ("cat a.raw | $READ", "the sound file standard input cannot be read: Format not"),
        ("true | $READ", "the sound file standard input cannot be read: it is empty"),
        ("$READ < /dev/null", "standard input is no file and no pipe"),
        ("$READ <&-", "standard input is closed"),
    ],
)
def test_standard_input(tmp_path: Path, line: str, printed: str) -> None:
    content = wav(tmp_path / "a.wav")
    (tmp_path / "zero.wav").write_bytes(with_sizes(content, 0, 0))
    (tmp_path / "a.raw").write_bytes(TONE.tobytes())
    soundfile.write(tmp_path / "a.flac", TONE, RATE)
    read = f"{sys.executable} -c {shlex.quote(READ_STANDARD_INPUT)}"
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("$READ", read)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.stdout.startswith(printed), done.stderr


def test_the_remedy_never_names_one_file_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "x/a.wav", "a b.mp3", "-"):
        command = as_wav(Path(name)).partition("converts: ")[2]
        words = shlex.split(command)
        assert Path(words[2]).name != words[-1]
    monkeypatch.setenv("PATH", "/nowhere")
    assert "not installed here" in as_wav(Path("a.mp3"))
