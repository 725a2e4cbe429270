"""
Who may look and press: the key in the address, the session it is exchanged for, the hosts and the origins.

The key is a secret of the gateway's owner. A browser shows it once, in the address that the owner opens, and
gets a signed session in a cookie; from then on the key is in no address, no log and no script of the page.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

import jwt

from labspine.clock import utc_s
from labspine.errors import ConfigError
from labspine.ids import new_token

__all__ = ["Access", "Session", "named_hosts"]

_AUDIENCE = "labspine-page"
_ISSUER = "labspine-gateway"
_CLAIMS = ["exp", "iat", "sub", "aud", "iss"]
_LEAST_KEY = 16
_URL_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - recognised here in order to be refused as a name


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that has shown the key; ``expires_utc_s`` is wall time in seconds."""

    name: str
    expires_utc_s: float


class Access:
    """
    Decide who is let in.

    Args:
        port: Port of the page. It is part of the cookie's name, because browsers share cookies between ports.
        hosts: Names under which the page may be opened, without port: ``("127.0.0.1", "localhost")``.
        key: Secret of at least 16 URL-safe characters; None makes a new one. Sessions are signed with it, so
            a gateway that is started again with the same key knows its browsers again.
        session_s: How long a session lasts, in seconds.
        now_utc_s: Clock, for tests.

    Raises:
        ConfigError: If the key is too short or has characters that an address cannot hold.
    """

    def __init__(
        self,
        port: int,
        hosts: Iterable[str],
        *,
        key: str | None = None,
        session_s: float = 12 * 3600.0,
        now_utc_s: Callable[[], float] = utc_s,
    ) -> None:
        self.key = new_token() if key is None else key
        if len(self.key) < _LEAST_KEY or not set(self.key) <= _URL_SAFE:
            # The key itself must not get into an error text.
            raise ConfigError(
                f"the page's key needs at least {_LEAST_KEY} characters out of letters, digits and -_.~; "
                "leave it out and a good one is made"
            )
        self.cookie = f"labspine_{port}"
        self._hosts = frozenset(_with_port(host, port) for host in hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)
        self._session_s = session_s
        self._now_utc_s = now_utc_s
        self._secret = hmac.new(self.key.encode(), b"labspine page session", hashlib.sha256).digest()

    @property
    def origins(self) -> list[str]:
        """List the origins whose scripts may open the socket."""
        return sorted(self._origins)

    def knows_host(self, host: str | None) -> bool:
        """
        Check the Host header, against pages that point their own name at this machine (DNS rebinding).

        Args:
            host: Value of the header, None when it is missing.

        Returns:
            True when the page is reachable under this name and port.
        """
        return host is not None and host.lower() in self._hosts

    def knows_origin(self, origin: str | None) -> bool:
        """
        Check the Origin header of a socket; a missing one is foreign, because a cookie logs in by itself.

        Args:
            origin: Value of the header, None when it is missing.

        Returns:
            True when the script that opens the socket came from this page.
        """
        return origin is not None and origin in self._origins

    def exchange(self, key: str) -> str | None:
        """
        Give a signed session for the key.

        Args:
            key: What the visitor showed.

        Returns:
            The token for the cookie, or None when the key is wrong.
        """
        if not hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode()):
            return None
        now = self._now_utc_s()
        claims = {
            "iss": _ISSUER,
            "aud": _AUDIENCE,
            "sub": new_token(6),
            "iat": int(now),
            "exp": int(now + self._session_s),
        }
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def session(self, cookies: str | None) -> Session | None:
        """
        Find the session in a Cookie header.

        Args:
            cookies: Value of the header, None when it is missing.

        Returns:
            The session, or None when there is none, it was altered, is of another gateway or has ended.
        """
        try:
            morsel = SimpleCookie(cookies or "").get(self.cookie)
        except CookieError:
            return None
        if morsel is None:
            return None
        try:
            claims = jwt.decode(
                morsel.value,
                self._secret,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                issuer=_ISSUER,
                # The end is compared below, with the clock that was given.
                options={
                    "require": _CLAIMS,
                    "verify_exp": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError:
            return None
        expires = claims["exp"]
        if not isinstance(expires, int | float) or self._now_utc_s() >= expires:
            return None
        return Session(str(claims["sub"]), float(expires))


def named_hosts(host: str, allowed: Iterable[str]) -> tuple[str, ...]:
    """
    List the names under which a page on this address may be opened.

    Args:
        host: Address to listen on.
        allowed: Further names, needed when the address is not the loopback.

    Returns:
        The names, lower case, without port.

    Raises:
        ConfigError: If the address is open to the network and no name was given.
    """
    names = tuple(name.lower() for name in allowed)
    if host in ("127.0.0.1", "localhost", "::1"):
        return ("127.0.0.1", "localhost", "::1", *names)
    if not names:
        raise ConfigError(
            f"the page would be open to the network on {host!r}; name the hosts under which people open it, "
            'for example allowed_hosts=["lab-pc.example.org"], or stay on 127.0.0.1'
        )
    return names if host in _ANY_ADDRESS else (host.lower(), *names)


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
