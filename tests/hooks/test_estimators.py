"""scikit-learn estimators as models: logits, choices on the held-out part, files without pickle."""

import json
import zipfile

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from harness import Features, FitContext, HarnessError, estimator_model
from harness.hooks.estimators import _loss
from harness.jobs.features import FeatureSplit
from harness.jobs.outputs import doubt, kind_of

CLASSES = ("a", "b", "never", "c")
MEANS = slice(0, 3)
FEATURES = Features(name="f", extract=lambda images: images.mean(axis=(1, 2)))


class Split:
    def __init__(self, seed, n=300):
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % 4
        self.labels[self.labels == 2] = 3
        values = rng.random((n, 5)).astype(np.float32)
        values[:, 1] += self.labels
        self.ids, self.fingerprint = [str(i) for i in range(n)], str(seed)
        self.values = values


def split(seed, n=300):
    made = Split(seed, n)
    return FeatureSplit(made, made.values)


def model(estimator, **more):
    return estimator_model(
        name="m", title="M", estimator=estimator, features=FEATURES, columns=MEANS, **more
    )


def fit(made, tmp_path, validation=None, seed=0, said=None, n=300):
    context = FitContext(
        seed=seed,
        classes=CLASSES,
        settings=made.settings,
        folder=tmp_path,
        say=(lambda line: None) if said is None else said.append,
    )
    return made.fit(split(1, n), validation, context)


def forest(settings, seed):
    return RandomForestClassifier(20, random_state=seed, n_jobs=2)


def test_logits_are_log_probabilities_and_finite(tmp_path):
    fitted, seen = fit(model(forest), tmp_path), split(1)
    logits = fitted.logits(seen.values)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert (logits.argmax(axis=1) == seen.labels).mean() > 0.95
    assert logits[:, 2] == pytest.approx(np.log(1e-6))
    probabilities = fitted.estimator.predict_proba(seen.values[:, MEANS])
    assert np.exp(logits[:, [0, 1, 3]]) == pytest.approx(probabilities, abs=1e-5)


def test_only_its_own_columns_count(tmp_path):
    fitted, values = fit(model(forest), tmp_path), split(1).values
    other = values.copy()
    other[:, 3:] = 9
    assert (fitted.logits(other) == fitted.logits(values)).all()


def test_a_seed_decides_the_forest(tmp_path):
    values = split(1).values
    one, same, other = (fit(model(forest), tmp_path, seed=seed) for seed in (1, 1, 2))
    assert (one.logits(values) == same.logits(values)).all()
    assert (one.logits(values) != other.logits(values)).any()


def test_an_estimator_without_probabilities_gives_its_margins(tmp_path):
    fitted = fit(model(lambda settings, seed: LinearSVC(random_state=seed)), tmp_path)
    logits = fitted.logits(split(1).values)
    margins = fitted.estimator.decision_function(split(1).values[:, MEANS])
    assert logits[:, [0, 1, 3]] == pytest.approx(margins, abs=1e-5)
    assert (logits[:, 2] <= logits.min(axis=1)).all()
    alone = [fitted.logits(split(1).values[row : row + 1]) for row in range(20)]
    np.testing.assert_allclose(np.concatenate(alone), logits[:20], atol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (lambda: RandomForestClassifier(5), "logits"),
        (lambda: KNeighborsClassifier(3), "logits"),
        (lambda: LogisticRegression(), "logits"),
        (lambda: GaussianNB(), "logits"),
        (lambda: make_pipeline(StandardScaler(), LogisticRegression()), "logits"),
        (lambda: LinearSVC(), "scores"),
        (lambda: SVC(), "scores"),
        (lambda: RidgeClassifier(), "scores"),
        (lambda: make_pipeline(StandardScaler(), SGDClassifier()), "scores"),
        (lambda: make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")), "logits"),
    ],
)
def test_what_an_estimator_gives_is_told_from_it(estimator, kind, tmp_path):
    made = model(lambda settings, seed: estimator())
    fitted = fit(made, tmp_path)
    fitted.save(tmp_path)
    for classifier in (fitted, made.load(tmp_path, {})):
        assert kind_of(made, classifier) == kind
        assert doubt(classifier.logits(split(1).values)) == ""


def test_scores_are_chosen_on_a_scale_of_their_own(tmp_path):
    """The margins of a weak penalty are larger; that alone must not make them likelier."""

    class Flat(RidgeClassifier):
        def __init__(self, factor=1.0):
            super().__init__()
            self.factor = factor

        def decision_function(self, values):
            return self.factor * super().decision_function(values)

    losses = []
    for factor in (0.1, 1, 10):
        fitted = fit(model(lambda settings, seed, f=factor: Flat(f)), tmp_path)
        losses.append(_loss(fitted, split(2, 60)))
    assert losses == pytest.approx([losses[0]] * 3, rel=0.02)


