"""TLS to hosts: whose certificates are accepted, under which name, and our own certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from hashring.errors import ConfigError
from hashring.validators import FLAG, PATH, TEXT, check_options, option, optional

_FILE = optional(PATH, "")


@dataclass(frozen=True)
class HostTls:
    """TLS to the hosts whose addresses begin with ``https://``.

    >>> HostTls(verify=False).context().verify_mode.name
    'CERT_NONE'
    """

    ca: str | None = option(
        None,
        check=_FILE,
        help="File with the certificates (PEM) of the authorities that sign those of the hosts. "
        "Empty means the authorities of the system.",
    )
    verify: bool = option(
        True,
        check=FLAG,
        help="Whether a host must prove its name by a certificate. With false any certificate is "
        "accepted, also that of an attacker between the gateway and the host.",
    )
    server_name: str | None = option(
        None,
        check=optional(TEXT, ""),
        help="Name that is sent to the hosts (SNI) and that their certificates must have. Empty "
        "means the name in the address of each host.",
    )
    certificate: str | None = option(
        None,
        check=_FILE,
        help="File with the certificate (PEM) by which the gateway proves itself to hosts, and "
        "those of its issuers. Empty means none.",
    )
    key: str | None = option(
        None,
        check=_FILE,
        help="File with the private key (PEM, without a password) of that certificate. Empty means "
        "that it is in the file of the certificate.",
    )

    def __post_init__(self) -> None:
        check_options(self)

    def context(self) -> ssl.SSLContext:
        """A context of these options, with the contents that the files have now.

        Cost: about 10 ms with the authorities of the system. Raises ``ConfigError``, which names
        the option, for a file that cannot be read or has no certificate.
        """
        if self.key is not None and self.certificate is None:
            raise ConfigError("key needs a certificate too: give both or neither", option="key")
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"ca must be a PEM file of certificates, and {self.ca} is not one that can be read "
                f"({_reason(error)})",
                option="ca",
            ) from None
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        if self.certificate is not None:
            _load_pair(context, self.certificate, self.key)
        return context


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """TLS towards clients, by HTTP/1.1 and from TLS 1.2 on.

    >>> ListenerTls().is_on
    False
    """

    certificate: str | None = option(
        None,
        check=_FILE,
        help="File with the certificate (PEM) of the gateway, and those of its issuers; it is read "
        "again at a reload. Empty means plain HTTP.",
    )
    key: str | None = option(
        None,
        check=_FILE,
        help="File with the private key (PEM, without a password) of that certificate. Empty means "
        "that it is in the file of the certificate.",
    )

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def is_on(self) -> bool:
        """Whether clients connect by TLS."""
        return self.certificate is not None

    def context(self) -> ssl.SSLContext:
        """A context with the contents that the files have now.

        Raises ``ConfigError``, which names the option, for a file that cannot be used.
        """
        if self.certificate is None:
            raise ConfigError("TLS needs a certificate: give both or neither", option="key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load_pair(context, self.certificate, self.key)
        return context

    def refresh(self, context: ssl.SSLContext) -> None:
        """Give new connections the certificate that the files have now. Raises as ``context``."""
        self.context()  # a pair that does not fit would leave ``context`` without one
        assert self.certificate is not None
        _load_pair(context, self.certificate, self.key)


def _load_pair(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        # without a password OpenSSL would ask for one on the terminal
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"certificate must be a PEM file with a key that has no password, and "
            f"{certificate} cannot be used ({_reason(error)})",
            option="certificate",
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
