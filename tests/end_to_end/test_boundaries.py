"""What a plugin is given or returns is read-only or a copy: nothing that it does reaches others."""

import ctypes
import os
import random
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace

import numpy as np
import pytest

from harness import (
    Dataset,
    DatasetProbe,
    Features,
    Finding,
    Model,
    ModelProbe,
    Perturbation,
    Phantom,
    PublishedResult,
    Splits,
)
from harness.analysis import asking
from harness.checks.fakes import Held
from harness.data.handover import frozen, kept, lent, received
from harness.data.splits import Concat, Subset
from harness.hooks import settings
from harness.hooks.guard import contained
from harness.hooks.loader import load_plugins
from harness.hooks.trial import Trial
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import Extraction, FeatureSplit, checked_features, extract
from harness.jobs.finding import ask
from harness.jobs.fit import FitSpec
from harness.jobs.fit import fit as fit_job
from harness.jobs.predict import predict
from harness.jobs.session import OpenSession, versions
from harness.jobs.spec import SessionSpec
from harness.store import predictions
from harness.store.predictions import GroundTruth, Run
from harness.store.store import Key, Store

sys.path.append(str(Path(__file__).parents[1] / "simulations"))
import broken_plugins

pytestmark = pytest.mark.once

CLASSES = ("a", "b", "c")


def in_place(values):
    values[:] = 0


def made_writable(values):
    values.setflags(write=True)
    values[:] = 0


def owner_of(values):
    made_writable(values.view())


SLIPS = pytest.mark.parametrize("slip", [in_place, made_writable, owner_of])
READ_ONLY = "read-only|cannot set WRITEABLE flag"


def held(name, n=12):
    images = np.random.default_rng(len(name)).integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    return Held(images, np.arange(n) % 3, [f"{name}/{i}" for i in range(n)])


