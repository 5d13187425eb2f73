"""The report in a real browser: it opens offline, sorts, filters, keeps its state in the address.

Skipped where Chromium, its driver or selenium are not installed.
"""

import os
import re
import shutil
from importlib.resources import files

import pytest
from PIL import Image

pytest.importorskip("selenium")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with chromedriver here"),
]
PARTS = ("board", "models", "model-toy-mean", "compare", "audit", "patches")


@pytest.fixture(scope="module")
def browsed(tmp_path_factory, new_toy):
    """A toy run with a report."""
    toy = new_toy(tmp_path_factory.mktemp("browsed"))
    models = ("toy-mean", "toy-features", "toy-mean+flips")
    toy("audit", "--dataset", "toy")
    named = [word for model in models for word in ("--model", model)]
    toy("run", "--dataset", "toy", *named)
    toy("report", TOY_GALLERY="test/0 test/1 unknown")
    return toy


@pytest.fixture(scope="module")
def address(browsed):
    return (browsed.folder / "reports/toy.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1400,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(DRIVER, env={**os.environ, "HOME": str(profile)})
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(180)
    yield driver
    driver.quit()


class Page:
    """A report that is open."""

    def __init__(self, driver, address, fragment=""):
        from selenium.webdriver.support.wait import WebDriverWait

        self.driver = driver
        driver.get("about:blank")
        driver.get(address + fragment)
        ready = "return document.documentElement.dataset.ready === '1'"
        WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(ready))

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def choose(self, name, value):
        self.run(
            "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
            "one.dispatchEvent(new Event('change'))",
            name,
            value,
        )

    @property
    def fragment(self):
        return self.run("return location.hash")

    @property
    def models(self):
        cells = "#board-table tbody tr th"
        return self.run(f"return [...document.querySelectorAll('{cells}')].map(c => c.innerText)")

    @property
    def shown(self):
        return self.run(
            "return [...document.querySelectorAll('main > section')]"
            ".filter(one => !one.hidden).map(one => one.id)"
        )

    @property
    def errors(self):
        return [line["message"] for line in self.driver.get_log("browser")]


def test_it_opens_with_the_board_and_without_an_error(browser, address):
    page = Page(browser, address)
    assert page.shown == ["board"]
    assert "toy-mean" in page.models
    assert page.errors == []


def test_a_click_on_a_heading_sorts_and_the_address_keeps_it(browser, address):
    page = Page(browser, address, "#board")
    heading = "#board-table thead th[data-name=model]"
    page.run(f"document.querySelector('{heading}').click()")
    assert page.models == sorted(page.models)
    assert "order=model.asc" in page.fragment
    again = Page(browser, address, page.fragment)
    assert again.models == sorted(again.models)
    page.run(f"document.querySelector('{heading}').click()")
    assert again.models == sorted(again.models, reverse=True)


def number(text):
    """The number that a cell begins with, or None."""
    found = re.match(r"[-−+]?[\d,]+(\.\d+)?", text)
    return float(found[0].replace("−", "-").replace(",", "")) if found else None


def test_each_column_is_sorted_both_ways_with_empty_cells_last(browser, address):
    page = Page(browser, address, "#board")
    page.run("document.querySelectorAll('#columns input').forEach(o => o.checked || o.click())")
    names = page.run(
        "return [...document.querySelectorAll('#board-table thead th')].map(c => c.dataset.name)"
    )
    bare, with_empty = set(), set()
    for place, name in enumerate(names):
        for descending in (False, True):
            page.run(f"document.querySelector('#board-table th[data-name=\"{name}\"]').click()")
            cells = page.run(
                "return [...document.querySelectorAll('#board-table tbody tr')]"
                f".map(row => row.cells[{place}].textContent.trim())"
            )
            way = "desc" if descending else "asc"
            assert f"order={name.replace(' ', '+')}.{way}" in page.fragment
            filled = [text for text in cells if text]
            assert cells[: len(filled)] == filled, f"{name}: empty cells are not the last"
            numbers = [number(text) for text in filled]
            keys = [text.lower() for text in filled] if None in numbers else numbers
            assert keys == sorted(keys, reverse=descending), name
            if all(re.fullmatch(r"[\d.]+", text) for text in filled) and len(set(filled)) > 1:
                bare.add(name)
            if len(filled) < len(cells):
                with_empty.add(name)
    assert {"rank", "published_accuracy"} <= with_empty
    assert "fit_seconds" in bare, "numbers without an interval"


