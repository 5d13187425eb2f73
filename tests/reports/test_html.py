"""The HTML report and the site: what stands in them, and that nothing in them is run or lost."""

import json
import re
import shlex
import shutil
from functools import partial
from html import unescape

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reports.html import board, models, page, site
from harness.store.failures import Collected
from harness.store.store import Store
from harness.store.stored import load_array

pytestmark = pytest.mark.once

RUN = ("run", "--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")
EVIL = '<img src=x onerror="alert(1)">'
PLUGIN = f"""
import numpy as np
from harness import Model, hookimpl

class Always:
    def logits(self, images):
        return np.tile(np.float32([0.2, 0.5, 0.3]), (len(images), 1))

    def save(self, folder):
        (folder / "empty").write_text("")

@hookimpl
def harness_models():
    return [
        Model(
            name="always",
            title='{EVIL}</script>',
            fit=lambda train, validation, context: Always(),
            load=lambda folder, settings: Always(),
        )
    ]
"""


@pytest.fixture(scope="module")
def reported(tmp_path_factory, new_toy):
    """A toy run that wrote a report, an audit included."""
    toy = new_toy(tmp_path_factory.mktemp("reported"))
    (toy.folder / "always.py").write_text(PLUGIN)
    toy("audit", "--dataset", "toy")
    arguments = (*RUN, "--model", "always", "--plugin", "always.py")
    toy.output = toy(*arguments, HARNESS_NO_REPORT="")
    return toy


@pytest.fixture(scope="module")
def text(reported):
    return (reported.folder / "reports/toy.html").read_text(encoding="utf-8")


def embedded(text, name):
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def test_a_run_writes_a_report_and_says_so(reported):
    assert "reports/toy.html" in reported.output


def test_every_row_of_the_board_is_there_with_every_figure(reported, text):
    rows = json.loads((reported.folder / "reports/toy.json").read_text())["rows"]
    table = text[text.index('id="board-table"') : text.index("How to read this table")]
    lines = table.split("<tr class=")[1:]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        shown = unescape(line)
        assert row["model"] in shown
        assert row["accuracy"] is None or f"{100 * row['accuracy']:.2f}" in shown


def test_what_each_model_called_each_patch_is_what_is_stored(reported, text):
    found = embedded(text, "data")["patches"]
    for record, place in Store(reported.folder / "runs").each("prediction", "toy"):
        if record["perturbation"] != "clean":
            continue
        logits = load_array(place, "logits.npy")
        model = next(one for one in found["models"] if one["name"] == record["model"])
        np.testing.assert_array_equal(model["called"], logits.argmax(axis=1))
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        sure = (shares / shares.sum(axis=1, keepdims=True)).max(axis=1)
        if model["sure"] is not None:
            np.testing.assert_allclose(model["sure"], 100 * sure, atol=0.51)
    assert len(found["models"]) == 3


def test_the_confusion_matrix_is_that_of_the_board(reported, text):
    rows = json.loads((reported.folder / "reports/toy.json").read_text())["rows"]
    for row in rows:
        if row["result"] != "measured":
            continue
        start = text.index(f'aria-label="Confusion matrix of {row["model"]}"')
        table = text[start : text.index("</table>", start)]
        shown = [
            int(found or 0)
            for found in re.findall(r'<td class="(?:right|wrong)"[^>]*>(?:(\d+) <small>)?', table)
        ]
        assert shown == [count for line in row["confusion"] for count in line]


AGAIN = r"To compute it again: <code>harness (.*?)</code>"


def test_the_command_of_a_model_computes_nothing_new(reported, text):
    commands = [unescape(found) for found in re.findall(AGAIN, text)]
    assert len(commands) == 3
    for command in commands:
        again = reported(*shlex.split(command), "--no-probes", "--dry-run")
        assert "Everything is in the store" in again
    named = ["--plugin always.py" in command for command in commands]
    assert named == ["--model always" in command for command in commands]


