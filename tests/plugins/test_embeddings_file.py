"""Embeddings in files as an encoder: heads work on them, and what does not fit is said."""

import csv
import hashlib
import io
import json
import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("h5py")
pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

import h5py
import pandas as pd

from harness import HEADS, HarnessError
from harness.hooks.loader import load_plugins
from harness_files import embeddings

KATHER = (
    Path(__file__)
    .parents[1]
    .joinpath("fixtures", "kather-2016", "Kather_texture_2016_image_tiles_5000.zip")
)
SAMPLE = "nct-crc-he-sample"
TINT = """
from harness import Features, head_model, hookimpl
from harness_color import extract

@hookimpl
def harness_models():
    features = Features(name="tint", extract=extract)
    names = {heads}
    return [head_model(h, name="tint+" + h, title=h, features=features) for h in names]
"""
NOT_FIGURES = ("model", "title", "initial_weights", "fit_seconds", "patches_per_second", "source")
RANKS = ("rank", "rank_best", "rank_worst")
RNG = np.random.default_rng(0)


class Few:
    """Patches of ten ids; the pixels of each are its number."""

    ids = tuple(f"test/{'ab'[i % 2]}/patch-{i}" for i in range(10))
    labels = np.arange(10) % 2
    fingerprint = "few"

    def read(self, indices):
        return np.stack([np.full((2, 2, 3), i, np.uint8) for i in np.asarray(indices)])


VALUES = RNG.normal(size=(10, 4)).astype(np.float32)
FILES = {
    "npz": "{}.npz",
    "npz-features": "{}.npz",
    "npz-bytes": "{}.npz",
    "npy": "{}.npy",
    "croma": "{}.npy",
    "h5": "{}.h5",
    "h5-features": "{}.h5",
    "csv": "{}.csv",
    "wide": "{}.parquet",
    "lists": "{}.parquet",
}


