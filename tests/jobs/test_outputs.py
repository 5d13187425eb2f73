"""Logits, probabilities and scores: noticed, declared, stored and summed; figures of each."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

from harness import Features, HarnessError, Model
from harness.data.splits import Subset
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import FeatureSplit
from harness.jobs.fit import EPOCHS, Epochs, predict_all
from harness.jobs.outputs import SMALLEST, as_stored, doubt, kind_of
from harness.jobs.predict import predict
from harness.jobs.sums import check_scale
from harness.store.predictions import Run
from harness.store.store import Key, Store

LOGITS = 4 * np.random.default_rng(0).standard_normal((200, 5))
PROBABILITIES = softmax(LOGITS, axis=1)


def bfloat16(values):
    """Rounded to the 8 bits of bfloat16's significand, as a network in bfloat16 gives them."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def one_hot(values):
    return np.eye(values.shape[1])[values.argmax(axis=1)]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (PROBABILITIES, "look like probabilities"),
        (PROBABILITIES.astype(np.float16), "look like probabilities"),
        (bfloat16(PROBABILITIES), "look like probabilities"),
        (PROBABILITIES[:3], "look like probabilities"),
        (PROBABILITIES - 1e-9, "look like probabilities"),
        (softmax(LOGITS[:, :2], axis=1), "look like probabilities"),
        (softmax(LOGITS / 1000, axis=1), "look like probabilities"),
        (one_hot(LOGITS), "1 for the predicted class and 0 for the others"),
        (100 * PROBABILITIES, "look like percentages"),
        (100 * PROBABILITIES[:5], "each row sums to 100; divide them by that and declare them"),
        (5 * PROBABILITIES, "each row sums to 5; divide them by that and declare them"),
        (5 * softmax(LOGITS / 1000, axis=1), "each row sums to 5; divide"),
        (bfloat16(4 * PROBABILITIES), "each row sums to 4; divide"),
        (255 * PROBABILITIES.astype(np.float16), "each row sums to 255; divide"),
        (0.5 * PROBABILITIES, "each row sums to 0.5; divide"),
        (np.rint(9 * PROBABILITIES[:, :2] / PROBABILITIES[:, :2].sum(1, keepdims=True)), "votes"),
        (sum(softmax(LOGITS * k, axis=1) for k in (1, 2, 3)), "each row sums to 3; divide"),
        (expit(LOGITS), "like those of a sigmoid"),
        (expit(LOGITS[:, :2]), "like those of a sigmoid"),
        (expit(LOGITS[:8]), "like those of a sigmoid"),
        (expit(LOGITS[:20, :2]), "like those of a sigmoid"),
    ],
)
def test_what_is_probably_no_logits_is_told_with_what_to_do(values, says):
    told = doubt(np.asarray(values, np.float32))
    assert says in told
    assert 'Model(outputs="' in told
    assert "in a TOML file" in told


@pytest.mark.parametrize(
    "values",
    [
        LOGITS,
        LOGITS[:, :2],
        log_softmax(LOGITS, axis=1),
        np.abs(LOGITS),
        np.maximum(LOGITS, 0),
        9 * one_hot(LOGITS),
        100 * one_hot(LOGITS),
        LOGITS - LOGITS.mean(axis=1, keepdims=True) + 0.2,  # each row sums to 1
        np.concatenate([np.eye(5)[:1], LOGITS]),  # one row that is one-hot by chance
        np.concatenate([PROBABILITIES, LOGITS[:1]]),
        np.tile([0.0, 0.5, 1.0], (200, 1)),  # always the same
        np.tile([2.0, 0.5, 1.0], (200, 1)),
        [2.0, 0.5, 1, 3, 1] + LOGITS / 10000,  # hardly learned anything
        5 * PROBABILITIES[:4],  # too few to tell
        expit(LOGITS[:7]),  # too few to tell
        expit(LOGITS[:19, :2]),  # too few to tell
        np.zeros((0, 5)),
        np.zeros((200, 5)),
    ],
)
def test_logits_are_not_doubted(values):
    assert doubt(values.astype(np.float32)) == ""


@given(st.integers(2, 12), st.integers(5, 40), st.floats(0.01, 3), st.integers(0, 9999))
def test_sums_of_probabilities_are_doubted_and_logits_after_a_relu_are_not(c, n, spread, seed):
    logits = spread * np.random.default_rng(seed).standard_normal((n, c))
    assert "each row sums" not in doubt(np.maximum(logits, 0).astype(np.float32))
    for k in (2, 5, 255):
        votes = (k * softmax(logits, axis=1)).astype(np.float32)
        assert f"each row sums to {k}; divide" in doubt(votes)


