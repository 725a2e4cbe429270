"""Encrypted links: verified by default, and an error that says what is wrong with the certificate."""

from __future__ import annotations

import logging
import os
import ssl

from ..errors import ConfigError, NotConnected, shown
from .address import Address, TlsFiles
from .protocol import ConnectionLost

__all__ = ["handshake_failed", "tls_context"]

_log = logging.getLogger("labspine.wire")

_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAME = (62, 64)
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_made: dict[tuple[TlsFiles, tuple[float, ...]], ssl.SSLContext] = {}


def tls_context(address: Address, given: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """
    Find the settings for a link.

    Certificates and host names are checked, and the oldest protocol is TLS 1.2.

    Args:
        address: Where; its ``tls_files`` name the certificates.
        given: The caller's own settings, which win.

    Returns:
        The settings; None for a link that is not encrypted.

    Raises:
        ConfigError: If a file cannot be used, or settings are given for a link that is not encrypted.
    """
    if not address.tls:
        if given is not None:
            raise ConfigError(f"tls= is given, but {address} is not encrypted: use rediss://")
        return None
    if given is not None:
        return given
    files = address.tls_files
    if not files.is_verified:
        _log.warning("ssl_cert_reqs=none: the certificate of %s is NOT checked", address)
    names = (files.ca_file, files.certificate_file, files.key_file)
    key = (files, tuple(_changed_utc_s(name) for name in names if name))
    if key not in _made:
        _made.clear()  # a certificate was renewed, or there is another server: both are rare
        _made[key] = _new_context(files)
    return _made[key]


def _changed_utc_s(name: str) -> float:
    try:
        return os.stat(name).st_mtime
    except OSError as error:
        raise ConfigError(f'the TLS file "{shown(name)}" cannot be read: {error.strerror}') from error


def _new_context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f'"{shown(files.ca_file)}" holds no CA certificates: {error}') from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate_file:
        try:
            context.load_cert_chain(files.certificate_file, files.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f'the certificate "{shown(files.certificate_file)}" and its key do not work: {error}'
            ) from error
    if not files.is_verified:
        _log.warning(
            "ssl_cert_reqs=none: the server's certificate is NOT checked; anybody may read and change"
        )
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def handshake_failed(error: OSError, address: Address) -> NotConnected | ConnectionLost:
    """
    Say why a link could not be encrypted.

    Args:
        error: What the system said.
        address: For the text.

    Returns:
        `NotConnected` when trying again cannot help, else `ConnectionLost`.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotConnected(f"{address}: {_why(error, address)}; nothing was sent")
    if isinstance(error, ssl.SSLError):
        words = f"{error.reason or error}"
        if words in (
            "WRONG_VERSION_NUMBER",
            "HTTP_REQUEST",
            "PACKET_LENGTH_TOO_LONG",
            "RECORD_LAYER_FAILURE",
        ):
            return NotConnected(
                f"{address}: the server there does not speak TLS; is it the plain port? Then use redis://"
            )
        if "ALERT" in words or "PROTOCOL_VERSION" in words:
            return NotConnected(
                f"{address}: the server refuses the encrypted link ({words}); "
                "does it want a certificate of ours (?ssl_certfile=...&ssl_keyfile=...)?"
            )
    if isinstance(error, TimeoutError):
        return ConnectionLost("no TLS handshake in time; is it a plain port (redis://)?", sent=False)
    return ConnectionLost(error, sent=False)


def _why(error: ssl.SSLCertVerificationError, address: Address) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "the certificate of the server has expired: renew it"
    if code == _NOT_YET:
        return "the certificate of the server is not valid yet: is a clock wrong?"
    if code in _WRONG_NAME:
        return (
            f'the certificate of the server is for another name than "{address.host}": '
            "use the name that is in it, or make a new one"
        )
    if code in _UNKNOWN_ISSUER:
        return (
            "the certificate of the server comes from an authority that is not trusted here: "
            "name your own with ?ssl_ca_certs=/path/ca.pem"
        )
    return f"the certificate of the server is not accepted ({error.verify_message})"
