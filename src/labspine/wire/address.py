"""Where a broker is: host and port, or URL, parsed and checked before anything is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from ..errors import ConfigError, did_you_mean, shown

__all__ = ["Address", "Cluster", "Sentinels", "TlsFiles", "parse_address"]

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:/\[\]@\s]+)):(?P<port>[^:]*)")
_ALLOWED = (
    '"host:port", "[::1]:6379", "redis://host:port/0", "rediss://...", "unix:///path/to/socket" '
    '"redis+sentinel://host1:26379,host2:26379/master_name" or "redis+cluster://host1:6379,host2:6379"'
)
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_CLUSTER = ("redis+cluster", "rediss+cluster")
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_SENTINEL_OPTIONS = ("replicas", "sentinel_username", "sentinel_password")
_SENTINEL_PORT = 26379
_PORT = 6379
_MOST_REPLICAS = 100


@dataclass(frozen=True)
class TlsFiles:
    """
    The files of an encrypted link.

    Args:
        ca_file: Certificates of the authorities that are trusted instead of the system's; empty for the
            system's own.
        certificate_file: Our own certificate, where the server wants one; empty for none.
        key_file: The key of our certificate; empty when it is in the same file.
        is_verified: Whether the server's certificate and name are checked. Never switch this off outside of a
            test: anybody on the way could read and change everything.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    is_verified: bool = True


@dataclass(frozen=True)
class Sentinels:
    """
    Who knows which server is the master.

    Args:
        places: Host and port of each sentinel.
        master_name: How the sentinels call the group of servers.
        replicas: How many replicas must have a change before it counts as done; 0 does not wait.
        username: Name for AUTH at the sentinels; None for the default user.
        password: Secret for AUTH at the sentinels; None for none; never shown.
    """

    places: tuple[tuple[str, int], ...]
    master_name: str
    replicas: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Cluster:
    """
    Where to ask which node of a Redis Cluster has what.

    Args:
        places: Host and port of some nodes; the first that answers tells the others.
        replicas: How many replicas must have a change before it counts as done; 0 does not wait.
    """

    places: tuple[tuple[str, int], ...]
    replicas: int = 0


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
        tls_files: Certificates of an encrypted link.
        sentinels: Who tells host and port; None when they are fixed.
        cluster: The cluster that this is (without a host), or whose node this is (with one).
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls_files: TlsFiles = TlsFiles()
    sentinels: Sentinels | None = None
    cluster: Cluster | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether this is a whole cluster, and not one server."""
        return self.cluster is not None and not self.host

    @property
    def replicas(self) -> int:
        """How many replicas must have a change before it counts as done."""
        known = self.sentinels or self.cluster
        return known.replicas if known is not None else 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        scheme = "rediss" if self.tls else "redis"
        if self.cluster is not None and not self.host:
            return f"{scheme}+cluster://{','.join(_place(host, port) for host, port in self.cluster.places)}"
        if self.sentinels is not None:
            places = ",".join(_place(host, port) for host, port in self.sentinels.places)
            return f"{scheme}+sentinel://{places}/{self.sentinels.master_name}"
        return f"{scheme}://{_place(self.host, self.port)}"


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(bootstrap: object) -> Address:
    """
    Read the address of a broker.

    Args:
        bootstrap: ``"host:port"``, ``"[::1]:port"``, ``redis://``, ``rediss://``, ``unix://``,
            ``redis+sentinel://`` or ``redis+cluster://`` URL; a list with one such text is taken too.

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
    if scheme in _CLUSTER:
        return _parse_cluster(text)
    if scheme in _SENTINEL:
        return _parse_sentinels(text)
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
    is_tls = parts.scheme == "rediss"
    options = _options(parts, ("db", *(_TLS_OPTIONS if is_tls else ())), text)
    return Address(
        host=host,
        port=_port(port_text, text) if port_text else _PORT,
        tls=is_tls,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=_number("database", parts.path.strip("/") or options.get("db", ""), text),
        tls_files=_tls_files(options, text),
    )


