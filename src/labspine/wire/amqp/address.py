"""Where RabbitMQ is: an ``amqp://`` or ``amqps://`` URL, parsed and checked before anything is connected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from ...errors import ConfigError, did_you_mean, shown
from ..address import TlsFiles

__all__ = ["AmqpAddress", "is_amqp", "parse_amqp"]

_SCHEMES = {"amqp": 5672, "amqps": 5671}
_ALLOWED = '"amqp://user:password@host:5672/vhost", "amqps://..." or several hosts "amqp://host1,host2/vhost"'
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^:/\[\]@\s,]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class AmqpAddress:
    """
    Where and as whom to connect.

    Args:
        places: Host and port of each node of the cluster.
        vhost: The virtual host: a world of its own on the broker.
        username: Who.
        password: The secret; never shown.
        tls: Whether the link is encrypted.
        tls_files: Certificates of an encrypted link.
    """

    places: tuple[tuple[str, int], ...]
    vhost: str = "/"
    username: str = "guest"
    password: str = field(default="guest", repr=False)
    tls: bool = False
    tls_files: TlsFiles = field(default_factory=TlsFiles)

    @property
    def host(self) -> str:
        """The host of the first node."""
        return self.places[0][0]

    @property
    def port(self) -> int:
        """The port of the first node."""
        return self.places[0][1]

    def __str__(self) -> str:
        places = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.places
        )
        return f"{'amqps' if self.tls else 'amqp'}://{places}/{'' if self.vhost == '/' else self.vhost}"


def is_amqp(url: object) -> bool:
    """Tell whether an address means a broker that speaks AMQP."""
    return isinstance(url, AmqpAddress) or (
        isinstance(url, str) and url.strip().partition(":")[0].lower() in _SCHEMES
    )


def parse_amqp(url: object) -> AmqpAddress:
    """
    Read the address of RabbitMQ.

    Args:
        url: ``amqp://user:password@host:port/vhost`` or ``amqps://``; several hosts stand behind each other
            with commas. No path or ``/`` alone means the virtual host ``/``.

    Returns:
        The address.

    Raises:
        ConfigError: If it cannot be understood; passwords in it are not shown.
    """
    if isinstance(url, AmqpAddress):
        return url
    if not isinstance(url, str) or not is_amqp(url):
        raise ConfigError(f'the address "{_masked(str(url))}" is none of RabbitMQ: expected {_ALLOWED}')
    parts = urlsplit(url.strip())
    is_tls = parts.scheme == "amqps"
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    path = parts.path[1:]
    if "/" in path:
        raise ConfigError(f'the virtual host in "{_masked(url)}" holds a slash: write it as %2F')
    options = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    known = _TLS_OPTIONS if is_tls else ()
    for name in options:
        if name not in known:
            there = ", ".join(known) or "none; TLS has some: amqps://"
            raise ConfigError(
                f'"{_masked(url)}" has the option "{shown(name)}", which is not known'
                f"{did_you_mean(name, known)}; there are: {there}"
            )
    return AmqpAddress(
        places=tuple(_place(one, url, _SCHEMES[parts.scheme.lower()]) for one in hosts.split(",")),
        vhost=unquote(path) or "/",
        username=unquote(username) or "guest",
        password=unquote(password) if login else "guest",
        tls=is_tls,
        tls_files=TlsFiles(
            ca_file=options.get("ssl_ca_certs", ""),
            certificate_file=options.get("ssl_certfile", ""),
            key_file=options.get("ssl_keyfile", ""),
            is_verified=options.get("ssl_cert_reqs", "required") != "none",
        ),
    )


def _place(text: str, whole: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match["port"] or default) < 65536:
        raise ConfigError(
            f'the host "{shown(text)}" in "{_masked(whole)}" is not host:port: expected {_ALLOWED}'
        )
    return match["v6"] or match["host"], int(match["port"] or default)


def _masked(text: str) -> str:
    return shown(re.sub(r"//[^/]*@", "//***@", text))
