"""Plugins whose code fails where no process of its own watches over it: lists, probes, hooks."""

import json
import re

import pytest

from harness import Dataset
from harness.hooks.loader import load_plugins
from harness.planning import choose

pytestmark = pytest.mark.once
TOY = ("--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")


def measured(toy, dataset="toy"):
    text = (toy.folder / f"reports/{dataset}.json").read_text()
    return [row["model"] for row in json.loads(text)["rows"] if row["result"] == "measured"]


PROBES = """
import sys, time
from harness import Column, Estimate, Finding, ModelProbe, hookimpl

def leaves(predictions):
    sys.exit("no license")
def returns_a_dict(predictions):
    return {"summary": "x"}
def measures_nan(predictions):
    return Finding(summary="x", estimates=(Estimate(name="f", value=float("nan")),))
def sleeps(predictions):
    time.sleep(600)
def cannot_show(predictions):
    return Finding(summary="x", estimates=(Estimate(name="f", value=1.0),))
def cannot_plan(predictions):
    return None

@hookimpl
def harness_probes():
    column = Column(estimate="f", heading="f", about="", show=lambda figure: f"{figure.low:.1f}")
    more = {"cannot_show": {"columns": (column,)}, "cannot_plan": {"needs": lambda known: 1 / 0}}
    measures = (leaves, returns_a_dict, measures_nan, sleeps, cannot_show, cannot_plan)
    return [
        ModelProbe(
            name=measure.__name__.replace("_", "-"), title="P", measure=measure,
            **more.get(measure.__name__, {}),
        )
        for measure in measures
    ]
"""


def test_probes_of_models_that_fail_are_named_and_cost_nothing_else(toy, make_distribution):
    toy.path.append(make_distribution("x-probes", {"probes": PROBES}))
    run = ("run", "--dataset", "toy", "--model", "toy-mean")
    output = toy(*run, "--no-probes", "--time-limit", "0.08", code=1)
    for probe, why in (
        ("leaves", "SystemExit: no license"),
        ("returns-a-dict", "where a Finding is expected"),
        ("measures-nan", "Out of range float values are not JSON compliant"),
        ("sleeps", "took longer than the 0.08 min of --time-limit (in "),
        ("cannot-show", "TypeError: unsupported format string passed to NoneType"),
    ):
        assert re.search(rf"failed: probe {probe} of toy-mean.*: .*{re.escape(why)}", output), probe
    assert measured(toy) == ["toy-mean"]
    output = toy(*run, "--probe", "cannot-plan", "--time-limit", "0.08", code=1)
    assert "failed: what the probe cannot-plan needs: ZeroDivisionError" in output
    assert "no license" in toy("leaderboard", "--time-limit", "0.01", code=1)


DATASETS = """
import time
import numpy as np
from harness import Dataset, Splits, hookimpl

class Split:
    def __init__(self, labels, name="x", ids=None):
        self.labels = np.asarray(labels)
        self.ids = [f"{name}/{i}" for i in range(len(labels))] if ids is None else ids
        self.fingerprint = f"{name} {labels}"
    def read(self, indices):
        return np.zeros((len(indices), 8, 8, 3), np.uint8)

GOOD = np.tile(np.arange(3), 4)

def test(split):
    return lambda folder: Splits(train=Split(GOOD, "train"), test=split)

def sleeps(folder):
    time.sleep(600)

def prints(folder):
    print("chatter of a dataset")
    return Splits(train=Split(GOOD, "train"), test=Split(GOOD))

LOADS = {
    "floats": test(Split(GOOD.astype(float))),
    "negative": test(Split(GOOD - 1)),
    "short": test(Split(GOOD, ids=["one"])),
    "twice": test(Split(GOOD, name="train")),
    "empty": test(Split(GOOD[:0])),
    "nothing": lambda folder: None,
    "sleeps": sleeps,
    "prints": prints,
}

@hookimpl
def harness_datasets():
    named = {"classes": ("a", "b", "c"), "title": "T"}
    return [Dataset(name=name, load=load, **named) for name, load in LOADS.items()]
"""


def test_datasets_that_are_malformed_are_named_and_the_others_run(toy, make_distribution):
    toy.path.append(make_distribution("x-datasets", {"datasets": DATASETS}))
    says = {
        "floats": "test has labels float64 (12,) where int64 (N,) are expected",
        "negative": "test has labels from -1 to 1 for 3 classes",
        "short": "test has 1 ids for 12 labels",
        "twice": "two patches have the id 'train/0'",
        "empty": "test has no patches",
        "nothing": "load returned None, no Splits",
        "sleeps": "took longer than the 0.08 min of --time-limit",
    }
    named = [text for name in ("prints", *says) for text in ("--dataset", name)]
    process = toy.start(
        "run", *TOY, *named, "--no-probes", "--time-limit", "0.08", HARNESS_WITHOUT="bias"
    )
    table, messages = process.communicate(timeout=120)
    assert process.returncode == 1
    for name, why in says.items():
        (line,) = [line for line in messages.splitlines() if f"failed: dataset {name}: " in line]
        assert why in line
    assert "Traceback" not in messages
    assert "chatter of a dataset" in messages
    assert "chatter of a dataset" not in table
    for dataset in ("toy", "prints"):
        assert sorted(measured(toy, dataset)) == ["toy-features", "toy-mean"]


