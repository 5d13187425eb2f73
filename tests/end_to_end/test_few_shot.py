"""Few-shot curves through the command: figures by hand, pages, what is left out and refused."""

import csv
import json
import shutil

import numpy as np
import pytest

import harness
from harness import HarnessError
from harness.analysis import few_shot
from harness.hooks.heads import FixedPenalty
from harness.reports import drawing, few_shot_text

pytestmark = pytest.mark.once

SAMPLE = "nct-crc-he-sample"
PIXEL = ("--model", "pixel+knn20", "--plugin", "mine.py")
TOY = ("few-shot", "toy", *PIXEL)
HEADS = """
import numpy as np
from harness import Features, HarnessError, UnavailableError, head_model, hookimpl

def extract(images):
    return images.mean(axis=(1, 2)).astype(np.float32)

def none(settings):
    raise UnavailableError("weights.bin: cannot be obtained; put it there")

def pixel(images):
    with open("extracted.log", "a") as file:
        file.write("pixel\\n")
    return images[:, 0, 0].astype(np.float32)

def broken(images):
    raise ValueError("on purpose")

@hookimpl
def harness_models():
    same, other = Features(name="same", extract=extract), Features(name="other", extract=broken)
    for head in ("linear", "knn20"):
        yield head_model(head, name=f"mine+{head}", title="M", features=same)
    one = Features(name="pixel", extract=pixel)
    yield head_model("knn20", name="pixel+knn20", title="One pixel", features=one)
    yield head_model("knn20", name="gone+knn20", title="G", features=none)
    yield head_model("knn20", name="bad+knn20", title="B", features=other)
"""


def content(command, dataset="toy"):
    return json.loads((command.folder / f"reports/{dataset}-few-shot.json").read_text())


def episodes_by_hand(train, labels, tested, size, episodes, seed):
    """Predictions of SimpleShot, (episodes, N), with every step of an episode spelled out."""
    rng = np.random.default_rng(seed)
    n_classes = labels.max() + 1
    found = []
    for _ in range(episodes):
        drawn = [rng.permutation(np.flatnonzero(labels == c))[:size] for c in range(n_classes)]
        center = train[np.concatenate(drawn)].mean(axis=0)
        units = [(train[d] - center) for d in drawn]
        means = [(u / np.linalg.norm(u, axis=1, keepdims=True)).mean(axis=0) for u in units]
        asked = tested - center
        asked /= np.linalg.norm(asked, axis=1, keepdims=True)
        distances = [np.linalg.norm(asked - mean, axis=1) for mean in means]
        found.append(np.argmin(distances, axis=0))
    return np.array(found)


def recalls(predicted, truth):
    return np.mean([(predicted[:, truth == c] == c).mean(axis=1) for c in np.unique(truth)], axis=0)


@pytest.fixture
def toy(toy):
    """With a model on features that do not tell classes apart for certain."""
    (toy.folder / "mine.py").write_text(HEADS)
    return toy


@pytest.fixture
def splits(toy, monkeypatch):
    """A function of a dataset of the toy plugin: what it holds."""
    monkeypatch.syspath_prepend(toy.path[0])
    import toy_harness

    named = {dataset.name: dataset for dataset in toy_harness.harness_datasets()}
    return lambda name: named[name].load(toy.folder)


def pixels(split):
    return split.images[:, 0, 0].astype(np.float64)


def extracted(command):
    log = command.folder / "extracted.log"
    return log.read_text().count("pixel") if log.exists() else 0