def save(folder, form, ids, values, stem="test"):
    """Write embeddings in a form, with what else such files may hold; returns the file."""
    path = folder / FILES[form].format(stem)
    rows = np.asarray(values)
    if form == "croma":
        np.save(path, rows)
        with (folder / "manifest.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["label", "sample_id"], *(("x", id_) for id_ in ids)])
    elif form == "npy":
        np.save(path, rows)
        path.with_suffix(".ids.txt").write_text("\n".join(ids) + "\n")
    elif form.startswith("npz"):
        name = "features" if form == "npz-features" else "embeddings"
        kind = "S" if form == "npz-bytes" else str
        np.savez(path, ids=np.array(ids, kind), **{name: rows}, labels=np.arange(len(rows)))
    elif form.startswith("h5"):
        with h5py.File(path, "w") as file:
            file["features" if form == "h5-features" else "embeddings"] = rows
            file["ids"] = list(ids)
            file["coords"] = np.zeros((len(rows), 2), np.int64)
    else:
        frame = pd.DataFrame({"id": ids, "label": np.arange(len(rows))})
        if form == "lists":
            frame["embedding"] = list(rows)
        else:
            frame[[f"f{n}" for n in range(rows.shape[1])]] = rows
        frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
    return path


def described(folder, **files):
    """The features that a TOML file in a folder describes, of a head."""
    content = {"name": "mine", "dataset": "few", **{k: v.name for k, v in files.items()}}
    models = embeddings.read(folder / "mine.toml", content)
    assert [model.name for model in models] == [f"mine+{head}" for head in HEADS]
    return models[0].features_with({})


@pytest.mark.parametrize("form", FILES)
def test_each_form_of_file_gives_the_rows_in_the_order_of_the_patches(form, tmp_path):
    order = RNG.permutation(10)
    ids = [f"{Few.ids[i].split('/', 1)[1]}.png" for i in order]
    found = described(tmp_path, test=save(tmp_path, form, ids, VALUES[order]))
    assert np.array_equal(found.brought(Few(), "test", "few"), VALUES)
    assert found.weights.label == f"embeddings of {FILES[form].format('test')}"
    digests = [hashlib.sha256(Few().read([i]).tobytes()).hexdigest() for i in order]
    found = described(tmp_path, test=save(tmp_path, form, digests, VALUES[order]))
    assert np.array_equal(found.brought(Few(), "test", "few"), VALUES)


@pytest.mark.parametrize("form", ["npz", "npy", "croma", "h5", "wide"])
def test_the_digest_is_that_of_all_that_is_read(form, tmp_path):
    def digest(ids=Few.ids, values=VALUES):
        train = save(tmp_path, "npz", ids, values, "train")
        return described(tmp_path, train=train, test=file).weights.digest

    file = save(tmp_path, form, Few.ids, VALUES)
    before = digest()
    assert digest(values=VALUES + 1) != before
    assert digest() == before
    save(tmp_path, form, Few.ids, VALUES + 1)
    assert digest() != before
    save(tmp_path, form, Few.ids[::-1], VALUES)
    assert digest() != before
    save(tmp_path, form, Few.ids, VALUES)
    assert digest() == before or form in ("h5", "wide")  # may hold a time


def replaced(row, value):
    values = VALUES.copy()
    values[row] = value
    return values


@pytest.mark.parametrize("form", ["npz", "npy", "h5", "csv", "wide", "lists"])
@pytest.mark.parametrize(
    ("ids", "values", "said"),
    [
        (Few.ids[:8], VALUES[:8], "2 of 10 test patches are not in it, such as 'test/a/patch-8'"),
        ((*Few.ids, Few.ids[3]), VALUES[[*range(10), 3]], "1 test patches are there twice, such"),
        (("c/none", *Few.ids[1:]), VALUES, "1 of 10 ids are of no test patch, such as 'c/none'"),
        ([f"x/{i}" for i in range(10)], VALUES, "it seems to be of another dataset"),
        (Few.ids, replaced([2, 4], np.nan), "2 of 10 embeddings have a number that is missing"),
        (Few.ids, replaced([2], np.inf), "1 of 10 embeddings have a number that is missing or not"),
        (Few.ids, replaced([5], 0), "1 of 10 embeddings are all zeros, such as that of 'test/b/pa"),
        (Few.ids, VALUES[:, :3], "has 3 numbers for each patch, but "),
        ([], VALUES[:0], "has no embeddings"),
    ],
)
def test_what_does_not_fit_is_said_by_number_and_example(form, ids, values, said, tmp_path):
    train = save(tmp_path, "npz", Few.ids, VALUES, "train")
    found = described(tmp_path, train=train, test=save(tmp_path, form, ids, values))
    with pytest.raises(HarnessError) as error:
        found.brought(Few(), "test", "few")
    assert said in str(error.value)
    assert str(error.value).startswith(str(tmp_path / FILES[form].format("test")))
    assert "\n" not in str(error.value)


def test_what_is_no_file_of_embeddings_is_said(tmp_path):
    def wrong(name, content=b""):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(HarnessError) as error:
            embeddings.load(tmp_path / name)
        return str(error.value)

    def held(**arrays):
        file = io.BytesIO()
        np.savez(file, **arrays)
        return wrong("a.npz", file.getvalue())

    def table(**columns):
        return wrong("a.csv", pd.DataFrame(columns).to_csv(index=False).encode())

    ids = list("ab")
    pairs = np.ones((2, 2))
    assert "has the arrays 'coords', 'features'; save the ids" in held(coords=pairs, features=pairs)
    assert "has the arrays 'arr_0', 'ids'" in held(ids=ids, arr_0=pairs)
    assert "has the arrays 'embeddings', 'features', 'ids'" in held(
        ids=ids, embeddings=pairs, features=pairs
    )
    assert "has 2 ids for 1 embeddings" in held(ids=ids, embeddings=pairs[:1])
    assert "has embeddings float64 (1, 2, 2)" in held(ids=ids, embeddings=pairs[None])
    assert "has embeddings complex128 (2, 2)" in held(ids=ids, embeddings=pairs + 1j)
    assert "has ids float64 (2, 2); save texts (N,)" in held(ids=pairs, embeddings=pairs)
    assert "is text ('id,f0" in wrong("a.npz", b"id,f0\na,1\n")
    assert "is a pointer of Git LFS" in wrong("a.h5", b"version https://git-lfs.github.com/spec/v1")
    assert "cannot be read (OSError: " in wrong("a.h5", b"\x89HDF\r\n\x1a\nxyz\0\1")
    assert "must end in .npz, .npy, .h5, .parquet, .csv" in wrong("a.pt")
    assert "has no ids beside it; write them, a line each, to b.ids.txt" in wrong("b.npy", b"x")
    assert "has no column 'id', but 'name', 'f0'" in table(name=ids, f0=[1, 2])
    assert "and no others with a number at the end; there is 'f0', 'x1'" in table(
        id=ids, f0=[1, 2], f1=[1, 2], x1=[3, 4]
    )
    assert "from 'f0', but no 'f1'; number them from 0 or 1 without gaps" in table(
        id=ids, f0=[1, 2], f2=[1, 2]
    )
    assert "there is 'id', 'label'" in table(id=ids, label=[1, 2])
    assert "embedding of 'a' is no list of numbers" in table(id=ids, embedding=["[1]", "[2]"])
    path = tmp_path / "a.parquet"
    pd.DataFrame({"id": ids, "embedding": [[1.0], [1.0, 2.0]]}).to_parquet(path)
    assert "has 1 numbers for 'a' and 2 for 'b'; save equally many" in wrong(
        "a.parquet", path.read_bytes()
    )
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["ids/x"] = 1
        file["features"] = pairs
    with pytest.raises(HarnessError, match="/ids is a group; save an array"):
        embeddings.load(tmp_path / "b.h5")


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_pickle_is_ever_loaded(tmp_path):
    done = tmp_path / "done"
    harm = np.array([Harmful(str(done))] * 2, dtype=object)
    np.savez(tmp_path / "ids.npz", ids=harm, embeddings=np.ones((2, 2)))
    np.savez(tmp_path / "values.npz", ids=list("ab"), embeddings=harm)
    np.save(tmp_path / "a.npy", harm)
    (tmp_path / "a.ids.txt").write_text("a\nb\n")
    for name in ("ids.npz", "values.npz", "a.npy"):
        with pytest.raises(HarnessError, match=r"objects of Python \(pickle\), which are never"):
            embeddings.load(tmp_path / name)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Harmful(str(done))))
    with pytest.raises(HarnessError):
        embeddings.load(tmp_path / "b.npz")
    assert not done.exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert done.exists()  # as it would have been


