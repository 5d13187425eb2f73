"""Two versions of the same training patches: the color-normalized ones and others."""

import json
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import harness
from harness import Dataset, HarnessError, Splits
from harness.data.pairing import pair
from harness.hooks.registry import Datasets, Plugin
from harness.reports import contrast_text
from harness_nct_crc import SAMPLE, TEST, TRAIN, TRAIN_RAW

pytestmark = pytest.mark.once

ARGUMENTS = ("contrast", "nct-crc-he", "nct-crc-he-nonorm", "--data", "data")


@pytest.fixture
def versions(command):
    """Real patches, and the same ones in other colors, but for one that is lacking."""
    data = command.folder / "data"
    data.mkdir()
    for name in (TRAIN, TEST):
        shutil.copy(SAMPLE / f"{name}.zip", data)
    with zipfile.ZipFile(data / f"{TRAIN}.zip") as source:
        members = [name for name in source.namelist() if not name.endswith("/")]
        with zipfile.ZipFile(data / f"{TRAIN_RAW}.zip", "w") as target:
            for name in members[1:]:
                image = cv2.imdecode(np.frombuffer(source.read(name), np.uint8), cv2.IMREAD_COLOR)
                tinted = np.clip(image * np.array([0.8, 1.0, 0.9]), 0, 255).astype(np.uint8)
                encoded = cv2.imencode(".png", tinted)[1].tobytes()
                stem = name.rpartition(".")[0].replace(TRAIN, TRAIN_RAW)
                target.writestr(f"{stem}.png", encoded)
    return command, len(members)


def test_the_same_patches_in_two_versions_one_table(versions):
    command, n = versions
    models = ("--model", "color-histogram", "--model", "rgb-means")
    output = command(*ARGUMENTS, *models)
    assert f"the {n - 1} training patches that nct-crc-he and nct-crc-he-nonorm" in output
    (path,) = pages(command.folder)
    assert path.name == (
        "nct-crc-he-against-nct-crc-he-nonorm-of-color-histogram-and-rgb-means.json"
    )
    found = json.loads(path.read_text())
    assert found["n_train"] == n - 1
    one, other = found["models"]["rgb-means"]["models"]
    gap = found["models"]["rgb-means"]["differences"]["accuracy"]
    estimates = [{f["name"]: f["value"] for f in side["figures"]} for side in (one, other)]
    assert gap["value"] == pytest.approx(estimates[0]["accuracy"] - estimates[1]["accuracy"])
    assert gap["low"] <= gap["value"] <= gap["high"]
    # The test patches have the colors of the one version, so color classifiers do better with it.
    assert estimates[0]["accuracy"] > estimates[1]["accuracy"]
    page = path.with_suffix(".md").read_text()
    assert "| color-histogram |" in page
    assert "| STR " in page
    assert "Everything is in the store" in command(*ARGUMENTS, *models)


def test_a_session_contrasts_as_the_command_does(versions):
    command, n = versions
    session = harness.Session(command.folder / "runs", command.folder / "data", quiet=True)
    found = session.contrast("nct-crc-he", "nct-crc-he-nonorm", ["color-histogram", "rgb-means"])
    assert found.failed == {}
    assert found.n_train == n - 1
    command(*ARGUMENTS, "--model", "color-histogram", "--model", "rgb-means")
    (path,) = pages(command.folder)
    kept = json.loads(path.read_text(encoding="utf-8"))["models"]
    for model, compared in found.compared.items():
        assert compared.difference.value == kept[model]["differences"]["accuracy"]["value"]
        assert found.p_values[model] >= compared.p
    page = path.with_suffix(".md").read_text(encoding="utf-8")
    shown = found._repr_html_()
    assert contrast_text.about(found) in page
    assert contrast_text.about(found).replace("'", "&#x27;")[:200] in shown
    assert shown.count("<table") == 2
    assert "notes" not in shown, "a column without a word"
    pytest.importorskip("pandas")
    frame = found.to_dataframe().set_index("model")
    gaps = frame["nct-crc-he"] - frame["nct-crc-he-nonorm"]
    assert np.allclose(gaps, frame["difference"])


def test_a_version_that_loses_no_patch_shares_its_results_with_other_runs(versions):
    command, _ = versions
    command(*ARGUMENTS, "--model", "rgb-means")
    more = ("--data", "data", "--model", "rgb-means", "--no-probes")
    assert "Everything is in the store" in command("run", "--dataset", "nct-crc-he-nonorm", *more)
    assert "results to compute" in command("run", "--dataset", "nct-crc-he", *more)


def pages(folder):
    return sorted((folder / "reports").glob("*-against-*.json"))


def seeds(path, model):
    """The seeds of each version, as its page has them."""
    found = json.loads(path.read_text())["models"][model]
    return [side["seeds"] for side in found["models"]]


