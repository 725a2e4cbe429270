"""
Calls on Redis: a stream with a consumer group carries requests, a list the replies.

All keys of a service share the hash tag ``{name}``. A caller has one reply list with an unguessable name;
the name of the list is part of the call's identifier, so that a service needs to be told nothing else.
"""

from . import calling, serving
from .calling import Inquiry, Presence
from .keys import SILENCE_MS, Keys, is_no_group, keys_of, reply_item, reply_key, split_reply
from .serving import Entry, Outgoing

__all__ = [
    "SILENCE_MS",
    "Entry",
    "Inquiry",
    "Keys",
    "Outgoing",
    "Presence",
    "calling",
    "is_no_group",
    "keys_of",
    "reply_item",
    "reply_key",
    "serving",
    "split_reply",
]
