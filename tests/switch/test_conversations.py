"""Who hears whom, as FreeSWITCH's events tell it: by the headers that matter."""

import json

import pytest

from fsbot.switch.codec import Event, Headers
from fsbot.switch.conversations import CONFERENCE, DECLINED, Conversations, Wish


def tell(conversations: Conversations, name: str, **headers: str) -> bool:
    pairs = {key.replace("_", "-"): value for key, value in headers.items()}
    return conversations.observe(Event(Headers([("Event-Name", name), *pairs.items()])))


def bridge(conversations: Conversations, a: str, b: str, event: str = "CHANNEL_BRIDGE") -> None:
    tell(conversations, event, Unique_ID=a, Bridge_A_Unique_ID=a, Bridge_B_Unique_ID=b)


def leg(
    conversations: Conversations, uuid: str, event: str = "CHANNEL_ANSWER", **more: str
) -> bool:
    variables = {f"variable_{name}": value for name, value in more.items()}
    pairs = {"Event-Name": event, "Unique-ID": uuid, "variable_direction": "inbound"}
    return conversations.observe(Event(Headers([*(pairs | variables).items()])))


def member(conversations: Conversations, uuid: str, action: str, **more: str) -> None:
    pairs = {"Event-Subclass": CONFERENCE, "Unique-ID": uuid, "Conference-Unique-ID": "room"}
    headers = Headers([("Event-Name", "CUSTOM"), *(pairs | {"Action": action} | more).items()])
    conversations.observe(Event(headers))


def test_a_bridge_and_its_end() -> None:
    found = Conversations()
    assert found.heard_by("a") == {"a"}
    bridge(found, "a", "b")
    assert found.heard_by("a") == found.heard_by("b") == {"a", "b"}
    assert found.partner("b") == "a"
    bridge(found, "a", "b", "CHANNEL_UNBRIDGE")
    assert found.heard_by("a") == {"a"}


def test_who_asks_a_third_party_is_not_heard_meanwhile() -> None:
    """att_xfer: B is in both bridges; if C hangs up A and B talk on, without another event."""
    found = Conversations()
    bridge(found, "a", "b")
    bridge(found, "b", "c")
    assert found.heard_by("a") == {"a"}
    assert found.heard_by("c") == {"b", "c"}
    bridge(found, "b", "c", "CHANNEL_UNBRIDGE")
    assert found.heard_by("a") == {"a", "b"}


def test_both_ends_of_a_loopback_channel_pass_on_what_they_hear() -> None:
    found = Conversations()
    leg(found, "near", other_loopback_leg_uuid="far")
    bridge(found, "a", "near")
    bridge(found, "far", "b")
    assert found.heard_by("a") == {"a", "near", "far", "b"}
    tell(found, "CHANNEL_DESTROY", Unique_ID="far")
    assert found.heard_by("a") == {"a", "near"}


def test_early_media_are_heard_by_whom_they_are_for() -> None:
    found = Conversations()
    other = {"Other_Type": "originator", "Other_Leg_Unique_ID": "a"}
    tell(found, "CHANNEL_PROGRESS_MEDIA", Unique_ID="b", **other)
    assert found.heard_by("a") == {"a", "b"}
    assert found.heard_by("b") == {"b"}
    bridge(found, "a", "b")
    bridge(found, "a", "b", "CHANNEL_UNBRIDGE")
    assert found.heard_by("a") == {"a"}


def test_a_conference() -> None:
    found = Conversations()
    member(found, "a", "add-member")
    member(found, "b", "add-member")
    member(found, "c", "add-member", Speak="false")
    assert found.heard_by("a") == {"a", "b"}
    assert found.heard_by("c") == {"a", "b", "c"}
    assert found.is_muted("c")
    assert found.company("a") == {"a", "b", "c"}
    member(found, "c", "unmute-member")
    member(found, "b", "mute-member")
    assert found.heard_by("a") == {"a", "c"}
    member(found, "a", "start-talking")
    member(found, "c", "del-member")
    assert found.heard_by("a") == {"a"}
    assert found.heard_by("c") == {"c"}


def test_members_of_a_conference_in_its_list() -> None:
    found = Conversations()
    member(found, "gone", "add-member")
    member(found, "a", "add-member")
    listed = [
        {
            "conference_uuid": "room",
            "members": [
                {"uuid": "a", "flags": {"can_speak": True}},
                {"uuid": "b", "flags": {"can_speak": False}},
                {"type": "recording_node"},
            ],
        }
    ]
    found.describe_conferences(json.dumps(listed))
    assert found.heard_by("b") == {"a", "b"}
    assert found.heard_by("a") == {"a"}
    assert found.heard_by("gone") == {"gone"}


