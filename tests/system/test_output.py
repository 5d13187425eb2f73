"""What a process prints is kept up to a limit, counted, and cut at the marker."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.system import output
from harness.system.output import Output

MARKER = b"\0mark\n"


def printed(chunks, folder):
    """What two groups printed, written to a pipe in these chunks; a marker ends the first."""
    reader, writer = os.pipe()
    found = Output(os.fdopen(reader, "rb"), MARKER)
    found.begin(folder / "first.txt")
    for chunk in chunks:
        os.write(writer, chunk)
    first = found.end(10)
    found.begin(folder / "second.txt")
    os.write(writer, b"more")
    os.close(writer)
    return first, found.end(10)


# Zeros and letters of the marker are frequent, so that much looks like its beginning.
texts = st.lists(st.sampled_from([b"\0", b"\0m", b"mark", b"\0mark", b"x", b"\xff\n"]), max_size=20)


@given(texts.map(b"".join).filter(lambda text: MARKER not in text), st.integers(1, 9))
def test_all_before_the_marker_is_counted_and_the_first_part_is_kept(text, width):
    whole = text + MARKER
    chunks = [whole[i : i + width] for i in range(0, len(whole), width)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "KEPT", 8)
        first, second = printed(chunks, Path(name))
        if not text:
            assert first is None
            assert not (Path(name) / "first.txt").exists()
        else:
            assert first.size == len(text)
            assert first.path.read_bytes() == text[:8]
            assert first.tail == text.decode(errors="replace")
        assert second.path.read_bytes() == b"more"


def test_where_nothing_can_be_kept_it_is_counted_all_the_same(tmp_path):
    (tmp_path / "first.txt").mkdir()
    first, _ = printed([b"some text", MARKER], tmp_path)
    assert (first.size, first.tail) == (9, "some text")