def test_a_dataset_that_cannot_say_what_it_lacks_costs_the_others_nothing(tmp_path):
    registry = load_plugins()
    registry.datasets["x"] = Dataset(
        name="x", title="X", classes=("a", "b"), load=print, missing=lambda folder: 1 / 0
    )
    problems = {}
    chosen = choose.datasets(registry, (), tmp_path, problems)
    assert "nct-crc-he-sample" in [dataset.name for dataset in chosen]
    assert str(problems["dataset x"]).startswith("dataset x: missing raised ZeroDivisionError: ")


HOOKS = """
import time
from harness import hookimpl
@hookimpl
def harness_run_started(jobs):
    print("chatter of a tracker")
    time.sleep(600)
@hookimpl
def harness_run_ended(failures):
    raise RuntimeError("the server is down")
"""


def test_a_tracker_that_hangs_or_raises_is_named_and_the_exit_code_is_not_0(toy, make_distribution):
    toy.path.append(make_distribution("x-hooks", {"hooks": HOOKS}))
    table = toy("plugins")
    (line,) = [line for line in table.splitlines() if line.startswith("hooks ")]
    assert "tracker" in line
    output = toy("run", *TOY, "--no-probes", "--time-limit", "0.08", code=1)
    assert "harness_run_started of the plugin hooks failed: took longer than the 0.08" in output
    assert "failed: harness_run_ended of the plugin hooks: RuntimeError: the server is" in output
    assert sorted(measured(toy)) == ["toy-features", "toy-mean"]


MODEL = """
import os, sys, time
import numpy as np
from harness import Model, hookimpl

{top}

class Means:
    def logits(self, images):
        return np.exp(-images.astype(np.float32).mean(axis=(1, 2)) * 1e3)
    def save(self, folder):
        (folder / "there.txt").write_text("yes")

def fit(train, validation, context):
    {fit}
    return Means()

@hookimpl
def harness_models():
    return [Model(name="{name}", title="{name}", fit=fit, load=lambda *_: Means())]
"""


def test_what_a_model_sets_for_its_process_does_not_reach_the_next_plugin(toy, make_distribution):
    fit = "os.chdir(os.sep); np.seterr(all='raise')"
    sources = {
        "first": MODEL.format(top="", fit=fit, name="first"),
        "second": MODEL.format(top="", fit="pass", name="second"),
    }
    toy.path.append(make_distribution("x-models", sources))
    models = ("--model", "first", "--model", "second", "--model", "toy-mean")
    output = toy("run", "--dataset", "toy", *models, "--no-probes", "--store", "runs", code=1)
    assert "toy: first predicts (clean): FloatingPointError: underflow" in output
    assert sorted(measured(toy)) == ["second", "toy-mean"]


def test_a_message_that_is_no_utf_8_costs_nothing_else(toy, make_distribution):
    fit = "raise ValueError('cannot read caf\\udce9.tif \\x1b[1mnow\\x1b[0m')"
    toy.path.append(make_distribution("x-m", {"m": MODEL.format(top="", fit=fit, name="latin")}))
    models = ("--model", "latin", "--model", "toy-mean")
    output = toy("run", "--dataset", "toy", *models, "--no-probes", code=1)
    assert "ValueError: cannot read caf\\udce9.tif now; report it" in output
    assert measured(toy) == ["toy-mean"]


def test_a_slow_import_does_not_count_against_the_limit_of_the_first_job(toy, make_distribution):
    source = MODEL.format(top="time.sleep(2)", fit="pass", name="slow-to-import")
    toy.path.append(make_distribution("x-slow", {"slow": source}))
    options = ("--model", "slow-to-import", "--no-probes", "--time-limit", "0.03")
    toy("run", "--dataset", "toy", *options)
    assert measured(toy) == ["slow-to-import"]


def test_a_model_that_worked_once_and_now_fails_has_a_failed_row_alone(command, tmp_path):
    file = tmp_path / "edited.py"
    run = ("run", "--dataset", "nct-crc-he-sample", "--model", "edited", "--no-probes")
    rows = []
    for fit, code in (("pass", 0), ("1 / 0", 1), ("'mended'", 0)):
        source = MODEL.format(top="", fit=fit, name="edited").replace("np.exp(-", "np.tile(-")
        source = source.replace("* 1e3)", ", 3)")
        file.write_text(source)
        command(*run, "--plugin", file, code=code)
        text = (command.folder / "reports/nct-crc-he-sample.json").read_text()
        found = [row for row in json.loads(text)["rows"] if row["model"] == "edited"]
        rows.append([row["result"] for row in found])
        if code:
            assert "ZeroDivisionError: division by zero" in found[0]["notes"]
    assert rows == [["measured"], ["failed"], ["measured"]]


