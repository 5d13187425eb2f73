"""Words and tables of pages: terms are explained, small classes apart, long tables left out."""

from harness import DatasetProbe, Finding, Table
from harness.analysis.audits import DatasetAudit
from harness.reports import report, terms
from harness.store.failures import Collected
from harness.store.store import Store


def probe(name, **more):
    return DatasetProbe(name=name, title=name, features=(), measure=lambda audit: None, **more)


def page_of(tmp_path, findings, probes):
    described = {"name": "mine", "title": "Mine", "n_test": 3, "digest": "d"}
    audit = DatasetAudit(described=described, probes=tuple(probes), findings=findings)
    report.write_audit(audit, tmp_path, Collected(Store(tmp_path / "runs")))
    return (tmp_path / "mine-audit.md").read_text("utf-8")


def table(*rows, headings=("class", "patches"), title="By class"):
    return Table(name="classes", title=title, headings=headings, rows=rows)


def test_what_was_found_stands_first_in_plain_words(tmp_path):
    words = {
        "meaning": "It may be recognized. It is so.",
        "advice": "Look at it.",
        "limits": "It sees 3",
        "false_flags": "It errs in 1 of 9",
    }
    said = "one: none; not judged: that takes 9 (8; 9) patches"
    page = page_of(
        tmp_path,
        {
            "unseen": Finding(summary="none", flag=False),
            "open": Finding(summary=said, flag=None),
            "there": Finding(summary="there: balanced accuracy (0.7; p 0.2); and 2", flag=True),
        },
        [probe(name, question=f"Is {name} so?", **words) for name in ("unseen", "open", "there")],
    )
    short = page[page.index("## In short") :].split("\n\n")
    assert short[1].splitlines() == [
        "- **Found**: Is there so? It may be recognized. Balanced accuracy (0.7; p 0.2).",
        "- **Not judged**: Is open so? That takes 9 (8; 9) patches.",
        "- **Not seen**: Is unseen so?",
    ]
    assert short[2].startswith("*Balanced accuracy: the mean over classes")
    there = page[page.index("## there") :]
    assert "**What it means.** It may be recognized. It is so." in there
    assert "**What to do.** Look at it." in there
    assert "**How far to trust it.** It errs in 1 of 9." in there
    unseen = page[page.index("## unseen") : page.index("## open")]
    assert "What it means" not in unseen
    assert "**How far to trust it.** It sees 3." in unseen
    opened = page[page.index("## open") : page.index("## there")]
    assert "If it is there: It may be recognized." in opened
    assert "**How far to trust it.** Not judged here. It sees 3." in opened
    assert page.index("## All verdicts") > page.index("## there")


def test_classes_with_few_patches_stand_apart(tmp_path):
    large, small = report.shown(Finding(summary="", tables=(table(("A", 10), ("B", 9)),)))
    assert large.rows == (("A", 10),)
    assert small.rows == (("B", 9),)
    assert "fewer than 10 patches" in small.title
    alone = table(("A", 3), ("B", 9))
    assert report.shown(Finding(summary="", tables=(alone,))) == [alone]


def test_empty_tables_are_left_out_and_long_ones_are_named(tmp_path):
    long = table(*((f"C{k}", 50) for k in range(21)), title="Long")
    page = page_of(
        tmp_path,
        {"one": Finding(summary="s", tables=(table(title="Empty"), long))},
        [probe("one")],
    )
    assert "Empty" not in page
    assert "**Long**: 21 rows, which are in the JSON file" in page
    assert "C20" not in page
    assert "C20" in (tmp_path / "mine-audit.json").read_text("utf-8")


def test_terms_are_explained_once_where_they_are_used():
    found = terms.explained(["balanced accuracy 0.3", "0.2 SD, balanced accuracy", "0.1 OD"])
    assert [text.partition(":")[0] for text in found] == [
        "Balanced accuracy",
        "SD",
        "Optical density (OD)",
    ]
    assert terms.explained(["the odd SDK"]) == []
