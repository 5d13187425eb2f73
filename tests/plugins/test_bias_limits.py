"""What probes would have seen: the limits in the plugin are those of the calibration's page."""

import csv
import importlib.util
import json
from pathlib import Path

from harness import DatasetProbe
from harness_bias import harness_probes
from harness_bias.audit import limits

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "leaderboards/calibration-real-nct-crc-he-sample.json"
CONTENT = {
    "dataset": "some-data",
    "patches": ["a", "b"],
    "draws": 20,
    "limits": [
        {"probe": "noise", "fault": "noise", "unit": "gray levels of noise", "dose": 2.0},
        {"probe": "noise", "fault": "gray-noise", "unit": "gray levels", "dose": None},
        {"probe": "noise", "fault": "other", "unit": "of something", "dose": 0.5},
        {"probe": "noise", "fault": "last", "unit": "points of something else", "dose": 1},
    ],
}


def script():
    place = ROOT / "tests/simulations/limits.py"
    spec = importlib.util.spec_from_file_location("limits_script", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_limits_in_the_plugin_are_those_of_the_page():
    content = json.loads(PAGE.read_text("utf-8")) if PAGE.exists() else {"limits": ()}
    expected = script().rows(content) if content["limits"] else []
    with limits.TABLE.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == expected
    assert expected[0]["unit"].removeprefix("points") in probes()[expected[0]["probe"]].limits


def test_the_false_flags_in_the_plugin_are_those_of_the_page():
    content = json.loads(PAGE.read_text("utf-8"))
    with limits.FALSE_FLAGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = script().false_flags(content)
    assert [{name: one[name] for name in rows[0]} for one in expected] == rows
    assert "in 5 of 234 draws without any fault" in probes()["frame"].false_flags
    assert {row["probe"] for row in rows} == {
        name for name, probe in probes().items() if isinstance(probe, DatasetProbe)
    }


def probes():
    return {probe.name: probe for probe in harness_probes()}


def test_limits_are_said_in_words(monkeypatch):
    rows = script().rows(CONTENT)
    monkeypatch.setattr(limits, "_rows", lambda table: rows)
    assert limits.said("noise") == (
        "With 2 patches, as in the calibration on some-data, it would have seen "
        "2 gray levels of noise; 0.5 of something; 1 point of something else"
    )
    assert limits.said("color") == (
        "How small a fault it would have seen was not measured on real patches"
    )
    monkeypatch.setattr(limits, "_rows", lambda table: rows * 2)
    assert limits.said("noise").endswith("; limits of 2 more kinds are on the page of the fault")


def test_false_flags_are_said_in_words(monkeypatch):
    table = {
        "false flags": (("probe", "flags", "draws", "from", "to"), ("noise", 1, 40, "0.4", "12.9")),
        "cross-talk": (("probe", "flags", "draws"), ("noise", 2, 30)),
    }
    tables = [
        {"name": name, "headings": headings, "rows": [row]}
        for name, (headings, row) in table.items()
    ]
    rows = script().false_flags({**CONTENT, "tables": tables})
    monkeypatch.setattr(limits, "_rows", lambda table: rows)
    assert limits.false_flags("noise") == (
        "In the calibration on some-data (2 patches) it raised its flag in 1 of 40 draws without "
        "any fault (95 % interval 0.4 to 12.9 %), and in 2 of 30 with a fault of another kind alone"
    )
    assert limits.false_flags("color") == ""


def test_probes_of_fine_traces_say_which_patches_they_were_tuned_on():
    probes = {probe.name: probe for probe in harness_probes()}
    tuned = limits.TABLE.with_name("tuned_on.txt").read_text(encoding="utf-8").split()
    for name in ("compression", "sharpness", "noise"):
        assert probes[name].tuned_on([tuned[0], "another"]).tolist() == [True, False]