def test_only_the_seeds_that_were_asked_for_are_compared(versions):
    command, _ = versions
    asked = ("--data", "data", "--model", "rgb-means", "--no-probes", "--seeds", 3)
    command("run", "--dataset", "nct-crc-he-nonorm", *asked)
    output = command(*ARGUMENTS, "--model", "rgb-means")
    assert "p is McNemar's, corrected" in output
    (path,) = pages(command.folder)
    assert seeds(path, "rgb-means") == [[0], [0]]
    output = command(*ARGUMENTS, "--model", "rgb-means", "--seed", 1, "--seeds", 2)
    assert "p is over seeds and patches, corrected" in output
    assert "are of the first seed" in " ".join(output.split())
    assert seeds(path, "rgb-means") == [[1, 2], [1, 2]]
    assert json.loads(path.read_text())["models"]["rgb-means"]["seeds"]


def test_another_model_has_a_page_of_its_own(versions):
    command, _ = versions
    command(*ARGUMENTS, "--model", "rgb-means")
    command(*ARGUMENTS, "--model", "color-histogram")
    found = [set(json.loads(path.read_text())["models"]) for path in pages(command.folder)]
    assert found == [{"color-histogram"}, {"rgb-means"}]


PLUGIN = """
import json
import numpy as np
from harness import Dataset, Model, Splits, hookimpl

class Memory:
    def __init__(self, ids, labels, tint=0):
        self.ids, self.labels = ids, np.array(labels)
        self.tint, self.fingerprint = tint, str((ids, tint))
    def read(self, indices):
        patches = np.zeros((len(indices), 8, 8, 3), np.uint8) + self.tint
        patches[:, ::2, :, 0] = 40 + 80 * self.labels[indices, None, None]
        patches[:, 0, 0, 0] = [17 * index % 251 for index in indices]
        return patches

def dataset(name, tint, gone):
    def load(folder):
        train = [i for i in range(40) if i != gone]
        return Splits(
            train=Memory([f"{'AB'[i % 2]}/{i // 2}" for i in train], [i % 2 for i in train], tint),
            validation=Memory([f"v/{i}" for i in range(10) if i != gone - 30],
                              [i % 2 for i in range(10) if i != gone - 30], tint),
            test=Memory([f"t/{i}" for i in range(30)], [i % 2 for i in range(30)]),
            groups=[str(i // 3) for i in range(30)],
        )
    return Dataset(name=name, title=name, classes=("a", "b"), load=load)

class Stripes:
    def __init__(self, center, ids):
        self.center, self.ids = center, ids
    def logits(self, images):
        gap = np.ptp(images[:, 1:, :, 0].astype("float32"), axis=(1, 2)) - self.center
        return np.stack([-gap, gap], axis=1)
    def save(self, folder):
        (folder / "ids.json").write_text(json.dumps(self.ids))
        np.save(folder / "center.npy", self.center)

def fit(train, validation, context):
    images = train.read(np.arange(len(train.labels))).astype("float32")
    center = np.ptp(images[:, 1:, :, 0], axis=(1, 2)).mean() + context.seed
    return Stripes(center, [list(train.ids), list(validation.ids)])

def load(folder, settings):
    return Stripes(np.load(folder / "center.npy"), [])

@hookimpl
def harness_datasets():
    return [dataset("gray", 0, 5), dataset("pink", 30, 36)]

@hookimpl
def harness_models():
    comes_fitted = Model(name="fitted", title="", fit=fit, load=load, trained_on="elsewhere")
    return [Model(name="stripes.v1", title="", fit=fit, load=load, selects=True), comes_fitted]
"""


@pytest.fixture
def plugin(command):
    (command.folder / "mine.py").write_text(PLUGIN)
    asked = ("contrast", "gray", "pink", "--plugin", "mine.py")
    return lambda *more, code=0: command(*asked, *more, code=code)


def test_both_versions_train_and_select_on_the_same_patches(command, plugin):
    output = plugin("--model", "stripes.v1", "--model", "stripes.v1+flips", "--seeds", 2)
    assert "the 38 training patches that gray and pink both have" in output
    (path,) = pages(command.folder)
    assert path.name == "gray-against-pink-of-stripes.v1-and-stripes.v1+flips.json"
    assert seeds(path, "stripes.v1") == seeds(path, "stripes.v1+flips") == [[0, 1], [0, 1]]
    fits = (command.folder / "runs/fit").glob("*/stripes.v1/*/ids.json")
    ids = [json.loads(path.read_text()) for path in fits]
    assert len(ids) == 4
    assert all(one == ids[0] for one in ids)
    train, validation = ids[0]
    assert train == [f"{'AB'[i % 2]}/{i // 2}" for i in range(40) if i not in (5, 36)]
    assert validation == [f"v/{i}" for i in range(10) if i != 6]


