"""Talking to FreeSWITCH: its event socket, its recordings, its legs."""
