"""Roles, sides and filters, from the events of real calls."""

import pytest

from fsbot.switch.codec import Event, Headers
from fsbot.switch.legs import Leg, LegFilter, LegRoles, Role, Side, role_in
from fsbot.switch.masks import event_time


def channel_event(name="CHANNEL_ANSWER", **headers):
    headers.setdefault("Channel_Name", "sofia/internal/1")
    pairs = [(key.replace("_", "-"), value) for key, value in headers.items()]
    return Event(Headers([("Event-Name", name), ("Unique-ID", "u"), *pairs]))


def leg(**changes):
    values = {
        "uuid": "u",
        "call_uuid": "u",
        "direction": "inbound",
        "channel_name": "sofia/internal/1001@192.0.2.1",
        "caller_number": "1001",
        "destination": "0123456789",
        "context": "public",
        "codec_rate": 8000,
        "answered_at": 1.0,
        "language": "",
        "prompt": "",
        "declined": False,
    }
    return Leg(**(values | changes))


def roles_of(events):
    """Every role each leg ever had, and what is remembered at the end."""
    roles, seen = LegRoles(), {}
    for event in events:
        role = roles.observe(event)
        if role is not None:
            seen.setdefault(event.headers["Unique-ID"], set()).add(role)
    return seen, roles


class TestRealCalls:
    @pytest.mark.parametrize("name", ["bridged_call", "hold_call"])
    def test_a_bridged_call_has_one_a_leg_from_first_to_last(self, captures, name):
        events = captures.events(name)
        seen, roles = roles_of(events)
        creates = [e.headers["Unique-ID"] for e in events if e.name == "CHANNEL_CREATE"]

        assert seen == {creates[0]: {Role.A}, creates[1]: {Role.B}}
        assert len(roles) == 0  # both destroyed

    @pytest.mark.parametrize("name", ["bridged_call", "hold_call"])
    def test_a_bot_that_came_late_says_the_same(self, captures, name):
        events = captures.events(name)
        creates = [e.headers["Unique-ID"] for e in events if e.name == "CHANNEL_CREATE"]
        for start in range(2, len(events)):
            seen, _ = roles_of(events[start:])
            assert seen.get(creates[0], {Role.A}) == {Role.A}
            assert seen.get(creates[1], {Role.B}) == {Role.B}

    def test_direction_never_decides_and_a_transfer_changes_nothing(self, captures):
        """Two originated calls over SIP to the same FreeSWITCH: two A legs each, one transferred,
        none of them dialled for another leg."""
        events = captures.events("transfer")
        seen, _ = roles_of(events)
        directions = {
            e.headers["Unique-ID"]: e.headers["Call-Direction"]
            for e in events
            if e.name == "CHANNEL_CREATE"
        }

        assert seen == {uuid: {Role.A} for uuid in directions}
        assert sorted(directions.values()) == ["inbound", "inbound", "outbound", "outbound"]
        contexts = [e.headers["Caller-Context"] for e in events if e.name.startswith("CHANNEL")]
        assert {"default", "lab"} <= set(contexts)

    def test_what_a_leg_knows_at_its_answer(self, captures):
        (answer,) = [e for e in captures.events("inbound_call") if e.name == "CHANNEL_ANSWER"]
        found = Leg.from_event(answer)

        assert found == leg(
            uuid="e9ed1ed3-6c28-4404-b2d4-24c7434ed3e0",
            call_uuid="e9ed1ed3-6c28-4404-b2d4-24c7434ed3e0",
            channel_name="sofia/internal/1001@127.0.0.1:15070",
            destination="loop-agent",
            context="lab",
            answered_at=found.answered_at,
            created_at=found.created_at,
        )
        assert found.answered_at == pytest.approx(1795359424.379, abs=0.001)

    def test_before_codec_and_answer(self, captures):
        create = [e for e in captures.events("bridged_call") if e.name == "CHANNEL_CREATE"][1]
        found = Leg.from_event(create)

        assert found.codec_rate == 0
        assert found.answered_at is None


class TestLeg:
    def test_channel_variables(self):
        headers = [
            ("variable_fsbot_language", "de"),
            ("variable_fsbot_prompt", "Dupont, Toulouse"),
            ("variable_fsbot_hotwords", "Nadia, Metz"),
            ("variable_fsbot", "FALSE"),
            ("channel-read-codec-rate", "48000"),
        ]
        found = Leg.from_event(Event(Headers(headers)))

        assert (found.language, found.prompt, found.declined, found.codec_rate) == (
            "de",
            "Dupont, Toulouse",
            True,
            48000,
        )
        assert found.hotwords == "Nadia, Metz"

    def test_prompt_and_hotwords_are_short_and_printable(self):
        headers = [
            ("variable_fsbot_prompt", "Dupont\x1b[2J\n" + "a" * 5000),
            ("variable_fsbot_hotwords", "Nadia\x00\u202e" + "b" * 5000),
        ]
        leg = Leg.from_event(Event(Headers(headers)))

        assert (leg.prompt[:12], len(leg.prompt)) == ("Dupont [2J a", 1024)
        assert (leg.hotwords[:8], len(leg.hotwords)) == ("Nadia  b", 256)

    @pytest.mark.parametrize("value", ["", "true", "1", "falsehood"])
    def test_only_a_clear_no_declines(self, value):
        assert not Leg.from_event(Event(Headers([("variable_fsbot", value)]))).declined

    @pytest.mark.parametrize("value", ["", "-1", "abc", "٣", "9" * 30, "1.5"])
    def test_numbers_that_are_none(self, value):
        found = Leg.from_event(
            channel_event(Channel_Read_Codec_Rate=value, Caller_Channel_Answered_Time=value)
        )
        assert found.codec_rate == 0
        assert found.answered_at is None

    def test_sides(self):
        inbound, originated = leg(direction="inbound"), leg(direction="outbound")

        assert (inbound.read_side, inbound.write_side) == (Side.CALLER, Side.CALLEE)
        assert (originated.read_side, originated.write_side) == (Side.CALLEE, Side.CALLER)
        assert Side.CALLER == "caller"


