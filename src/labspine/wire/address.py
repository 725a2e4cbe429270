"""Where a broker is: host and port, or URL, parsed and checked before anything is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ..errors import ConfigError, shown

__all__ = ["Address", "parse_address"]

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:/\[\]@\s]+)):(?P<port>[^:]*)")
_ALLOWED = '"host:port", "[::1]:6379", "redis://host:port/0", "rediss://..." or "unix:///path/to/socket"'
_LATER = {
    "redis+sentinel": "Sentinel",
    "rediss+sentinel": "Sentinel",
    "redis+cluster": "Redis Cluster",
    "rediss+cluster": "Redis Cluster",
}


@dataclass(frozen=True)
class Address:
    """
    Where and as whom to connect.

    Args:
        host: Host name or IP address; empty for a unix socket.
        port: TCP port, 1 to 65535; 0 for a unix socket.
        path: Path of the unix socket; empty for TCP.
        tls: Whether the link is encrypted.
        username: Name for AUTH; None for the default user.
        password: Secret for AUTH; never shown.
        database: Number of the database, 0 or more.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"


def parse_address(bootstrap: object) -> Address:
    """
    Read the address of a broker.

    Args:
        bootstrap: ``"host:port"``, ``"[::1]:port"``, ``redis://``, ``rediss://`` or ``unix://`` URL; a list
            with one such text is taken too.

    Returns:
        The address.

    Raises:
        ConfigError: If it cannot be understood; passwords in it are not shown.
    """
    if isinstance(bootstrap, (list, tuple)) and len(bootstrap) == 1:
        bootstrap = bootstrap[0]
    if isinstance(bootstrap, Address):
        return bootstrap
    if not isinstance(bootstrap, str):
        raise ConfigError(
            f"the address of the broker is {type(bootstrap).__name__}, expected text: {_ALLOWED}"
        )
    text = bootstrap.strip()
    scheme = text.partition(":")[0].lower()
    if scheme in _LATER:
        raise ConfigError(
            f"{_LATER[scheme]} addresses ({scheme}://) come with a later version; "
            "give the address of one server for now: redis://host:port"
        )
    if scheme == "unix" and "/" in text:
        return _parse_unix(text)
    if "://" in text:
        return _parse_url(text)
    return _parse_host_port(text)


def _parse_host_port(text: str) -> Address:
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ConfigError(f'the address "{_masked(text)}" cannot be understood: expected {_ALLOWED}')
    return Address(host=match["v6"] or match["host"], port=_port(match["port"], text))


def _parse_url(text: str) -> Address:
    parts = urlsplit(text)
    if parts.scheme not in ("redis", "rediss"):
        raise ConfigError(f'the scheme "{shown(parts.scheme)}://" is not known: expected {_ALLOWED}')
    try:
        host = parts.hostname
    except ValueError as error:
        raise ConfigError(f'the address "{_masked(text)}" cannot be understood: {error}') from error
    if not host:
        raise ConfigError(f'the address "{_masked(text)}" names no host: expected {_ALLOWED}')
    port_text = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    return Address(
        host=host,
        port=_port(port_text, text) if port_text else 6379,
        tls=parts.scheme == "rediss",
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=_database(parts.path.strip("/") or _query(parts, "db"), text),
    )


def _parse_unix(text: str) -> Address:
    parts = urlsplit(text)
    netloc = parts.netloc.rpartition("@")[2]
    path = unquote(netloc + parts.path)
    if not path.startswith("/"):
        raise ConfigError(f'the address "{_masked(text)}" needs an absolute path: unix:///path/to/socket')
    if len(path.encode()) > 107:
        raise ConfigError(
            f'the socket path "{shown(path)}" is longer than the 107 bytes that a system allows'
        )
    return Address(
        path=path,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=_database(_query(parts, "db"), text),
    )


def _query(parts: SplitResult, name: str) -> str:
    return parse_qs(parts.query).get(name, [""])[0]


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ConfigError(
            f'the port in "{_masked(whole)}" must be a number from 1 to 65535: expected {_ALLOWED}'
        )
    return int(text)


def _database(text: str, whole: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ConfigError(f'the database in "{_masked(whole)}" must be a number, as in redis://host:6379/0')
    return int(text) if text else 0


def _masked(text: str) -> str:
    return shown(re.sub(r"//[^/]*@", "//***@", text))