def test_the_command_of_a_model_names_the_data_and_the_plugin_of_the_dataset(command):
    (command.folder / "mine.py").write_text(DATASET)
    (command.folder / "my data").mkdir()
    plugin = ("--plugin", "mine.py")
    data = ("--data", "my data")
    command("run", *plugin, *data, "--dataset", "mine", "--model", "rgb-means", "--no-probes")
    command("report", *plugin, *data)
    text = (command.folder / "reports/mine.html").read_text("utf-8")
    (found,) = re.findall(AGAIN, text)
    words = shlex.split(unescape(found))
    assert words[-4:] == [*data, *plugin]
    assert "Everything is in the store" in command(*words, "--no-probes", "--dry-run")


def test_there_is_no_command_where_the_plugin_of_a_model_is_not_loaded(reported, tmp_path):
    text = written(reported, tmp_path / "without")
    assert len(re.findall(AGAIN, text)) == 2
    assert "It cannot be computed again with the plugins here: no model named " in text
    other = tmp_path / "other.py"
    other.write_text(PLUGIN)
    text = written(reported, tmp_path / "other", "--plugin", other)
    assert len(re.findall(AGAIN, text)) == 2
    assert f"was not loaded, and always is another model in {other}" in text


def written(reported, folder, *arguments):
    """The report of the toy run with other arguments."""
    reported("report", "--leaderboards", folder, *arguments)
    return unescape((folder / "toy.html").read_text("utf-8"))


def test_pairs_are_those_of_the_command_compare(reported, text):
    pairs = embedded(text, "data")["pairs"]
    assert len(pairs["pairs"]) == 3
    for pair in pairs["pairs"]:
        one, other = (pairs["models"][pair[side]] for side in ("one", "other"))
        output = reported("compare", one, other, "--plugin", "always.py")
        line = next(part for part in output.splitlines() if part.startswith("accuracy"))
        assert f"{pair['figures'][0][1]:+.4f}" in line.replace("−", "-")


def test_without_javascript_every_difference_of_every_pair_is_there(text):
    pairs = embedded(text, "data")["pairs"]
    start = text.index('<section id="compare"')
    found = text.index("<noscript>", start)
    shown = text[found : text.index("</noscript>", found)]
    tables = [part.split("</table>")[0] for part in shown.split("<tbody>")[1:]]
    gaps = [
        [gap for pair in pairs["pairs"] for gap in pair["figures"] if gap[0] != "accuracy"],
        [gap for pair in pairs["pairs"] for gap in pair["recalls"]],
    ]
    assert len(gaps[0]) > 6
    for table, expected in zip(tables, gaps, strict=True):
        cells = [re.findall(r"[-−+][\d.]+", cell) for cell in re.findall(r"<td>(.*?)</td>", table)]
        read = [[float(one.replace("−", "-")) for one in cell] for cell in cells if cell]
        assert len(read) == len(expected)
        for values, (_, *numbers) in zip(read, expected, strict=True):
            wanted = [100 * one for one in numbers if one is not None]
            assert values == pytest.approx(wanted, abs=0.051)


def test_texts_of_others_are_shown_and_never_run(text):
    assert EVIL not in text
    assert unescape(text).count(EVIL) >= 1


def test_names_in_the_page_are_unique_and_links_lead_somewhere(text):
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    ids = re.findall(r'\sid="([^"]+)"', outside)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"?]+)"', outside)) <= set(ids)


def test_nothing_is_fetched(text):
    for address in re.findall(r'(?:src|href|import)\s*=?\s*[("]+(https?:[^")]+)', text):
        raise AssertionError(address)
    assert '@import url("http' not in text


def test_the_audit_stands_first_with_what_was_found(reported, text):
    found = json.loads((reported.folder / "reports/toy-audit.json").read_text())["findings"]
    assert found
    for name, finding in found.items():
        word = {True: "Found", False: "Not seen", None: "Not judged"}[finding["flag"]]
        start = text.index(f'<article id="audit-{name}"')
        assert f">{word}</span>" in text[start : start + 300]
        assert finding["summary"] in unescape(text)


