"""TLS settings, made into a context once: loading the CA certificates takes some 20 ms."""

from __future__ import annotations

import os
import ssl
from typing import Any

from ..exceptions import LocalProtocolError

__all__ = ["make_context"]


def make_context(verify: bool | str | None, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """Return urllib3's context (its protocol versions and ciphers) with what requests calls ``verify`` and ``cert``.

    Args:
        verify: False checks nothing; a path is a bundle or a folder of CA certificates; else those of certifi.
        cert: Path of a client certificate with its key, or ``(certificate, key)``.

    Raises:
        LocalProtocolError: There is nothing at a path, or nothing that can be read.
    """
    import certifi
    import urllib3.util.ssl_

    context = urllib3.util.ssl_.create_urllib3_context()
    try:
        if verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.verify_mode = ssl.CERT_REQUIRED
            place = verify if isinstance(verify, str) else certifi.where()
            places: dict[str, Any] = {"capath" if os.path.isdir(place) else "cafile": place}
            context.load_verify_locations(**places)
    except (OSError, ssl.SSLError) as error:
        raise LocalProtocolError(f"no CA certificates could be read from {verify!r}: {error}") from error
    try:
        if cert is not None:
            context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    except (OSError, ssl.SSLError) as error:
        raise LocalProtocolError(f"the client certificate could not be read: {error}") from error
    return context