@pytest.mark.parametrize("choices", [None, {"C": (1, 10)}])
@pytest.mark.parametrize(("classes", "says"), [(3, "is highest for another"), (4, "has 6 columns")])
def test_scores_of_pairs_of_classes_are_not_taken_for_those_of_classes(
    classes, says, choices, tmp_path
):
    def made(shape):
        def estimator(settings, seed):
            return make_pipeline(StandardScaler(), SVC(decision_function_shape=shape))

        return model(estimator, choices=choices)

    def data(seed):
        labels = np.arange(60) % classes
        values = np.random.default_rng(seed).random((60, 5)).astype(np.float32)
        values[:, 1] += labels
        content = Split(seed, 60)
        content.labels = labels
        return FeatureSplit(content, values)

    context = FitContext(seed=0, classes=CLASSES, settings={}, folder=tmp_path)
    validation = data(2) if choices else None
    with pytest.raises(HarnessError, match=f"{says}.*say decision_function_shape='ovr'"):
        made("ovo").fit(data(1), validation, context)
    fitted, seen = made("ovr").fit(data(1), validation, context), data(1)
    assert (fitted.logits(seen.values).argmax(axis=1) == seen.labels).mean() > 0.95


@pytest.mark.parametrize(
    "estimator", [LinearRegression(), VotingClassifier([("tree", DecisionTreeClassifier())])]
)
def test_an_estimator_without_scores_of_classes_is_refused(estimator, tmp_path):
    with pytest.raises(HarnessError, match="has neither predict_proba nor decision_function"):
        fit(model(lambda settings, seed: estimator), tmp_path)


def test_ties_between_the_votes_of_pairs_are_no_mistake(tmp_path):
    labels = np.arange(180) % 9
    values = np.random.default_rng(0).random((180, 5)).astype(np.float32)
    values[:, 0] += 0.1 * labels
    content = Split(0, 180)
    content.labels = labels
    names = tuple("abcdefghi")
    context = FitContext(seed=0, classes=names, settings={}, folder=tmp_path)
    made = model(lambda settings, seed: SVC(kernel="linear"))
    fitted = made.fit(FeatureSplit(content, values), None, context)
    predicted = fitted.estimator.predict(values[:, MEANS])
    assert (fitted.logits(values).argmax(axis=1) != predicted).any()


def test_two_classes_have_a_margin_each(tmp_path):
    def binary(settings, seed):
        return LinearSVC(random_state=seed)

    seen = split(1)
    two = FeatureSplit(seen, seen.values)
    two.labels = (seen.labels > 0).astype(np.int64)
    context = FitContext(seed=0, classes=("x", "y"), settings={}, folder=tmp_path)
    logits = model(binary).fit(two, None, context).logits(two.values)
    assert logits.shape == (300, 2)
    assert (logits.argmax(axis=1) == two.labels).mean() > 0.95


def test_the_likeliest_choice_is_kept(tmp_path):
    def linear(settings, seed):
        return make_pipeline(StandardScaler(), LogisticRegression(C=settings["C"]))

    said = []
    made = model(linear, choices={"C": (1e-6, 1.0)})
    assert made.selects
    fitted = fit(made, tmp_path, validation=split(2, 60), said=said)
    assert fitted.estimator[-1].C == 1.0
    assert said == ["chosen on held-out patches: C = 1.0"]
    with pytest.raises(HarnessError, match="need a validation split"):
        fit(made, tmp_path)


@pytest.mark.parametrize("values", [("gini", "entropy"), (None, "sqrt"), np.array([2, 3])])
def test_choices_may_be_of_any_type(values, tmp_path):
    key = {"gini": "criterion", None: "max_features"}.get(values[0], "max_depth")

    def chosen(settings, seed):
        return RandomForestClassifier(5, random_state=seed, **{key: settings[key]})

    said = []
    made = model(chosen, choices={key: values})
    fitted = fit(made, tmp_path, validation=split(2, 60), said=said)
    assert said == [f"chosen on held-out patches: {key} = {getattr(fitted.estimator, key)}"]
    fitted.save(tmp_path)
    seen = split(1).values
    assert (made.load(tmp_path, {}).logits(seen) == fitted.logits(seen)).all()


def nearest(settings, seed):
    return KNeighborsClassifier(settings["n_neighbors"])