def test_figures_are_those_of_episodes_by_hand(toy, splits):
    toy(*TOY, "--episodes", 30, "--seed", 5)
    found, parts = content(toy), splits("toy")
    assert found["sizes"] == [1, 2, 4, 8, 16]
    assert found["left_out"] == {"32": "class red has 20 training patches"}
    train, test = pixels(parts.train), pixels(parts.test)
    for curve in found["curves"]:
        size = curve["per_class"]
        about = (train, parts.train.labels, test)
        predicted = episodes_by_hand(*about, size, 30, (5, 0))
        values = recalls(predicted, parts.test.labels)
        assert curve["episodes"]["balanced_accuracy"] == pytest.approx(values.tolist())
        right = (predicted == parts.test.labels).mean(axis=1)
        assert curve["episodes"]["accuracy"] == pytest.approx(right.tolist())
        assert curve["balanced_accuracy"] == pytest.approx(values.mean())
        ends = [curve["balanced_accuracy_low"], curve["balanced_accuracy_high"]]
        assert ends == pytest.approx(np.percentile(values, [2.5, 97.5]).tolist())
        error = values.std(ddof=1) / 30**0.5
        assert curve["balanced_accuracy_standard_error"] == pytest.approx(error)
    means = [curve["balanced_accuracy"] for curve in found["curves"]]
    assert 1 > means[-1] > means[0] > found["chance"] == pytest.approx(1 / 3)


def test_of_folds_each_is_predicted_from_the_others(toy, splits):
    output = toy("few-shot", "toy-folds", *PIXEL, "--episodes", 20)
    found, test = content(toy, "toy-folds"), splits("toy-folds").test
    assert found["sizes"] == [1, 2, 4]
    assert "Left out: 8, 16, 32 patches of each class, as class " in output
    assert "episodes differ less than single draws" in " ".join(output.split())
    (listed,) = (toy.folder / "runs/dataset/toy-folds/splits").glob("*/folds.npy")
    fold_of, values, labels = np.load(listed), pixels(test), test.labels
    for curve in found["curves"]:
        predicted = np.empty((20, 30), np.int64)
        for fold in range(3):
            inside = fold_of == fold
            about = (values[~inside], labels[~inside], values[inside])
            predicted[:, inside] = episodes_by_hand(*about, curve["per_class"], 20, (0, fold))
        expected = recalls(predicted, labels).tolist()
        assert curve["episodes"]["balanced_accuracy"] == pytest.approx(expected)


def test_patients_are_told_of_where_they_are_known(toy):
    toy("few-shot", "toy-groups", *PIXEL, "--episodes", 2)
    page = (toy.folder / "reports/toy-groups-few-shot.md").read_text()
    assert "drawn without regard to them" in page
    toy(*TOY, "--episodes", 2)
    assert "regard" not in (toy.folder / "reports/toy-few-shot.md").read_text()


def test_the_same_seed_gives_the_same_bytes(toy):
    def written(*more, store="runs"):
        toy(*TOY, "--episodes", 10, *more, HARNESS_STORE=store)
        return {p.suffix: p.read_bytes() for p in (toy.folder / "reports").iterdir()}

    first = written()
    assert sorted(first) == [".csv", ".json", ".md", ".png"]
    assert first[".png"].startswith(b"\x89PNG")
    before = extracted(toy)
    assert before
    assert written() == first
    assert extracted(toy) == before, "features are read back"
    assert not [*toy.folder.glob("runs/fit/*")], "nothing is fitted for the store"
    assert written(store="elsewhere") == first
    assert written("--seed", 1)[".csv"] != first[".csv"]


def test_features_that_are_damaged_are_extracted_again(toy):
    toy(*TOY, "--episodes", 10)
    before = content(toy)
    for path in toy.folder.glob("runs/features/*/*/*/values.npy"):
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    output = toy(*TOY, "--episodes", 10)
    assert "WARNING" in output
    assert content(toy) == before


def test_models_that_differ_in_their_head_have_one_curve(toy):
    plugin = ("--plugin", "mine.py", "--episodes", 5)
    toy("few-shot", "toy", "--model", "mine+linear", "--model", "mine+knn20", *plugin)
    assert {curve["model"] for curve in content(toy)["curves"]} == {"mine"}


