"""What probes would have seen: the limits in the plugin are those of the calibration's page."""

import csv
import importlib.util
import json
from pathlib import Path

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
    for probe in harness_probes():
        said = [row for row in expected if row["probe"] == probe.name]
        assert all(row["unit"] in probe.limits for row in said)


def test_limits_are_said_in_words(monkeypatch):
    rows = script().rows(CONTENT)
    monkeypatch.setattr(limits, "_rows", lambda: rows)
    assert limits.said("noise") == (
        "With 2 patches, as in the calibration on some-data, it would have seen "
        "2 gray levels of noise; 0.5 of something"
    )
    assert limits.said("color") == ""


def test_probes_of_fine_traces_say_which_patches_they_were_tuned_on():
    probes = {probe.name: probe for probe in harness_probes()}
    tuned = limits.TABLE.with_name("tuned_on.txt").read_text(encoding="utf-8").split()
    for name in ("compression", "sharpness", "noise"):
        assert probes[name].tuned_on([tuned[0], "another"]).tolist() == [True, False]
