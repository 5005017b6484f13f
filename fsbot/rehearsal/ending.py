"""The end of a channel, from its hang-up to CHANNEL_DESTROY."""

import gevent

from fsbot.rehearsal.leg import Leg
from fsbot.rehearsal.variables import cdr_variables


def end_channel(leg: Leg) -> None:
    """Stop its recordings, run its hooks, and destroy it: switch_core_session_hangup_state,
    switch_core_session_reporting_state and switch_core_session_thread of FreeSWITCH.

    Every file that the channel lists is complete after it, also if a hook sleeps on. `hangup_cause`
    is set before.
    """
    leg.answer_state = "hangup"
    if "Channel-Hangup" not in leg.times:
        leg.stamp("Channel-Hangup")
    leg.enter("CS_HANGUP")
    for path in list(leg.recordings):
        leg.stop_recording(path)
    leg.enter_call_state("HANGUP")
    if leg.hook_seconds:
        gevent.spawn_later(leg.hook_seconds, _report, leg)
    else:
        _report(leg)


def _report(leg: Leg) -> None:
    leg.enter("CS_REPORTING")
    leg.variables.update(cdr_variables(leg))
    leg.emit("CHANNEL_HANGUP_COMPLETE", before=[("Hangup-Cause", leg.hangup_cause)])
    for path in list(leg.recordings):
        leg.stop_recording(path)
    leg.ended = True
    # The thread of a recording that the channel cannot see waits for ever, and the channel for it.
    leg.kept = bool(leg.starting)
    if not leg.kept:
        leg.emit("CHANNEL_DESTROY")
        leg.enter("CS_DESTROY")
