"""Settings from the command line."""

from dataclasses import replace

import pytest

from harness import HarnessError, Model, Option
from harness.hooks import validation
from harness.hooks.settings import deviations, parse, resolve


def model(name, **more):
    return Model(
        name=name,
        title=name,
        fit=lambda *a: None,
        load=lambda f: None,
        settings={"epochs": 100, "rate": 0.5, "weights": "hub", "flag": False, **more},
        execution={"workers": 0},
        demo_settings={"epochs": 2},
    )


def test_a_key_goes_to_every_model_that_has_it_and_keeps_its_type():
    models = [model("a"), model("b", extra=1)]
    assert parse(["epochs=3", "b.rate=1e-3", "extra=7", "flag=true"], models) == {
        "a": {"epochs": 3, "flag": True},
        "b": {"epochs": 3, "rate": 0.001, "extra": 7, "flag": True},
    }


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("epochs=5.0", 5),
        ("epochs=1e3", 1000),
        ("epochs=-1", -1),
        ("rate=5", 5.0),
        ("rate=1e-5", 0.00001),
        ("flag=True", True),
        ("flag=False", False),
        ("flag=false", False),
        ("weights='hub'", "hub"),
        ('weights="hub"', "hub"),
        ("weights=a=b.safetensors", "a=b.safetensors"),
        ("weights=5", "5"),
    ],
)
def test_values_are_written_as_in_python(assignment, value):
    (found,) = parse([assignment], [model("a")])["a"].values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("name", ["timm:vit,qkv_bias=False", "timm:resnet18.a1_in1k", "a.b=c.d"])
def test_the_name_of_a_model_may_hold_dots_and_equals_signs(name):
    models = [model(name), model("a")]
    assert parse([f"{name}.epochs=3"], models) == {name: {"epochs": 3}, "a": {}}
    with pytest.raises(HarnessError, match="did you mean epochs"):
        parse([f"{name}.epoch=3"], models)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("epochs", "KEY=VALUE"),
        ("epoch=3", "did you mean epochs"),
        ("c.epochs=3", "no chosen model has"),
        ("epochs=many", "'many' is not a value of type int"),
        ("epochs=1.5", "'1.5' is not a value of type int"),
        ("epochs=True", "'True' is not a value of type int"),
        ("epochs=None", "'None' is not a value of type int"),
        ("epochs=inf", "'inf' is not a value of type int"),
        ("epochs=", "'' is not a value of type int"),
        ("rate=True", "'True' is not a value of type float"),
        ("rate=nan", "'nan' is not a value of type float"),
        ("rate=None", "'None' is not a value of type float"),
        ("weights=None", "'None' is not a value of type str"),
        ("flag=yes", "true or false"),
        ("flag=no", "true or false"),
        ("flag=1", "true or false"),
        ("flag=None", "true or false"),
    ],
)
def test_mistakes_are_named(assignment, says):
    with pytest.raises(HarnessError, match=says):
        parse([assignment], [model("a")])


def test_the_user_comes_before_the_demo_and_the_demo_before_the_default():
    assert resolve(model("a"), demo=False, given={})["epochs"] == 100
    assert resolve(model("a"), demo=True, given={})["epochs"] == 2
    assert resolve(model("a"), demo=True, given={"epochs": 5})["epochs"] == 5
    assert resolve(model("a"), demo=True, given={"workers": 4})["workers"] == 4


def test_deviations_name_what_changed_and_leave_out_execution():
    settings = resolve(model("a"), demo=True, given={"workers": 4, "rate": 0.1})
    assert deviations(model("a"), settings) == "epochs 2 (default 100), rate 0.1 (default 0.5)"
    assert deviations(model("a"), resolve(model("a"), demo=False, given={})) == ""


def declared(**more):
    options = {
        "epochs": Option(100, ge=1, help="passes"),
        "rate": Option(0.5, gt=0, le=1),
        "order": Option("RGB", choices=("RGB", "BGR")),
        "weights": Option("hub"),
        "flag": Option(False),
        "plain": 3,
    }
    fields = {"settings": options, "execution": {"workers": Option(0, ge=0)}, **more}
    return Model(name="a", title="a", fit=print, load=print, **fields)


def test_an_option_is_a_default_with_limits():
    model = declared()
    plain = {"epochs": 100, "rate": 0.5, "order": "RGB", "weights": "hub"}
    assert dict(model.settings) == {**plain, "flag": False, "plain": 3}
    assert dict(model.execution) == {"workers": 0}
    assert parse(["epochs=1", "rate=1", "plain=-5"], [model])["a"] == {
        "epochs": 1,
        "rate": 1.0,
        "plain": -5,
    }
    again = replace(model, version=2)
    assert again.options == model.options
    assert again.settings == model.settings


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("epochs=0", "must be a whole number, at least 1"),
        ("rate=0", "must be a number, above 0 and at most 1"),
        ("rate=inf", "must be a number, above 0 and at most 1"),
        ("rate=1.5", "must be a number, above 0 and at most 1"),
        ("order=HSV", "must be RGB or BGR"),
        ("weights=", "must be a text"),
        ("workers=-1", "must be a whole number, at least 0"),
        ("epochs=many", "'many' is not a value of type int"),
    ],
)
def test_what_an_option_does_not_allow_is_refused_with_what_it_does(assignment, says):
    with pytest.raises(HarnessError) as caught:
        parse([assignment], [declared()])
    assert str(caught.value).startswith(f"--set {assignment}: ")
    assert says in str(caught.value)


def test_values_that_come_otherwise_are_checked_as_well():
    for given in ({"epochs": True}, {"epochs": 2.0}, {"flag": 1}, {"weights": 3}, {"rate": "x"}):
        ((name, value),) = given.items()
        with pytest.raises(HarnessError, match=f"setting {name}={value}: must be "):
            resolve(declared(), demo=False, given=given)
    assert resolve(declared(), demo=False, given={"rate": 1})["rate"] == 1


def test_a_default_that_is_not_allowed_is_the_plugin_s_fault():
    with pytest.raises(ValueError, match="a: epochs = 0 is not a whole number, at least 1"):
        validation.model(declared(demo_settings={"epochs": 0}))
    with pytest.raises(ValueError, match="a: n = 0 is not a whole number from 1 to 9"):
        validation.model(declared(settings={"n": Option(0, ge=1, le=9)}))
