"""The first words on a connection: who we are, which database, and whether the server is ready."""

from __future__ import annotations

from typing import Any

from ..errors import AuthenticationError, LabspineError, NotConnected, ServerError
from ..flows import Command, Exchange
from .address import Address
from .protocol import ConnectionLost
from .translate import ErrorReply, translated

__all__ = ["check_login", "login", "lost_at_login"]


def login(address: Address, client_name: str) -> Exchange:
    """
    Say what is sent first on a new connection.

    Args:
        address: Where and as whom to connect.
        client_name: Shown by CLIENT LIST; spaces are replaced.

    Returns:
        AUTH, SELECT, CLIENT SETNAME, ROLE (with sentinels) and PING in one write; the replies go to
        `check_login`.
    """
    commands: list[Command] = []
    if address.password is not None or address.username is not None:
        who = (address.username,) if address.username else ()
        commands.append(("AUTH", *who, address.password or ""))
    if address.database:
        commands.append(("SELECT", address.database))
    commands.append(("CLIENT", "SETNAME", "".join(c if "!" <= c <= "~" else "_" for c in client_name)))
    if address.sentinels is not None:
        commands.append(("ROLE",))
    commands.append(("PING",))
    return Exchange(tuple(commands), readonly=True)


def check_login(ask: Exchange, replies: list[Any], address: Address) -> None:
    """
    Judge the replies to `login`.

    Args:
        ask: What `login` returned.
        replies: One raw reply a command.
        address: For the error texts.

    Raises:
        AuthenticationError: If the user or password is not accepted.
        ConnectionLost: If the server is there but not ready yet.
        LabspineError: If it refuses in another way.
    """
    for command, reply in zip(ask.commands, replies, strict=True):
        if not isinstance(reply, ErrorReply):
            if command[0] == "ROLE" and reply[0] != b"master":
                raise ConnectionLost("the sentinels named a server that is not the master", sent=False)
            continue
        words = str(reply)
        if words.startswith(("LOADING", "MASTERDOWN")) or "max number of clients" in words:
            raise ConnectionLost(words, sent=False)
        if command[0] == "CLIENT" or (words.startswith("NOPERM") and command[0] in ("PING", "ROLE")):
            continue  # the name is for people, and whoever answers anything is alive
        raise _located(translated(reply, command), address)


def lost_at_login(lost: ConnectionLost, address: Address) -> ConnectionLost:
    """Say what a link that breaks at the first words may mean: a TLS port hangs up on plain text."""
    if address.tls and not address.tls_files.certificate_file:
        hint = "does it want a certificate of ours? Then add ?ssl_certfile=...&ssl_keyfile=... to the address"
        return ConnectionLost(f"{lost}, at the first words ({hint})", sent=False)
    if address.tls or address.path:
        return ConnectionLost(lost, sent=False)
    return ConnectionLost(f"{lost}, at the first words (is it a TLS port? Then use rediss://)", sent=False)


def _located(error: LabspineError, address: Address) -> LabspineError:
    kind = type(error)
    if not isinstance(error, (AuthenticationError, ServerError)):
        kind = NotConnected
    return kind(f"{address}: {error}")
