"""Plugins written for names of before are told the names of today."""

from importlib import import_module

import pytest

from harness.hooks import moved


@pytest.mark.parametrize(("old", "new"), moved.MODULES.items())
def test_each_module_is_where_it_is_said_to_be(old, new):
    import_module(new)
    with pytest.raises(ModuleNotFoundError) as raised:
        import_module(old)
    assert moved.advice(raised.value) == f"import {new} instead"


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("from harness.patches import FileSplit", "import harness.data.patches instead"),
        ("from harness import Figure", "Figure is Estimate now"),
        ("from harness.types import Split", "import it from harness"),
        (
            "from harness import Finding\nFinding(summary='x', figures=())",
            "figures is estimates now",
        ),
        ("from harness import Finding\nFinding(summary='x').figure('y')", "figure is estimate now"),
    ],
)
def test_a_plugin_that_uses_a_name_of_before_is_told_the_new_one(command, text, advice):
    (command.folder / "old.py").write_text(f"{text}\n", "utf-8")
    output = command("list", "models", "--plugin", "old.py")
    assert "plugin old of old.py is left out: " in output
    assert advice in output


def test_other_errors_are_left_as_they_are():
    assert moved.advice(ModuleNotFoundError("No module named 'torch'", name="torch")) == ""
    assert moved.advice(TypeError("got an unexpected keyword argument 'levels'")) == ""
