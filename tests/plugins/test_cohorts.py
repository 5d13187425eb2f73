"""The cohorts that are built in, on real patches in their layout."""

import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import harness
from harness.hooks.loader import load_plugins
from harness.hooks.toml_files import read_toml
from harness.reports import transfer_text
from harness_cohorts import COHORTS
from harness_nct_crc import SAMPLE, TEST, TRAIN

COHORT = {entry["name"]: entry for entry in read_toml(COHORTS)["cohort"]}


def patches(n_of_each, scale):
    """Real test patches, enlarged: (class, image) some of each class."""
    seen = dict.fromkeys(("ADI", "LYM", "MUS", "MUC", "TUM", "NORM", "STR", "DEB"), 0)
    with zipfile.ZipFile(SAMPLE / f"{TEST}.zip") as source:
        for name in source.namelist():
            label = name.split("/")[-2]
            if not name.endswith("/") and seen.get(label, n_of_each) < n_of_each:
                seen[label] += 1
                image = cv2.imdecode(np.frombuffer(source.read(name), np.uint8), cv2.IMREAD_COLOR)
                larger = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
                yield label, larger


def write(folder, name, n_of_each=2, scale=1.0):
    """Patches in the layout of a cohort, a folder for each of its classes."""
    entry = COHORT[name]
    own = {entry.get("counterparts", {}).get(c, c): c for c in entry["classes"]}
    written = 0
    for number, (label, image) in enumerate(patches(n_of_each, scale)):
        if label in own:
            path = folder / entry["folder"] / own[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
            written += 1
    return written


@pytest.mark.parametrize("name", COHORT)
@pytest.mark.parametrize("form", ["folder", "zip", "zip of each class", "folder in each folder"])
def test_patches_are_listed_as_they_are_downloaded(tmp_path, name, form):
    found = load_plugins().datasets.find(name)
    assert COHORT[name]["folder"] in found.missing(tmp_path)
    assert COHORT[name]["get"] in found.missing(tmp_path)
    n = write(tmp_path, name)
    folder = tmp_path / COHORT[name]["folder"]
    if form == "zip of each class":
        for own in list(folder.iterdir()):
            with zipfile.ZipFile(folder / f"{own.name}.zip", "w") as target:
                for path in sorted(own.iterdir()):
                    target.write(path, f"{own.name}/{path.name}")
            shutil.rmtree(own)
    if form == "folder in each folder":
        for own in list(folder.iterdir()):
            own.rename(folder / "moved")
            own.mkdir()
            (folder / "moved").rename(own / own.name)
    if form == "zip":
        with zipfile.ZipFile(Path(f"{folder}.zip"), "w") as target:
            for path in sorted(folder.rglob("*.png")):
                target.write(path, path.relative_to(folder))
                path.unlink()
        shutil.rmtree(folder)
    assert found.missing(tmp_path) == ""
    splits = found.load(tmp_path)
    assert len(splits.test.labels) == n
    counts = np.bincount(splits.test.labels, minlength=len(found.classes))
    assert {2} <= set(counts.tolist()) <= {0, 2}
    assert splits.test.read([0]).shape == (1, 224, 224, 3)


@pytest.mark.once
def test_starc_9_is_tested_at_the_scale_of_nct_crc_he(tmp_path):
    for part in (TRAIN, TEST):
        (tmp_path / f"{part}.zip").symlink_to(SAMPLE / f"{part}.zip")
    write(tmp_path, "starc-9", n_of_each=6, scale=2)
    session = harness.Session(tmp_path / "runs", tmp_path, quiet=True)
    found = session.transfer("nct-crc-he", ["starc-9"], ["color-histogram"])
    (cohort,) = found.cohorts
    assert len(cohort.truth.labels) == 36
    assert cohort.scale == 0.5
    shown = session.patches("nct-crc-he-to-starc-9", [cohort.truth.ids[0]])
    assert np.shape(shown.images) == (1, 224, 224, 3)
    assert set(cohort.mapped) == {"ADI", "LYM", "MUS", "MUC", "TUM", "NOR"}
    # They are test patches of home, at twice the scale and back: hardly anything falls.
    assert abs(cohort.models["color-histogram"].drops["balanced_accuracy"].value) < 0.2
    assert len(cohort.published) == 7
    text = str(found)
    assert "Published on STANFORD-CRC-HE-VAL-LARGE, for reference only" in text
    assert "second-hand" in text
    assert "which one is the seventh was not verified" in transfer_text.of_cohort(found, cohort)