def test_a_choice_that_cannot_be_is_passed_over(tmp_path):
    said = []
    made = model(nearest, choices={"n_neighbors": (-1, 3, 20)})
    fitted = fit(made, tmp_path, validation=split(2, 60), said=said, n=12)
    assert fitted.estimator.n_neighbors == 3
    assert [line.split(":")[0] for line in said[:2]] == [
        "passed over n_neighbors = -1",
        "passed over n_neighbors = 20",
    ]
    assert said[2] == "chosen on held-out patches: n_neighbors = 3"
    made = model(nearest, choices={"n_neighbors": (20, 30)})
    with pytest.raises(ValueError, match="n_neighbors <= n_samples"):
        fit(made, tmp_path, validation=split(2, 60), n=12)
    made = model(nearest, settings={"n_neighbors": 0})
    with pytest.raises(HarnessError, match=r"n_neighbors.* Change it with --set"):
        fit(made, tmp_path)


@pytest.mark.parametrize("columns", [slice(0, 5, 2), slice(None, None, -1), [1, 0], (3, 1)])
def test_any_columns_are_the_same_when_loaded(columns, tmp_path):
    made = estimator_model(
        name="m", title="M", estimator=forest, features=FEATURES, columns=columns
    )
    fitted, seen = fit(made, tmp_path), split(1).values
    fitted.save(tmp_path)
    assert fitted.estimator.n_features_in_ == seen[:, columns].shape[1]
    assert (made.load(tmp_path, {}).logits(seen) == fitted.logits(seen)).all()


def test_saved_and_loaded_it_is_the_same_and_holds_no_pickle(tmp_path):
    made = model(forest)
    fitted, values = fit(made, tmp_path), split(1).values
    fitted.save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"estimator.skops", "estimator.json"}
    loaded = made.load(tmp_path, {})
    assert (loaded.logits(values) == fitted.logits(values)).all()
    with zipfile.ZipFile(tmp_path / "estimator.skops") as file:
        assert all(name.endswith((".json", ".npy")) for name in file.namelist())
    assert json.loads((tmp_path / "estimator.json").read_text())["n_classes"] == 4


class OwnEstimator(ClassifierMixin, BaseEstimator):
    def fit(self, values, labels):
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, values):
        return np.full((len(values), len(self.classes_)), 1 / len(self.classes_))


def test_types_from_elsewhere_are_read_only_when_trusted(tmp_path):
    def own(settings, seed):
        return OwnEstimator()

    fit(model(own), tmp_path).save(tmp_path)
    with pytest.raises(HarnessError, match=r"OwnEstimator, which the plugin does not name"):
        model(own).load(tmp_path, {})
    trusted = f"{OwnEstimator.__module__}.OwnEstimator"
    logits = model(own, trusted=[trusted]).load(tmp_path, {}).logits(split(1).values)
    assert logits[0, 0] == pytest.approx(np.log(1 / 3))


def members():
    return [("one", LogisticRegression()), ("other", GaussianNB())]


ESTIMATORS = [
    make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression()),
    RandomForestClassifier(3, random_state=np.random.RandomState(0)),
    GradientBoostingClassifier(n_estimators=2),
    HistGradientBoostingClassifier(max_iter=2),
    KNeighborsClassifier(algorithm="kd_tree"),
    KNeighborsClassifier(algorithm="ball_tree"),
    KNeighborsClassifier(metric="cosine"),
    CalibratedClassifierCV(LinearSVC()),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}),
    VotingClassifier(members(), voting="soft"),
    StackingClassifier(members()),
    SGDClassifier(loss="log_loss"),
    SVC(),
    MLPClassifier((4,), max_iter=5),
    GaussianProcessClassifier(),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_estimators_of_scikit_learn_are_stored_and_read(estimator, tmp_path):
    made = model(lambda settings, seed: estimator)
    fitted, values = fit(made, tmp_path, n=80), split(1).values
    fitted.save(tmp_path)
    assert (made.load(tmp_path, {}).logits(values) == fitted.logits(values)).all()


def json_part(value):
    return {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(value),
    }


def named_part(module, name, loader="FunctionNode", **more):
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def listed(*parts, kind="list", loader="ListNode"):
    return named_part("builtins", kind, loader, content=list(parts))


def array_part():
    content = [json_part(1.0)]
    shape = listed(json_part(1), kind="tuple", loader="TupleNode")
    return named_part("numpy", "ndarray", "NdArrayNode", type="json", content=content, shape=shape)