@pytest.mark.parametrize("name", ["fam:x", "fam:y+flips"])
def test_a_family_that_fails_is_named(command, tmp_path, name):
    file = tmp_path / "fam.py"
    file.write_text(
        "from harness import ModelFamily, hookimpl\n@hookimpl\ndef harness_models():\n"
        "    return [ModelFamily(name='fam', title='F', example='fam:x', make={}.__getitem__)]\n"
    )
    output = command("run", "--plugin", file, "--model", name, code=2)
    base = name.removesuffix("+flips")
    assert f"the model family fam cannot make '{base}' (KeyError: '{base[-1]}')" in output


SHUFFLES = """
import os, random
import numpy as np
from harness import Dataset, Splits, hookimpl

class Shuffled:
    def __init__(self, part, n):
        self.numbers = list(range(n))
        random.Random(os.environ.get("ORDER")).shuffle(self.numbers)
        self.labels = np.array(self.numbers) % 3
        self.ids, self.fingerprint = [f"{part}/{i}" for i in self.numbers], f"{part} {n}"

    def read(self, indices):
        values = 80 * self.labels[indices][:, None, None, None]
        return np.broadcast_to(values, (len(indices), 8, 8, 3)).astype(np.uint8)

def load(folder):
    return Splits(train=Shuffled("train", 30), test=Shuffled("test", 15))

@hookimpl
def harness_datasets():
    return [Dataset(name="shuffled", title="S", classes=("a", "b", "c"), load=load)]
"""


def test_a_dataset_that_is_listed_in_another_order_each_time_is_refused(toy):
    """Otherwise the labels of one process would be those of the logits of another."""
    (toy.folder / "shuffles.py").write_text(SHUFFLES)
    run = ("run", "--plugin", "shuffles.py", "--dataset", "shuffled", "--no-probes", "--model")
    toy(*run, "toy-mean", ORDER="1")
    toy(*run, "toy-features", ORDER="1")
    assert measured(toy, "shuffled") == ["toy-features", "toy-mean"]
    says = "dataset shuffled: its train patches are not the same, or not in the same order"
    output = toy(*run, "rgb-means", ORDER="2", code=2)
    assert says in output
    assert "rgb-means" not in measured(toy, "shuffled")
    (advice,) = re.findall(r"`harness (results remove --dataset shuffled --yes)`", output)
    toy(*advice.split())
    toy(*run, "toy-mean", ORDER="2")


def test_a_dataset_that_each_process_lists_in_another_order_has_no_figures(toy):
    """Each model's plugin has a process of its own."""
    (toy.folder / "shuffles.py").write_text(SHUFFLES)
    models = ("--model", "toy-mean", "--model", "rgb-means")
    run = ("run", "--plugin", "shuffles.py", "--dataset", "shuffled", "--no-probes", *models)
    output = toy(*run, code=1)  # without a seed
    assert "patches are not the same, or not in the same order, as when they were" in output
    assert len(measured(toy, "shuffled")) < 2


ENDS = """
import os
from pathlib import Path
from harness import Dataset, ModelProbe, hookimpl

def leaves(*_):
    os._exit(0)

@hookimpl
def harness_probes():
    return [ModelProbe(name="leaves", title="P", measure=leaves)]

@hookimpl
def harness_datasets():
    return [Dataset(name="left", title="L", classes=("a", "b", "c"), load=leaves)]

@hookimpl
def harness_result_stored(record, folder):
    (folder / "inner").mkdir(exist_ok=True)
    (folder / "inner" / "own.txt").write_text("42")

@hookimpl
def harness_run_started(jobs):
    os._exit(0)
"""


def test_whoever_ends_the_process_or_writes_into_results_is_named_and_the_board_is_there(toy):
    (toy.folder / "ends.py").write_text(ENDS)
    output = toy("run", "--plugin", "ends.py", "--dataset", "left", *TOY, code=1)
    # The others are the start of the run and the probe of each model.
    assert re.search(
        r"failed: dataset left \(and 3 more for the same reason\): .*it called os\._exit\(0\)",
        output,
    )
    written = r"failed: harness_result_stored of the plugin ends.*: it wrote inner/own\.txt into"
    assert re.search(written, output)
    assert not list((toy.folder / "runs").rglob("own.txt"))
    assert measured(toy) == ["toy-features", "toy-mean"]
    assert "Everything is in the store" in toy("run", *TOY)
