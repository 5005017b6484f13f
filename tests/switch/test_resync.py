"""Finding out what goes on, from what a real FreeSWITCH said."""

import pytest
from esl_peer import decode_commands

from fsbot.switch.connection import Connection
from fsbot.switch.errors import CommandRefused
from fsbot.switch.legs import Role
from fsbot.switch.resync import active_recordings, exists, live_legs, look_up, parse_channels
from fsbot.switch.uuids import UnsafeUuid

ORIGINATED = "1b57a792-7873-47fd-a46b-ef9ec0d1ce55"
INBOUND = "1201b2cd-afb1-44f9-8e87-0ae5c48facaa"


@pytest.fixture
def answering(switch):
    """answering({command: reply}) → a Connection to a switch that knows just these commands."""
    connections = []

    def connect(answers):
        def script(peer):
            peer.log_in()
            while command := peer.command():
                if command.line == "exit":
                    peer.reply("+OK bye")
                else:
                    asked = command.line.removeprefix("api ")
                    peer.api_reply(answers.get(asked, "-ERR No such channel!\n"))

        connections.append(Connection("127.0.0.1", switch(script).port, "ClueCon"))
        connections[-1].connect()
        return connections[-1]

    yield connect
    for connection in connections:
        connection.stop()


@pytest.fixture
def switch_after_restart(answering, captures):
    """A switch that says what the real one said to each command of that session."""
    sent = captures.sent("resync_after_restart")
    commands = [command.line for command in decode_commands(sent)]
    replies = [
        message.text
        for message in captures.messages("resync_after_restart")
        if message.content_type in ("api/response", "command/reply")
    ]
    answers = {}
    for command, reply in zip(commands, replies, strict=False):
        answers.setdefault(command.removeprefix("api "), reply)
    return answering(answers)


class TestChannelList:
    def test_a_real_one(self, switch_after_restart):
        rows = parse_channels(switch_after_restart.api("show channels as json"))

        assert [(row["uuid"], row["call_uuid"]) for row in rows] == [
            (ORIGINATED, ORIGINATED),
            (INBOUND, ""),
        ]

    def test_an_empty_one_has_no_rows_at_all(self):
        assert parse_channels('{"row_count": 0}\n') == []

    @pytest.mark.parametrize(
        "text",
        [
            "-ERR SQL disabled, no data available!\n",
            "",
            "[]",
            '{"rows": 1}',
            '{"rows": ["x"]}',
            "[" * 100_000,
        ],
    )
    def test_none(self, text):
        with pytest.raises(CommandRefused) as raised:
            parse_channels(text)
        assert raised.value.reply == text


class TestLegs:
    def test_an_originated_call_found_in_its_middle(self, switch_after_restart):
        (found,) = live_legs(switch_after_restart)  # the other one was gone when it was asked for

        assert found.role is Role.A
        assert found.leg.uuid == ORIGINATED
        assert found.leg.direction == "outbound"
        assert found.leg.codec_rate == 8000
        assert found.leg.answered_at == pytest.approx(1795360454.26, abs=0.01)

    def test_a_b_leg_by_the_call_it_belongs_to(self, switch_after_restart):
        assert look_up(switch_after_restart, ORIGINATED, INBOUND).role is Role.B
        assert look_up(switch_after_restart, ORIGINATED).role is Role.A

    def test_a_b_leg_by_its_dump(self, answering):
        dump = '{"Event-Name":"CHANNEL_DATA","Unique-ID":"b","Other-Type":"originator"}'
        assert look_up(answering({"uuid_dump b json": dump}), "b").role is Role.B

    @pytest.mark.parametrize("uuid", ["", "a b", "../x", "gone"])
    def test_no_such_leg(self, switch_after_restart, uuid):
        assert look_up(switch_after_restart, uuid) is None

    def test_exists(self, answering):
        connection = answering({"uuid_exists a": "true", "uuid_exists b": "false"})

        assert exists(connection, "a")
        assert not exists(connection, "b")
        with pytest.raises(UnsafeUuid):
            exists(connection, "a b")

    def test_an_answer_to_another_command_ends_no_call(self, answering):
        connection = answering({"uuid_exists a": "+OK Success\n", "uuid_buglist a": "true"})

        with pytest.raises(CommandRefused):
            exists(connection, "a")
        with pytest.raises(CommandRefused):
            active_recordings(connection, "a")


class TestRecordings:
    def test_real_ones(self, switch_after_restart, answering, captures):
        assert active_recordings(switch_after_restart, ORIGINATED) == ["/srv/calls/rec/botdies.raw"]
        assert active_recordings(switch_after_restart, INBOUND) == []
        lists = [m.text for m in captures.messages("errors") if m.text.startswith("<media-bugs>")]
        found = [active_recordings(answering({"uuid_buglist u": text}), "u") for text in lists]
        assert ["/srv/calls/rec/err_a.raw", "/srv/calls/rec/err_b.raw"] in [
            sorted(paths) for paths in found
        ]
