"""Probes through the command: perturbed predictions, columns, audits, pages, what goes wrong."""

import json
import re
from dataclasses import asdict

import pytest

from harness import DatasetProbe, Estimate, Finding, Table
from harness.analysis.audits import DatasetAudit
from harness.reports import report
from harness.store.failures import Collected
from harness.store.store import Store
from harness.store.stored import load_array
from harness.types.findings import finding_from

TOY = ("--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")


def predictions(command, model):
    """Records of all stored predictions of a model, and their logits."""
    for record, place in Store(command.folder / "runs").each("prediction", "toy"):
        if record["model"] == model:
            yield record, load_array(place, "logits.npy")


def conditions(command, model):
    records = [record for record, _ in predictions(command, model)]
    return sorted((record["perturbation"], record["level"] or 0) for record in records)


def board(command):
    return json.loads((command.folder / "reports/toy.json").read_text())


def test_a_run_asks_the_probes_of_models_and_adds_their_columns(toy):
    output = toy("run", *TOY)
    for model in ("toy-mean", "toy-features"):
        assert conditions(toy, model) == [("clean", 0), ("toy-noise", 5), ("toy-noise", 50)]
    assert "What the columns mean, and where the data are from: reports/toy.md" in output
    page = (toy.folder / "reports/toy.md").read_text(encoding="utf-8")
    assert "“red %”: how many patches are called red." in page
    measured = [row for row in board(toy)["rows"] if row["result"] == "measured"]
    for row in measured:
        share = sum(line[0] for line in row["confusion"]) / 30
        assert row["toy-share.share of red"] == pytest.approx(share)
        assert row["toy-share.share of red_low"] == 0
    published = [row for row in board(toy)["rows"] if row["result"] == "published"]
    assert {row["toy-share.share of red"] for row in published} == {None}
    page = (toy.folder / "reports/toy-probes.md").read_text()
    assert "### toy-features" in page
    assert "are called red." in page
    assert re.search(r"\| toy-noise \| 50 +\| toy-deep \| +\| 10.00 ", page)
    data = json.loads((toy.folder / "reports/toy-probes.json").read_text())
    assert set(data["findings"]["toy-share"]) == {"toy-mean", "toy-features"}
    assert (toy.folder / "reports/toy-probes-red.png").read_bytes()[:4] == b"\x89PNG"


def test_the_board_of_clean_patches_is_written_before_the_probes_begin(toy):
    output = toy("run", "--dataset", "toy", "--model", "toy-mean")
    lines = output.splitlines()
    wrote = [number for number, line in enumerate(lines) if line.startswith("Wrote ")]
    perturbed = next(n for n, line in enumerate(lines) if "predicts perturbed patches" in line)
    assert wrote[0] < perturbed < wrote[1]


def test_no_probes_and_single_probes(toy):
    toy("run", *TOY, "--no-probes")
    assert conditions(toy, "toy-mean") == [("clean", 0)]
    toy("run", *TOY, "--probe", "toy-share")
    assert ("toy-noise", 50) in conditions(toy, "toy-mean")
    output = toy("run", *TOY, "--probe", "toy-brightness", code=2)
    assert "--probe: toy-brightness asks a dataset: harness audit --probe toy-brightness" in output
    output = toy("audit", "--dataset", "toy", "--probe", "toy-share", code=2)
    assert "--probe: toy-share asks a model: harness run --probe toy-share" in output
    assert "did you mean toy-share" in toy("run", *TOY, "--probe", "toy-shame", code=2)


@pytest.mark.once
def test_sums_over_flips_are_perturbed_only_when_named(toy):
    toy("run", "--all", "--without", "histo-harness", "--probe", "toy-share")
    assert {name for name, _ in conditions(toy, "toy-mean+flips")} == {"clean"}
    assert ("toy-noise", 50) in conditions(toy, "toy-mean")
    toy("run", "--dataset", "toy", "--model", "toy-mean+flips", "--probe", "toy-share")
    assert ("toy-noise", 50) in conditions(toy, "toy-mean+flips")