@settings(max_examples=150)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_files_raise_one_line_or_give_numbers(tmp_path_factory, form, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = save(folder, form, Few.ids, VALUES)
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    # The library of HDF5 may read for ever in a file whose bytes were changed.
    for _ in range(0 if path.suffix == ".h5" else data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: cut or None]))
    ids, values, said = [], VALUES[:0], ""
    try:
        ids, values = embeddings.load(path)
    except HarnessError as error:
        said = str(error)
    assert bool(ids) != said.startswith(str(folder))
    assert "\n" not in said
    assert len(ids) == len(values)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()


def board(command, dataset=SAMPLE):
    content = json.loads((command.folder / f"reports/{dataset}.json").read_text())
    return {row["model"]: row for row in content["rows"] if row["result"] == "measured"}


def toml(command, name, dataset=SAMPLE, **files):
    lines = {"kind": "embeddings", "name": name, "dataset": dataset, **files}
    tables = {key: lines.pop(key) for key in list(lines) if isinstance(lines[key], dict)}
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    for key, table in tables.items():
        text += f"[{key}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in table.items())
    (command.folder / f"{name}.toml").write_text(text)
    return "--plugin", f"{name}.toml"


@pytest.fixture
def exported(command):
    """The command in a folder where tint+simpleshot was run and its features are embeddings/."""
    (command.folder / "tint.py").write_text(TINT.format(heads=["simpleshot"]))
    tint = ("--plugin", "tint.py", "--model", "tint+simpleshot")
    command("run", "--dataset", SAMPLE, *tint, "--no-probes")
    command("export", "embeddings", SAMPLE, "tint", "--plugin", "tint.py")
    return command