def test_without_images_no_patch_is_in_the_report(reported, text):
    assert "data:image/jpeg" in text
    reported("report", "--leaderboards", "bare", "--no-images", "--plugin", "always.py")
    bare = (reported.folder / "bare/toy.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in bare
    assert "left out (--no-images)" in bare


def test_where_the_dataset_is_not_here_the_board_is_written_all_the_same(reported, command):
    shutil.copytree(reported.folder / "runs", command.folder / "runs")
    command("report")
    text = (command.folder / "reports/toy.html").read_text(encoding="utf-8")
    assert "The patches are not here: " in text
    assert 'id="model-toy-mean"' in text


def test_mistakes_are_told_in_a_line(reported, command):
    assert "runs: " in command("report", code=2)
    output = reported("report", "--dataset", "tou", code=2)
    assert output.startswith("harness: error: --dataset tou: nothing of it is in runs;")
    output = reported("report", "--add-store", "runs", code=2)
    assert "--add-store is for --site DIR" in output


def test_a_model_with_several_settings_has_a_page_for_each(reported, new_toy, tmp_path):
    toy = new_toy(tmp_path)
    code = PLUGIN.replace('name="always",', "name=\"always\", settings={'k': 1},")
    code = code.replace("fit=lambda train, validation, context: Always()", "fit=fitted")
    code = code.replace("load=lambda folder, settings: Always()", "load=loaded")
    code = code.replace(
        "@hookimpl",
        """
class Kth(Always):
    def __init__(self, k):
        self.k = k

    def logits(self, images):
        found = np.zeros((len(images), 3), np.float32)
        found[:, 0] = np.arange(len(images)) % self.k == 0
        return found

    def save(self, folder):
        (folder / "k").write_text(str(self.k))

def fitted(train, validation, context):
    return Kth(context.settings["k"])

def loaded(folder, settings):
    return Kth(int((folder / "k").read_text()))

@hookimpl""",
    )
    (tmp_path / "always.py").write_text(code)
    for k in (1, 2):
        toy(
            *("run", "--dataset", "toy", "--model", "always", "--plugin", "always.py"),
            *("--set", f"k={k}", "--no-probes"),
        )
    toy("report", "--plugin", "always.py")
    text = (tmp_path / "reports/toy.html").read_text("utf-8")
    rows = json.loads((tmp_path / "reports/toy.json").read_text())["rows"]
    accuracies = [f"{100 * r['accuracy']:.2f}" for r in rows if r["result"] == "measured"]
    assert len(accuracies) == 2
    articles = text.split('<article id="model-')[1:]
    shown = [re.search(r"<dd>([\d.]+)", article)[1] for article in articles[:2]]
    assert shown == accuracies
    table = text[text.index('id="board-table"') : text.index("How to read this table")]
    links = re.findall(r'<a href="#(model-[^"]+)"', table)
    assert len(set(links)) == 2


def test_rows_of_scaled_logits_are_explained_in_the_filter(new_toy, tmp_path):
    toy = new_toy(tmp_path)
    toy(
        *("run", "--dataset", "toy-folds", "--model", "toy-mean", "--no-probes", "--temperature"),
        HARNESS_NO_REPORT="",
    )
    text = (tmp_path / "reports/toy-folds.html").read_text("utf-8")
    assert '<tr class="scaled"' in text
    assert '<option value="scaled">scaled: logits divided by a temperature</option>' in text
    assert '<option value="failed">' not in text


def test_a_few_shot_curve_that_is_written_beside_is_on_the_page_of_its_model(
    reported, new_toy, tmp_path
):
    shutil.copytree(reported.folder / "runs", tmp_path / "runs")
    toy = new_toy(tmp_path)
    toy("few-shot", "toy", "--model", "toy-features", "--episodes", "5")
    toy("report")
    text = (tmp_path / "reports/toy.html").read_text("utf-8")
    points = json.loads((tmp_path / "reports/toy-few-shot.json").read_text())["curves"]
    start = text.index('<article id="model-toy-features"')
    article = text[start : text.index("</article>", start)]
    for point in points:
        assert f"<td>{100 * point['balanced_accuracy']:.1f} (" in article
    assert text.count("<h4>Few-shot curve</h4>") == 1
    assert '<svg role="img" aria-label="toy-features: few-shot curve"' in article
    table = article.index("<caption>Balanced accuracy by labeled patches")
    assert '<div class="scroll"' in article[table - 200 : table]
    (tmp_path / "reports/toy-few-shot.json").write_text('{"curves": 3}')
    assert "write it again with harness few-shot" in toy("report", code=1)


def test_patches_that_are_not_those_measured_are_not_shown(new_toy, tmp_path):
    toy = new_toy(tmp_path)
    toy(*RUN, "--no-probes")
    toy("report")
    text = (tmp_path / "reports/toy.html").read_text("utf-8")
    assert "data:image/jpeg" in text
    toy("report", TOY_FINGERPRINT="other")
    text = (tmp_path / "reports/toy.html").read_text("utf-8")
    assert "data:image/jpeg" not in text
    assert "not those that were measured" in text


def test_the_audit_says_what_a_fault_means_only_where_it_may_be_there(new_toy, tmp_path):
    toy = new_toy(tmp_path)
    toy("audit", "--dataset", "toy")
    toy(*RUN, "--no-probes")
    toy("report")
    text = (tmp_path / "reports/toy.html").read_text("utf-8")
    found = json.loads((tmp_path / "reports/toy-audit.json").read_text())["findings"]
    start = text.index('<article id="audit-toy-brightness"')
    article = text[start : text.index("</article>", start)]
    limits = "It would have seen 100 gray levels" in article
    assert limits is not bool(found["toy-brightness"]["flag"])


def test_a_damaged_finding_is_named_and_costs_only_itself(reported, new_toy, tmp_path):
    shutil.copytree(reported.folder / "runs", tmp_path / "runs")
    toy = new_toy(tmp_path)
    damaged = next((tmp_path / "runs").rglob("finding.json"))
    damaged.write_text("{}")
    output = toy("report", code=1)
    assert str(damaged.relative_to(tmp_path)) in output or damaged.parent.name in output
    assert (tmp_path / "reports/toy.html").exists()


def test_a_site_shows_boards_of_several_stores_and_other_pages(reported, tmp_path, new_toy):
    other = new_toy(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other("run", "--dataset", "toy", "--model", "toy-mean", "--no-probes", "--store", "theirs")
    folder = reported.folder / "reports"
    (folder / "toy-transfer.md").write_text(
        "# Transfer of toy\n\n| a | b |\n|---|---|\n| 1 | <b>2</b> |\n\n![x](toy-transfer.png)\n"
    )
    (folder / "toy-transfer.png").write_bytes(b"\x89PNG")
    reported("report", "--site", "site", "--add-store", tmp_path / "other/theirs")
    made = reported.folder / "site"
    index = (made / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'href="([^"]+)"', index)
    assert set(links) == {"runs-toy.html", "theirs-toy.html", "toy-transfer.html"}
    assert all((made / link).is_file() for link in links)
    assert "Models across datasets" in index
    transfer = (made / "toy-transfer.html").read_text(encoding="utf-8")
    assert "<td>1</td>" in transfer
    assert "&lt;b&gt;2" in transfer
    assert (made / "toy-transfer.png").read_bytes() == b"\x89PNG"


@given(st.lists(st.text(), unique=True, max_size=8))
def test_each_model_has_an_anchor_of_its_own(names):
    found = models.anchors(names)
    assert list(found) == names
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch(r"model-[a-z0-9-]+", anchor) for anchor in found.values())


@given(st.recursive(st.text() | st.integers() | st.none(), lambda part: st.lists(part)))
def test_data_for_scripts_cannot_end_the_script(value):
    shown = str(page.environment().filters["script_json"](value))
    assert "<" not in shown
    assert json.loads(shown) == value


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=6))
def test_each_report_of_a_site_has_a_page_of_its_own(pairs):
    class Report:
        def __init__(self, name):
            self.board = type("Board", (), {"dataset": {"name": name}})()

    placed = site._placed([(store, Report(name)) for store, name in pairs])
    pages = [one.page for one in placed]
    assert len(set(pages)) == len(pairs)
    assert "index.html" not in pages


