"""``labspine acl``: the access rules that a Redis or Valkey server is to be given for a service or person."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from typing import Annotated, Literal, cast

import typer

from ..errors import ConfigError, InvalidArgument
from .context import JsonOption, say, say_json, warn

__all__ = ["add_to"]

_VARIABLE = "LABSPINE_ACL_PASSWORD"
_HASH = re.compile(r"#?([0-9a-f]{64})")

_RoleOption = Annotated[
    list[str],
    typer.Option(
        "--role",
        metavar="ROLE",
        help="Whose rights, such as observer or user; may be repeated. A wrong one lists all.",
    ),
]
_UserOption = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Name of the user; default: that of the role.")
]
_ProfileOption = Annotated[str, typer.Option("--profile", help="Names of the channels: seed or bec4.")]
_ClusterOption = Annotated[
    bool, typer.Option("--cluster", help="For a Redis Cluster; give the line to every node.")
]
_StdinOption = Annotated[
    bool,
    typer.Option("--password-stdin", help=f"Read the password from stdin; else ${_VARIABLE} counts."),
]


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("acl")(acl)


def acl(
    role: _RoleOption,
    user: _UserOption = None,
    profile: _ProfileOption = "seed",
    cluster: _ClusterOption = False,
    password_stdin: _StdinOption = False,
    as_json: JsonOption = False,
) -> None:
    """
    Print the least rights that a service or person needs, as a line for redis-cli or an ACL file.

    A password never stands on the command line; only its SHA-256 is printed.
    """
    if profile not in ("seed", "bec4"):
        raise ConfigError(f'--profile {profile}: use "seed" or "bec4"')
    if user is None:
        if "user" in role or len(role) > 1:
            raise InvalidArgument("--user NAME is needed: the name with which the server knows this user")
        user = role[0].replace("_", "-")
    from ..endpoints import check_segment, rules_for

    check_segment(user, where="--user")
    rules = rules_for(role, profile=cast(Literal["seed", "bec4"], profile), user=user, in_cluster=cluster)
    secret = _password_rule(password_stdin)
    if secret is None:
        warn(f"no password: {user} stays off until one is set; give it with --password-stdin or {_VARIABLE}")
        rules = ["off" if rule == "on" else rule for rule in rules]
    else:
        rules.insert(2, secret)
    if as_json:
        say_json({"user": user, "roles": role, "profile": profile, "rules": rules})
    else:
        say(f"ACL SETUSER {user} {' '.join(rules)}")


def _password_rule(from_stdin: bool) -> str | None:
    """Make ``#<sha256>`` of a password, or take a hash as it is."""
    secret = sys.stdin.readline().rstrip("\r\n") if from_stdin else os.environ.get(_VARIABLE, "")
    if from_stdin and not secret:
        raise ConfigError("--password-stdin: nothing came from stdin")
    if not secret:
        return None
    given = _HASH.fullmatch(secret)
    return "#" + (given[1] if given else hashlib.sha256(secret.encode()).hexdigest())
