"""How fast a report of 100 rows, 60 columns and 7,180 patches answers in a browser.

Run: tox run -e bench -- tests/benchmarks/test_report_speed.py
"""

import json
import re
import shutil

import numpy as np
import pytest

pytest.importorskip("selenium")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), "")
DRIVER = shutil.which("chromedriver") or ""
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver")
ROWS, COLUMNS, PATCHES, MODELS = 100, 60, 7180, 10
SORT = """
const done = arguments[arguments.length - 1];
const heading = document.querySelectorAll("#board-table thead th")[arguments[0]];
const start = performance.now();
const body = document.querySelector("#board-table tbody");
const seen = new MutationObserver(() => {
  seen.disconnect();
  void document.body.offsetHeight;
  done(performance.now() - start);
});
seen.observe(body, {childList: true});
heading.click();
"""
TIMED = """
const start = performance.now();
{};
void document.body.offsetHeight;
return performance.now() - start;
"""
CHANGE = """
const one = document.getElementById(arguments[0]);
one.value = arguments[1];
""" + TIMED.format("one.dispatchEvent(new Event(arguments[2]))")


def enlarged(text: str) -> str:
    """The report of a toy run with as many rows, columns and patches."""
    rng = np.random.default_rng(0)
    head, rest = text.split('<table id="board-table">')
    table, tail = rest.split("</table>", 1)
    columns = len(re.findall(r"<th scope=\"col\"", table))
    extra = COLUMNS - columns
    table = table.replace(
        "</tr>\n</thead>",
        "".join(
            f'<th scope="col" data-name="x{k}" data-default="1">figure {k}</th>'
            for k in range(extra)
        )
        + "</tr></thead>",
    )
    before, body = table.split("<tbody>")
    rows = body.split("</tbody>")[0].split("</tr>")[:-1]
    made = [
        rows[k % len(rows)]
        + "".join(f'<td data-order="{v:.4f}">{v:.2f}</td>' for v in rng.uniform(0, 100, extra))
        + "</tr>"
        for k in range(ROWS)
    ]
    data = json.loads(re.search(r'id="data">(.*?)</script>', tail, re.S)[1])
    data["patches"] |= {
        "ids": [f"CRC-VAL-HE-7K/patch-{k}.tif" for k in range(PATCHES)],
        "labels": rng.integers(0, 3, PATCHES).tolist(),
        "models": [
            {
                "name": model["name"],
                "called": rng.integers(0, 3, PATCHES).tolist(),
                "sure": rng.integers(0, 100, PATCHES).tolist(),
            }
            for model in (data["patches"]["models"] * MODELS)[:MODELS]
        ],
    }
    tail = re.sub(
        r'id="data">.*?</script>',
        lambda found: f'id="data">{json.dumps(data)}</script>',
        tail,
        count=1,
        flags=re.S,
    )
    return f'{head}<table id="board-table">{before}<tbody>{"".join(made)}</tbody></table>{tail}'


def in_page(took: list[float]) -> dict[str, float]:
    """Milliseconds in the page, without those of the driver."""
    return {"ms in the page, median": float(np.median(took)), "ms in the page, most": max(took)}


@pytest.fixture(scope="module")
def browser(tmp_path_factory, new_toy):
    from selenium import webdriver
    from selenium.webdriver.support.wait import WebDriverWait

    toy = new_toy(tmp_path_factory.mktemp("large"))
    toy("run", "--dataset", "toy", "--model", "toy-mean", "--model", "toy-features")
    toy("report")
    page = toy.folder / "large.html"
    page.write_text(enlarged((toy.folder / "reports/toy.html").read_text("utf-8")), "utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.get(page.as_uri())
    ready = "return document.documentElement.dataset.ready === '1'"
    WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(ready))
    show = "document.querySelectorAll('#columns input').forEach(one => one.checked || one.click())"
    driver.execute_script(show)
    yield driver
    driver.quit()


def test_sorting_the_board(browser, benchmark):
    rows, columns = browser.execute_script(
        "const one = document.getElementById('board-table');"
        "return [one.rows.length, one.rows[0].cells.length]"
    )
    assert (rows, columns) == (ROWS + 1, COLUMNS)
    places, took = iter(range(1, 10**6)), []

    def sort():
        took.append(browser.execute_async_script(SORT, columns - 1 - next(places) % 8))

    benchmark(sort)
    benchmark.extra_info |= in_page(took)


def shown_rows(browser):
    return browser.execute_script(
        "return document.querySelectorAll('#board-table tbody tr:has(th)').length"
    )


@pytest.mark.parametrize(
    ("what", "choices", "event"),
    [("dt-search-0", ("toy-feat", ""), "input"), ("kind", ("published", ""), "change")],
    ids=["searching", "filtering"],
)
def test_choosing_rows_of_the_board(browser, benchmark, what, choices, event):
    browser.execute_script("location.hash = '#board'")
    places, took = iter(range(10**6)), []

    def choose():
        value = choices[next(places) % len(choices)]
        took.append(browser.execute_script(CHANGE, what, value, event))

    choose()
    assert 0 < shown_rows(browser) < ROWS
    choose()
    assert shown_rows(browser) == ROWS
    benchmark(choose)
    benchmark.extra_info |= in_page(took)


def test_choosing_a_column_of_the_board(browser, benchmark):
    took = []
    choose = "document.querySelectorAll('#columns input')[5].click()"
    count = "return document.querySelectorAll('#board-table thead th').length"
    before = browser.execute_script(count)
    browser.execute_script(choose)
    assert abs(browser.execute_script(count) - before) == 1
    benchmark(lambda: took.append(browser.execute_script(TIMED.format(choose))))
    benchmark.extra_info |= in_page(took)


def test_filtering_patches(browser, benchmark):
    browser.execute_script("location.hash = '#patches?shown=all'")
    classes = browser.execute_script(
        "return [...document.getElementById('true-class').options].map(one => one.value)"
    )
    places, took = iter(range(1, 10**6)), []

    def choose():
        value = classes[next(places) % len(classes)]
        took.append(browser.execute_script(CHANGE, "true-class", value, "change"))

    benchmark(choose)
    benchmark.extra_info |= in_page(took)
    count = browser.execute_script("return document.getElementById('patch-count').innerText")
    assert f"of {PATCHES} test patches" in count
