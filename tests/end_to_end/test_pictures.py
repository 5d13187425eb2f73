"""Pictures as the command writes them."""

import pytest
from PIL import Image

pytestmark = pytest.mark.once

SAMPLE = "nct-crc-he-sample"
TOY = ("--dataset", "toy", "--model", "toy-mean")


def written(toy):
    return {path.name: path.read_bytes() for path in (toy.folder / "reports").iterdir()}


def test_pictures_are_written_in_the_formats_that_are_asked_for(toy):
    output = toy("run", *TOY, "--format", "png,svg,pdf")
    found = written(toy)
    for stem in ("toy-intervals", "toy-errors-confusion-toy-mean", "toy-probes-red"):
        assert found[f"{stem}.png"].startswith(b"\x89PNG")
        assert found[f"{stem}.svg"].startswith(b"<?xml")
        assert found[f"{stem}.pdf"].startswith(b"%PDF")
    assert "also .csv, .json, .pdf, .png, .svg, .tex" in output
    page = found["toy.md"].decode()
    assert page.splitlines()[2] == "![accuracies with intervals](toy-intervals.png)"
    assert (
        "![confusion matrix](toy-errors-confusion-toy-mean.png)" in found["toy-errors.md"].decode()
    )
    toy("leaderboard", "--format", "svg")
    again = written(toy)
    assert again["toy-intervals.svg"] == found["toy-intervals.svg"]
    assert "(toy-intervals.svg)" in again["toy.md"].decode()
    for wrong in ("gif", "png,gif", ","):
        assert "names none, or others than png, svg, pdf" in toy(
            "leaderboard", "--format", wrong, code=2
        )


def test_pictures_that_have_not_changed_are_not_drawn_again(toy):
    toy("run", *TOY, "--format", "png,svg")
    kept = toy.folder / "runs" / "picture" / "toy" / "toy-intervals"
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}
    assert {path.name for path in before} >= {"picture.png", "picture.svg"}
    toy("leaderboard", "--format", "svg,png")
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before


def test_the_board_alone_has_its_picture(toy):
    toy("run", *TOY, "--report", "csv")
    assert set(written(toy)) == {"toy.csv"}
    toy("leaderboard", "--report", "markdown")
    assert set(written(toy)) == {"toy.csv", "toy.md", "toy-intervals.png"}


def test_latex_has_the_rows_that_are_printed(toy):
    toy("run", *TOY, "--model", "toy-features")
    toy("leaderboard", "--model", "toy-m*", "--columns", "accuracy,macro_f1")
    text = written(toy)["toy.tex"].decode()
    assert "toy-mean" in text
    assert "toy-features" not in text
    assert "macro F1" in text
    assert "toy-features" in written(toy)["toy.md"].decode()


def test_an_audit_shows_patches_of_each_class(command):
    command("audit", "--dataset", SAMPLE, "--probe", "leakage", "--probe", "dynamic-range")
    folder = command.folder / "reports"
    page = (folder / f"{SAMPLE}-audit.md").read_text()
    for name in ("patches", "corrupt"):
        path = folder / f"{SAMPLE}-audit-{name}.jpg"
        assert f"]({path.name})" in page
        assert path.stat().st_size < 300_000
        assert Image.open(path).width == 1050
    before = (folder / f"{SAMPLE}-audit-patches.jpg").read_bytes()
    (folder / f"{SAMPLE}-audit-patches.jpg").unlink()
    command("audit", "--dataset", SAMPLE, "--no-images")
    assert "-audit-patches" not in (folder / f"{SAMPLE}-audit.md").read_text()
    assert not (folder / f"{SAMPLE}-audit-patches.jpg").exists()
    command("audit", "--dataset", SAMPLE)
    assert (folder / f"{SAMPLE}-audit-patches.jpg").read_bytes() == before


def test_patches_that_may_not_be_shown_are_not(toy):
    file = toy.folder / "secret.toml"
    (toy.folder / "tree").mkdir()
    for part, label in ((p, c) for p in ("train", "test") for c in ("A", "B")):
        place = toy.folder / "tree" / part / label
        place.mkdir(parents=True)
        for number in range(6):
            shade = 40 * number + (20 if label == "B" else 0)
            Image.new("RGB", (32, 32), (shade, 90, 200)).save(place / f"{part}{label}{number}.png")
    file.write_text(
        'kind = "folder"\ntrain = "tree/train"\ntest = "tree/test"\nshows_patches = false\n'
    )
    toy("audit", "--dataset", "secret", "--plugin", file)
    page = written(toy)["secret-audit.md"].decode()
    assert "Patches are not shown" in page
    assert not [name for name in written(toy) if name.endswith(".jpg")]
    file.write_text(file.read_text().replace("false", "true"))
    toy("audit", "--dataset", "secret", "--plugin", file)
    assert "secret-audit-patches.jpg" in written(toy)


@pytest.mark.parametrize(
    ("gallery", "message"),
    [("broken", "the toy gallery was told to fail"), ("nowhere/1", "KeyError: 'nowhere/1'")],
)
def test_a_gallery_that_fails_costs_itself(toy, gallery, message):
    output = toy("audit", "--dataset", "toy", code=1, TOY_GALLERY=gallery)
    assert "failed: picture toy-audit-pair.jpg" in output
    assert message in output
    assert "A table" in written(toy)["toy-audit.md"].decode()


def test_pairs_stand_side_by_side(toy):
    toy("audit", "--dataset", "toy", TOY_GALLERY="test/0 test/1")
    page = written(toy)["toy-audit.md"].decode()
    assert "Pair, 1 of 1:\n\n![pair](toy-audit-pair.jpg)" in page
    assert written(toy)["toy-audit-pair.jpg"].startswith(b"\xff\xd8")
