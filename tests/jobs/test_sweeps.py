"""One pass for many results: every patch decoded once, mistakes kept apart, resumed when killed."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from harness import Features, HarnessError, Model, Perturbation
from harness.jobs import passes
from harness.jobs import predict as predict_module
from harness.jobs.conditions import CLEAN, Condition
from harness.jobs.features import Extraction, extract
from harness.jobs.fit import predict_all
from harness.jobs.predict import Task, predict, predict_together
from harness.store.store import Key, Store
from harness.store.stored import DamagedError

N = 150


class Counting:
    """A split of small random patches that counts how often each is read."""

    def __init__(self):
        self.labels = np.arange(N) % 3
        self.ids = [f"patch {i}" for i in range(N)]
        self.images = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3)).astype(np.uint8)
        self.fingerprint = "counting"
        self.reads = Counter()

    def read(self, indices):
        self.reads.update(map(int, indices))
        return self.images[np.asarray(indices)]


def add(patch, level, rng):
    return (patch + int(level)).astype(np.uint8)


def broken(patch, level, rng):
    raise RuntimeError("broken on purpose")


def means(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


def brightest(images):
    return images.max(axis=(1, 2, 3)).astype(np.float32)[:, None]


MEANS = Features(name="means", extract=means)
BRIGHTEST = Features(name="brightest", extract=brightest)
ADD = Perturbation(name="add", title="", levels=(1, 9), apply=add)
BROKEN = Perturbation(name="broken", title="", levels=(1,), apply=broken)


class Sums:
    """A classifier whose logits are exact, so that batches cannot change them."""

    def __init__(self, stop_after=None):
        self.calls, self.stop_after = 0, stop_after

    def logits(self, inputs):
        self.calls += 1
        if self.stop_after is not None and self.calls > self.stop_after:
            raise KeyboardInterrupt
        return inputs.reshape(len(inputs), -1)[:, :3].astype(np.float32)

    def save(self, folder):
        pass


def model(classifier):
    return Model(
        name="sums",
        title="",
        fit=lambda train, validation, context: classifier,
        load=lambda folder, settings: classifier,
    )


def stored(finish, folder, file):
    folder.mkdir()
    return finish(folder), np.load(folder / file)


def fitted(folder):
    """The folder of a stored fit, which holds nothing but its record."""
    store, key = Store(folder / "store"), Key("fit", "d", "sums", {})
    with store.write(key):
        pass
    return store.folder(key)


def once():
    """Every patch read once, and the first one before to see how large patches are."""
    return Counter({i: 1 + (i == 0) for i in range(N)})


def test_features_under_conditions_take_one_pass(tmp_path):
    split = Counting()
    wanted = [
        (MEANS, CLEAN),
        (BRIGHTEST, CLEAN),
        (MEANS, Condition(ADD, 1)),
        (MEANS, Condition(ADD, 9)),
    ]
    finishes = extract(Extraction(wanted, split), tmp_path)
    assert split.reads == once()
    for number, (features, condition) in enumerate(wanted):
        record, values = stored(finishes[number], tmp_path / f"result {number}", "values.npy")
        images = split.images + np.uint8(condition.level or 0)
        assert (values == features.extract(images)).all()
        assert values.dtype == np.float32
        assert record["n"] == N
        assert record["seconds"] > 0


def test_an_interrupted_pass_for_features_goes_on_where_it_was(tmp_path):
    class Stopping(Counting):
        def read(self, indices):
            if max(indices) >= 128:
                raise KeyboardInterrupt
            return super().read(indices)

    good = [(MEANS, CLEAN), (BRIGHTEST, CLEAN), (MEANS, Condition(ADD, 9))]
    wanted = [*good, (MEANS, Condition(BROKEN, 1))]
    with pytest.raises(KeyboardInterrupt):
        extract(Extraction(wanted, Stopping()), tmp_path)
    with (tmp_path / "1.npy").open("ab") as file:
        file.write(b"half")  # killed in the middle of a write
    split = Counting()
    finishes = extract(Extraction(wanted, split), tmp_path)
    assert set(split.reads) == {0, *range(128, N)}
    with pytest.raises(HarnessError, match="broken on purpose"):
        finishes[3](tmp_path)
    for number, (features, condition) in enumerate(good):
        _, values = stored(finishes[number], tmp_path / f"result {number}", "values.npy")
        assert (values == features.extract(split.images + np.uint8(condition.level or 0))).all()


def test_large_patches_are_read_a_few_at_a_time():
    class Large(Counting):
        def read(self, indices):
            return np.zeros((len(indices), 2048, 2048, 3), np.uint8)

    assert passes.batch_size(Counting()) == passes.BATCH
    assert passes.batch_size(Large()) == 3
    assert passes.batch_size(Large(), conditions=90) == 1


def test_features_that_fail_cost_the_others_nothing(tmp_path):
    bad = Features(name="bad", extract=lambda images: np.full((len(images), 1), np.nan, np.float32))
    wanted = [(bad, CLEAN), (MEANS, Condition(BROKEN, 1)), (MEANS, CLEAN)]
    first, second, third = extract(Extraction(wanted, Counting()), tmp_path)
    with pytest.raises(Exception, match="'bad' are not one row of equally many finite numbers"):
        stored(first, tmp_path / "first", "values.npy")
    with pytest.raises(RuntimeError, match="broken on purpose"):
        stored(second, tmp_path / "second", "values.npy")
    _, values = stored(third, tmp_path / "third", "values.npy")
    assert (values == means(Counting().images)).all()


def test_predictions_under_conditions_take_one_pass(tmp_path):
    split = Counting()
    wanted = [
        (c, None) for c in (CLEAN, Condition(ADD, 1), Condition(BROKEN, 1), Condition(ADD, 9))
    ]
    fit = fitted(tmp_path)
    folds = [(fit, np.arange(0, N, 2)), (fit, np.arange(1, N, 2))]
    finishes = predict(model(Sums()), {}, folds, wanted, split, 3, tmp_path)
    assert split.reads == once()
    for number, added in ((0, 0), (1, 1), (3, 9)):
        record, values = stored(finishes[number], tmp_path / f"result {number}", "logits.npy")
        expected = (split.images + np.uint8(added)).reshape(N, -1)[:, :3]
        assert (values == expected).all()
        assert record["n"] == N
    with pytest.raises(RuntimeError, match="broken on purpose"):
        stored(finishes[2], tmp_path / "broken", "logits.npy")


def test_an_interrupted_pass_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "SAVE_EVERY", 0.0)
    wanted = [(CLEAN, None), (Condition(ADD, 9), None)]
    fit = fitted(tmp_path)
    folds = [(fit, np.arange(0, N, 2)), (fit, np.arange(1, N, 2))]
    with pytest.raises(KeyboardInterrupt):
        predict(model(Sums(stop_after=3)), {}, folds, wanted, Counting(), 3, tmp_path)
    split = Counting()
    finishes = predict(model(Sums()), {}, folds, wanted, split, 3, tmp_path)
    assert 0 < len(split.reads) < N
    (tmp_path / "anew").mkdir()
    whole = predict(model(Sums()), {}, folds, wanted, Counting(), 3, tmp_path / "anew")
    for number in range(2):
        _, resumed = stored(finishes[number], tmp_path / f"resumed {number}", "logits.npy")
        _, at_once = stored(whole[number], tmp_path / f"whole {number}", "logits.npy")
        assert (resumed == at_once).all()


def broken_at_one(patch, level, rng):
    if (patch == Counting().images[2]).all():
        raise RuntimeError("broken on purpose")
    return patch


def test_what_failed_before_an_interruption_does_not_pass_for_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "SAVE_EVERY", 0.0)
    once = Perturbation(name="once", title="", levels=(1,), apply=broken_at_one)
    wanted = [(CLEAN, None), (Condition(once, 1), None)]
    folds = [(fitted(tmp_path), np.arange(N))]
    with pytest.raises(KeyboardInterrupt):
        predict(model(Sums(stop_after=2)), {}, folds, wanted, Counting(), 3, tmp_path)
    clean, failed = predict(model(Sums()), {}, folds, wanted, Counting(), 3, tmp_path)
    _, values = stored(clean, tmp_path / "clean", "logits.npy")
    assert np.isfinite(values).all()
    with pytest.raises(HarnessError, match="broken on purpose"):
        stored(failed, tmp_path / "failed", "logits.npy")


def test_logits_that_are_not_finite_cost_only_their_condition(tmp_path):
    class Fragile(Sums):
        def logits(self, inputs):
            values = super().logits(inputs)
            values[inputs.reshape(len(inputs), -1).max(axis=1) == 255] = np.nan
            return values

    white = Perturbation(
        name="white", title="", levels=(1,), apply=lambda p, level, rng: np.full_like(p, 255)
    )
    dark = Perturbation(name="dark", title="", levels=(1,), apply=lambda p, level, rng: p // 2)
    wanted = [(Condition(white, 1), None), (Condition(dark, 1), None)]
    folds = [(fitted(tmp_path), np.arange(N))]
    first, second = predict(model(Fragile()), {}, folds, wanted, Counting(), 3, tmp_path)
    with pytest.raises(HarnessError, match="not finite"):
        stored(first, tmp_path / "white", "logits.npy")
    _, values = stored(second, tmp_path / "dark", "logits.npy")
    assert np.isfinite(values).all()


def test_logits_too_large_for_float32_are_not_finite_and_complex_ones_no_numbers(tmp_path):
    class Odd(Sums):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def logits(self, inputs):
            return super().logits(inputs).astype(np.complex128 if self.factor == 1j else float) * (
                self.factor
            )

    wanted, folds = [(CLEAN, None)], [(fitted(tmp_path), np.arange(N))]
    (finish,) = predict(model(Odd(1e300)), {}, folds, wanted, Counting(), 3, tmp_path)
    with pytest.raises(HarnessError, match="model 'sums' returned logits that are not finite"):
        finish(tmp_path)
    with pytest.raises(TypeError, match="complex128 where numbers are expected"):
        predict(model(Odd(1j)), {}, folds, wanted, Counting(), 3, tmp_path / "new")


def test_features_and_perturbations_that_exit_cost_the_others_nothing(tmp_path):
    def leave(*_):
        raise SystemExit("no license")

    wanted = [
        (Features(name="leaves", extract=leave), CLEAN),
        (MEANS, Condition(Perturbation(name="leaves", title="", levels=(1,), apply=leave), 1)),
        (MEANS, CLEAN),
    ]
    *left, stays = extract(Extraction(wanted, Counting()), tmp_path)
    for finish in left:
        with pytest.raises(SystemExit, match="no license"):
            finish(tmp_path)
    _, values = stored(stays, tmp_path / "stays", "values.npy")
    assert (values == means(Counting().images)).all()


def test_features_of_varying_width_are_refused(tmp_path):
    widths = iter((2, 3, 3))
    varying = Features(
        name="varying", extract=lambda images: np.zeros((len(images), next(widths)), np.float32)
    )
    (finish,) = extract(Extraction([(varying, CLEAN)], Counting()), tmp_path)
    with pytest.raises(HarnessError, match="'varying' are not one row of equally many"):
        stored(finish, tmp_path / "result", "values.npy")


def test_a_checkpoint_cut_short_is_no_obstacle(tmp_path):
    (tmp_path / "sums.npz").write_bytes(b"PK\x03\x04 cut short")
    folds = [(fitted(tmp_path), np.arange(N))]
    (finish,) = predict(model(Sums()), {}, folds, [(CLEAN, None)], Counting(), 3, tmp_path)
    _, values = stored(finish, tmp_path / "result", "logits.npy")
    assert np.isfinite(values).all()


def flip(data, share):
    place = int(share * (len(data) - 1))
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def zero(data, share):
    place = int(share * (len(data) - 1))
    return data[:place] + bytes(len(data[place : place + 40])) + data[place + 40 :]


def cut(data, share):
    return data[: int(share * (len(data) - 1))]


DAMAGES = [(how, share) for how in (flip, zero, cut) for share in (0.0, 0.02, 0.5, 1.0)]


def named(damage):
    return f"{damage[0].__name__}-{damage[1]}" if isinstance(damage, tuple) else str(damage)


@pytest.mark.parametrize("name", ["0.npy", "1.rows", "failed.json", "failed.json.sha256"])
@pytest.mark.parametrize("damage", [*DAMAGES, None], ids=named)
def test_a_pass_for_features_goes_on_from_what_proves_itself(name, damage, tmp_path):
    class Stopping(Counting):
        def read(self, indices):
            if max(indices) >= 128:
                raise KeyboardInterrupt
            return super().read(indices)

    wanted = [(MEANS, CLEAN), (BRIGHTEST, CLEAN), (MEANS, Condition(BROKEN, 1))]
    with pytest.raises(KeyboardInterrupt):
        extract(Extraction(wanted, Stopping()), tmp_path)
    if damage is None:
        (tmp_path / name).unlink()
    else:
        how, share = damage
        (tmp_path / name).write_bytes(how((tmp_path / name).read_bytes(), share))
    split = Counting()
    first, second, third = extract(Extraction(wanted, split), tmp_path)
    for number, (finish, features) in enumerate(((first, MEANS), (second, BRIGHTEST))):
        _, values = stored(finish, tmp_path / f"result {number}", "values.npy")
        assert (values == features.extract(split.images)).all()
    with pytest.raises(Exception, match="broken on purpose"):
        third(tmp_path)


@pytest.mark.parametrize("name", ["sums.npz", "sums.npz.sha256"])
@pytest.mark.parametrize("damage", [*DAMAGES, None], ids=named)
def test_a_pass_for_predictions_goes_on_from_what_proves_itself(
    name, damage, tmp_path, monkeypatch, capsys, console
):
    monkeypatch.setattr(predict_module, "SAVE_EVERY", 0.0)
    wanted, folds = [(CLEAN, None), (Condition(ADD, 9), None)], [(fitted(tmp_path), np.arange(N))]
    with pytest.raises(KeyboardInterrupt):
        predict(model(Sums(stop_after=2)), {}, folds, wanted, Counting(), 3, tmp_path)
    if damage is None:
        (tmp_path / name).unlink()
    else:
        how, share = damage
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(how(before, share))
        if how(before, share).strip() == before.strip():
            return  # the byte was zero, or the end of a line
    split = Counting()
    finishes = predict(model(Sums()), {}, folds, wanted, split, 3, tmp_path)
    assert split.reads == once(), "all of it is computed again"
    if (tmp_path / "sums.npz").exists() and damage is not None:
        assert f"{tmp_path / 'sums.npz'}: " in capsys.readouterr().err
    for number, added in enumerate((0, 9)):
        _, values = stored(finishes[number], tmp_path / f"result {number}", "logits.npy")
        assert (values == (split.images + np.uint8(added)).reshape(N, -1)[:, :3]).all()


def test_a_pass_is_not_gone_on_with_by_another_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "SAVE_EVERY", 0.0)
    fit, wanted = fitted(tmp_path), [(CLEAN, None)]
    with pytest.raises(KeyboardInterrupt):
        predict(
            model(Sums(stop_after=2)), {}, [(fit, np.arange(N))], wanted, Counting(), 3, tmp_path
        )
    other = Store(tmp_path / "store"), Key("fit", "d", "sums", {"seed": 1})
    with other[0].write(other[1]):
        pass
    split, folds = Counting(), [(other[0].folder(other[1]), np.arange(N))]
    predict(model(Sums()), {}, folds, wanted, split, 3, tmp_path)
    assert split.reads == once()


def test_a_fit_that_is_damaged_is_not_loaded(tmp_path):
    fit = fitted(tmp_path)
    (fit / "added.npy").write_bytes(b"")
    with pytest.raises(DamagedError, match=r"added\.npy: does not belong here"):
        predict(model(Sums()), {}, [(fit, np.arange(N))], [(CLEAN, None)], Counting(), 3, tmp_path)


def test_many_models_share_a_pass_in_which_patches_are_perturbed_once(tmp_path):
    perturbed = Counter()

    def counting(patch, level, rng):
        perturbed[level] += 1
        return add(patch, level, rng)

    class Raises(Sums):
        def logits(self, inputs):
            if self.calls == 1:
                raise ValueError("in the second batch")
            return super().logits(inputs)

    class Unloadable:
        def __call__(self, folder, settings):
            raise OSError("cannot be loaded")

    counted = Perturbation(name="add", title="", levels=(1, 9), apply=counting)
    conditions = [Condition(counted, 1), Condition(counted, 9)]
    (tmp_path / "fits").mkdir()
    folds = [(fitted(tmp_path / "fits"), np.arange(N))]
    models = [replace(model(Sums()), name=f"sums {number}") for number in range(5)]
    models[1] = replace(model(Raises()), name="raises")
    models[2] = replace(models[2], name="unloadable", load=Unloadable())
    tasks = [Task(made, {}, folds, [(one, None) for one in conditions]) for made in models]
    tasks[4] = replace(tasks[4], wanted=[(conditions[1], None), (Condition(BROKEN, 1), None)])
    split = Counting()
    found = predict_together(tasks, split, 3, tmp_path)
    assert split.reads == once()
    assert perturbed == {1: N, 9: N}
    for number, message in ((1, "in the second batch"), (2, "cannot be loaded")):
        for finish in found[number]:
            with pytest.raises((ValueError, OSError), match=message):
                finish(tmp_path)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        found[4][1](tmp_path)
    sums = [(task, k, level) for task in (0, 3) for k, level in ((0, 1), (1, 9))] + [(4, 0, 9)]
    for task, k, level in sums:
        record, values = stored(found[task][k], tmp_path / f"{task} {k}", "logits.npy")
        assert (values == (split.images + np.uint8(level)).reshape(N, -1)[:, :3]).all()
        assert record["seconds"] > 0


def test_models_that_memory_may_not_hold_together_have_passes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(predict_module, "TOGETHER", 0)
    (tmp_path / "fits").mkdir()
    folds = [(fitted(tmp_path / "fits"), np.arange(N))]
    models = [replace(model(Sums()), name=f"sums {number}") for number in range(3)]
    tasks = [Task(made, {}, folds, [(CLEAN, None)]) for made in models]
    pretrained = replace(models[0], name="pretrained", trained_on="elsewhere")
    tasks.append(Task(pretrained, {}, folds, [(CLEAN, None)]))
    split = Counting()
    predict_together(tasks, split, 3, tmp_path)
    assert split.reads[1] == 2, "fits without files need no memory; a pretrained one goes alone"


def test_held_out_logits_are_checked_like_those_of_test_patches():
    class Wrong(Sums):
        def logits(self, inputs):
            return np.full(3, np.nan)

    with pytest.raises(HarnessError, match=r"logits of shape \(3,\) where \(64, 3\) is expected"):
        predict_all(model(Wrong()), Wrong(), Counting(), 3)