def test_where_groups_are_known_p_is_over_groups(plugin):
    assert "p is of the differences summed over groups" in plugin("--model", "stripes.v1")


def test_what_two_versions_share_is_a_dataset_with_a_name(command, plugin):
    plugin("--model", "stripes.v1")
    more = ("--model", "stripes.v1", "--plugin", "mine.py", "--no-probes")
    for name in ("gray-common-with-pink", "pink-matched-to-gray"):
        assert "Everything is in the store" in command("run", "--dataset", name, *more)
    output = command("run", "--dataset", "gray-common-with-pnik", *more, code=2)
    assert "did you mean pink?" in output


@pytest.mark.parametrize("name", ["fitted", "fitted+flips"])
def test_models_that_come_fitted_are_refused(plugin, name):
    output = plugin("--model", name, code=2)
    assert "contrast: fitted is pretrained and not trained here" in output


class Listed:
    """A split of which nothing is read."""

    def __init__(self, *ids, labels=None, fingerprint=""):
        self.ids = ids
        self.labels = np.array(labels or [0] * len(ids))
        self.fingerprint = fingerprint


def paired(one, other, data=Path()):
    versions = [
        Dataset(
            name=name,
            title=name,
            classes=("a", "b"),
            load=lambda folder, parts=parts: Splits(**{"test": Listed("t"), "train": None} | parts),
        )
        for name, parts in (("one", one), ("other", other))
    ]
    names, n = pair(*versions, data)
    known = Datasets()
    for dataset in versions:
        known[dataset.name], known.plugin[dataset.name] = dataset, Plugin("p", "d", "1")
    return [known.find(name).load(data) for name in names], n


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (("A/0", "B/0"), ("A/0", "B/0"), 2),  # A and B are no archives
        (("A/0", "B/0"), ("B/0", "A/0"), 2),
        (("here/A/0", "here/B/0"), ("there/B/0", "there/A/0", "there/A/1"), 2),
        (("here/0", "here/1"), ("1", "2"), 1),
    ],
)
def test_patches_are_the_same_by_their_ids_less_the_archive(one, other, common):
    (left, right), n = paired({"train": Listed(*one)}, {"train": Listed(*other)})
    assert n == len(left.train.ids) == len(right.train.ids) == common
    ends = [
        [id_.removeprefix("here/").removeprefix("there/") for id_ in s.train.ids]
        for s in (left, right)
    ]
    assert ends[0] == ends[1]


BOTH = {"train": Listed("A/0", "B/0")}


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ({"train": Listed("A/0", "A/0", "B/0")}, BOTH, "one has two training patches with the id"),
        (BOTH, {**BOTH, "test": Listed("t", fingerprint="x")}, "other test patches of the same"),
        (BOTH, {**BOTH, "test": Listed("u")}, "have other test patches; name"),
        (BOTH, {**BOTH, "validation": Listed("v")}, "one has no validation patches"),
        (
            {**BOTH, "validation": Listed("w", "x")},
            {**BOTH, "validation": Listed("y", "z")},
            "no validation patch in common",
        ),
        (BOTH, {"train": Listed("A/0", "B/0", labels=[0, 1])}, "B/0 is a in one and b in other"),
        (BOTH, {}, "other has no training patches of its own"),
    ],
)
def test_versions_that_are_not_of_the_same_patches_are_refused(one, other, says):
    with pytest.raises(HarnessError, match=says):
        paired(one, other)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("nct-crc-he", "nct-crc-he"), "contrasted with itself"),
        (("nct-crc-he-sample", "nct-crc-he"), "other test patches"),
        (("nct-crc-he", "nct-crc-he-nonrm"), "did you mean nct-crc-he-nonorm"),
    ],
)
def test_what_cannot_be_contrasted_is_said(command, names, says):
    data = command.folder / "data"
    data.mkdir()
    shutil.copy(SAMPLE / f"{TRAIN}.zip", data)
    with zipfile.ZipFile(SAMPLE / f"{TEST}.zip") as source:
        members = [name for name in source.namelist() if not name.endswith("/")]
        with zipfile.ZipFile(data / f"{TEST}.zip", "w") as target:
            for name in members[::2]:
                target.writestr(name, source.read(name))
    assert says in command("contrast", *names, "--model", "rgb-means", code=2)


def test_patches_of_other_names_have_nothing_in_common(versions):
    command, _ = versions
    path = command.folder / f"data/{TRAIN_RAW}.zip"
    with zipfile.ZipFile(path) as source:
        renamed = {name.replace("/", "/x-"): source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w") as target:
        for name, content in renamed.items():
            folder, _, file = name.rpartition("/x-")
            target.writestr(f"{folder.replace('/x-', '/')}/x-{file}", content)
    output = command(*ARGUMENTS, "--model", "rgb-means", code=2)
    assert "no training patch in common" in output