class TestRoles:
    def test_the_first_word_counts_for_life(self):
        roles = LegRoles()
        assert roles.observe(channel_event("CHANNEL_CREATE")) is Role.A
        assert roles.observe(channel_event(Other_Type="originator")) is Role.A
        assert roles.settle(leg(uuid="u"), Role.B) is Role.A
        assert roles.observe(channel_event("CHANNEL_DESTROY", Other_Type="originator")) is Role.A
        assert len(roles) == 0

    @pytest.mark.parametrize(
        "headers",
        [
            [("Event-Name", "HEARTBEAT")],
            [("Event-Name", "CUSTOM"), ("Unique-ID", "forged")],
        ],
    )
    def test_events_that_tell_nothing_of_a_leg(self, headers):
        roles = LegRoles()

        assert roles.observe(Event(Headers(headers))) is None
        assert len(roles) == 0

    def test_legs_that_vanished_are_forgotten(self):
        roles = LegRoles()
        for uuid in "abc":
            roles.settle(leg(uuid=uuid), Role.B)
        roles.keep_only(["b", "x"])

        assert len(roles) == 1
        assert roles.settle(leg(uuid="b"), Role.A) is Role.B

    @pytest.mark.parametrize(
        ("name", "other", "role"),
        [
            ("sofia/internal/1", "", Role.A),
            ("sofia/internal/1", "originatee", Role.A),
            ("sofia/internal/1", "originator", Role.B),
            ("loopback/1000-a", "", Role.A),
            ("loopback/1000-b", "", Role.B),
            ("loopback/1000-a", "originator", Role.B),
            ("sofia/internal/loopback/-b", "", Role.A),
        ],
    )
    def test_roles(self, name, other, role):
        assert role_in(channel_event(Channel_Name=name, Other_Type=other)) is role


class TestFilter:
    def test_all_a_legs_by_default(self):
        assert LegFilter().objection(leg(), Role.A) == ""
        assert LegFilter().objection(leg(), Role.B) == "B leg"
        assert LegFilter(each_leg=True).objection(leg(), Role.B) == ""

    @pytest.mark.parametrize(
        ("rule", "changes", "objection"),
        [
            ({"contexts": ["public", "default"]}, {}, ""),
            ({"contexts": ["pub*"]}, {}, ""),
            ({"contexts": ["PUBLIC"]}, {}, "context"),
            ({"contexts": ["default"]}, {}, "context"),
            ({"destinations": ["0800*", "012345678?"]}, {}, ""),
            ({"destinations": ["0800*"]}, {}, "destination"),
            ({"destinations": ["[0-9]"]}, {}, "destination"),
            ({"directions": ["outbound"]}, {}, "direction"),
            ({"directions": ["outbound"]}, {"direction": "outbound"}, ""),
            ({}, {"declined": True}, "channel variable fsbot=false"),
            ({}, {"channel_name": "loopback/1000-a"}, "loopback leg"),
            ({"loopback": True}, {"channel_name": "loopback/1000-a"}, ""),
        ],
    )
    def test_rules(self, rule, changes, objection):
        assert LegFilter(**rule).objection(leg(**changes), Role.A) == objection


@pytest.mark.parametrize("name", ["CUSTOM", ""])
def test_an_event_that_anybody_may_send_gives_no_leg_a_role(name: str) -> None:
    roles = LegRoles()
    headers = [("Unique-ID", "x"), ("Channel-Name", "sofia/x"), ("Other-Type", "originator")]
    assert roles.observe(Event(Headers([("Event-Name", name), *headers]))) is None
    assert len(roles) == 0


def test_a_time_that_is_no_time() -> None:
    headers = [("Caller-Channel-Answered-Time", "9" * 17), ("Caller-Caller-ID-Number", "1" * 999)]
    leg = Leg.from_event(Event(Headers(headers)))
    assert leg.answered_at is None
    assert leg.caller_number == "1" * 256


def test_the_senders_own_time_of_an_event_does_not_count() -> None:
    stamps = [("Event-Date-Timestamp", "1"), ("Event-Date-Timestamp", "1795360457362784")]
    assert event_time(Event(Headers(stamps))) == 1795360457.362784
    assert event_time(Event(Headers([("Event-Date-Timestamp", "9" * 400)]))) < 10**12