@pytest.mark.parametrize("answer", ["-ERR conference Command not found!", "", "[{}]", "[1]"])
def test_no_list_of_conferences_changes_nothing(answer: str) -> None:
    found = Conversations()
    member(found, "a", "add-member")
    member(found, "b", "add-member")
    found.describe_conferences(answer)
    assert found.heard_by("a") == {"a", "b"}


def execute(conversations: Conversations, uuid: str, application: str, data: str) -> None:
    headers = {"Application": application, "Application-Data": data, "Unique-ID": uuid}
    conversations.observe(Event(Headers([("Event-Name", "CHANNEL_EXECUTE"), *headers.items()])))


def test_who_listens_in_hears_and_is_heard_once_it_whispers() -> None:
    found = Conversations()
    bridge(found, "a", "b")
    execute(found, "spy", "eavesdrop", "b")
    assert found.heard_by("spy") == {"spy", "a", "b"}
    assert found.heard_by("a") == {"a", "b"}
    tell(found, "DTMF", Unique_ID="spy", DTMF_Digit="1")
    assert found.heard_by("a") == {"a", "b", "spy"}
    assert found.joins_in("spy")
    tell(found, "DTMF", Unique_ID="spy", DTMF_Digit="2")
    assert found.heard_by("a") == {"a", "b"}
    assert found.whispers("spy")
    tell(found, "DTMF", Unique_ID="spy", DTMF_Digit="0")
    assert not found.whispers("spy")
    execute(found, "spy", "playback", "tone.wav")
    assert found.heard_by("spy") == {"spy"}
    execute(found, "spy", "three_way", "a")
    assert found.heard_by("b") == {"a", "b", "spy"}


@pytest.mark.parametrize(
    ("application", "data", "declined"),
    [
        ("set", "fsbot=false", True),
        ("set", "fsbot=true", False),
        ("export", "fsbot=no", True),
        ("export", "nolocal:fsbot=false", False),
        ("multiset", "a=b fsbot=off", True),
        ("multiset", "^^;a=b;fsbot=0", True),
        ("set", "fsbot_language=no", False),
        ("set", "my_fsbot=false", False),
    ],
)
def test_a_leg_declines_by_an_application(application: str, data: str, declined: bool) -> None:
    found = Conversations()
    execute(found, "a", application, data)
    assert (Wish("a", DECLINED, "pause") in found.wishes("a")) is declined
    execute(found, "a", "unset", "fsbot")
    assert found.wishes("a") == frozenset()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("uuid_setvar", "a fsbot false"),
        ("UUID_SETVAR", " a fsbot  false "),
        ("uuid_setvar_multi", "a x=y;fsbot=false"),
    ],
)
def test_a_leg_declines_by_a_command(command: str, arguments: str) -> None:
    found = Conversations()
    headers = {"API_Command": command, "API_Command_Argument": arguments}
    assert tell(found, "API", **headers)
    assert found.wishes(["a", "b"]) == {Wish("a", DECLINED, "pause")}
    assert leg(found, "a", fsbot="true")
    assert not leg(found, "a")
    assert found.wishes("a") == frozenset()


def test_every_event_with_its_variables_says_whether_a_leg_declines() -> None:
    found = Conversations()
    assert leg(found, "a", "CHANNEL_CREATE", fsbot="false")
    assert not tell(found, "CODEC", Unique_ID="a")
    assert found.wishes("a") == {Wish("a", DECLINED, "pause")}
    tell(found, "CHANNEL_DESTROY", Unique_ID="a")
    assert found.wishes("a") == frozenset()


def test_wishes_are_of_a_leg_and_a_recording() -> None:
    found = Conversations()
    one, two = Wish("a", "/1.wav"), Wish("a", "/2.wav")
    for wish in (one, two):
        found.wish(wish)
    found.content(["b"], "/1.wav")
    assert found.wishes("a") == {one, two}
    found.content(["a"], "/1.wav")
    assert found.wishes("a") == {two}
    found.wish(one)
    found.content_all("a", keep=["/1.wav"])
    assert found.wishes("a") == {one}
    found.content_all("a")
    assert found.masking_legs == []


def test_legs_that_went_by_unseen_are_forgotten() -> None:
    found = Conversations()
    bridge(found, "a", "b")
    found.wish(Wish("b", "/1.wav"))
    found.keep_only(["a"])
    assert found.heard_by("a") == {"a"}
    assert found.wishes("b") == frozenset()


def test_what_uuid_dump_says_of_bridges() -> None:
    """Also of a leg that asks a third party, in whichever order they are described."""
    told = {"a": "b", "b": "c", "c": "b"}
    for order in ("abc", "cba", "bac"):
        found = Conversations()
        for uuid in order:
            found.describe(Headers([("Unique-ID", uuid), ("variable_bridge_to", told[uuid])]))
        assert found.heard_by("b") == {"b", "c"}
        bridge(found, "b", "c", "CHANNEL_UNBRIDGE")
        assert found.heard_by("a") == {"a", "b"}
