"""TOML files as editors save them, and what is said of those that are none."""

import codecs

import pytest

from harness import HarnessError
from harness.hooks.toml_files import read_toml

TEXT = 'kind = "folder"\nname = "mine"\n[input]\ntitle = "Größe, 尺寸"\n'
CONTENT = {"kind": "folder", "name": "mine", "input": {"title": "Größe, 尺寸"}}


@pytest.fixture
def write(tmp_path):
    """Writes bytes, or text as UTF-8, and returns the file's path."""

    def write(content):
        path = tmp_path / "mine.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(HarnessError) as caught:
        read_toml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_the_same_is_read_however_it_was_saved(write, mark, encoding, ends):
    assert read_toml(write(mark + TEXT.replace("\n", ends).encode(encoding))) == CONTENT


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            'a = 1\npath = "C:\\data\\x"\n',
            "line 2: path = \"C:\\data\\x\": Unescaped '\\' in a string",
        ),
        ('path = "C:\\Users\\me"\n', "single quotes, such as 'C:\\data'"),
        ('a = 1\npath = "C:\\data\\"\n', "single quotes, such as 'C:\\data'"),
        ("kind = ", "line 1: kind =: Invalid value; correct it"),
        ("kind = folder\n", 'put texts in quotes: key = "text"'),
        ("\n\ndemo = True\n", "line 3: demo = True: Invalid value; write true or false in small"),
        ("name = “mine”\n", "use straight quotes"),
        ("name = \u201emine\u201c\n", "use straight quotes"),
        ("\N{NO-BREAK SPACE}name = 1\n", "remove the character U+00A0, which cannot be seen"),
        ("a = 1\n\u200bname = 1\n", "line 2: "),
        (
            "a = 1\nb = 2\na = 3\n",
            "line 3: a = 3: Cannot overwrite a value; it says a key or a table",
        ),
        (
            "[t]\n[t]\n",
            "line 2: [t]: Cannot declare ('t',) twice; it says a key or a table a second",
        ),
        ('kind = "folder\nname = "x"\n', "line 1: "),
        ("just words\n", "line 1: just words: "),
        ('{"kind": "folder"}\n', "line 1: "),
        ("kind: folder\n", "line 1: "),
        ("a = [1, 2\n", "line 1: a = [1, 2: "),
        ('a = "\x1b[31m"\n', "line 1: "),
        ("a = " + "[" * 100_000, "not a TOML file"),
        ("name = x" + "y" * 5000, "..."),
    ],
)
def test_what_is_wrong_is_said_with_the_line_and_what_to_do(write, content, says):
    message = refusal(write(content))
    assert message.startswith("not a TOML file: ")
    assert says in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TEXT.encode("cp1252", "replace"), "line 4 is no text in UTF-8; save the file as UTF-8"),
        (TEXT.encode("utf-16-le"), "holds zero bytes, as UTF-16 without a byte order mark"),
        (b"\xff\xfe\x00", "is no text in UTF-16; save the file as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "line 1 is no text in UTF-8"),
        (b"PK\x03\x04\x00\x00", "holds zero bytes"),
    ],
)
def test_what_is_no_text_is_said_so(write, content, says):
    assert says in refusal(write(content))


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (r'train = "data\train"', r'train = "data\train"'),
        (r'train = "C:\new\test"', r'train = "C:\new\test"'),
        (r'train = "..\backup\train"', r'train = "..\backup\train"'),
        (r'files = ["a.png", "b\t.png"]', r'files = "b\t.png"'),
        ('[weights]\nfile = "\\real"', r'weights.file = "\real"'),
    ],
)
def test_a_path_whose_backslashes_were_taken_for_escapes_is_refused(write, line, shown):
    message = refusal(write(line))
    assert message.startswith(f"{shown} is not the path that it seems to be: ")
    assert "single quotes" in message


@pytest.mark.parametrize(
    "line",
    [
        r"train = 'C:\new\test'",
        'train = "C:/new/test"',
        r'train = "C:\\new\\test"',
        'license = """\nMIT\n"""',
        r'title = "Two lines\nof a title"',
        '[arguments]\nseparator = "a\\tb"',
    ],
)
def test_what_is_written_well_is_read(write, line):
    assert read_toml(write(line))


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(HarnessError, match=r"absent.toml: No such file or directory; check the"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(HarnessError, match=r"Is a directory; check the path"):
        read_toml(tmp_path)