def means(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


def slipping(slip):
    def extract(images):
        slip(images)
        return means(images)

    return Features(name="bad", extract=extract)


GOOD = Features(name="good", extract=means)


class Fitted:
    def __init__(self, slip=lambda inputs: None):
        self.slip = slip

    def logits(self, inputs):
        self.slip(inputs)
        return inputs.reshape(len(inputs), -1, 3).mean(axis=1).astype(np.float32)

    def save(self, folder):
        (folder / "saved").write_text("yes")


def model(fit=lambda *_: Fitted(), load=lambda *_: Fitted(), **more):
    return Model(name="m", title="M", fit=fit, load=load, **{"settings": {"x": 1}, **more})


# What is given


@SLIPS
@pytest.mark.parametrize("first", [True, False])
def test_features_that_write_into_patches_fail_alone(tmp_path, slip, first):
    def extracted(wanted, folder):
        finishes = extract(
            Extraction([(features, CLEAN) for features in wanted], held("t")), folder
        )
        return dict(zip((f.name for f in wanted), finishes, strict=True))

    folders = [tmp_path / name for name in ("alone", "both", "one", "two")]
    for folder in folders:
        folder.mkdir()
    extracted([GOOD], folders[0])["good"](folders[2])
    wanted = [slipping(slip), GOOD] if first else [GOOD, slipping(slip)]
    found = extracted(wanted, folders[1])
    found["good"](folders[3])
    with pytest.raises(ValueError, match=READ_ONLY):
        found["bad"](folders[3])
    one, two = ((folder / "values.npy").read_bytes() for folder in folders[2:])
    assert one == two


def changing(slip, name="bad"):
    def apply(patch, level, rng, *learned):
        slip(learned[0] if learned else patch)
        return patch

    return Perturbation(name=name, title="P", levels=(1.0,), apply=apply)


def brighter(patch, level, rng):
    return np.minimum(patch, 205) + np.uint8(50)


@SLIPS
def test_perturbations_that_write_into_patches_fail_alone(tmp_path, slip):
    better = Perturbation(name="good", title="G", levels=(1.0,), apply=brighter)
    conditions = [Condition(changing(slip), 1.0), CLEAN, Condition(better, 1.0)]
    alone, beside = (
        predicted(tmp_path / name, model(), of)
        for name, of in (("1", conditions[1:]), ("2", conditions))
    )
    with pytest.raises(ValueError, match=READ_ONLY):
        beside[0](tmp_path)
    for number, (one, other) in enumerate(zip(alone, beside[1:], strict=True)):
        assert logits(one, tmp_path / f"{number}a") == logits(other, tmp_path / f"{number}b")


def predicted(folder, of, conditions):
    """A pass of a model over test patches under conditions; it has been fitted before."""
    store = Store(folder)
    key = Key("fit", "d", "m", {})
    with store.write(key) as (place, _):
        (place / "saved").write_text("yes")
    workspace = folder / "workspace"
    workspace.mkdir()
    folds = [(store.folder(key), np.arange(12))]
    wanted = [(condition, None) for condition in conditions]
    if of.features is not None:
        split = FeatureSplit(held("t"), means(held("t").values))
        wanted = [(condition, split) for condition in conditions]
    return predict(of, {"x": 1}, folds, wanted, held("t"), 3, workspace)


def logits(finish, folder):
    folder.mkdir()
    finish(folder)
    return (folder / "logits.npy").read_bytes()


@SLIPS
@pytest.mark.parametrize("features", [None, GOOD])
def test_a_model_that_writes_into_its_inputs_fails(tmp_path, slip, features):
    of = model(load=lambda *_: Fitted(slip), features=features)
    with pytest.raises(ValueError, match=READ_ONLY):
        predicted(tmp_path, of, [CLEAN])


@SLIPS
@pytest.mark.parametrize("what", ["labels", "held out", "fold", "settings", "predicts"])
def test_a_fit_that_writes_into_what_it_is_given_fails(tmp_path, slip, what):
    def fit(train, validation, context):
        if what == "settings":
            context.settings["x"] = 2
        if what != "predicts":
            slip((validation if what == "held out" else train).labels)
        return Fitted(slip)

    of = model(fit, selects=True)
    resolved = settings.resolve(of, False, {})
    data = Dataset(name="d", title="D", classes=CLASSES, load=lambda folder: None)
    spec = FitSpec(data, of, resolved, None, 0, "held-out", 0)
    train = held("train", 60)
    if what == "fold":
        train = Concat(train, Subset(held("more"), np.arange(6)))
    before = train.labels.copy()
    store = Store(tmp_path)
    with pytest.raises((ValueError, TypeError), match=f"{READ_ONLY}|mappingproxy"):
        fit_job(spec, train, held("test"), None, store, Key("fit", "d", "m", {}), tmp_path)
    assert (train.labels == before).all()
    assert resolved == {"x": 1}


@SLIPS
@pytest.mark.parametrize("what", ["values", "labels", "folds", "mapping"])
def test_a_probe_of_datasets_that_writes_into_what_it_is_given_fails(tmp_path, slip, what):
    def measure(audit):
        if what == "mapping":
            audit.test.values["good"] = 0
        part = {"values": audit.test.values["good"], "labels": audit.test.labels}
        slip({**part, "folds": audit.folds[0][1]}[what])
        return Finding(summary="x")

    probe = DatasetProbe(name="p", title="P", features=(GOOD,), measure=measure)
    np.save(tmp_path / "values.npy", means(held("t").values))
    store = Store(tmp_path / "s")
    key = Key("features", "d", "good", {})
    with store.write(key) as (folder, _):
        np.save(folder / "values.npy", means(held("t").values))
    data = Dataset(name="d", title="D", classes=CLASSES, load=lambda folder: None)
    splits = Splits(train=held("t"), test=held("t"))
    stored = {part: {"good": store.folder(key)} for part in ("train", "test")}
    pairs = [(splits.train, np.arange(12))]
    with pytest.raises((ValueError, TypeError), match=f"{READ_ONLY}|mappingproxy"):
        ask(probe, data, splits, pairs, stored)


@SLIPS
@pytest.mark.parametrize("what", ["labels", "clean", "under", "perturbations"])
def test_a_probe_of_models_that_writes_into_what_it_is_given_fails(tmp_path, slip, what):
    def measure(asked):
        if what == "perturbations":
            asked.perturbations["x"] = None
        arrays = {"labels": asked.labels, "clean": asked.clean, "under": asked.under("p", 1.0)}
        slip(arrays[what])

    store = Store(tmp_path)
    key = Key("prediction", "d", "m", {})
    with store.write(key) as (folder, _):
        np.save(folder / "logits.npy", np.ones((12, 3), np.float32))
    runs = [Run({"model": "m", "seed": 0}, store.folder(key), {("p", 1.0): store.folder(key)})]
    labels = frozen(np.arange(12) % 3)
    truth = GroundTruth({"name": "d", "classes": CLASSES}, labels, held("t").ids, labels, None)
    (asked,) = predictions.views(truth, runs, {})
    with pytest.raises((ValueError, TypeError), match=f"{READ_ONLY}|mappingproxy"):
        asking.ask(ModelProbe(name="p", title="P", measure=measure), asked)
    assert (truth.labels == np.arange(12) % 3).all()


# Where numpy's flag is no help: torch, for one, writes through a read-only view and only warns.


def past_numpy(values):
    ctypes.memset(values.ctypes.data, 0, values.nbytes)


@pytest.mark.parametrize("first", [True, False])
def test_features_that_write_past_numpy_change_no_others(tmp_path, first):
    def extracted(number, wanted):
        folder = tmp_path / str(number)
        folder.mkdir()
        finishes = extract(Extraction(wanted, held("t")), folder)
        (finish,) = (f for (used, _), f in zip(wanted, finishes, strict=True) if used is GOOD)
        finish(folder)
        return (folder / "values.npy").read_bytes()

    bad, good = (slipping(past_numpy), CLEAN), (GOOD, CLEAN)
    changed = GOOD, Condition(changing(past_numpy), 1.0)
    alone = extracted(0, [good])
    assert extracted(1, [bad, good] if first else [good, bad]) == alone
    other = (slipping(past_numpy), changed[1])
    assert extracted(2, [other, good] if first else [good, other]) == alone


@pytest.mark.parametrize("first", [True, False])
def test_perturbations_that_write_past_numpy_change_no_others(tmp_path, first):
    bad = Condition(changing(past_numpy), 1.0)
    (alone,) = predicted(tmp_path / "1", model(), [CLEAN])
    found = predicted(tmp_path / "2", model(), [bad, CLEAN] if first else [CLEAN, bad])
    assert logits(alone, tmp_path / "a") == logits(found[first], tmp_path / "b")


def test_a_fit_that_writes_past_numpy_changes_no_labels(tmp_path):
    def fit(train, validation, context):
        for given in (train.labels, validation.labels, train.read(np.arange(4))):
            past_numpy(given)
        return Fitted(past_numpy)

    of = model(fit, selects=True)
    data = Dataset(name="d", title="D", classes=CLASSES, load=lambda folder: None)
    spec = FitSpec(data, of, settings.resolve(of, False, {}), None, 0, "held-out", 0)
    train, test = Concat(held("train", 60), held("more")), held("test")
    before = [train.labels.copy(), train.read(range(60)).copy(), test.labels.copy()]
    fit_job(spec, train, test, None, Store(tmp_path), Key("fit", "d", "m", {}), tmp_path)
    after = [train.labels, train.read(range(60)), test.labels]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    with np.load(tmp_path / "held-out.npz") as kept_of_it:
        assert sorted(set(kept_of_it["labels"].tolist())) == [0, 1, 2]


def test_a_probe_that_writes_past_numpy_changes_nothing_that_others_see(tmp_path):
    def measure(asked):
        for given in (asked.labels, asked.clean, asked.groups, asked.of("m").labels):
            past_numpy(given)

    store = Store(tmp_path)
    key = Key("prediction", "d", "m", {})
    with store.write(key) as (folder, _):
        np.save(folder / "logits.npy", np.ones((12, 3), np.float32))
    labels, groups = frozen(np.arange(12) % 3), frozen(np.arange(12) // 2)
    truth = GroundTruth({"name": "d", "classes": CLASSES}, labels, held("t").ids, labels, groups)
    (seen,) = predictions.views(truth, [Run({"model": "m", "seed": 0}, store.folder(key))], {})
    asking.ask(ModelProbe(name="p", title="P", measure=measure), seen)
    for given in (truth, seen):
        assert given.labels.tolist() == [*range(3)] * 4
        assert given.groups.tolist() == np.repeat(np.arange(6), 2).tolist()
    assert (seen.clean == 1).all()


# What is returned


class Hostile:
    """A split that writes, at each read, into all that it has returned and been given."""

    def __init__(self):
        self.labels = np.arange(12) % 3
        self.ids = [f"h/{i}" for i in range(12)]
        self.fingerprint = "h"
        self.images = np.full((12, 8, 8, 3), 7, np.uint8)

    def read(self, indices):
        self.labels[:] = 0
        self.ids.clear()
        return self.images[: len(indices)]


def test_what_a_dataset_returned_does_not_change_later():
    mine = Hostile()
    groups = [str(i) for i in range(12)]
    dataset = received(
        Dataset(
            name="d",
            title="D",
            classes=list(CLASSES),
            load=lambda folder: Splits(train=None, test=mine, folds=3, groups=groups),
        )
    )
    splits = dataset.load(Path())
    assert splits.test.labels.tolist() == [*range(3)] * 4
    assert len(splits.test.ids) == 12
    patches = splits.test.read([1, 2])
    mine.images[:] = 0
    groups.clear()
    assert (patches == 7).all()
    patches[:] = 1  # it is the reader's own
    assert (mine.images == 0).all()
    assert splits.test.labels.tolist() == [*range(3)] * 4
    assert len(splits.test.ids) == len(splits.groups) == 12
    assert dataset.classes == CLASSES
    with pytest.raises(ValueError, match=READ_ONLY):
        made_writable(splits.test.labels)


def test_the_places_that_a_dataset_reads_are_not_its_to_write():
    class Sorting(Hostile):
        def read(self, indices):
            indices.sort()
            return self.images[indices]

    splits = received(
        Dataset(
            name="d", title="D", classes=CLASSES, load=lambda _: Splits(train=None, test=Sorting())
        )
    ).load(Path())
    order = np.array([2, 1])
    with pytest.raises(ValueError, match=READ_ONLY):
        splits.test.read(order)
    assert order.tolist() == [2, 1]


def test_phantoms_are_received_like_datasets():
    doses_seen = []

    def make(seed):
        def plant(doses):
            doses_seen.append(doses)
            return Splits(train=None, test=mine)

        return plant

    mine = Hostile()
    phantom = received(Phantom(name="p", title="P", classes=CLASSES, faults=(), make=make))
    split = phantom.make(0)({"f": 1.0}).test
    split.read([0])[:] = 0
    assert (mine.images == 7).all()
    assert isinstance(doses_seen[0], MappingProxyType)


def test_one_buffer_for_every_answer_is_read_before_it_is_written_again(tmp_path):
    buffer = np.zeros((4096, 3), np.float32)

    def reused(images):
        buffer[: len(images)] = means(images)
        return buffer[: len(images)]

    split = held("t", 300)
    folders = [tmp_path / name for name in ("work", "good", "reused")]
    for folder in folders:
        folder.mkdir()
    wanted = [(GOOD, CLEAN)]
    for finish in extract(Extraction(wanted, split), folders[0]):
        finish(folders[1])
    lock_free = replace(GOOD, extract=lambda images: reused(images).copy())
    assert lock_free.extract(split.values[:2]).base is None
    values = checked_features("f", reused(split.values[:64]), split.ids[:64])
    reused(split.values[64:128])
    assert (values == np.load(folders[1] / "values.npy")[:64]).all()


def test_lists_and_dictionaries_of_contributions_are_copies():
    confusion = [[1, 0], [0, 1]]
    published = PublishedResult(
        test_set="t",
        model="m",
        title="M",
        trained_on="",
        selected_on="",
        tta="none",
        source="",
        checked="source",
        n=2,
        confusion=confusion,
        classes=["a", "b"],
    )
    kept_of = received(published)
    confusion[0][0] = 5
    assert kept_of.confusion == ((1, 0), (0, 1))
    plots = {"x": print}
    probe = received(DatasetProbe(name="p", title="P", features=[GOOD], measure=print, plots=plots))
    plots.clear()
    assert [*probe.plots] == ["x"]
    assert probe.features == (GOOD,)
    assert received(model()).settings == {"x": 1}


def test_views_of_frozen_arrays_stay_read_only(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    buffer = np.frombuffer(bytearray(8), np.uint8)
    for values in (
        frozen(np.zeros(3)),
        frozen(np.zeros(6).reshape(2, 3)[1:]),
        frozen(np.load(tmp_path / "x.npy")),
        frozen(np.load(tmp_path / "x.npy", mmap_mode="r")),
        frozen(buffer),
        kept([1, 2]),
        kept(np.zeros(4)[::2]),
    ):
        for view in (values, values[:1], values.view(), values.reshape(1, -1)):
            with pytest.raises(ValueError, match="WRITEABLE"):
                view.setflags(write=True)
    mine = np.zeros(3)
    with pytest.raises(ValueError, match="read-only"):
        lent(mine)[:] = 1
    mine[:] = 1


# What is set for the process


def test_what_a_plugin_sets_for_the_process_is_put_back(monkeypatch):
    monkeypatch.setenv("HERE_BEFORE", "1")
    before = random.getstate(), np.random.get_state()[1].tolist(), np.geterr(), Path.cwd()
    filters, environment = [*warnings.filters], dict(os.environ)
    with contained():
        random.seed(1)
        np.random.seed(1)
        np.seterr(all="raise")
        os.chdir(os.sep)
        os.environ["NEW"] = "1"
        del os.environ["HERE_BEFORE"]
        warnings.simplefilter("error")
    after = random.getstate(), np.random.get_state()[1].tolist(), np.geterr(), Path.cwd()
    assert after == before
    assert warnings.filters == filters
    assert dict(os.environ) == environment


def test_what_a_plugin_sets_in_torch_is_put_back():
    torch = pytest.importorskip("torch")
    state = torch.get_rng_state()
    with contained():
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(5)
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_copy_of_the_process_that_comes_back_is_ended(capfd):
    with contained():
        child = os.fork()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 70
    assert "came back" in capfd.readouterr().err


# Loading


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_loading_has_a_time_limit_and_the_others_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.hooks.trial.AT_LEAST", 2.0)
    known = {one.name: one for one in broken_plugins.campaign()["loading"]}
    names = ("an import without end", "a hook without end", "forks at import", "os._exit in a hook")
    endless, hook, fine, exits = (known[name] for name in names)
    files = [one.write(tmp_path) for one in (endless, fine, exits, hook)]
    with Trial(files=files, minutes=0.001) as trial:
        registry = load_plugins(files=files, why_not=trial.why_not)
    status = {plugin.name: plugin for plugin in registry.plugins}
    for one in (endless, hook):
        late = status[one.stem]
        assert late.status.startswith("took longer than 2 s to be loaded (--time-limit)")
        assert f'{one.stem}.py", line' in late.traceback, "it says where"
    assert status[exits.stem].status.startswith("ended the process with exit code 3 when it was")
    assert status[fine.stem].status == ""
    assert [*registry.refused] == [endless.stem, exits.stem, hook.stem]
    session = SessionSpec(
        store=str(tmp_path / "runs"),
        data=str(tmp_path),
        plugins={str(path): versions(registry)[str(path)] for path in files},
        refused=registry.refused,
    )
    again = OpenSession.open(session).registry  # what is known is not tried again
    assert {plugin.name: plugin.status for plugin in again.plugins} == {
        name: plugin.status for name, plugin in status.items()
    }


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
def test_compiled_code_that_does_not_return_ends_the_command_with_a_message():
    code = (
        "import signal, threading\n"
        "from harness.hooks import limit\n"
        "limit.GRACE = 0.5\n"
        "with limit.limited(0.01):\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "    threading.Event().wait()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "a plugin took longer than the 0.01 min of --time-limit (in " in done.stderr


def test_without_other_plugins_nothing_is_tried(tmp_path):
    described = tmp_path / "described.toml"
    described.write_text("")
    with Trial(files=[described]) as trial:
        assert trial.child is None
        assert trial.why_not("described") == ""


# All of it, in real processes


HANDFUL = {
    "in place": None,
    "keeps": None,
    "pipe": (
        "forks in fit",
        "forks, and a half raises",
        "writes to every descriptor",
        "pretends that all is done",
        "closes descriptors and opens files",
    ),
    "loading": (
        "os._exit at import",
        "os._exit in a hook",
        "a crash at import",
        "writes at import",
        "closes at import",
        "forks at import",
    ),
}
"""Of the campaign, by kind; None is all."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    before = broken_plugins.run(tmp_path_factory.mktemp("alone"))
    assert before.code == 0, before.text
    assert len(before.rows()) == 3
    assert len(before.arrays()) > 15
    return before


@pytest.mark.skipif(os.name != "posix", reason="forks")
@pytest.mark.parametrize("kind", HANDFUL)
def test_broken_plugins_change_nothing_of_others(alone, tmp_path, kind):
    chosen = HANDFUL[kind]
    broken = [
        one for one in broken_plugins.campaign()[kind] if chosen is None or one.name in chosen
    ]
    assert len(broken) >= 4
    after = broken_plugins.run(tmp_path, broken)
    assert broken_plugins.harm(alone, after, broken) == [], after.text


def test_a_module_that_another_thread_is_importing_is_left_alone(monkeypatch):
    class Half(ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            pytest.fail(f"torch.{name} is called")

    half = Half("torch")
    half.__spec__ = SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "torch", half)
    with contained():
        pass
