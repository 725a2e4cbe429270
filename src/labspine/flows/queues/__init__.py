"""Durable queues on Redis, without doing any of it: streams, consumer groups, and a library of functions."""

from . import spread
from .calling import REGISTRY, base_of, declare
from .items import (
    PRIORITIES,
    Claim,
    Claimed,
    DeadItem,
    NewItem,
    Priority,
    QueueState,
    Receipt,
    WaitingItem,
)
from .looking import dead, names, peek, purge, requeue, state
from .putting import put, repeat_put
from .working import Claimer, acknowledge, bury, claim, give_back, touch

__all__ = [
    "PRIORITIES",
    "REGISTRY",
    "Claim",
    "Claimed",
    "Claimer",
    "DeadItem",
    "NewItem",
    "Priority",
    "QueueState",
    "Receipt",
    "WaitingItem",
    "acknowledge",
    "base_of",
    "bury",
    "claim",
    "dead",
    "declare",
    "give_back",
    "names",
    "peek",
    "purge",
    "put",
    "repeat_put",
    "requeue",
    "spread",
    "state",
    "touch",
]
