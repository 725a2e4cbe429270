"""The options of a connector, checked once."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace

from ..endpoints import Profile
from ..errors import ConfigError, InvalidArgument, shown
from ..flows import checks
from ..wire import Address, WireOptions, parse_address

__all__ = ["ConnectorOptions", "checked_options"]

_DEFAULT_NAME = "labspine"


@dataclass(frozen=True)
class ConnectorOptions:
    """
    How a connector behaves.

    Args:
        name: Shown by CLIENT LIST on the server.
        profile: The naming scheme of the channels: ``seed``, or ``bec4`` for a broker that BEC uses.
        username: Name for AUTH; None for the default user, or what the URL says.
        password: Secret for AUTH; None for none, or what the URL says.
        timeout_s: Longest wait in seconds for the answer to one write.
        connect_timeout_s: Longest wait in seconds for one attempt to connect.
        patience_s: How long a call waits for a broker that was there before to come back.
        history: Record durable events, and read them again after an interruption.
        history_cap: About how many events each family keeps.
        queue_size: Most messages that wait for one callback.
        queue_bytes: Most bytes that wait for one callback.
        switch_interval_s: Set the interpreter's switch interval (0.00005 keeps callbacks quick while the main
            thread computes); None leaves it.
        tls: Settings for ``rediss://``; None means the system's own.
    """

    name: str = _DEFAULT_NAME
    profile: Profile = "seed"
    username: str | None = None
    password: str | None = None
    timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    patience_s: float = 2.0
    history: bool = True
    history_cap: int = 20_000
    queue_size: int = 10_000
    queue_bytes: int = 8 * 1024 * 1024
    switch_interval_s: float | None = None
    tls: ssl.SSLContext | None = None
    in_cluster: bool = field(default=False, init=False)
    """Whether the address is that of a Redis Cluster; `checked_options` finds out."""

    def __repr__(self) -> str:
        return f"ConnectorOptions(name={self.name!r}, profile={self.profile!r})"

    def wire(self) -> WireOptions:
        """Return the part that the wire needs."""
        return WireOptions(self.name, self.timeout_s, self.connect_timeout_s, self.patience_s)


def checked_options(bootstrap: object, options: ConnectorOptions) -> Address:
    """
    Check the options of a connector and put its login into the address.

    Args:
        bootstrap: Where the broker is.
        options: What the caller wants.

    Returns:
        The address.

    Raises:
        ConfigError: If the address or profile cannot work.
        InvalidArgument: If a limit is out of range.
    """
    address = parse_address(bootstrap)
    object.__setattr__(options, "in_cluster", address.is_cluster)
    if options.profile not in ("seed", "bec4"):
        raise ConfigError(f'profile={shown(options.profile)}: use "seed" or "bec4"')
    for name in ("timeout_s", "connect_timeout_s"):
        if checks.seconds(name, getattr(options, name)) == 0:
            raise InvalidArgument(f"{name}=0: must be above 0")
    checks.seconds("patience_s", options.patience_s)
    for name in ("history_cap", "queue_size", "queue_bytes"):
        checks.count_above_zero(name, getattr(options, name))
    if options.username is not None:
        address = replace(address, username=options.username)
    if options.password is not None:
        address = replace(address, password=options.password)
    return address
