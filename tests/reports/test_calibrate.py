"""Calibration with the toy phantom: what is planted, read, stored, written."""

import csv
import json


def page(command):
    return (command.folder / "reports/calibration-toy-phantom.md").read_text()


def test_calibrate_reads_every_dose_of_every_fault(toy):
    output = toy("calibrate", "--phantom", "toy-phantom", "--seeds", 2)
    assert toy.toy_log.count("plant 1 {}") == 1  # by another process than seed 0
    assert toy.toy_log.count("plant 1 {'light': 0.1}") == 1
    assert toy.toy_log.count("plant 0 {'light': 1.0}") == 2  # alone, and with all others
    assert "none" in output
    with (toy.folder / "reports/calibration-toy-phantom.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(r["fault"], r["dose"], r["flag"]) for r in rows} == {
        ("none", "0.0", "False"),
        ("light", "0.1", "False"),
        ("light", "1.0", "True"),
        ("all", "1.0", "True"),
    }
    readings = [float(r["reading"]) for r in rows if r["seed"] == "0"]
    assert readings[0] < readings[1] < readings[2] == readings[3]
    content = json.loads((toy.folder / "reports/calibration-toy-phantom.json").read_text())
    assert content["version"] == 1
    assert content["probes"] == {"toy-brightness": [1, "toy-means 1"]}
    assert "--phantom toy-phantom" in content["command"]
    assert r"| light     | 1      | 100 %\*          |" in page(toy)
    assert "| none      | 0      | 0 %              |" in page(toy)


def test_seeds_that_are_done_are_read_back(toy):
    arguments = ("calibrate", "--phantom", "toy-phantom", "--seeds")
    toy(*arguments, 1)
    planted = len([line for line in toy.toy_log if line.startswith("plant")])
    toy(*arguments, 2)
    again = [line for line in toy.toy_log if line.startswith("plant")][planted:]
    assert len(again) == planted
    assert all(line.startswith("plant 1") for line in again)


def test_a_part_of_the_probes_is_shown_but_not_written(toy):
    arguments = ("--phantom", "toy-phantom", "--probe", "toy-brightness", "--seeds", 1)
    output = toy("calibrate", *arguments)
    assert "Not written" in output
    assert not (toy.folder / "reports").exists()


def test_a_real_dataset_stands_beside_the_phantoms(toy):
    toy("calibrate", "--phantom", "toy-phantom", "--seeds", 1, "--dataset", "toy")
    assert "| toy       |        | not raised       |" in page(toy)
    assert "**toy-brightness on toy: Known changes**" in page(toy)


def test_a_phantom_that_fails_is_one_line(toy):
    arguments = ("calibrate", "--phantom", "toy-phantom", "--seeds", 1)
    output = toy(*arguments, code=1, TOY_BROKEN_PHANTOM="1")
    assert "toy-phantom, seed 0: RuntimeError: the toy phantom was told to fail" in output
    assert "Not written: the page of toy-phantom, of which seeds failed" in output
    assert "Traceback" not in output


def test_a_dataset_that_fails_costs_the_phantoms_nothing(toy):
    arguments = ("calibrate", "--phantom", "toy-phantom", "--seeds", 1, "--dataset", "toy")
    output = toy(*arguments, code=1, TOY_BROKEN_CHECK="1")
    assert "failed: known changes: toy-brightness on toy: RuntimeError: the toy check" in output
    assert r"| light     | 1      | 100 %\*          |" in page(toy)


def test_mistakes_are_named(toy):
    assert "not a whole number of at least 1" in toy("calibrate", "--seeds", 0, code=2)
    assert "did you mean toy-phantom" in toy("calibrate", "--phantom", "toy-fantom", code=2)
