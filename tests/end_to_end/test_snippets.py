"""Every block of shell, Python and TOML in the documentation runs, or says why it cannot here.

``<!-- not run: REASON -->`` on the line above a block says so. Its command lines are then parsed
all the same, its Python compiled, and its TOML read with the keys of its kind. ``<!-- file: NAME
-->`` says what a block is saved as, for the blocks around it.
"""

import argparse
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import harness_nct_crc
from harness import cli
from harness.errors import HarnessError
from harness.hooks.loader import load_plugins
from harness.hooks.toml_files import described, read_toml

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "examples/harness-texture/README.md")
    ),
    *sorted(DOCS.rglob("*.md")),
]
BLOCK = re.compile(r"(?ms)^(?:<!-- ([^\n]*?) -->\n)?^```(\w*)[^\n]*\n(.*?)^```$")
TUTORIAL, HOOKS = DOCS / "tutorial.md", DOCS / "hooks"
"""What test_docs.py runs."""
PYTHON = ("py", "python")
ASSERTIONS = {
    "python.md": "assert found.confusion.shape == (9, 9)\nassert found.confusion.sum() == 111\n"
}
"""What holds after the Python of a page."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    why_not: str
    """Why it cannot run here; "" if it can."""
    file: str
    """What it is saved as; "" if it is not."""


def blocks(page):
    found = []
    for mark, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        kind, _, said = mark.partition(": ")
        found.append(
            Block(
                language,
                code,
                said if kind == "not run" else "",
                said if kind == "file" else "",
            )
        )
    return found


def commands(code):
    """The words of each command line of the harness in a block of shell."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words = list(lexer)
        for place, word in enumerate(words):
            # Not "harness" as an argument, such as that of pip.
            if word.rpartition("/")[2] == "harness" and words[place - 1 : place] != ["install"]:
                end = next(
                    (i for i in range(place, len(words)) if set(words[i]) <= set("&|;<>")), None
                )
                yield words[place + 1 : end]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


RUN = [
    page
    for page in PAGES
    if page != TUTORIAL
    and page.parent != HOOKS
    and any(
        block.language in ("sh", "toml", *PYTHON) and not block.why_not for block in blocks(page)
    )
]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_run_or_says_why_not(page):
    for block in blocks(page):
        assert block.language in ("sh", *PYTHON, "toml", "csv", "text"), block.code
        if page in (TUTORIAL, *HOOKS.iterdir()):
            assert not block.why_not, "it is run"
        elif block.language == "toml":
            assert block.why_not or block.file, block.code
        if block.why_not:
            assert len(block.why_not.split()) > 1, "gives no reason"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_is_one(page, capsys):
    for block in blocks(page):
        for words in commands(block.code) if block.language == "sh" else ():
            parsed(words, capsys)
            if page != TUTORIAL and not block.why_not:
                assert page in RUN


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_within_a_sentence_is_one(page, capsys):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for quoted in re.findall(r"`(harness [^`]+)`", text):
        (words,) = commands(" ".join(quoted.replace("\\|", "|").split()).removesuffix(" ..."))
        if not re.fullmatch("NAME|COMMAND", words[0]):
            parsed(words, capsys, whole=False)


def parsed(words, capsys, whole=True):
    """Parse a command line with the parser of the command; or as much of one as a sentence has."""
    parser = cli._parser()
    for word in words:
        within = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
        if within and word in within[0].choices:
            parser = within[0].choices[word]
        elif word.startswith("--"):
            assert word in parser._option_string_actions, f"{parser.prog} has no {word}"
    code = 0
    try:
        cli.parse(words)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err.strip().rpartition("error: ")[2]
    begun = re.search("arguments are required|expected one argument$|choice: '[A-Z]'", said)
    assert not code or (begun and not whole), f"harness {shlex.join(words)}: {said}"


def test_what_is_no_command_is_found(capsys):
    for words in (["run", "--al"], ["reports"], ["few-shot"], ["run", "--seeds", "two"]):
        with pytest.raises(AssertionError):
            parsed(words, capsys)
    for words in (["compare", "--margins", "2"], ["result", "list"], ["run", "--seeds", "two"]):
        with pytest.raises(AssertionError):
            parsed(words, capsys, whole=False)
    parsed(["results", "remove"], capsys, whole=False)
    code = "HF_HOME=x harness run --all  # all\n.venv/bin/pip install . && a/harness list | less\n"
    assert list(commands(code)) == [["run", "--all"], ["list"]]
    assert list(commands("pip install harness\nsrun harness run \\\n  --all\n")) == [
        ["run", "--all"]
    ]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_can_be_read(page, tmp_path):
    """TOML with the keys of its kind, Python by the compiler."""
    readers = load_plugins().readers
    for block in blocks(page):
        if not block.why_not:
            continue
        if block.language in PYTHON:
            compile(block.code, name_of(page), "exec")
        elif block.language == "toml":
            path = tmp_path / "read.toml"
            path.write_text(block.code, encoding="utf-8")
            content = read_toml(path)
            if "kind" in content:
                keys = readers[content.pop("kind")].keys()
                keys.model_validate(content)
            else:
                known = {key for reader in readers.values() for key in reader.keys().model_fields}
                assert set(content) <= known


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_a_page_to_the_letter(page, command):
    """Every block in turn, in a folder that has what the page says you have."""
    command.without = "timm"  # "every model" is then two
    prepare(page, command)
    files = [block for block in blocks(page) if block.file]
    for block in reversed(files):  # the first of a name is there from the beginning
        (command.folder / block.file).write_text(block.code, encoding="utf-8")
    for block in blocks(page):
        if block.why_not:
            continue
        if block.file:
            (command.folder / block.file).write_text(block.code, encoding="utf-8")
            if block.language == "toml":
                makes_a_row(command, block.file)
        elif block.language == "sh":
            shell = f'harness() {{ {shlex.quote(sys.executable)} -m harness "$@"; }}\n{block.code}'
            run(command, ["bash", "-euc", shell])
        elif block.language in PYTHON:
            run(command, [sys.executable, "-c", block.code + ASSERTIONS.get(page.name, "")])
    if page.name == "models.md":
        (plugin,) = files
        assert len([line for line in plugin.code.splitlines() if line.strip()]) <= 20
        board = command.folder / "reports/nct-crc-he-sample.json"
        row = json.loads(board.read_text(encoding="utf-8"))["rows"][0]
        assert row["model"] == "nearest-color"
        assert row["accuracy"] > 0.3  # nine classes: chance is 0.11
        assert row["n_test"] == 111
    elif page.name == "audit.md":
        assert {path.name for path in (command.folder / "reports").glob("*.md")} == {
            "nct-crc-he-sample-audit.md"
        }
    elif page.name == "publish.md":
        assert {path.suffix for path in (command.folder / "public").iterdir()} == {
            *(".md", ".tex", ".png")
        }
        assert len((command.folder / "predictions.csv").read_text().splitlines()) == 112


