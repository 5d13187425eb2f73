"""Damaged files of a store, as a user meets them: named, refused, computed again, removed."""

import json
import re
import shlex
import shutil

import numpy as np
import pytest

pytestmark = pytest.mark.once

RUN = ("run", "--dataset", "toy", "--no-probes")
BOTH = ("--model", "toy-mean", "--model", "toy-features")


def rows(command, folder="reports"):
    content = json.loads((command.folder / folder / "toy.json").read_text())
    for row in content["rows"]:
        row["fit_seconds"] = row["patches_per_second"] = None
    return {row["model"]: row for row in content["rows"] if row["result"] != "published"}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def stored(command, kind, model, name):
    (path,) = (command.folder / "runs" / kind).glob(f"*/{model}/*/{name}")
    return path.relative_to(command.folder)


def advice(output, path, which):
    """The command that a message about a file names, ready to run."""
    (line,) = {line for line in output.splitlines() if f"{path}: " in line and "`" in line}
    found = shlex.split(re.findall(r"`(.*?)`", line)[which])
    assert found[0] == "harness"
    return found[1:]


@pytest.mark.parametrize("settings", [(), ("--seed", 3, "--set", "toy-mean.scale=2.5")])
def test_the_command_that_a_message_names_computes_it_again(toy, settings):
    toy(*RUN, *BOTH, *settings)
    before = rows(toy)
    path = stored(toy, "prediction", "toy-mean", "logits.npy")
    flip(toy.folder / path)
    page = (toy.folder / "reports/toy.md").read_bytes()
    for refused in (("leaderboard",), ("compare", "toy-mean", "toy-features")):
        output = toy(*refused, code=2)
        assert f"{path}: is damaged (its SHA-256 is " in output
    assert (toy.folder / "reports/toy.md").read_bytes() == page, "it is left as it was"
    output = toy(*advice(output, path, 0), "--no-probes")
    assert f"WARNING: {path}: is damaged" in output
    assert rows(toy) == before
    toy("leaderboard")


def test_what_is_damaged_can_be_removed_by_the_command_that_the_message_names(toy):
    toy(*RUN, *BOTH)
    path = stored(toy, "prediction", "toy-mean", "record.json")
    (toy.folder / path).unlink()
    output = toy("leaderboard", code=2)
    assert f"{path}: is missing" in output
    toy(*advice(output, path, 1))
    toy("leaderboard")
    assert set(rows(toy)) == {"toy-features"}


def test_a_damaged_result_that_a_run_does_not_plan_costs_its_own_row_and_is_said(toy):
    toy(*RUN, *BOTH)
    before = rows(toy)
    path = stored(toy, "prediction", "toy-mean", "logits.npy")
    flip(toy.folder / path)
    arguments = (*RUN, "--model", "toy-features")
    for _ in range(2):
        output = toy(*arguments, code=1)
        assert "harness: failed: " in output
        assert f"{path}: is damaged" in output
        found = rows(toy)
        assert found["toy-mean"]["result"] == "failed"
        assert f"{path}: is damaged" in found["toy-mean"]["notes"]
        assert found["toy-features"]["accuracy"] == before["toy-features"]["accuracy"]
    toy(*RUN, "--model", "toy-mean")
    assert rows(toy) == before


@pytest.mark.parametrize("content", [None, b"", b"0123456789abcdef\n", b"\xff\xfe\n"])
def test_a_damaged_pointer_to_the_current_copy_loses_no_board(toy, content):
    toy(*RUN, *BOTH)
    before = rows(toy)
    pointer = toy.folder / "runs/dataset/toy/current"
    pointer.unlink()
    if content is not None:
        pointer.write_bytes(content)
    for refused in (("leaderboard",), ("compare", "toy-mean", "toy-features")):
        output = toy(*refused, code=2)
        assert "runs/dataset/toy/current: is " in output
    output = toy(*advice(output, "runs/dataset/toy/current", 0), *BOTH, "--no-probes")
    assert "WARNING: runs/dataset/toy/current: is " in output
    assert rows(toy) == before


