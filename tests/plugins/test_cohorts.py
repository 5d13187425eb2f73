"""The cohorts that are built in, on real patches in their layout."""

import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import harness
from harness import HarnessError
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
    place = tmp_path / COHORT[name]["folder"]
    assert COHORT[name]["get"].format(folder=place) in found.missing(tmp_path)
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


SPIDER = {"ADI": "Fat", "MUC": "Mucus", "TUM": "Adenocarcinoma high grade", "LYM": "Inflammation"}


def spider():
    """Real patches in the layout of SPIDER: records, and the content of all files by name."""
    records, content = [], {}
    for number, (label, image) in enumerate(patches(3, 1)):
        if label in SPIDER:
            name = f"patch_{number}.png"
            content[f"images/{name}"] = cv2.imencode(".png", image)[1].tobytes()
            content[f"images/context_{number}.png"] = b"no image"
            records.append(
                {
                    "slide_id": f"slide_{number % 4}",
                    "image_name": name,
                    "context_info": {"0_0": f"context_{number}.png"},
                    "class": SPIDER[label],
                    "split": "train" if number % 4 < 2 else "test",
                }
            )
    return records, content


def pack(folder, records, content, size=300_000):
    """As it is downloaded: one tar in parts of so many bytes."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for name, data in {**content, "metadata.json": json.dumps(records).encode()}.items():
            info = tarfile.TarInfo(f"SPIDER-colorectal/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = whole.getvalue()
    for number, start in enumerate(range(0, len(data), size)):
        (folder / f"spider-colorectal.tar.{number:03}").write_bytes(data[start : start + size])


def test_spider_is_read_from_the_parts_of_its_tar_and_unpacked(tmp_path):
    records, content = spider()
    packed, unpacked = tmp_path / "packed", tmp_path / "unpacked"
    packed.mkdir()
    pack(packed, records, content)
    assert len(list(packed.iterdir())) > 3
    for name, data in {**content, "metadata.json": json.dumps(records).encode()}.items():
        path = unpacked / "SPIDER-colorectal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    dataset = load_plugins().datasets.find("spider-colorectal")
    assert "no spider-colorectal.tar.* (the parts of a tar) and no" in dataset.missing(tmp_path)
    by_part = {part: [r for r in records if r["split"] == part] for part in ("train", "test")}
    loaded = []
    for data in (packed, unpacked):
        assert dataset.missing(data) == ""
        splits = dataset.load(data)
        for part, split, groups in (
            ("train", splits.train, splits.train_groups),
            ("test", splits.test, splits.groups),
        ):
            wanted = {r["image_name"]: r for r in by_part[part]}
            assert len(split.labels) == len(wanted) > 3
            for place, id_ in enumerate(split.ids):
                record = wanted[f"{id_.removeprefix(f'{part}/')}.png"]
                assert dataset.classes[split.labels[place]] == record["class"]
                assert groups[place] == record["slide_id"]
                assert split.file(place)[1] == content[f"images/{record['image_name']}"]
            assert split.read([0]).shape == (1, 224, 224, 3)
            elsewhere = pickle.loads(pickle.dumps(split))  # as another process gets it
            np.testing.assert_array_equal(elsewhere.read([0]), split.read([0]))
        loaded.append((splits.train.fingerprint, splits.test.fingerprint))
    assert loaded[0] == loaded[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda r, c: r[0].update({"class": "fat"}),
            "of the unknown class 'fat'; did you mean Fat",
        ),
        (lambda r, c: r[0].pop("slide_id"), "record 0 has no slide_id that can be read"),
        (lambda r, c: r[0].update(split="val"), "is of the split 'val', where train and test"),
        (lambda r, c: r.append(dict(r[0])), "is listed already"),
        (lambda r, c: r[0].update(image_name="../a.png"), "leads out of the folder"),
        (lambda r, c: r.clear(), "is no list of patches"),
        (lambda r, c: [one.update(split="train") for one in r], "lists no test patches"),
        (
            lambda r, c: c.pop(f"images/{r[0]['image_name']}"),
            "but there is no SPIDER-colorectal/im",
        ),
        (lambda r, c: c.update({"more/metadata.json": b"[]"}), "holds 2 files metadata.json"),
    ],
)
def test_what_is_wrong_with_spider_is_said_in_one_line(tmp_path, change, says):
    records, content = spider()
    change(records, content)
    pack(tmp_path, records, content)
    with pytest.raises(HarnessError) as raised:
        load_plugins().datasets.find("spider-colorectal").load(tmp_path)
    assert says in str(raised.value)
    assert "spider-colorectal.tar.000" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.once
@pytest.mark.parametrize("name", COHORT)
def test_what_cannot_be_downloaded_says_where_it_is_had_and_where_to_put_it(command, name):
    output = command("data", "get", name, "--data", "there", code=2)
    (line,) = output.splitlines()
    assert line.startswith(f"harness: error: dataset {name} must be downloaded by hand: no ")
    assert COHORT[name]["get"].format(folder=Path("there") / COHORT[name]["folder"]) in line
    assert f"there/{COHORT[name]['folder']}" in line


def test_a_part_of_spider_that_is_lacking_is_said(tmp_path):
    pack(tmp_path, *spider())
    *_, last = sorted(tmp_path.iterdir())
    last.unlink()
    with pytest.raises(HarnessError, match=r"the last of \d+ parts, are cut short; download it ag"):
        load_plugins().datasets.find("spider-colorectal").load(tmp_path)
    (tmp_path / "spider-colorectal.tar.001").unlink()
    with pytest.raises(HarnessError, match=r"spider-colorectal\.tar\.000: .*(damaged|cut short)"):
        load_plugins().datasets.find("spider-colorectal").load(tmp_path)


def test_the_table_of_recalls_names_all_classes_of_a_cohort_that_are_one_at_home():
    home = SimpleNamespace(classes=("ADI", "TUM"), name="home")
    mapped = {"low grade": "TUM", "Fat": "ADI", "high grade": "TUM"}
    cohort = SimpleNamespace(mapped=mapped, models={}, dataset=SimpleNamespace(name="away"))
    table = transfer_text._recalls(SimpleNamespace(home=home), cohort)
    assert table.rows == (("ADI", "Fat"), ("TUM", "low grade, high grade"))
