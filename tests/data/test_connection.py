"""Servers, proxies and certificates that make trouble, each a real one on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.data import connection, download
from harness.data.download import fetch
from harness.errors import HarnessError
from harness.types.datasets import RemoteFile

DATA = bytes(range(256)) * 100
MD5 = hashlib.md5(DATA).hexdigest()
TLS = Path(__file__).parents[1] / "fixtures" / "tls" / "localhost.pem"
"""A key and its own certificate, for localhost."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DATA), DATA)

Answer = Callable[[socket.socket, str], None]


class Server:
    """Answers each connection with the next of some answers, and the last of them for ever."""

    def __init__(self, *answers: bytes | Answer, tls: bool = False) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        """First line of each request."""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.context: ssl.SSLContext | None = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(TLS)
        self.port = self.socket.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/files/patches.zip"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self.answer, args=[client], daemon=True).start()

    def answer(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(client):
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := client.recv(65536)):
                    return
                head += more
            self.asked.append(head.decode().splitlines()[0])
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, bytes):
                client.sendall(answer)
            else:
                answer(client, head.decode())


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Makes servers; a connection is given up after the fifth part of a second."""
    for name in (*connection.BUNDLES, "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr(connection, "TIMEOUT", 0.2)
    monkeypatch.setattr(download, "WAITS", (0, 0, 0))
    made: list[Server] = []

    def make(*answers: bytes | Answer, tls: bool = False) -> Server:
        made.append(Server(*answers, tls=tls))
        return made[-1]

    yield make
    for server in made:
        server.socket.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, which takes none here."""
    seconds: list[float] = []
    monkeypatch.setattr(download, "sleep", seconds.append)
    return seconds


def answer(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def drip(*pieces: bytes, every: bytes = b"x", seconds: float = 0.01) -> Answer:
    """Sends pieces, then one byte after the other without end."""

    def send(client: socket.socket, _: str) -> None:
        for piece in pieces:
            client.sendall(piece)
        while True:
            client.sendall(every)
            time.sleep(seconds)

    return send


def got(server: Server, folder: Path, *, size: int = len(DATA), **more: object) -> Path:
    return fetch(RemoteFile(name="patches.zip", url=server.url, md5=MD5, size=size), folder, **more)


def refusal(server: Server, folder: Path, *, size: int = len(DATA), **more: object) -> str:
    """The message with which a download ends; all that is said must be printable."""
    said: list[str] = []
    with pytest.raises(HarnessError) as caught:
        got(server, folder, size=size, say=said.append, **more)
    message = str(caught.value)
    assert all(line.isprintable() and len(line) < 1500 for line in (message, *said)), said
    return message


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answers",
    [
        drip(HEAD + b"Content-Length: 25600\r\n\r\n"),
        drip(HEAD + b"Content-Length: 25600\r\n\r\n" + DATA[:100]),
        drip(b"HTTP/1.1 200 "),
        drip(HEAD + b"X-Slow: "),
        drip(CHUNKED + b"1;x="),
        drip(CHUNKED, every=b"1\r\nx\r\n"),
        drip(CHUNKED + b"0\r\n", every=b"X-Last: x\r\n", seconds=0.05),
    ],
    ids=["body", "body after some", "status", "header", "chunk size", "chunks", "trailer"],
)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(
    serve: Callable[..., Server], tmp_path: Path, answers: Answer
) -> None:
    server = serve(answers)
    message = refusal(server, tmp_path)
    assert "slower than 1,000 bytes a second" in message
    assert "run the same command again" in message
    assert 1 <= len(server.asked) <= 5


@pytest.mark.parametrize(
    "answers",
    [
        drip(every=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, seconds=0),
        drip(HEAD, every=b"X-More: 1\r\n" * 1000, seconds=0),
        drip(HEAD + b"X-Long: ", every=b"x" * 10000, seconds=0),
        drip(CHUNKED + b"0\r\n", every=b"X-More: 1\r\n" * 1000, seconds=0),
    ],
    ids=["continue", "headers", "header", "trailers"],
)
def test_headers_without_end_come_to_an_end(
    serve: Callable[..., Server], tmp_path: Path, answers: Answer
) -> None:
    assert refusal(serve(answers), tmp_path, size=0)


