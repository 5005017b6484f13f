"""A stand-in FreeSWITCH: plays audio files as calls over the real event socket protocol.

People rehearse robots and size machines with it; it is the peer of fsbot's own tests.
"""