@given(st.integers(2, 12), st.floats(0.01, 60), st.integers(0, 9999))
def test_declared_probabilities_come_back_as_the_softmax_of_what_is_stored(c, spread, seed):
    given_ = softmax(spread * np.random.default_rng(seed).standard_normal((20, c)), axis=1)
    stored = as_stored("m", "probabilities", given_, 20, c)
    assert stored.dtype == np.float32
    assert np.isfinite(stored).all()
    np.testing.assert_allclose(softmax(stored.astype(float), axis=1), given_, atol=1e-6)


@pytest.mark.parametrize("kind", ["logits", "scores"])
def test_what_is_no_probability_is_stored_as_it_is(kind):
    stored = as_stored("m", kind, LOGITS, *LOGITS.shape)
    np.testing.assert_array_equal(stored, LOGITS.astype(np.float32))


def test_a_probability_of_zero_has_a_finite_logarithm():
    stored = as_stored("m", "probabilities", [[0.0, 1.0]], 1, 2)
    np.testing.assert_allclose(stored, [[np.log(SMALLEST), 0]])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (LOGITS, "some are negative .*leave outputs out if they are logits"),
        (np.abs(LOGITS), "they sum to .* for a patch and not to 1; return the softmax"),
        (log_softmax(LOGITS, axis=1), "they are logarithms of probabilities; leave outputs out"),
        (np.log(bfloat16(PROBABILITIES)), "they are logarithms of probabilities"),
        (expit(LOGITS), "they sum to "),
        (100 * PROBABILITIES, "they sum to 100 for a patch"),
        (np.zeros((200, 5)), "they sum to 0 for a patch"),
        (np.full((200, 5), np.nan), "not finite"),
        (PROBABILITIES[:, :4], r"shape \(200, 4\)"),
    ],
)
def test_what_is_declared_as_probabilities_and_is_not_is_refused(values, says):
    with pytest.raises(HarnessError, match=says) as caught:
        as_stored("m", "probabilities", values, 200, 5)
    assert "'m'" in str(caught.value)


class Held:
    """A split of features, or of patches one pixel large with the same values."""

    def __init__(self, patches):
        self.labels = np.arange(len(LOGITS)) % 5
        self.ids = [str(i) for i in range(len(LOGITS))]
        self.fingerprint = "held"
        numbers = np.arange(len(LOGITS)).reshape(-1, 1)
        self.values = numbers.reshape(-1, 1, 1, 1).astype(np.uint8) if patches else numbers
        if patches:
            self.values = np.repeat(self.values, 3, axis=3)

    def read(self, indices):
        return self.values[np.asarray(indices)]


class Softmax:
    """Gives probabilities of patches, which are numbered."""

    def logits(self, inputs):
        return PROBABILITIES[inputs.reshape(len(inputs), -1)[:, 0].astype(int)].astype(np.float32)

    def save(self, folder):
        (folder / "saved").write_text("yes")


def stored(root, kind, name, values=None, **record):
    """A result in a store, and its record."""
    store, key = Store(root), Key(kind, "d", name, {})
    with store.write(key) as (folder, about):
        if values is not None:
            np.save(folder / "logits.npy", values.astype(np.float32))
        about.update(model=name, **record)
    return store.folder(key), store.record(key)


def folds_of(root):
    """Two stored fits, and the patches that each tests."""
    return [
        (stored(root, "fit", f"m{fold}")[0], np.arange(100 * fold, 100 * (fold + 1)))
        for fold in range(2)
    ]


def model(outputs, patches=True):
    return Model(
        name="m",
        title="M",
        fit=lambda *_: Softmax(),
        load=lambda *_: Softmax(),
        outputs=outputs,
        features=None if patches else Features(name="f", extract=lambda images: images),
    )


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("outputs", ["logits", "probabilities", "scores"])
def test_predictions_are_stored_by_what_they_are(tmp_path, outputs, patches):
    split = Held(patches)
    features = None if patches else FeatureSplit(split, split.values)
    folds = folds_of(tmp_path / "runs")
    wanted = [(CLEAN, features), (Condition(view="hflip"), features)]
    for finish in predict(model(outputs, patches), {}, folds, wanted, split, 5, tmp_path):
        record = finish(tmp_path)
        stored = np.load(tmp_path / "logits.npy")
        if outputs == "probabilities":
            np.testing.assert_allclose(stored, np.log(PROBABILITIES), atol=1e-4)
        else:
            np.testing.assert_array_equal(stored, PROBABILITIES.astype(np.float32))
        assert record["outputs"] == ("scores" if outputs == "scores" else "logits")
        assert bool(record["outputs_doubt"]) == (outputs == "logits")
        assert record["terms"] == 1


