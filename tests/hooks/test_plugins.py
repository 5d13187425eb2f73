"""The loader: entry points in, broken plugins reported, name clashes refused."""

import sys

import pytest

from harness import HarnessError
from harness.hooks.loader import load_plugins

GOOD = """
from harness import Perturbation, hookimpl

@hookimpl
def harness_perturbations():
    return [Perturbation(name="{name}", title="T", levels=(1,), apply=lambda p, level, rng: p)]
"""


PERTURBATION = (
    "from functools import partial\nfrom harness import Features, Option, Perturbation, hookimpl\n"
    "make = partial(Perturbation, name='p', title='', apply=print)\n"
    "@hookimpl\ndef harness_perturbations():\n    return [make({})]"
)


@pytest.fixture
def installed(monkeypatch, make_distribution):
    """Installs a distribution for this process."""

    def install(name, modules):
        monkeypatch.syspath_prepend(str(make_distribution(name, modules)))

    yield install
    for module in [name for name in sys.modules if name.startswith("x_dist")]:
        del sys.modules[module]


def status(registry, name):
    (plugin,) = [plugin for plugin in registry.plugins if plugin.name == name]
    return plugin.status


def test_built_in_plugins_load_through_entry_points():
    registry = load_plugins()
    assert {"nct-crc-he", "nct-crc-he-nonorm", "nct-crc-he-sample"} <= set(registry.datasets)
    assert {"rgb-means", "color-histogram", "efficientnet-b0-avg"} <= set(registry.models)
    assert registry.models.plugin["rgb-means"].distribution == "histo-harness"
    assert registry.broken == []


def test_a_stranger_s_plugin_is_found_the_same_way(installed):
    installed("x-dist", {"mine": GOOD.format(name="my-noise")})
    registry = load_plugins()
    assert "my-noise" in registry.perturbations
    assert registry.perturbations.plugin["my-noise"].version == "2.0"
    assert status(registry, "mine") == ""


PUBLISHED = """
from harness import PublishedResult, hookimpl
@hookimpl
def harness_published_results():
    given = dict(
        test_set="t", model="m", title="M", trained_on="x", selected_on="unknown", tta="none",
        source="s", checked="source", n=100,
    )
    return [PublishedResult(**{{**given, **dict({})}})]
"""
PANIC = """
class Panic(BaseException):
    "As libraries that are written in Rust raise it."
raise Panic("in Rust")
"""


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("this is no python", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("x = 1", "implements no hook"),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_modles(): return []",
            "harness_modles, which is no hook",
        ),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_models(color): return []",
            "color",
        ),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_models(): return ['a name']",
            "'a name' where a Model or DerivedModel",
        ),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_models(): return None",
            "harness_models returned None; let it return a list",
        ),
        (
            "from harness import hookimpl\n@hookimpl\ndef harness_models(): raise KeyError('k')",
            "KeyError: 'k'",
        ),
        (GOOD.format(name="Upper Case"), "'Upper Case'"),
        (
            "from harness import DerivedModel, hookimpl\n@hookimpl\ndef harness_models():\n"
            "    return [DerivedModel(name='d', title='D', terms=(('m', 'sideways'),))]",
            "unknown view 'sideways'",
        ),
        (PERTURBATION.format("levels=(1,), role='steering'"), "steering and learns go together"),
        (
            PERTURBATION.format("levels=(1,), learns=Features(name='f', extract=print)"),
            "steering and learns go together",
        ),
        (PERTURBATION.format("title='no level'"), "either levels, at least one, or learns"),
        (PERTURBATION.format("levels=('low',)"), "levels must be numbers, not ('low',)"),
        (
            PERTURBATION.format("levels=(0, 2), level=Option(1.0, ge=0, lt=2)"),
            "level 2 is not a number, at least 0 and below 2",
        ),
        (PERTURBATION.format("levels=(1,), level=3.0"), "level must be a harness.Option"),
        (
            GOOD.format(name="twice").replace(": p)]", ": p)] * 2"),
            "harness_perturbations returned 2 perturbations named 'twice'",
        ),
        (
            "from harness import Perturbation, hookimpl\nclass Mine(Perturbation): pass\n"
            "@hookimpl\ndef harness_perturbations():\n"
            "    return [Mine(name='mine', title='M', levels=(1,), apply=print)]",
            "where a Perturbation is expected",
        ),
        (PUBLISHED.format("accuracy=97.7"), "accuracy = 97.7 must be a fraction of 1"),
        (PUBLISHED.format("accuracy=0.9, n=0"), "n = 0 must be the number of test patches"),
        (
            "from harness import Dataset, hookimpl\n@hookimpl\ndef harness_datasets():\n"
            "    return [Dataset(name='d', title='D', classes=('a', 'a'), load=print)]",
            "classes must be two or more different names",
        ),
        (PANIC, "Panic: in Rust"),
    ],
)
def test_a_broken_plugin_is_reported_and_left_out(installed, source, says):
    installed("x-dist", {"broken": source, "fine": GOOD.format(name="still-here")})
    registry = load_plugins()
    assert says in status(registry, "broken")
    assert [plugin.distribution for plugin in registry.broken] == ["x-dist"]
    assert "still-here" in registry.perturbations
    assert not registry.manager.has_plugin("broken")


def test_a_plugin_that_is_half_right_contributes_nothing(installed):
    source = GOOD.format(name="good-half") + (
        "\n@hookimpl\ndef harness_models():\n    return [None]\n"
    )
    installed("x-dist", {"half": source})
    assert "good-half" not in load_plugins().perturbations


def test_two_distributions_with_one_contribution_name_are_both_named(installed):
    installed("x-dist", {"one": GOOD.format(name="same")})
    installed("x-dist-two", {"two": GOOD.format(name="same")})
    with pytest.raises(HarnessError, match=r"'same'.*x-dist.*x-dist-two.*--without"):
        load_plugins()
    assert "same" in load_plugins(without=["x-dist-two"]).perturbations


def test_two_distributions_with_one_plugin_name_are_both_named(installed):
    installed("x-dist", {"one": GOOD.format(name="a")})
    installed("x-dist-two", {"one": GOOD.format(name="b")})
    with pytest.raises(HarnessError, match=r"plugin 'one'.*x-dist.*x-dist.*--without"):
        load_plugins()


@pytest.mark.parametrize("name", ["mine", "x-dist"])
def test_a_plugin_can_be_switched_off(installed, name):
    installed("x-dist", {"mine": "raise RuntimeError('never imported')"})
    registry = load_plugins(without=[name])
    assert status(registry, "mine") == "switched off"
    assert registry.broken == []


def test_switching_off_what_is_not_there_suggests_a_name():
    with pytest.raises(HarnessError, match="did you mean color"):
        load_plugins(without=["colour"])


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(HarnessError, match="did you mean efficientnet-b0-avg"):
        load_plugins().models.find("eficientnet-b0-avg")
