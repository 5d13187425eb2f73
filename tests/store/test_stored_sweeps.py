"""Results under perturbations are stored together; each is found, missed and repaired by itself."""

import json
import re

import numpy as np
import pytest

from harness.jobs.passes import Logits
from harness.jobs.spec import JobSpec
from harness.jobs.sweeps import store_all
from harness.store import keys, results
from harness.store.merging import merge
from harness.store.store import Key, Store
from harness.store.stored import DamagedError, Part, load_array

LEVELS = (1.0, 2.0, 3.0)
FITS = Key("fit", "d", "m", {"seed": 0})


def key(level, name="blur", kind="prediction", **fields):
    about = {"perturbation": name, "perturbation_version": 1, "level": level, "view": "identity"}
    return Key(kind, "d", "m", {"data": "x", **about, **fields})


def logits(level):
    return np.full((4, 2), level, np.float32)


def compute(store, levels, broken=(), file="logits.npy", kind="prediction"):
    """Store results as a worker does; returns what went wrong, by level."""

    def finish(level):
        def values():
            if level in broken:
                raise RuntimeError(f"no {level}")
            return logits(level)

        def about(_):
            found = {"model": "m", "data": "x", "fits": [], "seconds": level}
            return {**found, "perturbation": "blur", "level": level, "created": f"{level}"}

        def write(folder):
            np.save(folder / file, values())
            return about(None)

        return Logits(values, about) if file == "logits.npy" else write

    jobs = [
        JobSpec("prediction", key(level, kind=kind), str(level), inputs={"fits": (FITS,)})
        for level in levels
    ]
    done = store_all(jobs, [finish(level) for level in levels], store, store.root / "work")
    return {job.label: str(wrong) for job, wrong in done if wrong}