FORBIDDEN = {
    "function of numpy that runs a string": named_part("numpy.testing", "measure"),
    "another of them": named_part("numpy.testing._private.utils", "runstring"),
    "function that looks harmless": named_part("numpy", "save"),
    "function of scipy": named_part("scipy.io", "savemat"),
    "function of scikit-learn": named_part("sklearn.utils._testing", "set_random_state"),
    "class of scikit-learn that calls": named_part(
        "sklearn.utils.parallel", "_FuncWrapper", "ObjectNode"
    ),
    "function of the system": named_part("os", "system"),
    "function of posix": named_part("posix", "system"),
    "builtin function": named_part("builtins", "eval"),
    "builtin function as a type": named_part("builtins", "eval", "TypeNode"),
    "class as a type": named_part("subprocess", "Popen", "TypeNode"),
    "class that is called": named_part(
        "subprocess", "Popen", "ConstructorFromReduceNode", content=listed(json_part("true"))
    ),
    "class of numpy that is called": named_part(
        "numpy", "memmap", "ConstructorFromReduceNode", content=listed(json_part("file"))
    ),
    "object of any class": named_part("subprocess", "Popen", "ObjectNode"),
    "partial": named_part(
        "functools",
        "partial",
        "PartialNode",
        content={
            "func": named_part("os", "system"),
            "args": listed(json_part("true"), kind="tuple", loader="TupleNode"),
            "kwds": json_part({}),
            "namespace": json_part(None),
        },
    ),
    "partial of what is allowed": named_part(
        "functools",
        "partial",
        "PartialNode",
        content={
            "func": named_part("numpy", "log1p"),
            "args": listed(kind="tuple", loader="TupleNode"),
            "kwds": json_part({}),
            "namespace": json_part(None),
        },
    ),
    "method of an array": named_part(
        "numpy", "ndarray", "MethodNode", content={"func": "tofile", "obj": array_part()}
    ),
    "method of an estimator": named_part(
        "sklearn.linear_model._logistic",
        "LogisticRegression",
        "MethodNode",
        content={
            "func": "set_params",
            "obj": named_part("sklearn.linear_model._logistic", "LogisticRegression", "ObjectNode"),
        },
    ),
    "function of operator": named_part(
        "operator", "methodcaller", "OperatorFuncNode", attrs=listed(json_part("tofile"))
    ),
    "kind of part that is not known": named_part("os", "system", "QuantileForestNode"),
    "list of another class": named_part("subprocess", "Popen", "ListNode", content=[]),
    "dictionary of another class": named_part(
        "os", "_Environ", "DictNode", content={}, key_types=listed()
    ),
    "random generator that is a function": named_part(
        "numpy.random._generator",
        "Generator",
        "RandomGeneratorNode",
        content={
            "bit_generator": named_part(
                "builtins",
                "dict",
                "DictNode",
                content={"bit_generator": json_part("seed")},
                key_types=listed(named_part("builtins", "str", "TypeNode")),
            ),
            "seed_seq": json_part({}),
        },
    ),
}


def replaced(state, loader, part):
    """The parts of a file with each part of a kind replaced by another."""
    if isinstance(state, dict):
        if state.get("__loader__") == loader:
            return part
        return {key: replaced(value, loader, part) for key, value in state.items()}
    if isinstance(state, list):
        return [replaced(value, loader, part) for value in state]
    return state


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("part", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_a_doctored_file_names_is_neither_built_nor_called(part, depth, tmp_path, monkeypatch):
    def doctored(settings, seed):
        pipeline = make_pipeline(FunctionTransformer(np.square), LogisticRegression())
        for _ in range(depth):
            pipeline = make_pipeline(StandardScaler(), pipeline)
        return pipeline

    made = model(doctored)
    fit(made, tmp_path).save(tmp_path)
    path = tmp_path / "estimator.skops"
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(members["schema.json"])
    assert replaced(schema, "FunctionNode", part) != schema
    members["schema.json"] = json.dumps(replaced(schema, "FunctionNode", part)).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    monkeypatch.setattr("skops.io.load", lambda *_, **__: pytest.fail("it was built"))
    name = f"{part['__module__']}.{part['__class__']}"
    with pytest.raises(HarnessError, match=rf"estimator\.skops: holds .*{name}"):
        made.load(tmp_path, {})


def test_a_file_of_an_earlier_protocol_is_not_read(tmp_path):
    made = model(forest)
    fit(made, tmp_path).save(tmp_path)
    path = tmp_path / "estimator.skops"
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for protocol in (0, 1, None, "2", True):
        schema = json.loads(members["schema.json"]) | {"protocol": protocol}
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, json.dumps(schema) if name == "schema.json" else content)
        with pytest.raises(HarnessError, match=r"estimator\.skops: is "):
            made.load(tmp_path, {})


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip"])
def test_a_file_that_is_no_estimator_is_named(content, tmp_path):
    made = model(forest)
    fit(made, tmp_path).save(tmp_path)
    (tmp_path / "estimator.skops").write_bytes(content)
    with pytest.raises(HarnessError, match=r"estimator\.skops: is not an estimator"):
        made.load(tmp_path, {})
