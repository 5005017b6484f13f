"""Channel variables a SIP leg carries, named and ordered as in the captures."""

import time

from fsbot.rehearsal.leg import Leg

_CAUSE_NUMBERS = {
    "NORMAL_CLEARING": "16",
    "USER_BUSY": "17",
    "NO_ANSWER": "19",
    "ORIGINATOR_CANCEL": "487",
    "MANAGER_REQUEST": "503",
    "SYSTEM_SHUTDOWN": "503",
}


def leg_variables(leg: Leg, session_number: int) -> dict[str, str]:
    """What a leg has when it is created."""
    number, destination = leg.profile.caller_number, leg.profile.destination
    variables = {
        "direction": leg.direction,
        "is_outbound": "true" if leg.direction == "outbound" else "",
        "uuid": leg.uuid,
        "call_uuid": leg.call_uuid,
        "session_id": str(session_number),
    }
    if leg.name.startswith("loopback/"):
        return variables | {"channel_name": leg.name, "is_loopback": "1"}
    if leg.direction == "inbound":
        variables |= {
            "sip_from_user": number,
            "sip_from_port": "5080",
            "sip_from_uri": f"{number}@127.0.0.1:5080",
            "sip_from_host": "127.0.0.1",
        }
    variables |= {
        "video_media_flow": "disabled",
        "text_media_flow": "disabled",
        "channel_name": leg.name,
        "sip_call_id": f"{session_number}-{leg.uuid[:8]}@127.0.0.1",
        "sip_local_network_addr": "127.0.0.1",
    }
    if leg.direction == "inbound":
        variables |= {
            "sip_network_ip": "127.0.0.1",
            "sip_network_port": "5080",
            "sip_received_ip": "127.0.0.1",
            "sip_received_port": "5080",
            "sip_via_protocol": "udp",
            "sip_from_user_stripped": number,
        }
    variables |= {
        "sofia_profile_name": "internal",
        "sofia_profile_url": "sip:mod_sofia@127.0.0.1:5060",
        "recovery_profile_name": "internal",
        "sip_req_user": destination,
        "sip_req_uri": f"{destination}@127.0.0.1:5060",
        "sip_to_user": destination,
        "sip_to_uri": f"{destination}@127.0.0.1:5060",
        "max_forwards": "70" if leg.direction == "inbound" else "69",
        "remote_media_ip": "127.0.0.1",
        "dtmf_type": "rfc2833",
        "endpoint_disposition": "RECEIVED" if leg.direction == "inbound" else "",
    }
    return variables


def cdr_variables(leg: Leg) -> dict[str, str]:
    """What a leg has gained by CHANNEL_HANGUP_COMPLETE."""
    start = leg.times["Channel-Created"]
    answer = leg.times.get("Channel-Answered", 0)
    end = leg.times["Channel-Hangup"]
    billed = end - answer if answer else 0
    variables = {
        "hangup_cause": leg.hangup_cause,
        "hangup_cause_q850": _CAUSE_NUMBERS.get(leg.hangup_cause, "16"),
        "digits_dialed": "none",
        "start_stamp": _stamp(start),
        "answer_stamp": _stamp(answer) if answer else "",
        "end_stamp": _stamp(end),
        "start_epoch": str(start // 10**6),
        "start_uepoch": str(start),
        "answer_epoch": str(answer // 10**6),
        "answer_uepoch": str(answer),
        "hold_accum_ms": str(leg.hold_total // 1000),
        "end_epoch": str(end // 10**6),
        "end_uepoch": str(end),
        "last_app": leg.application[0],
        "last_arg": leg.application[1],
        "caller_id": f'"{leg.profile.caller_name}" <{leg.profile.caller_number}>',
    }
    for name, length in (("duration", end - start), ("billsec", billed)):
        variables[name] = str(length // 10**6)
    variables |= {
        "mduration": str((end - start) // 1000),
        "billmsec": str(billed // 1000),
        "uduration": str(end - start),
        "billusec": str(billed),
    }
    return variables


def _stamp(when: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when / 1e6))
