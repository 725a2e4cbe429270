"""The variables of OpenTera: its static ones, and the families that it makes for people and sessions."""

from __future__ import annotations

from ...variables import Variable

__all__ = ["OPENTERA_VARIABLES"]


def _raw(name: str, kind: type, doc: str, expire_s: float | None = None) -> Variable[object]:
    return Variable(name, kind, doc=doc, expire_s=expire_s, layout="raw")


OPENTERA_VARIABLES: tuple[Variable[object], ...] = (
    _raw("UserTokenAPIKey", str, "Key that signs the tokens of users."),
    _raw("DeviceTokenAPIKey", str, "Key that signs the tokens of devices for one session."),
    _raw("DeviceStaticTokenAPIKey", str, "Key that signs the tokens with which devices log in."),
    _raw("ParticipantTokenAPIKey", str, "Key that signs the tokens of participants for one session."),
    _raw("ParticipantStaticTokenAPIKey", str, "Key that signs the tokens with which participants log in."),
    _raw("ServiceTokenAPIKey", str, "Key that signs the tokens of services."),
    _raw("service.{service_key}", str, "What is known about a service, as JSON."),
    _raw("UserLoginAttempts.{user_uuid}", int, "Failed logins of a user.", 120.0),
    _raw("User2FALoginAttempts.{user_uuid}", int, "Failed second factors of a user.", 900.0),
    _raw("ParticipantLoginAttempts.{participant_uuid}", int, "Failed logins of a participant.", 120.0),
    _raw("{session_id}", str, "Ticket of a websocket: whose session it is.", 60.0),
)
"""What OpenTera keeps in its broker, under its own names; seed 004 calls the first six static."""