@pytest.mark.once
def test_a_level_that_fails_costs_only_itself(toy):
    output = toy("run", *TOY, code=1, TOY_BROKEN_NOISE="5")
    line = next(line for line in output.splitlines() if line.startswith("harness: failed:"))
    assert "(toy-noise 5) (and 1 more for the same reason): RuntimeError: the toy noise" in line
    assert conditions(toy, "toy-mean") == [("clean", 0), ("toy-noise", 50)]
    assert conditions(toy, "toy-features") == [("clean", 0), ("toy-noise", 50)]
    toy("run", *TOY)
    assert conditions(toy, "toy-mean") == [("clean", 0), ("toy-noise", 5), ("toy-noise", 50)]
    assert not list((toy.folder / "runs/unfinished").iterdir())


def test_a_perturbation_can_learn_the_look_of_each_class(toy):
    toy("run", *TOY, "--perturbation", "toy-toward", "--no-probes")
    levels = [("clean", 0), ("toy-toward", 0), ("toy-toward", 1), ("toy-toward", 2)]
    assert conditions(toy, "toy-features") == levels
    for record, logits in predictions(toy, "toy-features"):
        if record["perturbation"] == "toy-toward":
            assert (logits.argmax(axis=1) == record["level"]).all()  # the model goes by mean color
            assert len(record["learned"]) == 1


def test_a_probe_of_models_that_fails_leaves_the_board_standing(toy):
    output = toy("run", *TOY, code=1, TOY_BROKEN_PROBE="1")
    assert "failed: probe toy-share of toy-" in output
    (path,) = re.findall(r"RuntimeError: the toy probe was .* \(details in (\S+)\)", output)
    assert "Traceback" in (toy.folder / path).read_text()
    assert len([row for row in board(toy)["rows"] if row["result"] == "measured"]) == 2
    assert board(toy)["rows"][0]["toy-share.share of red"] is None


def test_a_plot_that_fails_is_a_warning(toy):
    output = toy("run", *TOY, code=1, TOY_BROKEN_PLOT="1")
    assert "failed: picture toy-probes-red.png: RuntimeError: the toy plot was" in output
    assert "toy-probes-red.png)" not in (toy.folder / "reports/toy-probes.md").read_text()


def test_audit_writes_a_page_and_asks_nothing_twice(toy):
    output = toy("audit", "--dataset", "toy")
    assert "toy-brightness  ok    brightness " in output
    page = (toy.folder / "reports/toy-audit.md").read_text()
    assert "| x   | 1.5 |" in page
    assert "![bright](toy-audit-bright.png)" in page
    content = json.loads((toy.folder / "reports/toy-audit.json").read_text())
    assert content["findings"]["toy-brightness"]["flag"] is False
    asked = toy.toy_log.count("toy-brightness asked")
    assert asked == 1
    again = toy("audit", "--dataset", "toy")
    assert "Everything is in the store" in again
    assert toy.toy_log.count("toy-brightness asked") == asked
    assert (toy.folder / "reports/toy-audit.md").read_text() == page


@pytest.mark.once
def test_one_probe_alone_leaves_what_others_found_on_the_page(command):
    command("audit", "--dataset", "nct-crc-he-sample", "--probe", "leakage")
    page = command.folder / "reports/nct-crc-he-sample-audit.md"
    assert "## Tone and dynamic range" not in page.read_text()
    command("audit", "--dataset", "nct-crc-he-sample", "--probe", "dynamic-range")
    assert "## Tone and dynamic range" in page.read_text()
    assert "## Leakage" in page.read_text()


def test_a_dataset_with_nothing_to_fit_on_can_be_audited(toy):
    assert "toy-brightness  ok" in toy("audit", "--dataset", "toy-test-only")
    output = toy("run", "--dataset", "toy-test-only", "--model", "toy-mean", code=2)
    assert (
        "dataset toy-test-only: a dataset without folds must come with a training split" in output
    )