def test_rows_are_filtered_and_searched_and_columns_chosen(browser, address):
    page = Page(browser, address, "#board")
    everything = page.models
    kinds = page.run(
        "return [...document.getElementById('kind').options].map(one => [one.value, one.text])"
    )
    assert kinds == [["", "all"], ["measured", "measured"], ["published", "published"]]
    assert page.run("return document.querySelector('.dt-search').innerText") == "Search rows:"
    page.choose("kind", "published")
    assert 0 < len(page.models) < len(everything)
    assert "kind=published" in page.fragment
    assert Page(browser, address, page.fragment).models == page.models
    page = Page(browser, address, "#board?search=toy-mean&columns=model,accuracy,mcc")
    assert page.models
    assert all("toy-mean" in name for name in page.models)
    headings = page.run(
        "return [...document.querySelectorAll('#board-table thead th')].map(c => c.dataset.name)"
    )
    assert headings == ["model", "accuracy", "mcc"]


def test_a_model_opens_from_the_board(browser, address):
    page = Page(browser, address)
    page.run("document.querySelector('#board-table tbody a[href=\"#model-toy-mean\"]').click()")
    assert page.fragment == "#model-toy-mean"
    page.driver.implicitly_wait(5)
    page = Page(browser, address, page.fragment)
    assert page.shown == ["models"]
    visible = (
        "return [...document.querySelectorAll('.model')].filter(o => !o.hidden).map(o => o.id)"
    )
    assert page.run(visible) == ["model-toy-mean"]


def test_two_models_are_compared_with_the_patches_on_which_they_differ(browser, address):
    page = Page(browser, address, "#compare?one=toy-mean&other=toy-features")
    verdict = page.run("return document.getElementById('pair-verdict').innerText")
    assert verdict.startswith("toy-mean minus toy-features: ")
    count = page.run(
        "const {patches} = JSON.parse(document.getElementById('data').textContent);"
        "const [a, b] = ['toy-mean', 'toy-features'].map("
        "  name => patches.models.find(m => m.name === name).called);"
        "return patches.labels.filter((label, k) => a[k] === label && b[k] !== label).length"
    )
    titles = page.run(
        "return [...document.querySelectorAll('#pair-patches h3')].map(one => one.innerText)"
    )
    assert titles[0] == f"Only toy-mean is right: {count} patches"
    page.choose("other", "toy-mean")
    assert "two different" in page.run("return document.getElementById('pair-verdict').innerText")


def test_patches_are_filtered_by_true_and_predicted_class(browser, address):
    page = Page(browser, address, "#patches?shown=all")
    cards = "return [...document.querySelectorAll('#patch-grid figcaption')].map(o => o.innerText)"
    everything = page.run(cards)
    assert everything
    name = page.run("return document.getElementById('true-class').options[1].value")
    page.choose("true-class", name)
    some = page.run(cards)
    assert 0 < len(some) < len(everything)
    assert all(caption.startswith(f"{name}, ") for caption in some)
    assert f"true-class={name}" in page.fragment
    assert Page(browser, address, page.fragment).run(cards) == some


def test_patches_that_the_audit_names_are_shown_with_what_a_model_calls_them(browser, address):
    page = Page(browser, address, "#patches")
    data = page.run("return JSON.parse(document.getElementById('data').textContent)")
    table = data["audit"][0]
    page.choose("shown", table["name"])
    assert f"{len(table['rows'])} of {table['of']} that the audit names" == page.run(
        "return document.getElementById('patch-count').innerText"
    )
    titles = page.run(
        "return [...document.querySelectorAll('#patch-grid figure')].map(one => one.title)"
    )
    assert titles == [", ".join(row["ids"]) for row in table["rows"]]


def test_pictures_of_patches_are_loaded(browser, address):
    page = Page(browser, address, "#patches?shown=all")
    sizes = page.run(
        "return [...document.querySelectorAll('#patch-grid img')].map(one => one.naturalWidth)"
    )
    assert sizes
    assert all(width > 0 for width in sizes)


