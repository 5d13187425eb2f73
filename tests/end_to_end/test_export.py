"""What models predicted and encoders computed, for other programs."""

import csv

import numpy as np
import pytest

pytestmark = pytest.mark.once

RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--seeds", "2")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_as_csv_are_those_of_the_store(toy):
    toy(*RUN)
    output = toy("export", "predictions", "p.csv", "--dataset", "toy", "--model", "toy-mean")
    rows = rows_of(toy.folder / "p.csv")
    assert f"Wrote p.csv: {len(rows)} predictions, 2 for each patch" in output
    columns = [name for name in rows[0] if name.startswith("logit_")]
    classes = [name.removeprefix("logit_") for name in columns]
    assert list(rows[0]) == ["id", "label", "seed", "perturbation", "level", *columns]
    stored = sorted((toy.folder / "runs/prediction/toy/toy-mean").glob("*/logits.npy"))
    clean = [np.load(path) for path in stored if not path.parent.name.startswith("sweep-")]
    for seed in ("0", "1"):
        mine = [row for row in rows if row["seed"] == seed]
        assert {(row["perturbation"], row["level"]) for row in mine} == {("clean", "")}
        values = np.array([[row[name] for name in columns] for row in mine], np.float32)
        assert any(np.array_equal(values, logits) for logits in clean)
    assert {row["label"] for row in rows} <= set(classes)
    assert len({row["id"] for row in rows}) == len(rows) / 2


def test_perturbed_patches_too_and_parquet_says_the_same(toy):
    pq = pytest.importorskip("pyarrow.parquet")
    toy(*RUN)
    for name in ("p.csv", "p.parquet"):
        toy("export", "predictions", name, "--dataset", "toy", "--model", "toy-mean", "--perturbed")
    rows = rows_of(toy.folder / "p.csv")
    assert len({(row["perturbation"], row["level"]) for row in rows}) > 1
    table = pq.read_table(toy.folder / "p.parquet").to_pylist()
    assert len(table) == len(rows)
    for row, other in zip(rows, table, strict=True):
        assert row["id"] == other["id"]
        assert row["level"] == ("" if other["level"] is None else str(other["level"]))
        for name in row:
            if name.startswith("logit_"):
                assert np.float32(row[name]) == np.float32(other[name])


def test_what_cannot_be_exported_is_said(toy):
    toy(*RUN, "--no-probes")
    ask = ("--dataset", "toy", "--model", "toy-mean")
    for arguments, said in (
        (("p.xlsx", *ask), "p.xlsx: must end in .csv or .parquet"),
        (("p.csv", "--dataset", "toy", "--model", "other"), "no predictions of other for toy"),
        (("p.csv", "--dataset", "other", "--model", "toy-mean"), "other"),
        (("p.csv", *ask, "--store", "nowhere"), "--store nowhere: no store there"),
        (("nowhere/p.csv", *ask), "nowhere"),
    ):
        output = toy("export", "predictions", *arguments, code=2)
        assert said in output.splitlines()[-1]
        assert "Traceback" not in output
    assert not list(toy.folder.glob("*p.csv*"))


