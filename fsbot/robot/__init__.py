"""Robots that answer calls: `from fsbot.api import Robot, RobotCall, Utterance`.

A dialplan hands a call over with `<action application="socket" data="127.0.0.1:8084 async full"/>`,
and `fsbot run --robot robot.py` makes a robot for it:

    class Receptionist(Robot):
        def on_start(self, call):
            name = call.ask("Bonjour ! Quel est votre nom ?", timeout=8)
            call.say(f"Merci, {name.text}." if name else "Je ne vous entends pas.").wait()
            call.transfer("2000")

What a robot does wrong is logged, and costs its own call alone: the caller goes on in the dialplan.
"""

from fsbot.robot.call import Hangup, Line, RobotCall, Utterance, spoken
from fsbot.robot.robot import Robot

__all__ = ["Hangup", "Line", "Robot", "RobotCall", "Utterance", "spoken"]