@pytest.mark.parametrize(
    ("text", "order"),
    [
        *[("79.28 (72.15–84.97)", "79.28"), ("−3.1 (−4 to 1)", "-3.1"), ("1,234", "1234")],
        *[("", ""), ("1–3", "1"), ("< 0.1", "0.1"), ("0, 1", "0"), ("18-layers", "18-layers")],
    ],
)
def test_cells_are_sorted_by_their_number(text, order):
    assert board.order(text) == order


def line(name):
    from harness.reports import drawing

    made = drawing.figure(2, 2)
    axes = made.subplots()
    axes.plot([0, 1], [0, len(name)])
    return made


def broken(name):
    raise ValueError("it broke")


def test_a_picture_that_fails_costs_only_itself(tmp_path):
    problems = Collected(Store(tmp_path))
    assert page.picture("mine", problems, "one", broken, ["x"], "x") == ""
    assert "it broke" in str(*problems.values())


def test_two_pictures_share_no_names_and_are_the_same_again(tmp_path):
    draw = partial(page.picture, "mine", Collected(Store(tmp_path)))
    first, second = (draw(title, line, ["x"], "x") for title in ("one", "two"))
    names = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    for svg, own in zip((first, second), names, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= own
    assert first == draw("one", line, ["x"], "x"), "the same bytes again"


def test_a_picture_that_the_store_has_is_not_drawn_again(tmp_path, monkeypatch):
    from harness.analysis.error_analysis import Reliability
    from harness.reports import drawing, error_pages

    draw = partial(page.picture, "mine", Collected(Store(tmp_path)))
    confidence, n = np.array([0.2, 0.9]), np.array([10, 20])
    shows = (2, [Reliability("toy", confidence, np.array([0.3, 0.8]), n)])
    first = draw("one", error_pages.draw_reliability, [shows], shows)
    assert first.startswith("<svg")
    monkeypatch.setattr(drawing, "svg", broken)
    assert draw("one", error_pages.draw_reliability, [shows], shows) == first
    other = (2, [Reliability("toy", confidence, np.array([0.3, 0.7]), n)])
    assert draw("one", error_pages.draw_reliability, [other], other) == "", "it is another picture"


DATASET = """
import os
import numpy as np
from harness import Dataset, Splits, hookimpl

class Split:
    labels = np.repeat([0, 1], 6)
    ids = [f"mine/{k}" for k in range(12)]
    fingerprint = "mine"

    def read(self, indices):
        if os.environ.get("BREAK") == "read":
            raise RuntimeError("the disk is on fire")
        shades = np.where(self.labels[list(indices)], 200, 50)
        return np.tile(shades[:, None, None, None], (1, 16, 16, 3)).astype(np.uint8)

def load(data):
    if os.environ.get("BREAK") == "load":
        raise RuntimeError("the disk is on fire")
    return Splits(train=None, test=Split(), folds=2)

@hookimpl
def harness_datasets():
    return [Dataset(name="mine", title="Mine", classes=("dark", "light"), load=load)]
"""


@pytest.mark.parametrize("what", ["load", "read"])
def test_patches_of_a_plugin_that_fails_cost_only_the_pictures(command, what):
    (command.folder / "mine.py").write_text(DATASET)
    plugin = ("--plugin", "mine.py")
    command("run", *plugin, "--dataset", "mine", "--model", "rgb-means", "--no-probes")
    output = command("report", *plugin, code=1, BREAK=what)
    assert "the disk is on fire" in output
    text = (command.folder / "reports/mine.html").read_text("utf-8")
    assert 'id="model-rgb-means"' in text
    assert "data:image/jpeg" not in text
    command("report", *plugin)
    assert "data:image/jpeg" in (command.folder / "reports/mine.html").read_text("utf-8")