def test_embeddings_are_those_of_the_store_in_each_format(toy):
    pq, h5py = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("h5py")
    toy("run", "--dataset", "toy", "--model", "toy-features", "--no-probes")
    for form in ("npz", "npy", "h5", "parquet"):
        output = toy("export", "embeddings", "toy", "toy-features", "--to", "e", "--format", form)
        assert f"Wrote e/toy/train/toy-means.{form}: " in output
        said = (
            "e/toy/test/manifest.csv: what each row is, group_id is the id, as groups are not known"
        )
        assert (said in output) == (form == "npy")
    for part in ("train", "test"):
        folder = toy.folder / "e/toy" / part
        (stored,) = (toy.folder / "runs/features/_shared").glob(f"toy-means-{part}/*/values.npy")
        values = np.load(stored)
        with np.load(folder / "toy-means.npz") as found:
            arrays = dict(found)
        assert np.array_equal(arrays["embeddings"], values)
        ids, labels = arrays["ids"].tolist(), arrays["labels"].tolist()
        assert ids == [f"{part}/{number}" for number in range(len(values))]
        assert labels[:4] == ["red", "green", "blue", "red"]
        assert np.array_equal(np.load(folder / "toy-means.npy"), values)
        manifest = rows_of(folder / "manifest.csv")
        assert [row["sample_id"] for row in manifest] == ids
        assert [row["label"] for row in manifest] == labels
        assert len({row["group_id"] for row in manifest}) == len(ids)
        assert all(row["image_path"] for row in manifest)
        with h5py.File(folder / "toy-means.h5") as file:
            assert set(file) == {"features", "ids", "labels"}
            assert file["features"].dtype == np.float32
            assert np.array_equal(file["features"][:], values)
            assert file["ids"].asstr()[:].tolist() == ids
        table = pq.read_table(folder / "toy-means.parquet").to_pydict()
        assert (table["id"], table["label"]) == (ids, labels)
        assert np.array_equal(np.array(table["embedding"], np.float32), values)


def test_groups_are_exported_where_they_are_known(toy):
    toy("run", "--dataset", "toy-groups", "--model", "toy-features", "--no-probes")
    for form in ("npz", "npy"):
        output = toy("export", "embeddings", "toy-groups", "toy-features", "--format", form)
    assert (
        "embeddings/toy-groups/test/manifest.csv: what each row is, group_id is the patient"
        in output
    )
    with np.load(toy.folder / "embeddings/toy-groups/test/toy-means.npz") as found:
        groups = found["groups"].tolist()
    manifest = rows_of(toy.folder / "embeddings/toy-groups/test/manifest.csv")
    assert [row["group_id"] for row in manifest] == groups
    assert 1 < len(set(groups)) < len(groups)
    # It says what all arrays beside it are about, so another is not written over it.
    path = toy.folder / "embeddings/toy-groups/test/manifest.csv"
    path.write_text(path.read_text().replace("test/0,", "test/zero,"))
    again = ("export", "embeddings", "toy-groups", "toy-features", "--format", "npy")
    assert "manifest.csv: is of other patches, and so are the arrays" in toy(*again, code=2)


def test_embeddings_that_cannot_be_exported_are_said(toy, tmp_path):
    models = ("--model", "toy-mean", "--model", "toy-features")
    toy("run", "--dataset", "toy", *models, "--no-probes")
    for arguments, said in (
        (("toy", "toy-mean"), "toy-mean reads patches and no features, so there are none to write"),
        (("toy", "other"), "no predictions of other for toy are stored; "),
        (("other", "toy-mean"), "no dataset named 'other'"),
        (("toy", "toy-features", "--store", "nowhere"), "--store nowhere: no store there"),
        (("toy", "toy-features", "--to", "toy.log"), "toy.log is a file, not a folder"),
        (("toy", "toy-features", "--format", "pt"), "invalid choice: 'pt'"),
    ):
        output = toy("export", "embeddings", *arguments, code=2)
        assert said in output
    (tmp_path / "site").mkdir()
    (tmp_path / "site/h5py.py").write_text("raise ImportError('not here')")
    toy.path.append(tmp_path / "site")
    output = toy("export", "embeddings", "toy", "toy-features", "--format", "h5", code=2)
    assert ".h5 needs h5py: pip install 'histo-harness[h5]'; or leave out --format" in output
    for path in (toy.folder / "runs/features/_shared").glob("toy-means-train/*/values.npy"):
        path.unlink()
    output = toy("export", "embeddings", "toy", "toy-features", code=2)
    assert "the features of toy-features are gone or damaged; remove its results with" in output
    assert not list(toy.folder.glob("embeddings/*/*/*"))