def test_held_out_logits_and_those_of_epochs_are_converted_too(tmp_path):
    split = Held(patches=True)
    expected = np.log(PROBABILITIES)
    told = model("probabilities")
    np.testing.assert_allclose(predict_all(told, Softmax(), split, 5), expected, atol=1e-4)
    epochs = Epochs(tmp_path, told, Subset(split, np.arange(50)), 5)
    epochs.keep(0, Softmax(), 0.5)
    epochs.save(tmp_path)
    with np.load(tmp_path / EPOCHS) as kept:
        np.testing.assert_allclose(kept["logits"], expected[None, :50], atol=1e-4)


def test_folds_must_agree_on_what_they_return(tmp_path):
    made = model(lambda classifier: next(kinds))
    kinds = iter(("logits", "scores"))
    folds = folds_of(tmp_path / "runs")
    with pytest.raises(HarnessError, match="m are logits in one fold and scores in another"):
        predict(made, {}, folds, [(CLEAN, None)], Held(True), 5, tmp_path)
    with pytest.raises(HarnessError, match="outputs are 'softmax'; say logits, probabilities or"):
        kind_of(model(lambda classifier: "softmax"), Softmax())


def test_a_sum_of_scores_and_logits_is_refused(tmp_path):
    records = [
        stored(tmp_path, "prediction", name, LOGITS, outputs=kind, terms=1)[1]
        for name, kind in (("svm", "scores"), ("net", "logits"))
    ]
    with pytest.raises(HarnessError, match=r"svm are scores and those of net are logits; .*common"):
        check_scale(records)


def run_of(root, values, **record):
    folder, found = stored(root, "prediction", "m", values, **record)
    return Run(found, folder)


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 8])
def test_a_sum_of_equal_terms_has_the_probabilities_of_one(tmp_path, terms):
    run = run_of(tmp_path / "sum", terms * LOGITS, outputs="logits", outputs_doubt="", terms=terms)
    np.testing.assert_allclose(run.scores(), PROBABILITIES, rtol=1e-4)
    np.testing.assert_allclose(run.logits(), terms * LOGITS, rtol=1e-6)
    assert run.no_probabilities == ""


def test_where_there_are_no_probabilities_the_values_themselves_rank(tmp_path):
    for number, record in enumerate(
        (
            {"outputs": "scores", "outputs_doubt": ""},
            {"outputs": "logits", "outputs_doubt": "look like probabilities"},
        )
    ):
        run = run_of(tmp_path / str(number), PROBABILITIES, **record)
        assert run.no_probabilities
        np.testing.assert_array_equal(run.scores(), PROBABILITIES.astype(np.float32))


PLUGIN = """
import numpy as np
from harness import DerivedModel, Features, Model, estimator_model, four_views, hookimpl

CENTERS = np.array([[110.0, 75, 75], [75, 110, 75], [75, 75, 110]])


class Net:
    def __init__(self, kind):
        self.kind = kind

    def logits(self, images):
        colors = images.mean(axis=(1, 2))  # the same for all flips
        logits = -0.01 * ((colors[:, None] - CENTERS) ** 2).sum(axis=2) + 30
        if self.kind == "logits":
            return logits.astype(np.float32)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)

    def save(self, folder):
        (folder / "there").write_text("yes")


def made(name, kind, **more):
    return Model(
        name=name,
        title=name,
        fit=lambda *_: Net(kind),
        load=lambda *_: Net(kind),
        trained_on="elsewhere",
        **more,
    )


def extract(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


def svm(settings, seed):
    from sklearn.svm import LinearSVC

    return LinearSVC(random_state=seed)


@hookimpl
def harness_models():
    pairs = (("sum-of-both", ("plain", "declared")), ("mixed", ("plain", "svm")))
    yield made("plain", "logits")
    yield made("declared", "probabilities", outputs="probabilities")
    yield made("undeclared", "probabilities")
    yield made("wrong", "logits", outputs="probabilities")
    colors = Features(name="colors", extract=extract)
    yield estimator_model(name="svm", title="svm", estimator=svm, features=colors)
    for name, members in pairs:
        terms = tuple((member, "identity") for member in members)
        yield DerivedModel(name=name, title=name, terms=terms)
"""
SCALED = ("ece", "ece_equal_mass", "brier", "nll")
ASKED = ("--plugin", "kinds.py", "--dataset", "toy", "--no-probes", "--columns", "all")