def test_a_column_without_its_figure_stays_empty(toy, make_distribution):
    source = """
from harness import Column, Estimate, Finding, ModelProbe, hookimpl

@hookimpl
def harness_probes():
    column = Column(estimate="absent", heading="absent", about="nothing.", show=str)
    measure = lambda predictions: Finding(summary="empty")
    return [ModelProbe(name="empty", title="Empty", measure=measure, columns=(column,))]
"""
    toy.path.append(make_distribution("empty", {"empty": source}))
    toy("run", *TOY, "--no-probes")
    assert board(toy)["rows"][0]["empty.absent"] is None


def test_a_probe_of_datasets_that_fails_is_named(toy):
    output = toy("audit", "--dataset", "toy", code=1, TOY_BROKEN_PROBE="1")
    assert "failed: toy: toy-brightness probe: RuntimeError: the toy probe was told to" in output
    assert "toy-absent: no absent.zip" in toy("audit", "--dataset", "toy-absent", code=2)


def test_a_folder_that_cannot_hold_the_pages_is_refused_before_the_work(toy):
    (toy.folder / "file").write_text("no folder")
    for command in (("audit", "--dataset", "toy"), ("run", *TOY), ("calibrate", "--seeds", 1)):
        output = toy(*command, "--leaderboards", "file/boards", code=2)
        assert "--leaderboards file/boards" in output
        assert "no folder that can be written to" in output
    assert not (toy.folder / "runs").exists()


def test_numbers_of_a_column_have_equally_many_decimals():
    rows = (("a", 1.0, 0.2, 1.0, None), ("b", 20.0, 1.0, 0.9764, 12.345))
    table = Table(name="t", title="T", headings=("x", "n", "dose", "share", "y"), rows=rows)
    first, second = report.render(table).splitlines()[2:]
    assert first.split() == ["|", "a", "|", "1", "|", "0.2", "|", "1.000", "|", "|"]
    assert second.split() == ["|", "b", "|", "20", "|", "1", "|", "0.976", "|", "12.3", "|"]
    assert (
        report.show(Estimate(name="f", value=1.0, low=0.5, high=1.25))
        == "f: 1.000 (0.500 to 1.250)"
    )
    assert report.show(Estimate(name="f", value=3.0)) == "f: 3"


def test_a_finding_comes_back_from_json_as_it_was():
    table = Table(name="t", title="T", headings=("a", "b"), rows=(("x", 1.5), ("y", None)))
    estimate = Estimate(name="f", value=0.5, low=0.25)
    finding = Finding(summary="s", estimates=(estimate,), tables=(table,), reading=0.125, flag=True)
    assert finding_from(json.loads(json.dumps(asdict(finding)))) == finding
    assert finding.estimate("f") is estimate
    with pytest.raises(KeyError, match="none named 'u'"):
        finding.table("u")


def test_the_page_says_how_strong_a_fault_is_and_what_a_probe_cannot_see(tmp_path):
    findings = {
        "one": Finding(summary="s", flag=True, grade="present", blind="blur of *0.3* px"),
        "two": Finding(summary="no judgement"),
    }
    probes = tuple(
        DatasetProbe(name=name, title=name.title(), features=(), measure=findings.get)
        for name in findings
    )
    described = {"name": "mine", "title": "Mine", "n_test": 9, "digest": "d"}
    report.write_audit(
        DatasetAudit(described=described, probes=probes, findings=findings),
        tmp_path,
        Collected(Store(tmp_path / "runs")),
    )
    page = (tmp_path / "mine-audit.md").read_text(encoding="utf-8")
    first, second = page.split("## Two")
    assert "Verdict: **present**." in first
    assert "It cannot see blur of \\*0.3\\* px." in first
    assert "Verdict" not in second
    assert "cannot see" not in second
    stored = json.loads((tmp_path / "mine-audit.json").read_text(encoding="utf-8"))
    assert finding_from(stored["findings"]["one"]) == findings["one"]