def sweeps(store):
    return sorted(path.name for path in store.root.glob("*/d/m/sweep-*"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_sweep_is_one_folder_with_one_record_and_one_array(tmp_path):
    store = Store(tmp_path)
    assert compute(store, LEVELS) == {}
    (name,) = sweeps(store)
    folder = tmp_path / "prediction/d/m" / name
    assert sorted(path.name for path in folder.iterdir()) == ["logits.npy", "record.json"]
    assert np.load(folder / "logits.npy").shape == (3, 4, 2)
    assert not (tmp_path / "work/parts").exists()
    for reader in (store, Store(tmp_path)):
        for number, level in enumerate(LEVELS):
            assert key(level) in reader
            assert reader.place(key(level)) == Part(folder, number)
            assert (load_array(reader.place(key(level)), "logits.npy") == logits(level)).all()
            record = reader.record(key(level))
            assert (record["level"], record["seconds"], record["position"]) == (
                level,
                level,
                number,
            )
            assert record["digest"] == key(level).digest
            assert record["needs"] == [FITS.digest]
        assert key(9.0) not in reader
        assert reader.damaged == {}


def test_files_that_may_be_large_are_moved_and_not_stacked(tmp_path):
    store = Store(tmp_path)
    assert compute(store, LEVELS, file="values.npy", kind="features") == {}
    place = store.place(key(2.0, kind="features"))
    assert (place.folder / "1/values.npy").exists()
    values = load_array(place, "values.npy", mmap_mode="r")
    assert isinstance(values, np.memmap)
    assert (values == logits(2.0)).all()


def test_what_fails_in_a_sweep_costs_the_others_nothing(tmp_path):
    store = Store(tmp_path)
    assert compute(store, LEVELS, broken=(1.0, 3.0)) == {"1.0": "no 1.0", "3.0": "no 3.0"}
    assert [level for level in LEVELS if key(level) in store] == [2.0]
    assert compute(store, (1.0, 3.0)) == {}
    assert len(sweeps(store)) == 2
    for level in LEVELS:
        assert (load_array(store.place(key(level)), "logits.npy") == logits(level)).all()
    assert compute(Store(tmp_path / "other"), LEVELS, broken=LEVELS).keys() == {"1.0", "2.0", "3.0"}
    assert sweeps(Store(tmp_path / "other")) == []


def test_another_process_sees_a_sweep_that_was_stored_meanwhile(tmp_path):
    early = Store(tmp_path)
    assert key(1.0) not in early
    compute(Store(tmp_path), (1.0,))
    assert key(1.0) in early
    early.remove(Store(tmp_path).folder(key(1.0)))
    assert key(1.0) not in early


def test_a_damaged_sweep_is_named_once_and_goes_when_all_of_it_is_there_again(
    tmp_path, capsys, console
):
    compute(Store(tmp_path), LEVELS)
    (old,) = sweeps(Store(tmp_path))
    path = tmp_path / "prediction/d/m" / old / "logits.npy"
    flip(path)
    store = Store(tmp_path)
    assert [level for level in LEVELS if key(level) in store] == []
    store.warn_of_damaged([key(level) for level in LEVELS])
    assert capsys.readouterr().err.count(f"{path}: is damaged") == 1
    compute(Store(tmp_path), (1.0, 2.0))
    assert key(1.0) in store, "found where it is sound"
    assert key(3.0) not in store
    store.drop_replaced(lambda _: True)
    assert old in sweeps(store), "level 3 is nowhere else"
    store.drop_replaced(lambda lost: lost.fields["level"] != 3.0)
    assert len(sweeps(store)) == 1
    assert old not in sweeps(store)
    assert key(1.0) in store


def test_a_sweep_whose_record_is_damaged_is_named_and_replaced(tmp_path):
    compute(Store(tmp_path), LEVELS)
    (old,) = sweeps(Store(tmp_path))
    path = tmp_path / "prediction/d/m" / old / "record.json"
    path.write_text("{}")
    store = Store(tmp_path)
    with pytest.raises(DamagedError, match=re.escape(str(path))):
        store.find(key(1.0))
    assert key(1.0) not in store
    store.drop_replaced(lambda _: True)
    assert sweeps(store) == [old]
    compute(Store(tmp_path), (1.0, 5.0))
    store.drop_replaced(lambda _: True)
    assert old not in sweeps(store)
    assert key(1.0) in store


def test_merging_copies_no_sweep_whose_results_are_there(tmp_path):
    one, other, into = (Store(tmp_path / name) for name in ("one", "other", "into"))
    compute(one, LEVELS)
    for store, levels in ((other, (1.0, 2.0)), (into, (2.0,)), (into, (1.0,))):
        compute(store, levels)
    found = merge(into, other, damaged=pytest.fail)
    assert (found.copied, found.there) == (0, 1)
    assert merge(into, one, damaged=pytest.fail).copied == 1
    assert all(key(level) in into for level in LEVELS)


def test_results_count_what_a_sweep_holds_and_go_with_what_they_need(tmp_path):
    store = Store(tmp_path)
    with store.write(FITS) as (_, record):
        record["model"] = "m"
    compute(store, LEVELS)
    items = results.read(store)
    (row,) = results.rows(items)
    assert row.state == "ok"
    assert "3 predictions" in results.counted(results.to_remove([row], items))
    assert {item.kind for item in results.to_remove([row], items)} == {"fit", "prediction"}


def test_the_key_of_a_sweep_says_what_it_holds():
    wanted = [key(level, sum=[str(level)], version=2) for level in LEVELS]
    whole = keys.sweep(wanted)
    again = Key(**json.loads(json.dumps(whole.as_dict())))
    assert [one.digest for one in keys.parts(again)] == [one.digest for one in wanted]
    assert again.digest == whole.digest
    assert not whole.is_swept
    assert keys.parts(FITS) == []


TOY = ("run", "--dataset", "toy", "--model", "toy-mean", "--model", "toy-features", "--no-probes")
NOISE, BOTH = ("--perturbation", "toy-noise"), ("--perturbation", "toy-toward")


@pytest.mark.once
def test_a_later_run_computes_what_is_missing_and_what_is_damaged(toy):
    toy(*TOY, *NOISE)
    folder = toy.folder / "runs/prediction/toy/toy-mean"
    (first,) = folder.glob("sweep-*")
    output = toy(*TOY, *NOISE, *BOTH)
    assert "9 results to compute; 6 of them are predictions of perturbed patches" in output
    (second,) = {*folder.glob("sweep-*")} - {first}
    assert np.load(first / "logits.npy").shape[0] == 2
    assert np.load(second / "logits.npy").shape[0] == 3
    assert "Everything is in the store" in toy(*TOY, *NOISE, *BOTH)
    before = np.load(first / "logits.npy")
    flip(first / "logits.npy")
    name = (first / "logits.npy").relative_to(toy.folder)
    assert f"{name}: is damaged" in toy("leaderboard", code=2)
    output = toy(*TOY, *NOISE, *BOTH)
    assert output.count(f"WARNING: {name}: is damaged") == 1
    assert "2 results to compute; 2 of them" in output
    assert (np.load(first / "logits.npy") == before).all()
    (first / "record.json").unlink()
    assert f"{first.relative_to(toy.folder)}/record.json: is missing" in toy("leaderboard", code=2)
    # Another set of conditions is computed besides, so another folder takes its place.
    (second / "record.json").unlink()
    output = toy(*TOY, *NOISE, *BOTH)
    assert len(re.findall("WARNING: .*record.json: is missing", output)) == 2
    (only,) = folder.glob("sweep-*")
    assert np.load(only / "logits.npy").shape[0] == 5
    toy("leaderboard")


TRACKER = """
import json
import numpy as np
from harness import hookimpl

def note(*what):
    with open("told.jsonl", "a", encoding="utf-8") as file:
        print(json.dumps(what), file=file)

@hookimpl
def harness_run_started():
    return WANTS

@hookimpl
def harness_result_stored(record, folder, figures):
    if record["key"]["kind"] == "prediction":
        logits = np.load(folder / "logits.npy")
        if record["perturbation"] != "clean":
            logits = logits[record["position"]]
        right = logits.argmax(axis=1) == np.arange(len(logits)) % 3
        note(record["perturbation"], record["level"], figures["accuracy"], right.mean())

@hookimpl
def harness_run_ended():
    note("ended")
"""


@pytest.mark.once
@pytest.mark.parametrize("wants", [None, False])
def test_trackers_are_told_of_each_condition_unless_they_track_nothing(toy, wants):
    plugin = toy.folder / "tracker.py"
    plugin.write_text(TRACKER.replace("WANTS", repr(wants)))
    toy(*TOY[:5], "--no-probes", *NOISE, "--plugin", plugin)
    path = toy.folder / "told.jsonl"
    assert path.exists() == (wants is None)
    if wants is None:
        *told, ended = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line[:2] for line in told] == [["clean", None], ["toy-noise", 5], ["toy-noise", 50]]
        assert all(line[2] == pytest.approx(line[3]) for line in told)
        assert ended == ["ended"]