def test_heads_give_the_same_row_to_the_last_digit_on_what_was_exported(command):
    (command.folder / "tint.py").write_text(TINT.format(heads=list(HEADS)))
    tint = ("--plugin", "tint.py")
    of = {name: [t for h in HEADS for t in ("--model", f"{name}+{h}")] for name in ("tint", "mine")}
    run = ("run", "--dataset", SAMPLE, "--no-probes")
    command(*run, *tint, *of["tint"])
    command("export", "embeddings", SAMPLE, "tint", *tint, "--format", "h5", "--to", "there")
    files = {part: f"there/{SAMPLE}/{part}/tint.h5" for part in ("train", "test")}
    command(*run, *tint, *toml(command, "mine", **files), *of["mine"], *of["tint"])
    rows = board(command)
    assert len(rows) == 2 * len(HEADS)
    for head in HEADS:
        mine, other = rows[f"mine+{head}"], rows[f"tint+{head}"]
        assert mine["initial_weights"] == "embeddings of tint.h5"
        for name in mine.keys() - {*NOT_FIGURES, *RANKS}:
            assert mine[name] == other[name], name
    output = command("compare", "mine+knn", "tint+knn", "--dataset", SAMPLE)
    assert "(p = 1.000, McNemar" in output


def test_a_changed_file_is_computed_again_and_nothing_else(exported):
    files = {part: f"embeddings/{SAMPLE}/{part}/tint.npz" for part in ("train", "test")}
    ask = ("run", "--dataset", SAMPLE, *toml(exported, "mine", **files), "--model")
    ask = (*ask, "mine+simpleshot")
    # Perturbed patches have no embeddings, so nothing is asked about them.
    output = exported(*ask, "--perturbation", "jpeg")
    assert "[1/" in output
    assert "jpeg" not in output
    assert "Everything is in the store; nothing to compute" in exported(*ask)
    before = board(exported)["mine+simpleshot"]["accuracy"]
    test = exported.folder / files["test"]
    with np.load(test) as stored:
        arrays = dict(stored)
    arrays["embeddings"] = arrays["embeddings"][::-1]
    np.savez(test, **arrays)
    assert "mine features of test" in exported(*ask, "--no-probes")
    exported("results", "list")
    assert {row["accuracy"] for row in rows_named(exported, "mine+simpleshot")} > {before}


def rows_named(command, name):
    content = json.loads((command.folder / f"reports/{SAMPLE}.json").read_text())
    return [row for row in content["rows"] if row["model"] == name]


@pytest.mark.once
def test_other_datasets_views_and_lacking_packages_are_refused(exported):
    files = {part: f"embeddings/{SAMPLE}/{part}/tint.npz" for part in ("train", "test")}
    mine = toml(exported, "mine", **files)
    other = toml(exported, "other", "other-data", **files)
    only = toml(exported, "only", test=files["test"])
    swapped = toml(exported, "swapped", train=files["test"], test=files["train"])
    for plugin, model, said in (
        (mine, "mine+linear+flips", "mine+linear has embeddings for patches as they are, not for"),
        (other, "other+knn", f"other+knn has embeddings for other-data, not for {SAMPLE}"),
        (only, "only+knn", "only.toml: has no embeddings of the train patches, which are needed"),
        (swapped, "swapped+knn", "111 of 111 ids are of no train patch, such as"),
    ):
        ask = ("run", "--dataset", SAMPLE, *plugin, "--model", model, "--no-probes")
        output = exported(*ask, code=1)
        assert said in output
        assert "Traceback" not in output
    output = exported("few-shot", SAMPLE, *other, "--model", "other+knn", code=1)
    assert f"other+knn has embeddings for other-data, not for {SAMPLE}" in output
    output = exported("transfer", SAMPLE, "kather-2016", *mine, "--model", "mine+knn", code=2)
    assert "add a file for kather-2016 to the table [cohorts] of its description" in output
    ask = ("transfer", "kather-2016", SAMPLE, *mine, "--model", "mine+knn")
    assert f"which is tested with harness transfer {SAMPLE}" in exported(*ask, code=2)
    output = exported("check", *mine, "mine+knn")
    assert "0 broken" in output
    gone = toml(exported, "gone", test="none.npz")
    output = exported("run", "--dataset", SAMPLE, *gone, "--model", "gone+knn", code=2)
    assert "none.npz: No such file or directory; check the path" in output