def test_what_fails_costs_the_others_nothing(toy):
    lost = ("--model", "gone+knn20", "--model", "bad+knn20", "--plugin", "mine.py")
    output = toy(*TOY, *lost, "--episodes", 5, code=1)
    assert "failed: toy: gone+knn20: weights.bin: cannot be obtained; put it there" in output
    assert "ValueError: on purpose" in output
    found = content(toy)
    assert {curve["model"] for curve in found["curves"]} == {"pixel"}
    assert len(found["failed"]) >= 2
    alone = toy("few-shot", "toy", *lost[:2], "--plugin", "mine.py", code=1)
    assert "weights.bin: cannot be obtained" in alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toy", "--model", "toy-featurs"), "did you mean toy-features"),
        (("toy", "--model", "toy-mean"), "toy-mean is fitted on patches and has no features; name"),
        (("toy", "--model", "toy-mean+flips"), "sums logits of others and has no features"),
        (("toi", "--model", "toy-features"), "no dataset named 'toi'"),
        (("toy-test-only", "--model", "toy-features"), "toy-test-only: a dataset without folds"),
        (("toy", "--model", "toy-features", "--head", "knn"), "--head knn: there is linear, "),
        (("toy", "--model", "toy-features", "--head", "simplshot"), "did you mean simpleshot"),
        (("toy", "--model", "toy-features", "--episodes", "1"), "from 2 to 10,000"),
        (("toy", "--model", "toy-features", "--episodes", "x"), "'x' is not a whole number"),
        (("toy", "--model", "toy-features", "--set", "size=3"), "has the setting 'size'"),
        (("toy",), "--model"),
    ],
)
def test_mistakes_are_named_in_one_line(toy, arguments, message):
    output = toy("few-shot", *arguments, code=2)
    assert message in output.splitlines()[-1]
    assert not (toy.folder / "reports").exists()


def test_models_with_features_are_named_for_one_without(toy):
    output = toy("few-shot", "toy", "--model", "toy-mean", code=2)
    assert "color-histogram" in output
    assert "toy-features" in output
    assert "encoder:" in output


def test_a_class_that_cannot_be_drawn_is_named_before_anything_is_computed(toy):
    output = toy(*TOY, code=2, TOY_TRAIN="2")
    assert "class blue of toy has no training patch, so that none can be drawn" in output
    assert not extracted(toy)


