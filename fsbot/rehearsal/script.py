"""What happens in a rehearsed call: its parties, its sound, and things that befall it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from fsbot.rehearsal.leg import Codec
from fsbot.rehearsal.sound import Sound

if TYPE_CHECKING:
    from fsbot.rehearsal.call import Call


class Action(Protocol):
    """Something that happens `at` seconds after the answer."""

    @property
    def at(self) -> float: ...

    def perform(self, call: "Call") -> None: ...


@dataclass(frozen=True, slots=True)
class Hold:
    """The far end of a leg (0: the A leg) puts the call on hold: that leg's recordings stop
    growing."""

    at: float
    leg: int = 0

    def perform(self, call: "Call") -> None:
        call.legs[self.leg].hold()


@dataclass(frozen=True, slots=True)
class Unhold:
    at: float
    leg: int = 0

    def perform(self, call: "Call") -> None:
        call.legs[self.leg].unhold()


@dataclass(frozen=True, slots=True)
class Renegotiate:
    """A re-INVITE to another codec: the rate inside a running recording changes."""

    at: float
    codec: Codec

    def perform(self, call: "Call") -> None:
        call.renegotiate(self.codec)


@dataclass(frozen=True, slots=True)
class HangUp:
    """The call ends before its sound does."""

    at: float
    cause: str = "NORMAL_CLEARING"

    def perform(self, call: "Call") -> None:
        call.hang_up(self.cause)


@dataclass(frozen=True, slots=True)
class Press:
    """The caller presses a key."""

    at: float
    digit: str

    def perform(self, call: "Call") -> None:
        call.press(self.digit)


@dataclass(frozen=True, slots=True)
class CallScript:
    """One call, as `RehearsalSwitch.place` plays it.

    `ring` seconds pass before the answer, `early_media` more with the ringing tone on the line.
    The call hangs up `tail` seconds after its sound has been played `repeat` times; `repeat` 0
    plays it for ever; the first time it begins `offset` seconds into the sound. The A leg's far
    end is the caller, on an outbound leg the callee; a sound with one channel is what the far end
    says, and leaves the leg parked, its write side idle.
    `socket` (HOST:PORT) hands the call over to a program, unanswered; what is below goes for it
    once the program lets go of it, or cannot be reached.
    `bridged` adds a B leg, dialled by the application bridge, by bridge with `:_:` (enterprise) or
    by mod_callcenter (queue), with `b_variables`; `endpoint` loopback makes the two channels of a
    loopback call.
    """

    sound: Sound
    caller_number: str = "0612345678"
    caller_name: str = ""
    destination: str = "9196"
    context: str = "default"
    direction: Literal["inbound", "outbound"] = "inbound"
    endpoint: Literal["sofia", "loopback"] = "sofia"
    codec: Codec = field(default_factory=Codec)
    uuid: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ring: float = 0.0
    early_media: float = 0.0
    bridged: bool = False
    dialled: Literal["bridge", "enterprise", "queue"] = "bridge"
    b_variables: Mapping[str, str] = field(default_factory=dict)
    actions: tuple[Action, ...] = ()
    repeat: int = 1
    offset: float = 0.0
    tail: float = 0.5
    socket: str = ""
