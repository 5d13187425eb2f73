"""Real patches in tar shards, with labels and slides beside them, good and bad."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness import HarnessError
from harness.data import tars
from harness.hooks.loader import load_plugins
from harness_nct_crc import SAMPLE, TEST

FOUR = ("ADI", "LYM", "NORM", "TUM")
MINE = {"kind": "webdataset", "train": "train-*.tar", "test": "test-*.tar"}


def patches(n_of_each=6):
    """Real patches: class and content of the file, some of each of four classes."""
    seen = dict.fromkeys(FOUR, 0)
    found = []
    with zipfile.ZipFile(SAMPLE / f"{TEST}.zip") as source:
        for name in sorted(source.namelist()):
            label = name.split("/")[-2]
            if not name.endswith("/") and seen.get(label, n_of_each) < n_of_each:
                seen[label] += 1
                found.append((label, Path(name).suffix[1:], source.read(name)))
    return found


PATCHES = patches()


def samples(chosen, start=0):
    """What a shard holds of some patches, the labels in three forms."""
    content = {}
    for number, (label, suffix, data) in enumerate(chosen, start):
        key = f"{number:04}"
        content[f"{key}.{suffix}"] = data
        content[f"{key}.cls"] = f"{FOUR.index(label)}\n".encode()
        content[f"{key}.txt"] = label.encode()
        about = {"class": label, "slide": number // 2, "odd": None}
        content[f"{key}.json"] = json.dumps(about).encode()
    return content


def shard(path, content):
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.fixture
def folder(tmp_path):
    """Patches alternate between train and test; two shards of train and one of test."""
    train, test = PATCHES[::2], PATCHES[1::2]
    shard(tmp_path / "train-000000.tar", samples(train[:5]))
    shard(tmp_path / "train-000001.tar", samples(train[5:], 5))
    shard(tmp_path / "test-000000.tar", samples(test, 100))
    return tmp_path


def dataset(folder, **said):
    path = folder / "mine.toml"
    content = {key: value for key, value in {**MINE, **said}.items() if value is not None}
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()))
    registry = load_plugins(files=[path])
    (plugin,) = [plugin for plugin in registry.plugins if plugin.distribution == str(path)]
    if plugin.status:
        raise HarnessError(plugin.status)
    return registry.datasets["mine"]


def splits(folder, **said):
    return dataset(folder, **said).load(Path("nowhere"))


@pytest.mark.parametrize(
    "said",
    [{"label": "txt"}, {"label": "json:class"}, {"classes": [*FOUR]}],
    ids=["names", "json", "numbers"],
)
def test_labels_and_slides_are_those_beside_each_patch(folder, said):
    found = splits(folder, group="json:slide", **said)
    assert dataset(folder, **said).classes == FOUR
    train, test = PATCHES[::2], PATCHES[1::2]
    for split, chosen in ((found.train, train), (found.test, test)):
        assert [FOUR[label] for label in split.labels] == [label for label, *_ in chosen]
        assert split.read([0, len(chosen) - 1]).shape == (2, 224, 224, 3)
        assert split.file(3)[1] == chosen[3][2]
    assert list(found.train.ids)[4:6] == [
        "train/train-000000.tar/0004",
        "train/train-000001.tar/0005",
    ]
    assert list(found.train_groups) == [str(i // 2) for i in range(12)]
    assert list(found.groups)[:3] == ["50", "50", "51"]
    assert found.folds == 0


@pytest.mark.parametrize(("label", "at_first"), [("json:class", "json"), ("txt", "txt")])
def test_files_beside_patches_are_read_once_and_groups_alone_when_loaded(
    folder, monkeypatch, label, at_first
):
    names = []
    read_all = tars.Tar.read_all

    def noted(tar, chosen):
        for name, data in read_all(tar, chosen):
            names.append(name)
            yield name, data

    monkeypatch.setattr(tars.Tar, "read_all", noted)
    mine = dataset(folder, label=label, group="json:slide")
    assert {name.partition(".")[2] for name in names} == {at_first}
    mine.load(Path("nowhere"))
    beside = [name for name in names if not name.endswith(SUFFIX)]
    assert len(beside) == len(set(beside)) == len(PATCHES) * len({at_first, "json"})


def test_a_dataset_to_cross_validate_in_folders_of_shards(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / f"{ {'a': 'train-000000', 'b': 'train-000001'}[name] }.tar").rename(
            folder / name / "0.tar"
        )
    found = splits(folder, train=None, test=None, files="?/0.tar", label="txt", folds=2)
    assert found.folds == 2
    assert list(found.test.ids)[4:6] == ["all/a/0.tar/0004", "all/b/0.tar/0005"]
    assert (found.test.read([7]) == splits_of(found, 7)).all()


def splits_of(found, index):
    """The same patch by other means."""
    from harness.data.patches import decode

    return decode(PATCHES[2 * index][2], "a patch", None)


def changed(folder, change, name="train-000001.tar", **said):
    content = samples(PATCHES[::2][5:], 5)
    change(content)
    shard(folder / name, content)
    return said


SUFFIX = PATCHES[0][1]


@pytest.mark.parametrize(
    ("change", "said", "says"),
    [
        (lambda c: c.pop("0007.txt"), {}, rf"0007\.{SUFFIX} inside has no \.txt beside it, which"),
        (lambda c: c.pop(f"0007.{SUFFIX}"), {}, rf"0007\.txt inside has no \.{SUFFIX} beside it"),
        (lambda c: c.update({"0007.txt": b" "}), {}, r"0007\.txt inside has no label; fill it in"),
        (lambda c: c.update({"0007.txt": b"\xff\xfe"}), {}, r"0007\.txt inside is no text \(UTF-8"),
        (lambda c: c.update({"0007.txt": b"a\x07"}), {}, "which cannot be printed"),
        (
            lambda c: c.update({"0007.txt": b"Norm"}),
            {"classes": [*FOUR]},
            rf"0007\.{SUFFIX}: the label 'Norm' is none of the classes of .*did you mean NORM",
        ),
        (lambda c: c.update({"0007.txt": b"Norm"}), {}, "are spelled differently"),
        (lambda c: c.update({"0007.txt": b"-1"}), {}, "usually says that there is none"),
        (
            lambda c: c.update({"0007.json": b"{"}),
            {"label": "json:class"},
            r"7\.json inside is no J",
        ),
        (lambda c: c.update({"0007.json": b"[1]"}), {"label": "json:class"}, "but no object; say"),
        (
            lambda c: None,
            {"label": "json:tissue"},
            "has no 'tissue', but class, slide, odd; say wh",
        ),
        (lambda c: None, {"group": "json:odd"}, "odd is 'None', where a text or a whole number"),
        (
            lambda c: None,
            {"group": "csv"},
            r"no \.csv beside it, which would say its group; add it",
        ),
        (lambda c: c.update({"0005.jpg": b"", "0005.png": b""}), {}, "say which are the patches w"),
        (lambda c: c.clear(), {}, "not a tar file"),
        (lambda c: (c.clear(), c.update({"read.md": b"-"})), {}, r"\.tar: holds no patches"),
    ],
)
def test_what_is_wrong_names_the_shard_and_the_file_in_one_line(folder, change, said, says):
    changed(folder, change)
    with pytest.raises(HarnessError, match=says) as raised:
        splits(folder, **{"label": "txt", **said})
    assert "\n" not in str(raised.value)
    assert ".tar" in str(raised.value) or "mine.toml" in str(raised.value)


def test_an_image_that_is_damaged_names_its_shard(folder):
    changed(folder, lambda c: c.update({f"0007.{SUFFIX}": c[f"0007.{SUFFIX}"][:3000]}))
    with pytest.raises(HarnessError, match=rf"train-000001\.tar/0007\.{SUFFIX}: "):
        splits(folder, label="txt").train.read([7])


def test_shards_that_are_missing_or_damaged_are_said(folder):
    (folder / "train-000003.tar").write_bytes((folder / "test-000000.tar").read_bytes())
    with pytest.raises(HarnessError, match=r"has the same content as .*tar"):
        splits(folder, label="txt")
    (folder / "train-000003.tar").write_bytes((folder / "train-000001.tar").read_bytes()[:90_000])
    with pytest.raises(HarnessError, match=r"train-000003\.tar: is cut short; download it again"):
        splits(folder, label="txt")
    missing = dataset(folder, test="none-*.tar", label="txt").missing(Path())
    assert missing.startswith(f"no none-*.tar in {folder}; correct the paths in")


def test_the_fingerprint_is_that_of_patches_and_labels(folder):
    before = splits(folder, label="txt")
    assert splits(folder, label="json:class").train.fingerprint == before.train.fingerprint
    changed(folder, lambda c: c.update({"0007.txt": b"TUM" if c["0007.txt"] != b"TUM" else b"ADI"}))
    after = splits(folder, label="txt")
    assert after.train.fingerprint != before.train.fingerprint
    assert after.test.fingerprint == before.test.fingerprint


def test_the_list_of_large_shards_is_kept(folder, monkeypatch):
    monkeypatch.setattr(tars, "LARGE", 1)
    expected = splits(folder, label="txt").train.read([3])
    assert (folder / "train-000000.tar.index").exists()
    monkeypatch.setattr(tars, "_scan", None)
    assert (splits(folder, label="txt").train.read([3]) == expected).all()


@pytest.mark.once
def test_a_run_on_shards_has_the_accuracy_by_slide(command, folder):
    dataset(folder, label="json:class", group="json:slide")
    few = ("--model", "rgb-means", "--set", "trees=3", "--no-probes")
    command("run", "--plugin", "mine.toml", "--dataset", "mine", *few)
    errors = json.loads((command.folder / "reports/mine-errors.json").read_text())
    assert errors["groups"] == len({i // 2 for i in range(100, 112)})
    board = json.loads((command.folder / "reports/mine.json").read_text())
    (row,) = [row for row in board["rows"] if row["result"] == "measured"]
    assert np.isfinite(row["accuracy"])
