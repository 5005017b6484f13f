"""Two recorded calls, one per language, through the whole bot; `make accuracy` plays them all."""

from pathlib import Path

import pytest

from fsbot.bench.scoring import Report
from fsbot.bench.speech import NEARBY, references
from tests.accuracy.playing import play

pytestmark = pytest.mark.skipif(
    not NEARBY.exists(), reason="no recorded calls: ../shared/speech is not there"
)


@pytest.mark.parametrize(
    ("name", "language", "worst"),
    [("call-fr-03", "fr", 45.0), ("call-en-00", "en", 35.0)],
)
def test_a_recorded_call_is_heard_well(
    name: str, language: str, worst: float, tmp_path: Path
) -> None:
    """Bounds far above what is heard today and far below a lost turn, side or language."""
    [call] = references(pattern=name)
    [records] = play([call.sound], tmp_path, flags=["--language", language])
    report = Report()
    report.add(call, records)
    print("\n".join(report.lines(name)))
    assert report.final.rate <= worst
    assert report.lost == []