def test_the_sample_in_seconds_with_pages_and_plot(command):
    models = ("--model", "rgb-means", "--model", "color-histogram")
    heads = ("--head", "simpleshot", "--head", "linear", "--episodes", 4)
    output = command("few-shot", SAMPLE, *models, *heads, COLUMNS="100")
    stem = f"reports/{SAMPLE}-few-shot"
    assert f"Wrote {stem}.md; also .csv, .json, .png" in output
    rows = [line.split() for line in output.splitlines() if line.startswith("rgb-means ")]
    assert len(rows) == 2
    with (command.folder / f"{stem}.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 2 * 4
    found = content(command, SAMPLE)
    widths = {source["name"]: source["width"] for source in found["features"]}
    assert widths == {"rgb-means": 3, "color-histogram": 48}, "of features that they share"
    for row, curve in zip(table, found["curves"], strict=True):
        assert float(row["balanced_accuracy"]) == curve["balanced_accuracy"]
        assert len(curve["episodes"]["accuracy"]) == 4
    page = (command.folder / f"{stem}.md").read_text()
    assert f"![few shot curves]({SAMPLE}-few-shot.png)" in page
    assert "Written by `harness few-shot " in page
    assert f"{100 * found['curves'][0]['balanced_accuracy']:.2f} (" in page
    best = {c["model"]: c["balanced_accuracy"] for c in found["curves"] if c["per_class"] == 8}
    assert best["color-histogram"] > best["rgb-means"] > found["chance"]


def test_json_is_what_the_file_has(toy):
    toy(*TOY, "--episodes", 3)
    shutil.rmtree(toy.folder / "reports")
    output = toy(*TOY, "--episodes", 3, "--json", "-q")
    printed, kept = json.loads(output), content(toy)
    assert kept.pop("command").startswith("harness few-shot toy")
    assert printed == kept


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    session = harness.Session(tmp_path_factory.mktemp("few-shot") / "runs", quiet=True)
    return session.few_shot(SAMPLE, ["rgb-means", "color-histogram"], episodes=6)


def test_a_session_returns_curves_that_show_themselves(found):
    assert found.sizes == (1, 2, 4, 8)
    assert found.failed == {}
    assert repr(found) == f"<few-shot curves on {SAMPLE}: rgb-means, color-histogram>"
    assert "SimpleShot: balanced accuracy % by labeled patches" in str(found)
    shown = found._repr_html_()
    assert "color-histogram" in shown
    assert "data:image/png;base64," in shown
    pytest.importorskip("pandas")
    frame = found.to_dataframe()
    assert len(frame) == 8
    assert frame.balanced_accuracy[0] == found.points[0].balanced.mean()


def test_the_picture_has_a_line_and_a_band_for_each_model(found):
    (axes,) = found.plot().axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    assert axes.get_xscale() == "log"
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert set(lines) == {"rgb-means", "color-histogram", "chance"}
    assert set(lines["chance"].get_ydata()) == {100 / 9}
    assert lines["chance"].get_linestyle() != "-"
    curve = found.curve("rgb-means", "simpleshot")
    means = [100 * point.balanced.mean() for point in curve]
    assert lines["rgb-means"].get_ydata().tolist() == pytest.approx(means)
    band = axes.collections[0].get_paths()[0].vertices
    ends = np.percentile([100 * curve[0].balanced], [2.5, 97.5])
    assert [band[band[:, 0] == 1, 1].min(), band[band[:, 0] == 1, 1].max()] == pytest.approx(ends)
    looks = {(line.get_color(), line.get_marker()) for line in lines.values()}
    assert len(looks) == 3


def test_names_that_no_font_shows_are_numbered(found, tmp_path):
    from dataclasses import replace

    from harness.store.failures import Collected
    from harness.store.store import Store

    name = "x" * 61
    sources = (replace(found.sources[0], name=name),)
    points = tuple(replace(p, model=name) for p in found.points if p.model == "rgb-means")
    problems = Collected(Store(tmp_path / "runs"))
    changed = replace(found, sources=sources, points=points)
    few_shot_text.write(changed, "harness", tmp_path / "boards", problems)
    assert not problems
    assert f"(1) is {name}" in (tmp_path / f"boards/{SAMPLE}-few-shot.md").read_text()


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda s: s.few_shot(SAMPLE, "rgb-means"), "models: give a list"),
        (lambda s: s.few_shot(SAMPLE, ["rgb-means"], episodes=1), "episodes: 1 is not a whole"),
        (lambda s: s.few_shot(SAMPLE, ["rgb-means"], seed=-1), "seeds: give whole numbers"),
        (lambda s: s.few_shot(SAMPLE, ["rgb-means"], heads=["knn"]), "--head knn: there is"),
        (lambda s: s.few_shot(SAMPLE, ["efficientnet-b0-ensemble"]), "has no features|needs"),
    ],
)
def test_a_session_names_mistakes(tmp_path, ask, says):
    with pytest.raises(HarnessError, match=says):
        ask(harness.Session(tmp_path / "runs", quiet=True))


@pytest.mark.parametrize("head", few_shot.PREDICT)
def test_each_head_is_fitted_on_what_is_drawn_alone(head):
    rng = np.random.default_rng(3)
    support, tested = rng.standard_normal((2, 3, 4, 200)), rng.standard_normal((20, 200))
    support += 5 * np.eye(3, 200)[None, :, None]
    guesses = few_shot.PREDICT[head](support.astype(np.float32), tested.astype(np.float32))
    assert guesses.shape == (2, 20)
    own = few_shot.PREDICT[head](support[:1].astype(np.float32), tested[:5].astype(np.float32))
    assert np.array_equal(own[0], guesses[0, :5])
    back = few_shot.PREDICT[head](support, support[0].reshape(-1, 200))
    assert (back[0] == np.repeat(np.arange(3), 4)).all()
    if head == "linear-uni":
        fit = FixedPenalty().fit(support[0].reshape(-1, 200), np.repeat(np.arange(3), 4))
        assert np.array_equal(fit.predict_proba(tested).argmax(axis=1), guesses[0])
    with drawing.clean():
        assert head in few_shot_text.TITLES
        assert head in few_shot_text.SAID