def test_a_package_that_is_lacking_is_named(tmp_path, monkeypatch):
    from harness.planning import choose

    save(tmp_path, "h5", Few.ids, VALUES)
    text = 'kind = "embeddings"\nname = "mine"\ndataset = "few"\ntest = "test.h5"\n'
    (tmp_path / "mine.toml").write_text(text)
    registry = load_plugins(files=[tmp_path / "mine.toml"])
    assert not choose.lacks(registry, "mine+knn")
    monkeypatch.setattr(choose, "_importable", lambda module: module != "h5py")
    said = "needs h5py: pip install 'histo-harness[h5]'"
    assert choose.lacks(registry, "mine+knn") == said


def test_a_validation_split_selects_and_a_cross_validated_one_needs_test_alone(command):
    """Patches whose class is in their embedding alone: what is read elsewhere would be wrong."""
    folder, rng = command.folder, np.random.default_rng(0)
    for part, n in (("train", 12), ("val", 6), ("test", 9)):
        ids, values = [], []
        for label, name in enumerate(("a", "b")):
            (folder / "set" / part / name).mkdir(parents=True)
            for number in range(n):
                noise = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / "set" / part / name / f"{number}.png"), noise)
                ids.append(f"{name}/{number}")
                values.append(rng.normal(size=3) + 9 * (2 * label - 1))
        save(folder, "npz", ids, values, part)
    common = 'kind = "folder"\nclasses = ["a", "b"]\n'
    whole = 'train = "set/train"\nvalidation = "set/val"\ntest = "set/test"\n'
    (folder / "whole.toml").write_text(f'{common}name = "whole"\n{whole}')
    (folder / "folded.toml").write_text(
        f'{common}name = "folded"\nfolder = "set/test"\nfolds = 3\n'
    )
    files = {"train": "train.npz", "validation": "val.npz", "test": "test.npz"}
    three = toml(command, "three", "whole", **files)
    one = toml(command, "one", "folded", test="test.npz")
    for dataset, plugin, model, selected in (
        ("whole", three, "three+knn", "validation"),
        ("folded", one, "one+knn", "held-out"),
    ):
        data = ("--plugin", f"{dataset}.toml", "--dataset", dataset)
        command("run", *data, *plugin, "--model", model, "--no-probes")
        row = board(command, dataset)[model]
        assert (row["accuracy"], row["selected_on"]) == (1.0, selected)
    command("export", "embeddings", "whole", "three", "--plugin", "whole.toml", *three)
    with np.load(folder / "embeddings/whole/validation/three.npz") as stored:
        assert len(stored["ids"]) == 12


AWAY = f"{SAMPLE}-to-kather-2016"


@pytest.fixture
def abroad(command):
    """The command where tint was tested on Kather 2016, and its features are embeddings/."""
    (command.folder / "data").mkdir()
    (command.folder / "data" / KATHER.name).symlink_to(KATHER)
    (command.folder / "tint.py").write_text(TINT.format(heads=["simpleshot"]))
    command("transfer", SAMPLE, "kather-2016", *TINTED)
    for dataset in (SAMPLE, AWAY):
        command("export", "embeddings", dataset, "tint", "--plugin", "tint.py")
    return command


TINTED = ("--plugin", "tint.py", "--model", "tint+simpleshot")
TINTS = {part: f"embeddings/{SAMPLE}/{part}/tint.npz" for part in ("train", "test")}
OF_KATHER = f"embeddings/{AWAY}/test/tint.npz"
MINE = ("--model", "mine+simpleshot")


def transferred(command):
    path = command.folder / f"reports/{AWAY}.json"
    return json.loads(path.read_text())["cohorts"]["kather-2016"]["models"]


