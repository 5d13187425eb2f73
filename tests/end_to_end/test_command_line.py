"""Command lines at their edges: empty texts, files for folders, what may not be read or written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.checks import watching
from harness.commands import COMMANDS
from harness.hooks import kinds, reserved

RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes")


def last_line(command, *arguments, code=2, **more):
    return command(*arguments, code=code, **more).splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("run", "--model", ""), "model"),
        (("run", "--dataset", "toy", "--dataset", ""), "dataset"),
        (("run", "--dataset", "toy", "--set", ""), "set"),
        (("run", "--dataset", "toy", "--probe", ""), "probe"),
        (("list", "--without", ""), "without"),
        (("check", ""), "names"),
        (("compare", "x", ""), "other"),
        (("data", "get", ""), "name"),
        (("data", "get", "toy-absent", "--mirror", ""), "mirror"),
        (("run", "--all", "--data", ""), "--data"),
        (("run", "--all", "--store", ""), "--store"),
        (("run", "--all", "--leaderboards", ""), "--leaderboards"),
        (("list", "--plugin", ""), "--plugin"),
        (("new-plugin", "x", "--kind", "model", "--folder", ""), "--folder"),
    ],
)
def test_an_empty_text_is_no_value(capsys, arguments, option):
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.endswith(f"error: argument {option}: must not be empty\n")


def test_fetch_names_what_models_start_from(toy):
    broken = toy.folder / "broken.py"
    broken.write_text(
        "from dataclasses import replace\n"
        "from harness import hookimpl\n"
        "import toy_harness\n"
        "def bad(settings): raise KeyError('none')\n"
        "@hookimpl\n"
        "def harness_models():\n"
        "    toy = next(m for m in toy_harness.harness_models() if m.name == 'toy-mean')\n"
        "    return [replace(toy, name='bad-weights', features=None, initial_weights=bad)]\n"
    )
    printed = toy(
        "fetch", "--model", "toy-mean", "--model", "bad-weights", "--plugin", str(broken), code=1
    )
    assert "toy-mean" in printed
    assert "harness: failed: bad-weights: KeyError: 'none' (details in " in printed
    for arguments in ((), ("--all", "--model", "toy-mean")):
        assert "give either --all or --model" in last_line(toy, "fetch", *arguments)
    assert "no chosen model has the setting 'nope'" in last_line(
        toy, "fetch", "--model", "toy-mean", "--set", "nope=1"
    )


def test_an_empty_variable_is_as_none(toy):
    variables = ("HARNESS_DATA", "HARNESS_STORE", "HARNESS_PLUGINS", "HARNESS_TIME_LIMIT")
    toy(*RUN, **dict.fromkeys(variables, ""))
    assert (toy.folder / "runs/store.json").exists()
    (toy.folder / "mine.py").write_text("1 / 0")
    assert "plugin mine of mine.py" in toy("list", HARNESS_PLUGINS=" , mine.py ,")


@pytest.mark.once
def test_what_is_said_twice_is_done_once(toy):
    output = toy(*RUN, "--dataset", "toy", "--model", "toy-mean")
    assert output.count("Wrote reports/toy.md") == 1
    output = toy("calibrate", "--seeds", "1", *["--phantom", "toy-phantom"] * 2)
    assert output.count("Wrote reports/calibration-toy-phantom.md") == 1
    said = last_line(toy, "contrast", "toy", "toy", "--model", "toy-mean")
    assert said == "harness: error: contrast: toy is contrasted with itself; name two datasets"


def test_what_there_is_can_be_listed_by_kind_and_as_json(toy):
    output = toy("list", "perturbations", "models")  # in this order
    assert output.index("Perturbations") < output.index("Models")
    assert "Datasets" not in output
    found = json.loads(toy("list", "--json"))
    assert [*found] == list(kinds.NAMES)
    assert {"toy", "toy-folds"} < {row["name"] for row in found["datasets"]}
    assert toy("list", "moddels", code=2).endswith(", commands, executors\n")


def test_a_model_is_listed_with_its_settings(toy):
    rows = [line.split() for line in toy("list", "--model", "toy-mean").splitlines()]
    assert ["steps", "3", "2", "int", "the", "model"] in rows
    assert ["workers", "1", "1", "int", "how", "it", "is", "computed"] in rows
    assert "sum of the logits of toy-mean, toy-mean (vflip)" in toy(
        "list", "--model", "toy-mean+flips"
    )
    found = json.loads(toy("list", "--model", "toy-mean", "--json"))
    assert [row["setting"] for row in found["settings"]] == ["steps", "scale", "fail", "workers"]
    assert "did you mean toy-mean" in toy("list", "--model", "toy-maen", code=2)


def test_a_kind_of_toml_file_is_listed_with_its_keys(toy):
    rows = toy("list", "--reader", "table").splitlines()
    assert any(row.startswith("resize ") and "a number of pixels" in row for row in rows)
    found = json.loads(toy("list", "--reader", "torch-checkpoint", "--json"))
    keys = {row["key"]: row for row in found["keys"]}
    assert keys["batch_size"]["must be"] == "a whole number, at least 1"
    assert keys["input.size"]["meaning"].startswith("side, in pixels")
    assert "did you mean table" in toy("list", "--reader", "tabel", code=2)


def test_a_perturbation_is_listed_with_what_its_levels_mean(toy):
    text = toy("list", "--perturbation", "downsampling")
    assert text.startswith("downsampling: Downsampled by a factor")
    assert "1.5, 2, 3, 4, 6" in text
    assert "on request" not in text
    assert "on request: harness run --perturbation dust" in toy("list", "--perturbation", "dust")
    rows = json.loads(toy("list", "perturbations", "--json"))["perturbations"]
    computed = {row["name"]: row["computed"] for row in rows}
    assert (computed["hue"], computed["dust"]) == ("by default", "on request")
    found = json.loads(toy("list", "--perturbation", "gaussian-noise", "--json"))
    assert found == {
        "name": "gaussian-noise",
        "levels": [4, 8, 16, 24, 32],
        "allowed": "a number, at least 0",
        "meaning": "standard deviation in gray levels",
    }
    found = json.loads(toy("list", "--perturbation", "color-transfer", "--json"))
    assert (found["levels"], found["meaning"]) == ([], "label of a class")
    assert "one a class" in toy("list", "--perturbation", "color-transfer")
    assert "did you mean toy-noise" in toy("list", "--perturbation", "toy-nois", code=2)
    assert "give kinds" in toy("list", "models", "--perturbation", "toy-noise", code=2)


def test_a_setting_out_of_range_is_refused_before_the_run(toy):
    output = toy("run", "--dataset", "toy", "--model", "rgb-means", "--set", "trees=0", code=2)
    assert "--set trees=0: must be a whole number, at least 1" in output
    assert not (toy.folder / "runs").exists()
    rows = toy("list", "--model", "rgb-means").splitlines()
    assert any("trees of the forest" in row and "at least 1" in row for row in rows)


@pytest.mark.parametrize("command", [("run", "--all"), ("leaderboard",), ("compare", "a", "b")])
@pytest.mark.parametrize(
    ("option", "text"),
    [*(("--margin", t) for t in ("0", "-1", "100", "x", "nan")), ("--design-effect", "0.5")],
)
def test_margins_and_design_effects_that_are_none_are_refused(capsys, command, option, text):
    assert cli.main([*command, option, text]) == 2
    assert f"argument {option}: {text!r} is not a number of" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--data", "--store", "--leaderboards"])
def test_a_file_is_no_folder(capsys, tmp_path, option):
    file = tmp_path / "file"
    file.touch()
    assert cli.main(["run", "--all", option, str(file)]) == 2
    message = capsys.readouterr().err
    assert message.endswith(f"argument {option}: {file} is a file, not a folder; name another\n")


@pytest.mark.parametrize("option", ["--data", "--store"])
def test_a_name_that_is_too_long_is_one_line(toy, option):
    assert "too long" in last_line(toy, "run", "--all", option, "x" * 5000)


def test_a_folder_is_no_plugin(toy):
    (toy.folder / "mine.toml").mkdir()
    said = last_line(toy, "list", "--plugin", "mine.toml")
    assert said == (
        "harness: error: --plugin mine.toml: is a folder, not a file; remove it or correct the path"
    )


@pytest.fixture
def unprivileged(toy):
    """The toy command as of a user who may not do everything."""
    if os.name != "posix":
        pytest.skip("permissions of POSIX")
    if os.geteuid() == 0:
        tool = shutil.which("setpriv")
        rights = ("-dac_override,-dac_read_search", "-all")
        if tool is None:
            pytest.skip("root may do everything")
        prefix = [tool, f"--bounding-set={rights[0]}", f"--inh-caps={rights[1]}"]
        if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
            pytest.skip("root may do everything")
        own = toy.arguments
        toy.arguments = lambda *arguments: [*prefix, *own(*arguments)]
    return toy


@pytest.mark.parametrize("mode", [0o500, 0o000])
@pytest.mark.parametrize(
    "arguments",
    [
        (*RUN, "--store", "closed/store"),
        (*RUN, "--store", "closed"),
        (*RUN, "--leaderboards", "closed/boards"),
        ("leaderboard", "--store", "closed"),
        ("audit", "--dataset", "toy", "--store", "closed/store"),
        ("new-plugin", "x-y", "--kind", "model", "--folder", "closed"),
        ("run", "--dataset", "kather-2016", "--data", "closed"),
        ("list", "--plugin", "closed/mine.py"),
    ],
)
def test_a_folder_that_is_closed_is_named(unprivileged, arguments, mode):
    closed = unprivileged.folder / "closed"
    closed.mkdir(mode=mode)
    try:
        said = last_line(unprivileged, *arguments)
    finally:
        closed.chmod(0o700)
    assert "error: " in said
    assert "closed" in said
    assert "report it" not in said


@pytest.mark.parametrize("arguments", [("check", "toy-noise"), ("run", "--model", "odd")])
def test_without_a_place_for_temporary_files(unprivileged, arguments, make_distribution):
    source = (
        "from harness import Model, hookimpl\n@hookimpl\ndef harness_models():\n"
        "    return [Model(name='odd', title='x', fit=None, load=None, requires=None)]\n"
    )
    unprivileged.path.append(make_distribution("x-odd", {"odd": source}))
    site = unprivileged.folder / "sitecustomize.py"
    site.write_text("import tempfile\ntempfile._candidate_tempdir_list = lambda: ['/nowhere']\n")
    unprivileged.path.append(unprivileged.folder)
    process = unprivileged.start(*arguments)
    _, errors = process.communicate(timeout=60)
    last = errors.splitlines()[-1]
    if arguments[0] == "check":
        assert process.returncode == 2
        assert "No usable temporary directory" in last
        assert last.endswith("; set TMPDIR to a folder that can be written to")
        assert "Traceback" not in errors
    else:  # the fault of a plugin: all that is known of it is printed
        assert process.returncode == 1
        assert "harness: error: TypeError: " in last
        assert last.endswith("; report it")
        assert "Traceback" in errors


def test_a_disk_without_room_names_the_folders_to_make_room_in(capsys):
    assert cli._failed(OSError(28, "No space left on device")) == 1
    said = capsys.readouterr().err
    assert said.endswith("; make room on the disks of --store, --leaderboards and $TMPDIR\n")


@pytest.mark.parametrize("name", [b"caf\xe9", "line\nbreak", 7])
def test_an_error_of_the_system_names_the_file(capsys, name):
    assert cli._failed(PermissionError(13, "Permission denied", name)) == 2
    said = capsys.readouterr().err
    assert said.startswith("harness: error: ")
    assert said.endswith(": Permission denied; fix that and run again\n")
    assert len(said.splitlines()) == 1


def test_a_user_without_a_home(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    assert not watching.home().exists()
    assert watching.caches()


def test_commands_run_without_a_home(toy):
    environment = toy.environment()
    environment.pop("HOME", None)
    for arguments in (RUN, ("check", "toy-noise")):
        done = subprocess.run(
            toy.arguments(*arguments), cwd=toy.folder, env=environment, check=False
        )
        assert done.returncode == 0


def test_options_for_messages_stand_before_or_after_the_command(capsys):
    for arguments in (["-q", "list", "probes"], ["list", "probes", "-q"], ["list", "-q", "probes"]):
        assert cli.parse(arguments).messages == "quiet"
    assert cli.parse(["-v", "results", "list"]).messages == "verbose"
    assert cli.parse(["results", "list", "-v"]).messages == "verbose"
    assert cli.parse(["results", "--traceback", "list"]).traceback
    assert cli.parse(["-q", "list", "-v"]).messages == "verbose", "the last one counts"
    plain = cli.parse(["store", "merge", "a", "b"])
    assert (plain.messages, plain.traceback) == ("normal", False)


def test_the_traceback_of_a_mistake_is_printed_when_asked_for(toy, capsys):
    assert "Traceback" not in toy("list", "--model", "toy-maen", code=2)
    assert cli.main(["--traceback", "leaderboard", "--store", str(toy.folder / "none")]) == 2
    *_, above, last = capsys.readouterr().err.splitlines()
    assert above.startswith("harness.errors.HarnessError: --store ")
    assert last.startswith("harness: error: --store ")


def test_every_command_has_help_and_a_module_of_its_own(capsys):
    assert len({command.NAME for command in COMMANDS}) == len(COMMANDS)
    for command in COMMANDS:
        assert cli.main([command.NAME, "--help"]) == 0
        said = capsys.readouterr().out
        assert f"usage: harness {command.NAME} " in said
        about = " ".join(said.split())
        assert f"{command.HELP[0].upper()}{command.HELP[1:]}." in about
        assert "--quiet" in said
        assert "exit codes: 0 all is well" in said
    assert {command.NAME for command in COMMANDS} == set(reserved.COMMANDS)


@pytest.fixture(scope="module")
def boards(tmp_path_factory, new_toy):
    """The toy command with two models measured and one failed, and a second dataset."""
    command = new_toy(tmp_path_factory.mktemp("boards"))
    command(*RUN, "--model", "toy-features")
    command("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes")
    failing = ("--model", "toy-mean+flips", "--set", "toy-mean.fail=true", "--set", "steps=9")
    command("run", "--dataset", "toy", "--no-probes", *failing, code=1)
    return command


def rows(output):
    """The models of the rows of printed tables, in order."""
    lines = [line for line in output.splitlines() if re.match(r"[\d– ]+  +toy-", line)]
    return [re.sub(r"^[\d– ]+ ", "", line).split("  ")[0] for line in lines]


def test_printed_rows_can_be_chosen_and_pages_have_them_all(boards):
    everything = rows(boards("leaderboard", "--dataset", "toy"))
    assert sorted(everything[:2]) == ["toy-features", "toy-mean"]
    assert everything[2:] == ["toy-mean+flips (failed)", "toy-deep (published)"]
    page = boards.folder / "reports/toy.md"
    written = page.read_text(encoding="utf-8")
    output = boards("leaderboard", "--dataset", "toy", "--no-published", "--no-failed")
    assert rows(output) == everything[:2]
    assert "Rows not shown: 1 failed and 1 published. `harness leaderboard --model '*'`" in output
    output = boards("leaderboard", "--dataset", "toy", "--model", "toy-f*", "toy-deep")
    assert rows(output) == ["toy-features", "toy-deep (published)"]
    assert page.read_text(encoding="utf-8") == written
    assert "is of such a model; did you mean toy-mean" in boards(
        "leaderboard", "--model", "toy-maen", code=2
    )


def test_tables_of_other_datasets_stay_as_they_are(boards):
    other = boards.folder / "reports/toy-folds.md"
    other.write_text("mine", encoding="utf-8")
    output = boards("leaderboard", "--dataset", "toy")
    assert "toy-folds" not in output
    assert other.read_text(encoding="utf-8") == "mine"
    assert "toy-folds" in boards("leaderboard")
    assert other.read_text(encoding="utf-8") != "mine"
    output = boards("leaderboard", "--dataset", "toy-fold", code=2)
    assert "--dataset toy-fold: nothing of it is in runs; did you mean toy-folds" in output


def test_the_models_of_a_run_are_marked_and_the_files_come_last(boards):
    process = boards.start(*RUN)
    printed, messages = process.communicate(timeout=60)
    assert "> toy-mean" in printed
    assert "> toy-features" not in printed
    last = messages.splitlines()[-1]
    assert last.startswith("Wrote reports/toy.md, toy-errors.md")
    both = subprocess.run(
        boards.arguments(*RUN),
        cwd=boards.folder,
        env=boards.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert both.stdout.splitlines()[-1] == last


def test_columns_that_do_not_fit_are_named_as_the_option_takes_them(boards):
    arguments = ("leaderboard", "--dataset", "toy", "--no-published")
    output = boards(*arguments, COLUMNS="60")
    assert "Columns not shown, as the terminal has 60: balanced %;" in output
    (names,) = re.findall(r"`--columns (\S+)`", output)
    assert names.startswith("balanced_accuracy,")
    assert "balanced %" in boards(*arguments, "--columns", "balanced_accuracy", COLUMNS="60")
    assert "Columns not shown" not in boards(*arguments)
    boards("leaderboard")  # with all columns again


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_printed_tables_fit_the_terminal(boards, columns):
    for arguments in (
        ("leaderboard", "--model", "*"),
        ("results", "list"),
        ("plugins",),
        ("list", "models", "datasets", "perturbations"),
        ("compare", "toy-mean", "toy-features", "--dataset", "toy"),
        ("compare", "published:deepcmorph", "published:efficientnet-b0-ensemble"),
    ):
        process = boards.start(*arguments, COLUMNS=str(columns))
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        too_long = [line for line in printed.splitlines() if len(line) > columns]
        # A name or a path is not broken.
        assert all(len(line.split()) <= 2 for line in too_long), too_long
        whole = boards(*arguments)
        words = set(whole.split())
        assert {word for word in printed.split() if word.startswith("toy-")} <= words


def test_nothing_heavy_is_loaded_before_ctrl_c_is_answered():
    code = "import sys, harness.cli; sys.exit('numpy' in sys.modules or 'pluggy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
