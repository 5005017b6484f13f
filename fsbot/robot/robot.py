"""What a robot's author writes: a class with what is to happen when."""

from fsbot.robot.call import RobotCall, Utterance


class Robot:
    """One robot talks to one caller: what it notes in itself belongs to that call.

    `on_start`, `on_utterance` and `on_hangup` are the conversation: one after the other, and they
    may wait (`call.ask`, `.wait()`). `on_speech`, `on_words` and `on_digit` are reflexes: called at
    once, whatever the conversation is waiting for.
    """

    answers = True
    """The call is answered before `on_start`. Nothing is heard before an answer."""

    certain = False
    """`on_speech` waits until it is certain that the caller speaks: 0.4 s after the first sound. A
    cough does not stop the robot then. Its own echo does not, either way."""

    def on_start(self, call: RobotCall) -> None:
        """The call is there."""

    def on_utterance(self, call: RobotCall, utterance: Utterance) -> None:
        """The caller has finished saying something that no `call.ask` was waiting for."""

    def on_hangup(self, call: RobotCall) -> None:
        """The call is over, and its transcript complete; nothing can be said any more."""

    def on_speech(self, call: RobotCall) -> None:
        """The caller begins to speak: the robot, if it is speaking, had better be quiet."""
        call.stop()

    def on_words(self, call: RobotCall, words: str) -> None:
        """Words that the caller has just said; they are never changed, only gone on with."""

    def on_digit(self, call: RobotCall, digit: str) -> None:
        """The caller has pressed a key: 0 to 9, *, # or A to D."""