@pytest.mark.once
def test_heads_fitted_at_home_are_tested_on_embeddings_of_a_cohort(abroad):
    """The home is cross-validated: away, what is fitted on are its train and its test patches."""
    mine = toml(abroad, "mine", **TINTS, cohorts={"kather-2016": OF_KATHER})
    ask = ("transfer", SAMPLE, "kather-2016", *mine, *MINE)
    output = abroad(*ask, *TINTED)
    assert "What was brought along counts as it is, that is, of mine+simpleshot" in output
    found = transferred(abroad)
    assert found["mine+simpleshot"] == found["tint+simpleshot"]
    # Another file for the cohort: tested again there, fitted and tested at home as before.
    file = abroad.folder / OF_KATHER
    with np.load(file) as stored:
        np.savez(file, ids=stored["ids"], embeddings=stored["embeddings"][::-1])
    output = abroad(*ask)
    assert "mine features of test" in output
    assert "fit mine" not in output
    again = transferred(abroad)["mine+simpleshot"]
    assert again["accuracy_home"] == found["mine+simpleshot"]["accuracy_home"]
    assert again["recall"] != found["mine+simpleshot"]["recall"]
    abroad("run", "--dataset", SAMPLE, *mine, *MINE, "--no-probes")
    assert len(rows_named(abroad, "mine+simpleshot")) == 1


class Home(Few):
    """Patches to fit on, where home is cross-validated: those of its train and its test part."""

    ids = tuple(f"{part}/patch-{i}" for part in ("train", "test") for i in range(5))


def of_cohort(folder, file, **files):
    """The features that a TOML file with a file for the cohort "away" describes."""
    content = {"name": "mine", "dataset": "few", "cohorts": {"away": file.name}}
    content |= {part: path.name for part, path in files.items()}
    model = embeddings.read(folder / "mine.toml", content)[0]
    return model, model.features_with({})


def test_for_a_cohort_the_test_patches_are_its_own_and_all_of_home_are_fitted_on(tmp_path):
    train = save(tmp_path, "npz", Home.ids[:5], VALUES[:5], "train")
    test = save(tmp_path, "csv", Home.ids[5:], VALUES[5:], "test")
    more = [*Few.ids, "test/c/of-a-class-that-is-not-shared"]
    away = save(tmp_path, "npy", more, np.concatenate([3 * VALUES, VALUES[:1]]), "away")
    model, found = of_cohort(tmp_path, away, train=train, test=test)
    assert model.given.dataset == "few"
    assert np.array_equal(found.brought(Few(), "test", "few-to-away"), 3 * VALUES)
    assert np.allclose(found.brought(Home(), "train", "few-to-away"), VALUES)
    alone = described(tmp_path, test=away)
    with pytest.raises(HarnessError, match=r"away\.npy: 1 of 11 ids are of no test patch"):
        alone.brought(Few(), "test", "few")
    before = model.given.cohorts["away"]()
    save(tmp_path, "npy", more, np.concatenate([2 * VALUES, VALUES[:1]]), "away")
    changed, again = of_cohort(tmp_path, away, train=train, test=test)
    assert changed.given.cohorts["away"]() != before
    assert again.weights == found.weights


@pytest.mark.parametrize(
    ("ids", "values", "says"),
    [
        (["other", *Few.ids[1:]], VALUES, "1 of 10 test patches are not in it, such as 'test/a/pa"),
        ([f"z/{i}" for i in range(10)], VALUES, "10 of 10 ids are of no test patch"),
        ([*Few.ids, "patch-3"], VALUES[[*range(10), 3]], "1 test patches are there twice"),
        (Few.ids, VALUES[:, :3], r"has 3 numbers for each patch, but .*test\.npz has 4"),
    ],
)
def test_what_does_not_fit_a_cohort_is_said(tmp_path, ids, values, says):
    test = save(tmp_path, "npz", Few.ids, VALUES)
    away = save(tmp_path, "npz", ids, values, "away")
    _, found = of_cohort(tmp_path, away, test=test)
    with pytest.raises(HarnessError, match=rf"away\.npz: .*{says}") as raised:
        found.brought(Few(), "test", "few-to-away")
    assert "\n" not in str(raised.value)


def test_a_file_for_a_cohort_that_is_not_there(tmp_path):
    test = save(tmp_path, "npz", Few.ids, VALUES)
    with pytest.raises(HarnessError, match=r"none\.npz: No such file or directory; check the path"):
        of_cohort(tmp_path, tmp_path / "none.npz", test=test)