def test_a_slow_server_that_is_of_use_is_waited_for(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SLOWEST", 100)
    monkeypatch.setattr(connection, "TIMEOUT", 2.0)

    def slowly(client: socket.socket, _: str) -> None:
        client.sendall(OK[:-20_000])
        for start in range(len(OK) - 20_000, len(OK), 2000):
            time.sleep(0.05)
            client.sendall(OK[start : start + 2000])

    assert got(serve(slowly), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("headers", ["", "Transfer-Encoding: chunked\r\n"])
def test_a_stream_without_end_comes_to_an_end(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: str
) -> None:
    piece = b"x" * 50_000
    every = b"%x\r\n%s\r\n" % (len(piece), piece) if headers else piece
    server = serve(drip(b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n", every=every))
    monkeypatch.setattr(download, "UNANNOUNCED", 300_000)
    message = refusal(server, tmp_path, size=0)
    assert "without saying how much there is; use another --mirror" in message
    assert list(tmp_path.iterdir()) == []


def test_a_stream_without_end_leaves_room_on_the_disk(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(drip(b"HTTP/1.1 200 OK\r\n\r\n", every=b"x" * 50_000))
    free = download.MARGIN + 200_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    message = refusal(server, tmp_path, size=0)
    part = tmp_path / "patches.zip.part"
    assert message.startswith(f"{tmp_path}: the disk is full but for 67.1MB")
    assert f"delete {part}" in message
    assert part.stat().st_size < 200_000 + 2 * download.CHUNK


def test_a_size_of_many_digits_is_no_size(serve: Callable[..., Server], tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"
    assert refusal(serve(head + DATA[:10]), tmp_path)


def in_seconds(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize(("asked", "seconds"), [("7", 7), ("0", 0), ("date", 100)])
def test_a_server_that_asks_to_wait_is_obeyed_from_the_first_request_on(
    serve: Callable[..., Server],
    tmp_path: Path,
    slept: list[float],
    status: str,
    asked: str,
    seconds: int,
) -> None:
    text = in_seconds(seconds) if asked == "date" else asked
    server = serve(answer(status, f"Retry-After: {text}"), OK)
    said: list[str] = []
    assert got(server, tmp_path, say=said.append).read_bytes() == DATA
    (waited,) = slept
    assert seconds - 30 < waited <= seconds
    assert f"HTTP Error {status[:3]}" in said[0]
    assert said[0].endswith(" s, as the server asks")


@pytest.mark.parametrize("asked", ["3600", "date", "9" * 400])
def test_a_server_that_asks_to_wait_for_long_is_told_of(
    serve: Callable[..., Server], tmp_path: Path, slept: list[float], asked: str
) -> None:
    text = in_seconds(3600) if asked == "date" else asked
    server = serve(answer("429 Too Many Requests", f"Retry-After: {text}"))
    message = refusal(server, tmp_path)
    assert "run the same command again in " in message
    assert "as the server asks" in message
    assert slept == []
    assert len(server.asked) == 1


def test_a_server_that_asks_to_wait_for_ever_is_given_up(
    serve: Callable[..., Server], tmp_path: Path, slept: list[float]
) -> None:
    server = serve(answer("503 Busy", "Retry-After: 1"))
    assert "HTTP Error 503: Busy; run the same command again" in refusal(server, tmp_path)
    assert slept == [1, 1]
    assert len(server.asked) == 3


@pytest.mark.parametrize("asked", ["", "soon", "-5", "1.5", "Thu, 99 Foo 2020", "\u00b2"])
def test_what_is_no_time_to_wait_is_none(
    serve: Callable[..., Server], tmp_path: Path, slept: list[float], asked: str
) -> None:
    server = serve(answer("503 Busy", f"Retry-After: {asked}"))
    assert "HTTP Error 503: Busy; check the network, then run" in refusal(server, tmp_path)
    assert slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501, 511])
def test_what_is_permanent_is_not_to_be_tried_again(
    serve: Callable[..., Server], tmp_path: Path, status: int
) -> None:
    message = refusal(serve(answer(f"{status} So It Is")), tmp_path)
    assert f"HTTP Error {status}: So It Is; " in message
    assert "again" not in message
    assert message.endswith(
        "use another --mirror, or get patches.zip with a browser and put it at "
        f"{tmp_path / 'patches.zip'} (md5 {MD5})"
    )


@pytest.mark.parametrize(
    "answers",
    [
        answer("404 \x1b[31mred\x1b[0m\x07\x9b2J\x08"),
        answer("503 " + "x" * 60_000),
        answer("404 right\u202eleft".encode().decode("latin-1")),
        answer("302 Found", "Location: ftp://\x1b[31m/x"),
        answer("302 Found", "Location: /\x1b]0;title\x07" + "x" * 50_000),
        answer("\x1b[31m"),
        b"\x1b[2J\x1b[31mno http at all\r\n\r\n",
        answer("206 Partial Content", "Content-Range: bytes \x1b[31m-/5"),
    ],
)
def test_what_a_server_says_is_never_obeyed_by_the_terminal(
    serve: Callable[..., Server], tmp_path: Path, answers: bytes
) -> None:
    message = refusal(serve(answers), tmp_path)  # checks that all is printable
    assert "[31m" not in message


@pytest.mark.parametrize(
    "place",
    ["ftp://127.0.0.1/patches.zip", "file:///etc/passwd", "data:,x", "gopher://x/", "mailto:x"],
)
def test_a_redirection_to_another_protocol_is_refused(
    serve: Callable[..., Server], tmp_path: Path, place: str
) -> None:
    message = refusal(serve(answer("302 Found", f"Location: {place}")), tmp_path)
    assert place.partition(":")[0] in message
    assert "again" not in message
    assert not (tmp_path / "patches.zip.part").exists()


def test_a_redirection_to_itself_is_refused(serve: Callable[..., Server], tmp_path: Path) -> None:
    message = refusal(serve(answer("302 Found", "Location: /files/patches.zip")), tmp_path)
    assert "infinite loop" in message
    assert "again" not in message


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8"])
@pytest.mark.parametrize("size", [len(DATA), 0])
def test_a_page_to_log_in_is_no_file(
    serve: Callable[..., Server], tmp_path: Path, kind: str, size: int
) -> None:
    page = answer("200 OK", f"Content-Type: {kind}", body=b"<html>Please log in</html>")
    message = refusal(serve(page), tmp_path, size=size)
    assert "a web page came where the file is expected" in message
    assert not (tmp_path / "patches.zip.part").exists()


def test_an_answer_without_content_is_no_file(serve: Callable[..., Server], tmp_path: Path) -> None:
    assert "the server answered 204; use" in refusal(serve(answer("204 No Content")), tmp_path)


def test_a_certificate_that_is_not_trusted_is_explained(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    message = refusal(serve(OK, tls=True), tmp_path)
    assert "its certificate is not trusted (self" in message
    assert "set SSL_CERT_FILE to a file with its certificate" in message
    assert "--mirror" in message
    assert str(tmp_path / "patches.zip") in message
    assert "again" not in message


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_that_the_environment_names_are_trusted(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(TLS))
    assert got(serve(OK, tls=True), tmp_path).read_bytes() == DATA


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_variable_that_names_no_certificates_is_named(
    serve: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str | None,
) -> None:
    path = tmp_path / "proxy.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    message = refusal(serve(OK, tls=True), tmp_path)
    assert name in message
    assert str(path) in message
    assert "again" not in message


def test_a_redirection_from_https_to_http_is_refused(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS))
    plain = serve(OK)
    server = serve(answer("302 Found", f"Location: {plain.url}"), tls=True)
    assert f"the server sends on from https to {plain.url}" in refusal(server, tmp_path)
    assert plain.asked == []


def test_https_of_a_server_without_it_is_explained(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(OK)
    server.answer = lambda client: client.sendall(OK)  # type: ignore[method-assign]
    server.url = server.url.replace("http:", "https:")
    message = refusal(server, tmp_path)
    assert "it does not speak https there" in message
    assert "again" not in message


def test_a_proxy_of_the_environment_is_used(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(OK)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    server = SimpleNamespace(url="http://far.invalid/files/patches.zip")
    assert got(server, tmp_path).read_bytes() == DATA
    assert proxy.asked == ["GET http://far.invalid/files/patches.zip HTTP/1.1"]


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "403 Forbidden"])
def test_a_proxy_that_refuses_is_named_without_its_password(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    proxy = serve(answer(status))
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
    message = refusal(SimpleNamespace(url="https://far.invalid/patches.zip"), tmp_path)
    assert f"Tunnel connection failed: {status} (through the proxy in https_proxy)" in message
    assert "check the proxy, and its user and password" in message
    assert "secret" not in message
    assert "again" not in message


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks5h://127.0.0.1:9", "foo:bar"])
def test_a_proxy_that_cannot_be_used_is_named(
    serve: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    message = refusal(SimpleNamespace(url="http://far.invalid/patches.zip"), tmp_path)
    assert "(through the proxy in http_proxy)" in message


def test_the_command_says_what_to_do(toy, serve: Callable[..., Server]) -> None:
    server = serve(answer("404 \x1b[31mGone\r"))
    mirror = f"http://127.0.0.1:{server.port}/files"
    output = toy("data", "get", "toy-absent", "--mirror", mirror, code=2, no_proxy="*")
    (line,) = [line for line in output.splitlines() if line.startswith("harness: error:")]
    assert f"harness: error: {mirror}/absent.zip: HTTP Error 404: Gone; use another" in line
    assert "put it at data/absent.zip (md5 " in line
