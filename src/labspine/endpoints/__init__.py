"""Where it is said: channels, their messages, and what may be done there (seeds 000 and 001)."""

from .access import ROLES, is_allowed, rules_for
from .catalogue import MessageEndpoints
from .definition import EndpointDefinition
from .endpoint import EndpointInfo, MessageOp, Profile
from .names import MAX_NAME_BYTES, check_glob, check_segment

__all__ = [
    "MAX_NAME_BYTES",
    "ROLES",
    "EndpointDefinition",
    "EndpointInfo",
    "MessageEndpoints",
    "MessageOp",
    "Profile",
    "check_glob",
    "check_segment",
    "is_allowed",
    "rules_for",
]
