"""Downloads from a real server on this machine that misbehaves on demand."""

from __future__ import annotations

import hashlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data import connection, download
from harness.data.download import check_space, fetch
from harness.errors import HarnessError
from harness.system import progress
from harness.types.datasets import RemoteFile

DATA = bytes(range(256)) * 3000
HEADERS_ONLY, NO_ANSWER = 0, -1


class Server(ThreadingHTTPServer):
    """Serves ``body`` under every path, and notes the ranges and paths asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.go_on = threading.Event()
        self.behave()

    def behave(self, **behavior: Any) -> None:
        """Begin anew, with other behavior than that of a good server."""
        self.body = DATA
        self.drops: list[int] = []
        """Bytes after which the next responses break off."""
        self.reset = False
        """Break off with a TCP reset, not an orderly close."""
        self.ranges = True
        self.says_length = True
        self.status = 0
        self.hang_after: int | None = None
        self.redirect = False
        self.shift = 0
        """Bytes by which a range begins too late."""
        self.seen: list[str | None] = []
        self.paths: list[str] = []
        self.go_on.clear()
        for name, value in behavior.items():
            setattr(self, name, value)

    def handle_error(self, *args: Any) -> None:
        """Clients that leave in the middle are what these tests are about."""

    def file(self, **changes: Any) -> RemoteFile:
        url = f"http://127.0.0.1:{self.server_port}/record/patches.zip?download=1"
        right: dict[str, Any] = {
            "url": url,
            "md5": hashlib.md5(DATA).hexdigest(),
            "size": len(DATA),
        }
        return RemoteFile(name="patches.zip", **(right | changes))


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.seen.append(self.headers["Range"])
        server.paths.append(self.path)
        if server.redirect and "moved" not in self.path:
            self.send_response(302)
            self.send_header("Location", "/moved" + self.path)
            return self.end_headers()
        drop = server.drops.pop(0) if server.drops else None
        if drop == NO_ANSWER:
            return self.hang_up()
        if server.status:
            return self.send_error(server.status)
        start = int(self.headers["Range"][6:-1]) if self.headers["Range"] and server.ranges else 0
        rest, whole = server.body[start + server.shift :], len(server.body)
        if start:
            self.send_response(206 if rest else 416)
            span = f"{start + server.shift}-{whole - 1}" if rest else "*"
            self.send_header("Content-Range", f"bytes {span}/{whole}")
        else:
            self.send_response(200)
        if server.says_length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if server.hang_after is not None:
            self.wfile.write(rest[: server.hang_after])
            server.go_on.wait(60)
        self.wfile.write(rest[:drop])
        if drop is not None:
            self.hang_up()

    def hang_up(self) -> None:
        if self.server.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("no_proxy", "*")
            patch.setattr(download, "WAITS", (0,) * 5)
            yield server
        server.shutdown()


@pytest.fixture
def server(shared_server: Server) -> Server:
    shared_server.behave()
    return shared_server


def ignore(message: str) -> None:
    pass


def part_of(folder: Path) -> Path:
    return folder / "patches.zip.part"


def refusal(file: RemoteFile, folder: Path, **options: Any) -> str:
    """The one-line message with which a download fails."""
    with pytest.raises(HarnessError) as caught:
        fetch(file, folder, say=ignore, **options)
    assert not (folder / file.name).exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_downloads_whole_file(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    path = fetch(server.file(), tmp_path / "new" / "folder", say=said.append)
    assert path == tmp_path / "new" / "folder" / "patches.zip"
    assert path.read_bytes() == DATA
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"patches.zip", ".patches.zip.md5.json"}  # the digest is remembered
    assert server.seen == [None]
    assert said[-1] == f"{path}: downloaded, md5 checked"


def test_says_lines_without_a_terminal(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0)
    said: list[str] = []
    fetch(server.file(), tmp_path, say=said.append)
    assert any(line.startswith("patches.zip: 100% of 768kB") for line in said)
    assert any(line.startswith("patches.zip (md5): 100% of 768kB") for line in said)


def test_draws_a_bar_on_a_terminal(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    console: None,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said: list[str] = []
    fetch(server.file(), tmp_path, say=said.append)
    assert "patches.zip:" in capsys.readouterr().err
    assert len(said) == 1


@pytest.mark.parametrize("size", [len(DATA), 0])
def test_file_already_there_is_left_alone(server: Server, tmp_path: Path, size: int) -> None:
    path = tmp_path / "patches.zip"
    path.write_bytes(DATA)
    before, said = path.stat().st_mtime_ns, list[str]()
    assert fetch(server.file(size=size), tmp_path, say=said.append) == path
    assert path.stat().st_mtime_ns == before
    assert server.seen == []
    assert said[-1] == f"{path}: already there, md5 checked"


@pytest.mark.parametrize(
    ("content", "problem"),
    [(DATA[:-1], "has 767,999 bytes instead of 768,000"), (DATA[::-1], "has md5 ")],
)
def test_another_file_of_that_name_is_never_replaced(
    server: Server, tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "patches.zip"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match="move or delete it") as caught:
        fetch(server.file(), tmp_path, say=ignore)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert path.read_bytes() == content
    assert server.seen == []


@pytest.mark.parametrize("size", [len(DATA), 0])
def test_resumes_after_each_lost_connection(server: Server, tmp_path: Path, size: int) -> None:
    server.behave(drops=[100_000, 200_000, HEADERS_ONLY, 1])
    said: list[str] = []
    path = fetch(server.file(size=size), tmp_path, say=said.append)
    assert path.read_bytes() == DATA
    assert server.seen == [
        None,
        "bytes=100000-",
        "bytes=300000-",
        "bytes=300000-",
        "bytes=300001-",
    ]
    assert sum("the connection was lost; " in line for line in said) == 4


def test_resumes_after_connection_resets(server: Server, tmp_path: Path) -> None:
    server.behave(drops=[300_000, 200_000, 100_000], reset=True)
    assert fetch(server.file(), tmp_path, say=ignore).read_bytes() == DATA
    assert len(server.seen) == 4


def test_keeps_trying_while_there_is_progress(server: Server, tmp_path: Path) -> None:
    server.behave(drops=[10_000] * 40)
    assert fetch(server.file(), tmp_path, say=ignore).read_bytes() == DATA
    assert len(server.seen) == 41


def test_gives_up_without_progress_and_goes_on_next_time(server: Server, tmp_path: Path) -> None:
    server.behave(drops=[100_000] + [HEADERS_ONLY, NO_ANSWER] * 3)
    file = server.file()
    message = refusal(file, tmp_path)
    assert message.startswith(file.url)
    assert f"100kB are in {part_of(tmp_path)}, run the same command again to go on" in message
    assert server.seen == [None] + ["bytes=100000-"] * len(download.WAITS)
    server.behave()
    assert fetch(file, tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == ["bytes=100000-"]


@pytest.mark.parametrize("size", [len(DATA), 0])
@pytest.mark.parametrize("says_length", [True, False])
def test_starts_over_where_ranges_are_ignored(
    server: Server, tmp_path: Path, size: int, says_length: bool
) -> None:
    server.behave(ranges=False, says_length=says_length)
    part_of(tmp_path).write_bytes(b"x" * 1000)
    said: list[str] = []
    assert fetch(server.file(size=size), tmp_path, say=said.append).read_bytes() == DATA
    assert server.seen == ["bytes=1000-"]
    assert "patches.zip: the server cannot resume; starting over" in said


def test_nothing_is_left_of_a_longer_part(server: Server, tmp_path: Path) -> None:
    server.behave(ranges=False)
    part_of(tmp_path).write_bytes(DATA + b"x")
    assert fetch(server.file(size=0), tmp_path, say=ignore).read_bytes() == DATA


def test_server_that_ignores_ranges_and_always_breaks_off(server: Server, tmp_path: Path) -> None:
    server.behave(ranges=False, drops=[5000] * 100)
    assert "5.00kB are in" in refusal(server.file(), tmp_path)
    assert len(server.seen) == 1 + len(download.WAITS)


def test_complete_part_is_only_checked(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(DATA)
    assert fetch(server.file(), tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == []


def test_complete_part_of_unknown_size(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(DATA)
    assert fetch(server.file(size=0), tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == ["bytes=768000-"]


def test_part_that_is_too_long_starts_over(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(DATA + b"x")
    said: list[str] = []
    assert fetch(server.file(), tmp_path, say=said.append).read_bytes() == DATA
    assert server.seen == [None]
    assert f"{part_of(tmp_path)}: longer than the whole file; starting over" in said


def test_part_that_is_too_long_for_a_file_of_unknown_size(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(DATA + b"x")
    assert "was removed; run the same command again" in refusal(server.file(size=0), tmp_path)
    assert fetch(server.file(size=0), tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == ["bytes=768001-", None]


def test_server_that_refuses_every_range(server: Server, tmp_path: Path) -> None:
    server.behave(status=416)
    part_of(tmp_path).write_bytes(DATA[:1000])
    assert "the server has no more than that; use another" in refusal(server.file(), tmp_path)
    assert part_of(tmp_path).read_bytes() == DATA[:1000]


def test_range_that_was_not_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    server.behave(shift=5)
    part_of(tmp_path).write_bytes(DATA[:1000])
    assert "another range" in refusal(server.file(), tmp_path)
    assert part_of(tmp_path).read_bytes() == DATA[:1000]


def test_redirected_request_keeps_its_range(server: Server, tmp_path: Path) -> None:
    server.behave(redirect=True)
    part_of(tmp_path).write_bytes(DATA[:1000])
    assert fetch(server.file(), tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == ["bytes=1000-"] * 2


@pytest.mark.parametrize("status", [403, 404, 410, 429, 500, 503])
def test_http_errors(server: Server, tmp_path: Path, status: int) -> None:
    server.behave(status=status)
    message = refusal(server.file(), tmp_path)
    assert message.startswith(f"{server.file().url}: HTTP Error {status}: ")
    assert len(server.seen) == 1
    assert not part_of(tmp_path).exists()


def test_busy_server_is_tried_again_once_it_has_delivered(server: Server, tmp_path: Path) -> None:
    server.behave(drops=[1000])

    def say(message: str) -> None:
        if "trying again" in message:
            server.status = 0 if server.status else 503

    assert fetch(server.file(), tmp_path, say=say).read_bytes() == DATA
    assert server.seen == [None, "bytes=1000-", "bytes=1000-"]


def test_file_that_vanishes_is_not_tried_again(server: Server, tmp_path: Path) -> None:
    server.behave(drops=[1000])
    with pytest.raises(HarnessError, match=r"HTTP Error 404: Not Found; use another --mirror"):
        fetch(server.file(), tmp_path, say=lambda message: setattr(server, "status", 404))
    assert server.seen == [None, "bytes=1000-"]


def test_no_server(tmp_path: Path, server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = refusal(server.file(url=f"http://127.0.0.1:{port}/patches.zip"), tmp_path)
    assert message.startswith(f"http://127.0.0.1:{port}/patches.zip: ")


def test_no_such_host(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert "Name or service not known" in refusal(server.file(), tmp_path)


@pytest.mark.parametrize("url", ["patches.zip", "http://[/patches.zip", "http://127.0.0.1/a b"])
def test_no_url(server: Server, tmp_path: Path, url: str) -> None:
    message = refusal(server.file(url=url), tmp_path)
    assert message.startswith(url)
    assert "check the address; or use another --mirror" in message


def test_silent_server_times_out(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TIMEOUT", 0.2)
    monkeypatch.setattr(download, "WAITS", (0, 0))
    server.behave(hang_after=0)
    assert "timed out; run the same command again" in refusal(server.file(), tmp_path)
    assert len(server.seen) == 2
    server.go_on.set()


def test_server_with_another_file_is_refused_at_once(server: Server, tmp_path: Path) -> None:
    server.behave(body=DATA[:2000])
    for there in (0, 1000, 3000):
        part_of(tmp_path).write_bytes(DATA[:there])
        message = refusal(server.file(), tmp_path)
        assert "the server has 2,000 bytes where 768,000 are expected" in message
        assert part_of(tmp_path).read_bytes() == DATA[:there]


@pytest.mark.parametrize("size", [len(DATA), 0])
def test_wrong_content_is_removed(server: Server, tmp_path: Path, size: int) -> None:
    server.behave(body=DATA[::-1])
    message = refusal(server.file(size=size), tmp_path)
    assert message.startswith(f"{server.file().url}: what arrived has md5 ")
    assert not part_of(tmp_path).exists()


@pytest.mark.parametrize("length", [700_000, 800_000])
def test_wrong_length_of_an_unannounced_file(server: Server, tmp_path: Path, length: int) -> None:
    server.behave(body=(DATA * 2)[:length], says_length=False)
    refusal(server.file(), tmp_path)


@pytest.mark.parametrize("size", [len(DATA), 0])
def test_disk_too_small(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    free = len(DATA) // 2 + download.MARGIN
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    message = refusal(server.file(size=size), tmp_path)
    assert message.startswith(f"{tmp_path}: patches.zip needs 67.9MB more and 67.5MB are free")
    assert not part_of(tmp_path).exists()
    part_of(tmp_path).write_bytes(DATA[: len(DATA) // 2])  # only the rest has to fit
    assert fetch(server.file(size=size), tmp_path, say=ignore).read_bytes() == DATA


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is always full")
def test_disk_that_fills_up(server: Server, tmp_path: Path) -> None:
    part_of(tmp_path).symlink_to("/dev/full")
    assert refusal(server.file(), tmp_path).startswith(f"{tmp_path}: No space left on device; ")
    assert part_of(tmp_path).is_symlink()


def test_folder_that_cannot_be(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refusal(server.file(), tmp_path / "file" / "below")
    assert message.startswith(str(tmp_path / "file" / "below"))


@pytest.mark.parametrize("base", ["/mirror", "/mirror/"])
def test_mirror_replaces_all_but_the_file_name(server: Server, tmp_path: Path, base: str) -> None:
    mirror = f"http://127.0.0.1:{server.server_port}{base}"
    file = server.file(url="https://zenodo.invalid/records/1/files/patches.zip?download=1")
    assert fetch(file, tmp_path, say=ignore, mirror=mirror).read_bytes() == DATA
    assert server.paths == ["/mirror/patches.zip"]


CHILD = """
import signal, sys
from pathlib import Path
from harness.data.download import check_space, fetch
from harness.types.datasets import RemoteFile
signal.signal(signal.SIGINT, signal.default_int_handler)
fetch(RemoteFile(name="patches.zip", url=sys.argv[1], md5="", size=int(sys.argv[2])), Path("."))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_process_is_resumed(
    server: Server, tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave(hang_after=len(DATA) // 2)
    monkeypatch.setenv("PYTHONPATH", str(Path(download.__file__).parents[2]))
    command = [sys.executable, "-c", CHILD, server.file().url, str(len(DATA))]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        while not (part_of(tmp_path).exists() and part_of(tmp_path).stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
    there = part_of(tmp_path).stat().st_size
    assert 0 < there <= len(DATA) // 2
    server.go_on.set()
    server.behave()
    assert fetch(server.file(), tmp_path, say=ignore).read_bytes() == DATA
    assert server.seen == [f"bytes={there}-"]


@settings(max_examples=60, deadline=None)
@given(
    drops=st.lists(st.one_of(st.sampled_from([NO_ANSWER, HEADERS_ONLY, 1]), st.integers(2, 3000))),
    body=st.binary(min_size=1, max_size=4000),
    reset=st.booleans(),
    ranges=st.booleans(),
    says_length=st.booleans(),
    size_known=st.booleans(),
)
def test_any_sequence_of_drops_ends_in_the_same_bytes(
    shared_server: Server,
    drops: list[int],
    body: bytes,
    reset: bool,
    ranges: bool,
    says_length: bool,
    size_known: bool,
) -> None:
    shared_server.behave(
        body=body, drops=list(drops), reset=reset, ranges=ranges, says_length=says_length
    )
    size = len(body) if size_known else 0
    file = shared_server.file(md5=hashlib.md5(body).hexdigest(), size=size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(len(drops) + 1):  # each call uses up one drop at least
            try:
                path = fetch(file, folder, say=ignore)
                break
            except HarnessError:
                part = part_of(folder)
                assert not part.exists() or body.startswith(part.read_bytes())
        assert path.read_bytes() == body
        remembered = folder / ".patches.zip.md5.json"
        assert set(folder.iterdir()) <= {path, remembered}


def test_space_for_all_files_is_looked_for_before_the_first(tmp_path, monkeypatch):
    files = [RemoteFile(name=name, url="", md5="", size=600 << 20) for name in ("a", "b")]
    usage = shutil._ntuple_diskusage(0, 0, 1000 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(HarnessError, match=r"more are needed and .* are free"):
        check_space(files, tmp_path / "not made yet")
    check_space(files[:1], tmp_path)
    with (tmp_path / "a.part").open("wb") as file:
        file.truncate(500 << 20)
    check_space(files, tmp_path)