def test_points_stand_where_the_scale_says(browser, address):
    page = Page(browser, address, "#board")
    for sort in (False, True):
        if sort:
            page.run("document.querySelector('#board-table th[data-name=interval]').click()")
        ticks = page.run(
            "return [...document.querySelectorAll('.axis span')].map(one => {"
            "  const box = one.getBoundingClientRect();"
            "  return [Number(one.innerText), box.left + box.width / 2];"
            "})"
        )
        points = page.run(
            "return [...document.querySelectorAll('#board-table td.chart')].map(one => {"
            "  const box = one.querySelector('b')?.getBoundingClientRect();"
            "  return box && [Number(one.dataset.order), box.left + box.width / 2];"
            "}).filter(Boolean)"
        )
        (low, left), (high, right) = ticks[0], ticks[-1]
        for value, x in points:
            expected = left + (value - low) / (high - low) * (right - left)
            assert x == pytest.approx(expected, abs=1)
        assert points


def test_an_address_that_is_none_opens_the_board(browser, address):
    for fragment in (
        "#%",
        "#nothing",
        "#board?order=nothing.asc&columns=none",
        "#board?kind=scaled",
        "#patches?of-model=x",
    ):
        page = Page(browser, address, fragment)
        assert page.errors == []
        assert page.run("return document.getElementById('kind').value") == ""
        assert page.run("return document.getElementById('kind').selectedIndex") == 0
    chosen = "const one = document.getElementById('of-model'); return [one.value, one[0].value]"
    assert len(set(page.run(chosen))) == 1, "the first"


def test_what_was_chosen_is_still_there_after_another_part(browser, address):
    page = Page(browser, address, "#board")
    page.choose("kind", "measured")
    some = page.models
    page.run("document.querySelector('nav a[data-part=models]').click()")
    page.run("document.querySelector('nav a[data-part=board]').click()")
    assert page.models == some
    assert page.run("return document.getElementById('kind').value") == "measured"


def test_the_focus_goes_to_what_a_link_opens(browser, address):
    page = Page(browser, address, "#models")
    page.run("document.querySelector('.cards a').click()")
    from selenium.webdriver.support.wait import WebDriverWait

    focused = "return document.activeElement.id"
    WebDriverWait(browser, 10).until(
        lambda driver: driver.execute_script(focused).startswith("model-")
    )
    page.run("document.querySelector('.skip').click()")
    assert page.run(focused) == "content"


def violations(browser):
    """What axe finds on the page that is open."""
    pytest.importorskip("axe_core_python")
    axe = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    browser.execute_script(axe)
    found = browser.execute_async_script(
        "axe.run(document, {runOnly: "
        "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
        ".then(arguments[arguments.length - 1])"
    )
    assert found["passes"], "axe has looked at something"
    return [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]