def test_a_dataset_whose_folder_is_gone_is_named(toy):
    toy(*RUN, *BOTH)
    before = rows(toy)
    shutil.rmtree(toy.folder / "runs/dataset/toy")
    for refused in (("leaderboard",), ("compare", "toy-mean", "toy-features")):
        output = toy(*refused, code=2)
        assert "runs/dataset/toy/current: is missing" in output
    toy(*advice(output, "runs/dataset/toy/current", 0), *BOTH, "--no-probes")
    assert rows(toy) == before


DAMAGING = """
from pathlib import Path
from harness import hookimpl


@hookimpl
def harness_result_stored(record, folder):
    if record["key"]["kind"] == "KIND":
        path, flag = folder / "FILE", Path("TIMES-damaged")
        if len(flag.read_text() if flag.exists() else "") < TIMES:
            with flag.open("a") as file:
                file.write("x")
            data = bytearray(path.read_bytes())
            data[-1] ^= 1
            path.write_bytes(data)
"""


@pytest.mark.parametrize(
    ("kind", "file", "model"),
    [
        ("features", "values.npy", "toy-features"),
        ("fit", "means.npy", "toy-mean"),
        ("prediction", "logits.npy", "toy-mean+flips"),
    ],
)
def test_an_input_that_is_found_damaged_by_the_job_that_reads_it_is_computed_again(
    toy, kind, file, model
):
    toy(*RUN, "--model", model, "--leaderboards", "sound", "--store", "sound-runs")
    plugin = toy.folder / "damaging.py"
    source = DAMAGING.replace("KIND", kind).replace("FILE", file)
    plugin.write_text(source.replace("TIMES", "1"))
    output = toy(*RUN, "--model", model, "--plugin", plugin)
    assert re.search(rf"WARNING: \S*runs/{kind}/\S*/{file}: is damaged", output)
    assert rows(toy) == rows(toy, "sound")
    # One that is damaged each time it is written is a failure that names it.
    shutil.rmtree(toy.folder / "runs")
    plugin.write_text(source.replace("TIMES", "9"))
    output = toy(*RUN, "--model", model, "--plugin", plugin, code=1)
    assert re.search(rf"harness: failed: .*runs/{kind}/\S*/{file}: is damaged", output)


def test_a_damaged_fit_is_fitted_again_when_a_table_reads_it(toy):
    arguments = (*RUN, "--model", "toy-mean", "--audit-selection", "--temperature")
    toy(*arguments)
    pages = [toy.folder / "reports" / name for name in ("toy-selection.json", "toy.json")]
    before = [json.loads(pages[0].read_text()), rows(toy)]
    for name in ("epochs.npz", "held-out.npz"):
        path = stored(toy, "fit", "toy-mean", name)
        flip(toy.folder / path)
        output = toy("leaderboard", "--temperature", code=2)
        assert f"{path}: is damaged" in output
        assert f"WARNING: {path}: is damaged" in toy(*arguments)
        assert [json.loads(pages[0].read_text()), rows(toy)] == before


def test_the_command_for_a_fit_names_its_settings(toy):
    arguments = (*RUN, "--model", "toy-mean", "--audit-selection", "--set", "scale=2", "--seed", 3)
    toy(*arguments)
    path = stored(toy, "fit", "toy-mean", "epochs.npz")
    flip(toy.folder / path)
    output = toy("leaderboard", code=2)
    found = advice(output, path, 0)
    settings = {found[at + 1] for at, word in enumerate(found) if word == "--set"}
    assert settings == {"fail=False", "scale=2.0", "steps=3"}
    assert found[:7] == ["run", "--dataset", "toy", "--model", "toy-mean", "--seed", "3"]
    assert f"WARNING: {path}: is damaged" in toy(*found, "--no-probes")
    toy("leaderboard")


