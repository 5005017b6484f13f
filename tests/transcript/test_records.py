import json

import jsonschema
import pytest
from examples import one_of_each, start_of_transcript
from pydantic import ValidationError

from fsbot.transcript.records import json_schema, parse


def test_every_record_is_its_own_json() -> None:
    for record in one_of_each():
        line = record.model_dump_json()
        assert "\n" not in line
        assert parse(line) == record
        assert parse(line.encode()) == record


def test_every_record_fits_the_published_schema() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for record in one_of_each():
        sent = json.loads(record.model_dump_json())
        validator.validate(sent)
        for key in sent:
            # All keys are always there: one less is another schema.
            if key == "kind" or (sent["kind"], key) == ("mark", "reason"):
                continue  # marks of earlier versions give no reason
            with pytest.raises(ValidationError):
                parse(json.dumps({name: value for name, value in sent.items() if name != key}))


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 0},
        {"recording": 0},
        {"channels": 3},
        {"sides": ("operator",)},
        {"more": "than known"},
    ],
)
def test_what_is_no_record(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        start_of_transcript(**change)


def test_unknown_kinds_and_rubbish() -> None:
    for line in (b"{}", b'{"kind": "start_of_party"}', b"\xff", b"", b"[]"):
        with pytest.raises(ValidationError):
            parse(line)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Amélie", "Amélie"),
        ("06\udcff12", "06\ufffd12"),
        ("\ud83d", "\ufffd"),
        ("\U0001f600", "\U0001f600"),
        ("a\nb\0", "a\nb\0"),
    ],
)
def test_text_from_strangers_can_always_be_written(text: str, kept: str) -> None:
    record = start_of_transcript(caller=text, destination=text, channel_call_uuid=text)
    assert (record.caller, record.destination, record.channel_call_uuid) == (kept,) * 3
    assert parse(record.model_dump_json()) == record