@pytest.fixture
def kinds(toy):
    (toy.folder / "kinds.py").write_text(PLUGIN)

    def run(*models, code=0):
        named = [word for name in models for word in ("--model", name)]
        output = toy("run", *ASKED, *named, code=code)
        board = json.loads((toy.folder / "reports/toy.json").read_text())
        rows = {row["model"]: row for row in board["rows"] if row["result"] == "measured"}
        return output, rows

    run.toy = toy
    return run


def test_declared_probabilities_have_the_figures_of_their_logits(kinds):
    output, rows = kinds("plain", "declared", "plain+flips", "declared+flips", "sum-of-both")
    assert "WARNING" not in output
    assert len(rows) == 5
    for row in rows.values():
        assert row["calibration_empty_because"] == ""
        for name in ("accuracy", "macro_auroc", *SCALED):
            assert row[name] == pytest.approx(rows["plain"][name], abs=1e-5), (row["model"], name)
    errors = json.loads((kinds.toy.folder / "reports/toy-errors.json").read_text())
    found = {one["model"]: one for one in errors["models"]}
    for one in found.values():
        assert one["area_under_risk_coverage"] == pytest.approx(
            found["plain"]["area_under_risk_coverage"], abs=1e-6
        )
        assert one["reliability"] == [
            pytest.approx(expected, abs=1e-4) for expected in found["plain"]["reliability"]
        ]


@pytest.mark.once
def test_undeclared_probabilities_are_told_everywhere_and_have_no_calibration(kinds):
    output, rows = kinds("plain", "undeclared", "undeclared+flips")
    assert "WARNING: toy: undeclared: its outputs look like probabilities" in output
    for name in ("undeclared", "undeclared+flips"):
        row = rows[name]
        assert [row[estimate] for estimate in SCALED] == [None] * 4
        assert "look like probabilities" in row["calibration_empty_because"]
        assert "look like probabilities" in row["notes"]
        for estimate in ("accuracy", "macro_auroc"):
            assert row[estimate] == pytest.approx(rows["plain"][estimate], abs=1e-6)
    again, _ = kinds("undeclared")  # nothing is computed, and it is said again
    assert "undeclared: its outputs look like probabilities" in again
    page = (kinds.toy.folder / "reports/toy.md").read_text()
    assert "undeclared: its outputs look like probabilities" in page
    compared = kinds.toy("compare", "plain", "undeclared", "--dataset", "toy")
    assert "undeclared: its outputs look like probabilities" in " ".join(compared.split())
    checked = kinds.toy("check", "undeclared", "--plugin", "kinds.py", "--dataset", "toy", code=1)
    assert "look like probabilities" in checked


@pytest.mark.once
def test_a_wrong_declaration_costs_only_its_own_model(kinds):
    output, rows = kinds("plain", "wrong", code=1)
    assert 'declares outputs = "probabilities", but some are negative' in output
    assert set(rows) == {"plain"}
    checked = kinds.toy("check", "wrong", "--plugin", "kinds.py", "--dataset", "toy", code=1)
    assert "some are negative" in checked


@pytest.mark.once
def test_scores_have_no_calibration_and_are_not_summed_with_logits(kinds):
    output, rows = kinds("svm", "svm+flips", "plain", "mixed", code=1)
    assert "the outputs of svm are scores and those of plain are logits" in output
    assert set(rows) == {"svm", "svm+flips", "plain"}
    for name in ("svm", "svm+flips"):
        assert [rows[name][estimate] for estimate in SCALED] == [None] * 4
        assert "scores, not probabilities" in rows[name]["notes"]
        assert rows[name]["macro_auroc"] > 0.9
    errors = json.loads((kinds.toy.folder / "reports/toy-errors.json").read_text())
    by_name = {one["model"]: one for one in errors["models"]}
    assert by_name["svm"]["reliability"] is None
    assert "scores" in by_name["svm"]["confidence_empty_because"]
    assert by_name["plain"]["reliability"]
    assert "Without svm: " in (kinds.toy.folder / "reports/toy-errors.md").read_text()
    assert "BROKEN" not in kinds.toy("check", "svm", "--plugin", "kinds.py", "--dataset", "toy")
