"""What each epoch of an audited fit predicted, kept while the fit may be killed and damaged."""

import json

import numpy as np
import pytest

from harness import Dataset, Model
from harness.jobs.fit import EPOCHS, FitSpec, fit
from harness.store.store import Key, Store
from harness.system import checkpoints

N_EPOCHS = 5
KEY = Key("fit", "d", "m", {})


class Split:
    def __init__(self, n):
        self.labels = np.arange(n) % 2
        self.ids = [str(i) for i in range(n)]
        self.fingerprint = str(n)

    def read(self, indices):
        return (
            np.full((len(indices), 4, 4, 3), 7, np.uint8)
            + np.asarray(indices, np.uint8)[:, None, None, None]
        )


class Classifier:
    def __init__(self, epoch):
        self.epoch = epoch

    def logits(self, images):
        values = images[:, 0, 0, 0].astype(np.float32)
        return np.stack([values * self.epoch, -values], axis=1)

    def save(self, folder):
        (folder / "epoch.json").write_text(json.dumps(self.epoch))


def model(killed_in=None, trained=None):
    """Epochs that can be gone on with; ``trained`` gets the number of each."""

    def fit(train, validation, context):
        checkpoint = context.folder / "step.json"
        done = 0
        if not checkpoints.damage(checkpoint):
            done = json.loads(checkpoint.read_text())
        for epoch in range(done, N_EPOCHS):
            if trained is not None:
                trained.append(epoch)
            context.after_epoch(epoch, Classifier(epoch), -abs(epoch - 2))
            if epoch == killed_in:
                raise KeyboardInterrupt
            checkpoints.write(
                checkpoint, lambda draft, epoch=epoch: draft.write_text(json.dumps(epoch + 1))
            )
        return Classifier(N_EPOCHS)

    return Model(name="m", title="", fit=fit, load=lambda *_: None, reports_epochs=True)


def run(store, made, folder):
    folder.mkdir()
    dataset = Dataset(name="d", title="", classes=("a", "b"), load=lambda _: None)
    spec = FitSpec(dataset, made, {}, None, 0, "none", 0, audited=True)
    fit(spec, Split(6), Split(10), None, store, KEY, folder)
    with np.load(folder / EPOCHS) as kept:
        return kept["logits"], kept["scores"]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def delete(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return run(Store(folder / "runs"), model(), folder / "result")


def test_a_killed_fit_goes_on_with_the_epochs_it_has(whole, tmp_path):
    store, trained = Store(tmp_path / "runs"), []
    with pytest.raises(KeyboardInterrupt):
        run(store, model(killed_in=3), tmp_path / "killed")
    found = run(store, model(trained=trained), tmp_path / "result")
    assert trained == [3, 4]
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("damage", [flip, delete, empty])
@pytest.mark.parametrize(
    "name",
    [
        *("epochs/000000.npz", "epochs/000003.npz", "epochs/000001.npz.sha256"),
        *("epochs.json", "epochs.json.sha256", "step.json", "step.json.sha256"),
        *("seconds.json", "seconds.json.sha256"),
    ],
)
def test_damage_costs_time_and_no_epoch(name, damage, whole, tmp_path, capsys, console):
    store, trained = Store(tmp_path / "runs"), []
    with pytest.raises(KeyboardInterrupt):
        run(store, model(killed_in=3), tmp_path / "killed")
    damage(store.workspace(KEY) / name)
    found = run(store, model(trained=trained), tmp_path / "result")
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)
    if name.startswith("epochs"):
        assert trained == list(range(N_EPOCHS))
        named = store.workspace(KEY) / name.removesuffix(".sha256")
        assert f"{named}: " in capsys.readouterr().err
