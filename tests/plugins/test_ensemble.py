"""The ensemble and its four-view versions."""

from harness import DerivedModel
from harness.hooks.loader import load_plugins

AVG, MAX = "efficientnet-b0-avg", "efficientnet-b0-max"
VIEWS = ("identity", "vflip", "hflip", "both")


def test_members_are_the_published_ones():
    models = load_plugins().models
    terms = {name: m.terms for name, m in models.items() if isinstance(m, DerivedModel)}
    assert terms["efficientnet-b0-ensemble"] == ((AVG, "identity"), (MAX, "identity"))
    assert set(terms[f"{AVG}+flips"]) == {(AVG, view) for view in VIEWS}
    assert set(terms[f"{MAX}+flips"]) == {(MAX, view) for view in VIEWS}
    eight = {(member, view) for member in (AVG, MAX) for view in VIEWS}
    assert set(terms["efficientnet-b0-ensemble+flips"]) == eight
    assert len(terms["efficientnet-b0-ensemble+flips"]) == 8


def test_published_results_find_the_models_that_reproduce_them():
    registry = load_plugins()
    published = {result.name for result, _ in registry.published}
    assert {f"{AVG}+flips", "efficientnet-b0-ensemble", "efficientnet-b0-ensemble+flips"} <= (
        published & set(registry.models)
    )