def test_readings_of_a_calibration_that_are_damaged_are_computed_again(toy):
    arguments = ("calibrate", "--phantom", "toy-phantom", "--seeds", 2, "--dataset", "toy")
    toy(*arguments)
    page = (toy.folder / "reports/calibration-toy-phantom.md").read_bytes()
    for kind, name in (("calibration", "readings.json"), ("check", "tables.json")):
        path = next((toy.folder / "runs" / kind).glob(f"*/*/*/{name}"))
        flip(path)
        said = f"WARNING: {path.relative_to(toy.folder)}: is damaged"
        assert said in toy(*arguments)
        assert (toy.folder / "reports/calibration-toy-phantom.md").read_bytes() == page


def test_findings_that_are_damaged_do_not_vanish_from_the_page(toy):
    toy("audit", "--dataset", "toy")
    page = (toy.folder / "reports/toy-audit.md").read_text()
    path = stored(toy, "finding", "toy-brightness", "finding.json")
    flip(toy.folder / path)
    assert f"WARNING: {path}: is damaged" in toy("audit", "--dataset", "toy")
    assert (toy.folder / "reports/toy-audit.md").read_text() == page


def test_a_record_of_a_failure_that_is_damaged_neither_vanishes_nor_stays(toy):
    arguments = (*RUN, "--model", "toy-mean")
    toy(*arguments, "--set", "fail=true", code=1)
    toy(*RUN, "--model", "toy-features")
    (folder,) = (toy.folder / "runs/failed/toy/toy-mean").iterdir()
    for damage in (flip, lambda path: path.unlink()):
        damage(folder / "record.json")
        name = (folder / "record.json").relative_to(toy.folder)
        assert f"{name}: is " in toy("leaderboard", code=2)
        assert f"{name}: is " in toy(*RUN, "--model", "toy-features", code=1)
        assert rows(toy)["toy-mean"]["result"] == "failed"
        output = toy(*arguments, "--set", "fail=true", code=1)
        assert f"WARNING: {name}: is " in output
        assert "told to fail" in rows(toy)["toy-mean"]["notes"]
    toy(*arguments)
    assert rows(toy)["toy-mean"]["result"] == "measured"
    toy("leaderboard")


def test_a_store_file_is_written_again_by_a_run_and_by_nothing_else(toy):
    toy(*RUN, *BOTH)
    before = rows(toy)
    marker = toy.folder / "runs/store.json"
    for content in (None, "", "[]", '{"format": "2"}', marker.read_text().replace("3", "2", 1)):
        marker.unlink()
        if content is not None:
            marker.write_text(content)
        assert "runs/store.json: is " in toy("leaderboard", code=2)
        assert "WARNING: runs/store.json: is " in toy(*RUN, *BOTH)
        assert rows(toy) == before
        toy("leaderboard")


def test_logits_of_another_result_are_not_taken_for_those_of_this_one(toy):
    toy(*RUN, *BOTH)
    one, other = (
        (toy.folder / stored(toy, "prediction", name, "record.json")).parent
        for name in ("toy-mean", "toy-features")
    )
    shutil.rmtree(one)
    shutil.copytree(other, one)
    output = toy("leaderboard", code=2)
    assert "record.json: is the record of another result, prediction/toy/toy-features/" in output


