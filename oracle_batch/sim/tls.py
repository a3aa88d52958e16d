"""The server's end of TLS: a certificate with its key, read from PEM files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """Makes the server's side of connections; TLS 1.2 and up.

    Twisted's own CertificateOptions hands its certificate to pyOpenSSL in a form that is going away.

    Raises:
        OpenSSL.SSL.Error: a file cannot be read, or the key is not the certificate's.
    """

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.use_certificate_chain_file(str(certificate_file))
        self._context.use_privatekey_file(str(key_file))
        self._context.check_privatekey()

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:  # noqa: N802  Twisted's name
        """A connection's state before the handshake."""
        return SSL.Connection(self._context, None)