def prefer(browser, scheme):
    """Light or dark."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, address, scheme):
    prefer(browser, scheme)
    for part in PARTS:
        Page(browser, address, f"#{part}")
        assert violations(browser) == [], f"{part}, {scheme}"


def test_a_site_opens_without_an_error_and_leads_to_a_report(browser, browsed):
    from selenium.webdriver.common.by import By

    (browsed.folder / "reports/toy-transfer.md").write_text(
        "# Transfer of toy\n\n## Table\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "![Curves](toy-transfer.png)\n"
    )
    Image.new("RGB", (8, 8)).save(browsed.folder / "reports/toy-transfer.png")
    browsed("report", "--site", "site")
    site = browsed.folder / "site"
    for name in ("index.html", "toy-transfer.html"):
        for scheme in ("light", "dark"):
            prefer(browser, scheme)
            browser.get((site / name).as_uri())
            assert browser.get_log("browser") == []
            assert violations(browser) == [], f"{name}, {scheme}"
    assert browser.execute_script("return document.querySelector('main img').naturalWidth") > 0
    browser.find_element(By.LINK_TEXT, "All boards").click()
    browser.find_element(By.LINK_TEXT, "toy").click()
    page = Page(browser, browser.current_url)
    assert page.driver.current_url == (site / "toy.html").as_uri()
    assert page.shown == ["board"]
    assert page.errors == []


def test_it_can_be_used_with_the_keyboard(browser, address):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, address)
    focused = []
    for _ in range(8):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        focused.append(page.run("return document.activeElement.innerText"))
    assert {"Board", "Models", "Audit", "Patches"} <= set(focused)


def test_the_board_is_sorted_and_filtered_with_the_keyboard(browser, address):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press_in(part, key):
        """Press Tab until a part of the page has the focus, and then a key."""
        for _ in range(40):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            if page.run(f"return {part}.contains(document.activeElement)"):
                break
        assert page.run(f"return {part}.contains(document.activeElement)"), "Tab comes there"
        ActionChains(browser).send_keys(key).perform()

    page = Page(browser, address, "#board")
    press_in("document.getElementById('kind')", Keys.ARROW_DOWN)
    assert page.run("return document.getElementById('kind').value") == "measured"
    assert "kind=measured" in page.fragment
    press_in("document.querySelector('#board-table th[data-name=model]')", Keys.ENTER)
    assert "order=model.asc" in page.fragment
    assert page.models == sorted(page.models)
    assert len(page.models) == 3


def test_long_cells_are_read_by_keyboard_and_by_a_click(browser, address):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = Page(browser, address, "#board?columns=model,notes,test_identity")
    page.run(
        "document.querySelector('.clamp').textContent = 'long words '.repeat(99);"
        "document.querySelector('#board-table thead th').focus()"
    )
    hidden = (
        "const one = document.querySelector('.clamp'); return one.scrollHeight > one.clientHeight"
    )
    assert page.run(hidden)
    focused = "return document.activeElement.className"
    while page.run(focused) != "clamp":
        ActionChains(browser).send_keys(Keys.TAB).perform()
        assert page.run("return document.activeElement !== document.body")
    assert not page.run(hidden), "the keyboard is on it"
    page.run("document.activeElement.blur()")
    assert page.run(hidden)
    for _ in range(2):
        before = page.run(hidden)
        browser.find_element(By.CSS_SELECTOR, ".clamp").click()
        ActionChains(browser).move_to_element(browser.find_element(By.ID, "board-title")).perform()
        assert page.run(hidden) is not before


def test_what_is_folded_is_on_paper(browser, address):
    page = Page(browser, address, "#models")
    folded = "document.querySelectorAll('details:not([open])').length"
    page.run(
        "document.querySelector('details').open = true;"
        f"window.before = {folded}; addEventListener('beforeprint', () => window.during = {folded})"
    )
    browser.execute_cdp_cmd("Page.printToPDF", {})
    before, during, after = page.run(f"return [window.before, window.during, {folded}]")
    assert before > 0
    assert during == 0
    assert after == before


def test_without_javascript_every_part_is_shown(browser, address):
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get("about:blank")
        browser.get(address)
        # What is read through the driver needs no script of the page.
        for part in ("board", "models", "compare", "audit", "patches"):
            assert browser.find_element(By.ID, part).is_displayed()
        assert browser.find_element(By.CSS_SELECTOR, "#patches noscript h3").is_displayed()
        assert len(browser.find_elements(By.CSS_SELECTOR, "#compare noscript caption")) == 2
        assert browser.find_element(By.CSS_SELECTOR, "#compare noscript td").is_displayed()
        assert not browser.find_element(By.ID, "board-controls").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.fixture
def narrow(browser):
    """The browser as on a phone, 400 pixels wide, which a window cannot be."""
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_a_phone_no_part_is_wider_than_the_screen(narrow, address):
    for part in PARTS:
        page = Page(narrow, address, f"#{part}")
        found, room = page.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert room == 400
        assert found <= room, part


def test_on_a_phone_the_whole_axis_of_the_chart_is_beside_the_names(narrow, address):
    page = Page(narrow, address, "#board")
    page.run(
        "document.querySelector('#board-table tbody th').firstChild.textContent ="
        "'encoder:virchow2-of-a-long-name+linear-uni+flips'"
    )
    ends = page.run(
        "return [...document.querySelectorAll('.axis span')].flatMap(one => {"
        "  const box = one.getBoundingClientRect();"
        "  return [box.left, box.right];"
        "})"
    )
    assert min(ends) > 0
    assert max(ends) <= 400
    assert page.run("return document.querySelector('#board .scroll').scrollLeft") == 0
