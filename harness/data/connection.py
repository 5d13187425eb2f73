"""Asking servers over HTTP: none is waited for without end, and errors say what to do.

Proxies are those of the environment (``https_proxy``, ``http_proxy``, ``no_proxy``). Certificates
are the system's, or those in ``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``.
What a server says is never printed as it is: see ``harness.errors.one_line``.
"""

from __future__ import annotations

import io
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    Request,
    build_opener,
    getproxies,
    proxy_bypass,
)

from harness.errors import HarnessError, one_line

TIMEOUT = 60.0
"""Seconds of silence after which a connection counts as lost, and over which speed is measured."""
SLOWEST = 1000
"""Bytes a second below which a connection is of no use: the datasets here would take years."""
READ_AHEAD = 4 << 20
"""Bytes that may come without a byte of the file: headers, of which there may be no end."""
LONGEST = 200
"""Characters of what a server says that are shown."""
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables of the environment that name certificates to trust."""


NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST")
"""What OpenSSL says of an answer that is not encrypted."""
FOR_PROXY = "check the proxy, and its user and password (https_proxy=http://USER:PASSWORD@...)"


class LostError(Exception):
    """Why a server did not deliver, in a printable line.

    ``again`` is whether a new try may end better, ``advice`` what the user can do about it, and
    ``wait`` the seconds for which the server asks to be left alone.
    """

    def __init__(
        self, reason: object, *, again: bool = True, advice: str = "", wait: float | None = None
    ) -> None:
        super().__init__(one_line(str(reason), LONGEST))
        self.again = again
        self.advice = advice
        self.wait = wait


def ask(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET", timeout: float = 0
) -> Any:
    """The response of a server, to read from. Raises LostError, or HTTPError for a code of 400 on.

    ``timeout`` is in seconds, 0 for TIMEOUT; it limits each wait for the server. Reading from it
    raises OSError or HTTPException, also where bytes come too slowly, or no end of headers.
    """
    opener = build_opener(_Http, _Https, _Redirects)
    try:
        asked = Request(url, headers=dict(headers or {}), method=method)
        return opener.open(asked, timeout=timeout or TIMEOUT)
    except (HTTPError, LostError):
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise explained(error, url) from error


def explained(error: Exception, url: str) -> LostError:
    """Why a connection failed, and what to do about it."""
    if isinstance(error, HTTPError):
        return _refused(error)
    reason: object = error.reason if isinstance(error, URLError) else error
    through = _proxy(url)
    if isinstance(reason, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({reason.verify_message}){through}"
        return LostError(why, again=False, advice=certificate_advice())
    said = f"{reason}{through}"
    if isinstance(reason, ssl.SSLError) and reason.reason in NO_TLS:
        advice = "it does not speak https there: check the address and the proxy"
        return LostError(said, again=False, advice=advice)
    if "Tunnel connection failed: 4" in said:
        return LostError(said, again=False, advice=FOR_PROXY)
    if isinstance(reason, str):  # urllib's own: the address, or that of the proxy
        advice = "check the address"
        if through:
            advice += " and the proxy, whose address must begin with http://"
        return LostError(said, again=False, advice=advice)
    if isinstance(error, ValueError) or type(error).__name__ == "InvalidURL":
        return LostError(said, again=False, advice="check the address")
    return LostError(said)


def _refused(error: HTTPError) -> LostError:
    """What an answer with a code of 400 on means. Some codes mean that a new try may do."""
    code = error.code
    again = code in (408, 425, 429) or (code >= 500 and code not in (501, 505, 511))
    advice = {407: FOR_PROXY, 511: "log in to the network with a browser"}.get(code, "")
    wait = retry_after(error.headers) if code in (429, 503) else None
    error.close()
    return LostError(error, again=again, advice=advice, wait=wait)


def retry_after(headers: Any) -> float | None:
    """Seconds that a server asks to wait, said as a number or a date; None when it does not."""
    text = str(headers.get("Retry-After", "") if headers else "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:12])
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(text)
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    return None


def _proxy(url: str) -> str:
    """What to say of the proxy that a URL is asked through; "" without one. Never its password."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in getproxies() and not proxy_bypass(parts.netloc):
            name = f"{parts.scheme}_proxy"
            known = any(key.lower() == name for key in os.environ)
            return f" (through the proxy {f'in {name}' if known else 'of the system'})"
    return ""


def certificate_advice() -> str:
    """What to do when a certificate is not trusted."""
    given = [f"{name} is {os.environ[name]}" for name in BUNDLES if os.environ.get(name)]
    absent = [name for name in BUNDLES if (p := os.environ.get(name)) and not Path(p).exists()]
    now = f" (now {', '.join(given)})" if given else ""
    if absent:
        return f"{absent[0]} names what is not there: correct it{now}"
    return (
        "where a proxy inspects traffic, set SSL_CERT_FILE to a file with its certificate, which "
        f"those who run the network have{now}; where the certificate is out of date, check the "
        "clock of this machine"
    )


def _context() -> ssl.SSLContext:
    """The certificates to trust. Raises HarnessError naming a variable that names no such file.

    OpenSSL itself looks at the first two variables; programs written with requests, and curl, at
    the others.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not any(os.environ.get(name) for name in BUNDLES[:2]):
        name = next((name for name in BUNDLES[2:] if os.environ.get(name)), None)
        path = Path(os.environ[name]) if name else None
        try:
            if path is not None and path.is_dir():
                context.load_verify_locations(capath=path)
            elif path is not None:
                context.load_verify_locations(cafile=path)
        except OSError as error:  # ssl.SSLError is one
            raise HarnessError(
                f"{name}={path}: no file of certificates ({error.strerror or error}); correct or "
                "unset it"
            ) from error
    return context


class _Watched(io.RawIOBase):
    """What comes from a server, as long as it comes fast enough to be of use.

    A limit on each wait alone would let one byte a minute go on for ever.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self.raw = raw
        self.waited = 0.0
        self.came = 0
        self.ahead = 0
        """Bytes since the last one that was handed on."""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there; raises OSError or HTTPException where that is no use."""
        started = monotonic()
        number = self.raw.readinto(buffer) or 0
        self.waited += monotonic() - started
        self.came += number
        self.ahead += number
        if self.waited > TIMEOUT:
            if self.came < SLOWEST * self.waited:
                raise TimeoutError(f"slower than {SLOWEST:,} bytes a second")
            self.waited, self.came = 0.0, 0
        if self.ahead > READ_AHEAD:
            raise HTTPException("sends headers without end")
        return number

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.watched = _Watched(self.fp.detach())
        self.fp = io.BufferedReader(self.watched)

    def read1(self, n: int = -1) -> bytes:
        """Whatever has come, n bytes at most."""
        self.watched.ahead = 0
        return super().read1(n)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> Any:
        return self.do_open(_Connection, req)


class _Https(HTTPSHandler):
    def https_open(self, req: Request) -> Any:
        return self.do_open(_SecureConnection, req, context=_context())


class _Redirects(HTTPRedirectHandler):
    """Follows redirections to http and https alone, and never from https to http."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        """The request to make instead. Raises LostError."""
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            fp.close()
            raise LostError(f"the server sends on from {old} to {newurl}", again=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
