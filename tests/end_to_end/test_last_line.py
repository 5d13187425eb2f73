"""The last line of an error is its cause: which plugin is left out or switched off, and why."""

import pytest

pytestmark = pytest.mark.once

LEFT_OUT = "plugin mine of mine.toml is left out: mine.toml: not a TOML file: line 1: "
BROKEN = "plugin x of x.py is left out: ZeroDivisionError: division by zero"
OFF = "switched off (--without or $HARNESS_WITHOUT): "


def last_line(command, *arguments, code=2, **more):
    output = command(*arguments, code=code, **more)
    (line,) = [line for line in output.splitlines() if line.startswith("harness: error:")]
    return line.removeprefix("harness: error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--dataset", "mine", "--model", "toy-mean"),
        ("audit", "--dataset", "mine"),
        ("contrast", "mine", "toy", "--model", "toy-mean"),
        ("contrast", "toy", "mine", "--model", "toy-mean"),
        ("data", "get", "mine"),
        ("run", "--dataset", "toy", "--model", "mine"),
        ("run", "--dataset", "toy", "--model", "mine+flips"),
        ("check", "toy-mean", "--dataset", "mine"),
        ("compare", "published:mine", "published:toy-deep"),
    ],
)
def test_the_cause_is_the_file_that_is_left_out(toy, arguments):
    (toy.folder / "mine.toml").write_text("kind = folder\n")
    said = last_line(toy, *arguments, "--plugin", "mine.toml")
    assert LEFT_OUT in said
    assert "there is" not in said, "what the others offer is no help"
    assert said.endswith('put texts in quotes: key = "text"')


def test_the_cause_is_found_by_the_name_that_the_file_says(toy):
    (toy.folder / "a.toml").write_text('kind = "folder"\nname = "toy-mine"\ntrian = "x"\n')
    (toy.folder / "b.toml").write_text("kind = 7\n")
    plugins = ("--plugin", "a.toml", "--plugin", "b.toml")
    said = last_line(toy, "run", "--dataset", "toy-mine", *plugins)
    assert said == (
        "no dataset named 'toy-mine'; plugin a of a.toml is left out: a.toml: there is no key "
        "'trian'; did you mean train?"
    )


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("run", "--model", "wanted"), "no model named 'wanted'; "),
        (("run", "--dataset", "wanted"), "no dataset named 'wanted'; "),
        (("run", "--dataset", "toy", "--perturbation", "wanted"), "no perturbation named 'wanted'"),
        (("run", "--dataset", "toy", "--probe", "wanted"), "no probe named 'wanted'; "),
        (("audit", "--dataset", "toy", "--probe", "wanted"), "no probe named 'wanted'; "),
        (("calibrate", "--phantom", "wanted"), "no phantom named 'wanted'; "),
        (("compare", "published:wanted", "published:x"), "nothing published is named 'wanted'; "),
        (("check", "wanted"), "nothing of one, named 'wanted'; "),
        (("run", "--dataset", "toy", "--columns", "wanted"), "there is no 'wanted'; "),
    ],
)
def test_the_cause_is_named_for_every_kind_of_name(toy, arguments, what):
    (toy.folder / "x.py").write_text("1 / 0")
    said = last_line(toy, *arguments, "--plugin", "x.py", "--without", "nct_crc")
    assert what in said
    assert said.endswith(f"{OFF}bias, nct_crc; {BROKEN}")


def test_a_kind_of_file_whose_reader_is_switched_off(toy):
    (toy.folder / "mine.toml").write_text('kind = "folder"\ntrain = "a"\ntest = "b"\n')
    said = last_line(toy, "run", "--dataset", "mine", "--plugin", "mine.toml", "--without", "files")
    assert "kind = 'folder', which must be one of torch-checkpoint, torch-encoder; " in said
    assert said.endswith(f"{OFF}bias, files")


def test_what_is_derived_from_a_model_that_is_left_out(toy, make_distribution):
    source = (
        "from harness import DerivedModel, four_views, hookimpl\n@hookimpl\n"
        "def harness_models():\n"
        "    return [DerivedModel(name='sum', title='S', terms=four_views('lost'))]\n"
    )
    toy.path.append(make_distribution("x-dist", {"fine": source, "lost": "1 / 0"}))
    said = last_line(toy, "run", "--model", "sum")
    assert said == (
        "model sum needs the model lost, which no plugin offers; plugin lost of x-dist is left "
        "out: ZeroDivisionError: division by zero"
    )


def test_a_name_that_is_nearly_right_is_suggested_first(toy):
    (toy.folder / "x.py").write_text("1 / 0")
    said = last_line(toy, "run", "--model", "toy-meen", "--plugin", "x.py")
    assert said.startswith("no model named 'toy-meen'; did you mean toy-mean")
    assert BROKEN in said


def test_without_a_cause_the_names_that_there_are_are_said(command):
    said = last_line(command, "run", "--dataset", "mine")
    assert said.startswith("no dataset named 'mine'; there is crc-tp, hmu-gc-he-30k, kather-2016, ")
