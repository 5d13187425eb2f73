"""Calibration on real patches with the toy fault: what is planted, read, stored, written."""

import csv
import json
import re

import numpy as np
import pytest

from harness.jobs.planted import Graded
from harness.reports import calibrate_real
from harness.types.faults import PlantedFault

ARGUMENTS = ("calibrate", "--real", "toy", "--seeds", 2, "--without", "faults")


def path(command, ending):
    return command.folder / f"reports/calibration-real-toy.{ending}"


def test_every_dose_is_planted_once_and_read_in_every_draw(toy):
    output = toy(*ARGUMENTS)
    content = json.loads(path(toy, "json").read_text())
    patches = content["patches"]
    assert not [name for name in patches if name.endswith("/0")]  # those it was tuned on
    assert toy.toy_log.count("lighter 100") == len(patches)
    assert content["draws"] == 2
    assert content["probes"] == {"toy-brightness": [1, "toy-means 1"]}
    with path(toy, "csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["fault"], r["dose"], r["flag"]) for r in rows if r["fault"] != "toy-tinted"} == {
        *(("toy-lighter", dose, flag) for dose, flag in (("1", "False"), ("100", "True"))),
        *(("toy-lighter", "120", "True"), ("toy-darker-test", "20", "False")),
    }
    limit, _ = content["limits"]  # none of a probe that no plugin offers
    assert (limit["probe"], limit["dose"]) == ("toy-brightness", 100)
    page = path(toy, "md").read_text()
    assert "2 patches on which limits of a probe were set are left out" in page
    assert "| lighter             | 100 %\\*          |" in page
    assert "--real toy" in page
    assert "calibration-real-toy.md" in output


def test_readings_are_read_back(toy):
    toy(*ARGUMENTS)
    planted = [line for line in toy.toy_log if line.startswith("lighter")]
    toy(*ARGUMENTS)
    assert [line for line in toy.toy_log if line.startswith("lighter")] == planted


def test_a_fault_that_fails_is_one_line(toy):
    output = toy(*ARGUMENTS, code=1, TOY_BROKEN_FAULT="1")
    for fault in ("toy-lighter", "toy-darker-test"):
        assert re.search(f"toy with {fault}: .*RuntimeError: the toy fault was told", output)
    assert "Traceback" not in output
    assert not path(toy, "md").exists()


def test_one_fault_is_shown_but_not_written(toy):
    output = toy(*ARGUMENTS, "--fault", "toy-lighter", "--patches", 9)
    assert "Not written" in output
    assert not path(toy, "md").exists()


def test_mistakes_are_named(toy):
    assert "did you mean toy-lighter" in toy(*ARGUMENTS, "--fault", "toy-ligther", code=2)
    message = toy(*ARGUMENTS, "--phantom", "toy-phantom", code=2)
    assert "--real goes with neither --phantom nor --dataset" in message
    for option in (("--fault", "toy-lighter"), ("--patches", 9)):
        message = toy("calibrate", "--phantom", "toy-phantom", *option, code=2)
        assert f"{option[0]} is about real patches; name a dataset with --real" in message


@pytest.mark.parametrize("is_open", [False, True])
def test_what_would_have_been_seen_stands_beside_a_verdict(toy, is_open):
    environment = {"TOY_OPEN_VERDICT": "1"} if is_open else {}
    toy("audit", "--dataset", "toy", "--probe", "toy-brightness", **environment)
    page = (toy.folder / "reports/toy-audit.md").read_text()
    assert "It would have seen 100 gray levels of brightness." in page
    assert ("Not judged here. It would" in page) == is_open


def fault(name, doses, *raises):
    return PlantedFault(
        name=name,
        title=name,
        unit="",
        doses=doses,
        levels=lambda dose: (0, dose),
        plant=lambda patch, level, rng: patch,
        raises=raises,
    )


@pytest.mark.parametrize(
    ("found", "limit"),
    [
        ([0, 20, 20], 2),
        ([20, 20, 20], 1),
        ([20, 18, 19], 3),  # 19 of 20 are 95 %
        ([20, 20, 18], None),  # not at a larger dose
    ],
)
def test_a_limit_holds_at_every_larger_dose(found, limit):
    readings = {
        "f": [
            Graded("f", dose, draw, "p", 0.0, draw < n, "")
            for dose, n in zip((1, 2, 3), found, strict=True)
            for draw in range(20)
        ]
    }
    cells = calibrate_real.counted(readings)
    (one,) = calibrate_real.limits([fault("f", (1, 2, 3), "p", "absent")], ["p"], cells)
    assert one.dose == limit


def test_flags_where_nothing_is_wrong_are_pooled_over_controls():
    readings = {
        "control": [Graded("control", 1, d, "p", 0.0, d == 0, "") for d in range(10)],
        "other": [Graded("other", 1, d, "p", 0.0, d < 2, "") for d in range(10)],
    }
    faults = [fault("control", (1,)), fault("other", (1,), "q")]
    cells = calibrate_real.counted(readings)
    (false,) = calibrate_real._false_flags(faults, ["p"], cells).rows
    assert false[:4] == ("p", 1, 10, "10.0")
    assert float(false[4]) < 10 < float(false[5])
    (cross,) = calibrate_real._cross_talk(faults, ["p"], cells).rows
    assert cross[:4] == ("p", 2, 10, "20.0")
    assert cross[-2:] == ("20.0", "other, 1: 2 of 10")
    assert not np.isnan(float(cross[4]))


def test_cross_talk_between_the_doses_is_named():
    """A comb may show at a dose and be gone at a larger one."""
    readings = {
        "curve": [Graded("curve", d, 0, "p", 0.0, d == 2, "") for d in (1, 2, 3)],
    }
    cells = calibrate_real.counted(readings)
    (cross,) = calibrate_real._cross_talk([fault("curve", (1, 2, 3), "q")], ["p"], cells).rows
    assert cross[:4] == ("p", 0, 1, "0.0")
    assert cross[-2:] == ("33.3", "curve, 2: 1 of 1")
