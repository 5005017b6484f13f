"""What a robot's author writes: a class with what is to happen when."""

from fsbot.robot.call import RobotCall, Utterance


class Robot:
    """One robot talks to one caller: what it notes in itself belongs to that call.

    Each conversation has threads of its own, so a hook may block, in whatever library. The
    constructor, `on_start`, `on_utterance` and `on_hangup` run one after the other in one thread.
    `on_speech`, `on_words` and `on_digit` run in a second one, in the order of what happens and one
    at a time, whatever the first thread is waiting for or blocked in: they do not break off its
    code. So those two may run at the same time. To set an attribute in one and read it in the other
    is safe; what takes more than one step (a list that one fills and the other empties) wants a
    `threading.Lock`. A slow hook keeps those behind it in its own thread waiting.

    A hook must not keep Python's interpreter from all other threads (`re` on hostile texts, large
    sums, C code that holds the interpreter's lock), end the process (`os._exit`), or call fsbot's
    own functions other than those of `call`. What the robots' class shares among calls is used by
    many threads at once; gevent's objects (`Event`, `Queue`, `Semaphore`) are not for that.
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
        """The call is over, and its transcript complete; nothing can be said any more. It does not
        come after `call.leave` or `call.transfer`."""

    def on_speech(self, call: RobotCall) -> None:
        """The caller begins to speak: the robot, if it is speaking, had better be quiet."""
        call.stop()

    def on_words(self, call: RobotCall, words: str) -> None:
        """Words that the caller has just said; they are never changed, only gone on with."""

    def on_digit(self, call: RobotCall, digit: str) -> None:
        """The caller has pressed a key: 0 to 9, *, # or A to D."""