def run(command, words):
    done = subprocess.run(
        words,
        cwd=command.folder,
        env=command.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words[-1]}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr


def makes_a_row(command, file):
    """A dataset that a file describes is run, with one model."""
    content = read_toml(command.folder / file)
    reader = load_plugins().readers[content["kind"]]
    (dataset,) = described(reader, command.folder / file, content)
    asked = ("--dataset", dataset.name, "--model", "rgb-means", "--no-probes")
    output = command("run", "--plugin", file, *asked)
    assert re.search(r"\brgb-means +\d", output), output


def prepare(page, command):
    """What a page takes for granted."""
    folder = command.folder
    if page.name == "datasets.md":
        pytest.importorskip("pyarrow")
        own_patches(folder)
    elif page.name == "cohorts.md":
        own_patches(folder)
        shutil.rmtree(folder / "patches")
        (folder / "images").rename(folder / "patches")
        for old, new in (("STR", "odd"), ("NORM", "NOR")):
            (folder / "patches" / old).rename(folder / "patches" / new)
    elif page.name == "publish.md":
        pytest.importorskip("pandas")
        other = ("--store", "runs-of-the-cluster", "--leaderboards", "elsewhere")
        command("audit", "--dataset", "nct-crc-he-sample", "--probe", "metadata", *other)


def own_patches(folder):
    """Patches of the sample as class folders, as a table, and as Parquet files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    rows = {"train": [], "val": [], "test": []}
    for name in ("STR", "NORM", "TUM"):
        of_class = [i for i, id_ in enumerate(split.ids) if f"/{name}/" in id_]
        for number, patch in enumerate(split.read(of_class)):
            part = ("train", "val", "test", "test")[number % 4]
            patient = number // 4
            file = f"{name}/patient{patient}{part}_{number}.png"
            buffer = io.BytesIO()
            Image.fromarray(patch).save(buffer, "PNG")
            for copy in (folder / "patches" / part / file, folder / "images" / file):
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(buffer.getvalue())
            rows[part].append((file, name, f"{part} {patient}", buffer.getvalue()))
    names = {"train": "train", "val": "validation", "test": "test"}
    lines = ["file,diagnosis,patient,part"]
    (folder / "data").mkdir()
    for part, of_part in rows.items():
        lines += [f"{file},{label},{patient},{names[part]}" for file, label, patient, _ in of_part]
        table = {
            "image": [{"bytes": content, "path": None} for *_, content in of_part],
            "label": [label for _, label, *_ in of_part],
            "patient": [patient for _, _, patient, _ in of_part],
            "patch": [file for file, *_ in of_part],
        }
        pq.write_table(pa.table(table), folder / f"data/{part}-00000-of-00001.parquet")
    as_arrays(folder / "mine.npz", rows)
    for part, of_part in rows.items():
        as_shard(folder / f"{part}-0000.tar", of_part)
    (folder / "patches.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_arrays(path, rows):
    """Patches of two classes in the layout of MedMNIST, with patients and ids."""
    arrays = {}
    for part, of_part in rows.items():
        two = [row for row in of_part if row[1] in ("NORM", "TUM")]
        images = [np.array(Image.open(io.BytesIO(content))) for *_, content in two]
        arrays |= {
            f"{part}_images": np.stack(images),
            f"{part}_labels": np.array([[label == "TUM"] for _, label, *_ in two], np.uint8),
            f"{part}_patients": np.array([patient for _, _, patient, _ in two]),
            f"{part}_ids": np.array([file for file, *_ in two]),
        }
    np.savez(path, **arrays)


def as_shard(path, rows):
    """Patches as a tar of images, each with a JSON file beside it."""
    with tarfile.open(path, "w") as tar:
        for number, (_, label, patient, content) in enumerate(rows):
            said = json.dumps({"class": label, "slide": patient}).encode()
            for suffix, data in (("png", content), ("json", said)):
                member = tarfile.TarInfo(f"{number:04d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_a_file_of_the_documentation_with_a_mistake_is_found(tmp_path):
    reader = load_plugins().readers["folder"]
    with pytest.raises(HarnessError, match="no key 'tran'"):
        described(reader, tmp_path / "mine.toml", {"kind": "folder", "tran": "patches"})