def test_results_are_listed_and_removed(toy):
    toy(*RUN, *BOTH, "--model", "toy-mean+flips", "--seeds", 2)
    toy(*RUN, "--model", "toy-mean", "--set", "scale=2")
    toy(*RUN, "--model", "toy-features", "--plugin", failing(toy), "--model", "fails", code=1)
    toy("audit", "--dataset", "toy")
    listed = toy("results", "list")
    assert len(re.findall(r"\n *toy +toy-mean ", listed)) == 3
    assert re.search(r"toy-mean +scale 2.0 \(default 1.0\) +0 ", listed)
    assert re.search(r"toy +fails .* failed: RuntimeError: no", listed)
    assert "toy-brightness (finding)" in listed
    only = toy("results", "list", "--model", "toy-features", "--dataset", "toy")
    assert "toy-mean" not in only
    assert "fails" in toy("results", "list", "--failed")
    # A trial with other settings goes, and nothing but that.
    (digest,) = re.findall(r"scale 2.0 .* ([0-9a-f]{16}) ", listed)
    fits = len(list((toy.folder / "runs/fit/_shared/toy-mean").iterdir()))
    assert "Nothing is removed yet: add --yes" in toy("results", "remove", digest)
    assert digest in toy("results", "list")
    assert "Removed: 1 fits, 1 predictions; " in toy("results", "remove", digest, "--yes")
    assert len(list((toy.folder / "runs/fit/_shared/toy-mean").iterdir())) == fits - 1
    toy("leaderboard")
    assert set(rows(toy)) == {"toy-mean", "toy-features", "toy-mean+flips", "fails"}
    assert list((toy.folder / "runs/picture/toy").glob("*"))
    # What is computed from it goes with it.
    output = toy("results", "remove", "--model", "toy-mean", "--dataset", "toy", "--yes")
    assert "The last 2 are computed from the others." in output
    toy("leaderboard")
    assert set(rows(toy)) == {"toy-features", "fails"}
    toy("results", "remove", "--failed", "--yes")
    toy("leaderboard")
    assert set(rows(toy)) == {"toy-features"}
    # The features that the audit needs as well stay.
    toy("results", "remove", "--model", "toy-features", "--yes")
    assert sorted(p.name for p in (toy.folder / "runs/features/_shared").iterdir()) == [
        "toy-means-test",
        "toy-means-train",
    ]
    assert "Everything is in the store" in toy("audit", "--dataset", "toy")
    toy("results", "remove", "--dataset", "toy", "--yes")
    assert "Nothing is stored." in toy("results", "list")
    assert not list((toy.folder / "runs/dataset").glob("*"))
    assert not list((toy.folder / "runs/picture").glob("*"))
    toy("leaderboard")


def failing(command):
    path = command.folder / "fails.py"
    path.write_text(
        "from harness import Model, hookimpl\n"
        "def fit(train, validation, context):\n    raise RuntimeError('no')\n"
        "@hookimpl\ndef harness_models():\n"
        "    return [Model(name='fails', title='Fails', fit=fit, load=fit)]\n"
    )
    return path


def test_results_remove_says_what_it_needs(toy):
    toy(*RUN, "--model", "toy-mean")
    assert "name digests, or choose with" in toy("results", "remove", code=2)
    assert "no result is 0123" in toy("results", "remove", "0123", code=2)
    assert "did you mean toy-mean?" in toy("results", "list", "--model", "toy-man", code=2)
    toy(*RUN, "--model", "toy-features")
    both = "--model", "toy-mean", "--model", "toy-features"
    assert "did you mean" in toy("results", "list", *both, "--model", "toy-meen", code=2)
    output = toy("results", "remove", *both, "--yes")
    assert "2 fits, 2 predictions" in output
    assert "Nothing is stored of toy any more, so no tables of it are written" in output
    output = toy("results", "remove", "--dataset", "toy", "--yes", code=2)
    assert "--dataset toy: not in the store" in output
    assert "no store there" in toy("results", "list", "--store", "none", code=2)


def test_what_is_damaged_is_listed_and_what_may_be_needed_stays(toy):
    toy(*RUN, *BOTH)
    path = stored(toy, "prediction", "toy-mean", "record.json")
    (toy.folder / path).write_bytes(b"")
    assert f"damaged: {path}" in toy("results", "list")
    output = toy("results", "remove", "--model", "toy-features", "--yes")
    assert "Removed: 1 predictions" in output, "the damaged one may need its fit and features"
    toy("results", "remove", "--model", "toy-mean", "--yes")
    assert list((toy.folder / "runs/prediction").glob("*")) == []


def test_features_prove_themselves_when_they_are_read(toy):
    toy(*RUN, "--model", "toy-features")
    (path,) = (toy.folder / "runs/features/_shared/toy-means-train").glob("*/values.npy")
    before = np.load(path)
    flip(path)
    shutil.rmtree(toy.folder / "runs/fit")
    shutil.rmtree(toy.folder / "runs/prediction")
    output = toy(*RUN, "--model", "toy-features")
    assert f"WARNING: {path.relative_to(toy.folder)}: is damaged" in output
    assert (np.load(path) == before).all()