def _parse_sentinels(text: str) -> Address:
    parts = urlsplit(text)
    login, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.strip("/").partition("/")
    if not hosts or not name:
        raise ConfigError(
            f'the address "{_masked(text)}" must name the sentinels and the master: expected '
            '"redis+sentinel://host1:26379,host2:26379/master_name"'
        )
    is_tls = parts.scheme == "rediss+sentinel"
    known = ("db", *_SENTINEL_OPTIONS, *(_TLS_OPTIONS if is_tls else ()))
    options = _options(parts, known, text)
    username, _, password = login.partition(":")
    return Address(
        tls=is_tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
        database=_number("database", database or options.get("db", ""), text),
        tls_files=_tls_files(options, text),
        sentinels=Sentinels(
            places=_places(hosts, text, what="sentinel", port=_SENTINEL_PORT),
            master_name=unquote(name),
            replicas=_replicas(options, text),
            username=options.get("sentinel_username"),
            password=options.get("sentinel_password"),
        ),
    )


def _parse_cluster(text: str) -> Address:
    parts = urlsplit(text)
    login, _, hosts = parts.netloc.rpartition("@")
    if not hosts:
        raise ConfigError(
            f'the address "{_masked(text)}" must name some nodes: expected '
            '"redis+cluster://host1:6379,host2:6379"'
        )
    if parts.path.strip("/") not in ("", "0"):
        raise ConfigError(
            f'"{_masked(text)}" names a database, and a Redis Cluster has only one: leave it out'
        )
    is_tls = parts.scheme == "rediss+cluster"
    options = _options(parts, ("replicas", *(_TLS_OPTIONS if is_tls else ())), text)
    username, _, password = login.partition(":")
    return Address(
        tls=is_tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls_files=_tls_files(options, text),
        cluster=Cluster(_places(hosts, text, what="node", port=_PORT), _replicas(options, text)),
    )


def _replicas(options: dict[str, str], whole: str) -> int:
    replicas = _number("replicas", options.get("replicas", ""), whole)
    if replicas > _MOST_REPLICAS:
        raise ConfigError(f'replicas={replicas} in "{_masked(whole)}": at most {_MOST_REPLICAS}')
    return replicas


def _places(hosts: str, whole: str, *, what: str, port: int) -> tuple[tuple[str, int], ...]:
    """Read several ``host:port``, separated by commas."""
    places = []
    for place in hosts.split(","):
        has_port = ":" in place.rpartition("]")[2]
        address = _HOST_PORT.fullmatch(place if has_port else f"{place}:{port}")
        if address is None:
            raise ConfigError(f'the {what} "{shown(place)}" in "{_masked(whole)}" is not host:port')
        places.append((address["v6"] or address["host"], _port(address["port"], whole)))
    return tuple(places)


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
        database=_number("database", _options(parts, ("db",), text).get("db", ""), text),
    )


def _options(parts: SplitResult, known: tuple[str, ...], whole: str) -> dict[str, str]:
    """Read what stands behind the ``?``; what is not known is refused: it would be missed silently."""
    found = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    for name in found:
        if name in _TLS_OPTIONS and name not in known:
            raise ConfigError(
                f'"{_masked(whole)}" has the TLS option {name}, but the link is not encrypted: '
                f"use {parts.scheme.replace('redis', 'rediss', 1) if 'redis' in parts.scheme else 'rediss'}://"
            )
        if name not in known:
            raise ConfigError(
                f'"{_masked(whole)}" has the option "{shown(name)}", which is not known'
                f"{did_you_mean(name, known)}; there are: {', '.join(known)}"
            )
    return found


def _tls_files(options: dict[str, str], whole: str) -> TlsFiles:
    wanted = options.get("ssl_cert_reqs", "required")
    if wanted not in ("required", "none"):
        raise ConfigError(f'ssl_cert_reqs in "{_masked(whole)}": use "required" (or "none" in a test)')
    return TlsFiles(
        ca_file=options.get("ssl_ca_certs", ""),
        certificate_file=options.get("ssl_certfile", ""),
        key_file=options.get("ssl_keyfile", ""),
        is_verified=wanted == "required",
    )


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ConfigError(
            f'the port in "{_masked(whole)}" must be a number from 1 to 65535: expected {_ALLOWED}'
        )
    return int(text)


def _number(what: str, text: str, whole: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ConfigError(f'the {what} in "{_masked(whole)}" must be a number, 0 or more')
    return int(text) if text else 0


def _masked(text: str) -> str:
    text = re.sub(r"//[^/]*@", "//***@", text)
    return shown(re.sub(r"(password=)[^&]*", r"\1***", text))
