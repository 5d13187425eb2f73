"""Keys of TOML files: every mistake names the file, the key, and what would be right."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from harness import HarnessError, Reader
from harness.hooks.loader import load_plugins
from harness.hooks.toml_keys import Arguments, Keys, MustBe, Number, Text, checked, table


class Input(Keys):
    size: int = Field(224, ge=1, description="side in pixels")
    mean: Annotated[list[Number], MustBe("three numbers")] = Field(min_length=3, max_length=3)


class Mine(Keys):
    name: Annotated[Text, MustBe("the name of the model")]
    demo: bool = False
    share: float = Field(0.5, gt=0, le=1)
    folds: int | None = Field(None, ge=2, le=100)
    order: Literal["RGB", "BGR"] = "RGB"
    arguments: Arguments = Field(default_factory=dict)
    input: Input | None = None


class Nested(Keys):
    input: Input = Field(default_factory=lambda: Input(mean=[0, 0, 0]))


def read(text, keys=Mine):
    return checked(Path("mine/model.toml"), tomllib.loads(text), keys)


def test_what_is_left_out_gets_its_default():
    found = read('kind = "mine"\nname = "a"')
    assert found == Mine(name="a", demo=False, share=0.5, arguments={})
    found.arguments["x"] = 1
    assert read('name = "a"').arguments == {}, "a default is nobody's to change"
    found = read("input.mean = [0, 0.5, 1e3]", Nested)
    assert found.model_dump() == {"input": {"size": 224, "mean": [0, 0.5, 1000]}}
    assert [type(number) for number in found.input.mean] == [int, float, float]
    assert checked(Path("mine/model.toml"), found, Nested) is found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('nam = "a"', "there is no key 'nam'; did you mean name?"),
        ("", "lacks name: the name of the model; add it"),
        ('name = ""', "name = '': must be the name of the model; correct it"),
        ("name = 3", "name = 3: must be the name of the model; correct it"),
        ("demo = 1", "demo = 1: must be true or false; correct it"),
        ('demo = "true"', "demo = 'true': must be true or false; correct it"),
        *(
            (f"share = {share}", "must be a number, above 0 and at most 1; correct it")
            for share in ("0", "1.5", "nan", "inf", "true", '"1"')
        ),
        ("folds = 1", "folds = 1: must be a whole number from 2 to 100; correct it"),
        ("folds = 2.0", "folds = 2.0: must be a whole number from 2 to 100; correct it"),
        ('order = "HSV"', "order = 'HSV': must be RGB or BGR; correct it"),
        ("arguments.x = [1, { y = nan }]", "must be a table of texts, numbers and lists of them"),
        ("arguments.x = 2020-01-01", "must be a table of texts, numbers and lists of them"),
    ],
)
def test_every_mistake_names_the_file_and_the_key(text, says):
    text = text if text.startswith(("nam", "name")) or not text else f'name = "a"\n{text}'
    with pytest.raises(HarnessError) as caught:
        read(text)
    assert str(caught.value).startswith("mine/model.toml: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input = 3", "input = 3: must be a table; correct it"),
        ("input.siz = 3", "there is no key 'input.siz'; did you mean size?"),
        ("input.size = 3", "lacks input.mean: three numbers; add it"),
        *(
            (
                f"input = {{ size = {size}, mean = [0, 0, 0] }}",
                f"input.size = {tomllib.loads(f'x = {size}')['x']!r}: must be a whole number, at "
                "least 1; correct it",
            )
            for size in ("0", "true", "1.0", '"1"', "nan", "[1]")
        ),
        *(
            (f"input.mean = {mean}", "must be three numbers; correct it")
            for mean in ("[0, 0]", "[0, 0, true]", "[0, 0, nan]", "[0, 0, -inf]", '[0, 0, "0"]')
        ),
    ],
)
def test_a_mistake_in_a_table_names_the_way_to_it(text, says):
    with pytest.raises(HarnessError) as caught:
        read(text, Nested)
    assert str(caught.value) == f"mine/model.toml: {says}" or str(caught.value).endswith(says)


class Both(Keys):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def ordered(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Outer(Keys):
    both: Both | None = None


def test_what_a_validator_says_of_a_table_is_said():
    with pytest.raises(HarnessError, match=r"^mine/model\.toml: low must be below high;"):
        read("low = 2", Both)
    with pytest.raises(HarnessError, match="toml: both: low must be below high; correct it"):
        read("both.low = 2", Outer)
    with pytest.raises(HarnessError, match=r"toml: there is no key 'both\.lo'; did you mean low"):
        read("both.lo = 2", Outer)
    with pytest.raises(HarnessError, match=r"toml: both\.low = 'x': must be a whole number"):
        read('both.low = "x"', Outer)


def test_a_number_may_be_as_large_as_it_likes():
    assert read(f"input.mean = [0, 0, {10**400}]", Nested).input.mean[2] == 10**400


def test_a_schema_of_before_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match=r"a subclass of harness\.hooks\.toml_keys\.Keys, not dict"):
        checked(Path("a.toml"), {}, {"properties": {}})


def test_the_keys_are_listed_with_what_they_must_be():
    rows = {row["key"]: row for row in table(Nested)}
    assert rows["input.size"] == {
        "key": "input.size",
        "must be": "a whole number, at least 1",
        "if left out": "224",
        "meaning": "side in pixels",
    }
    assert rows["input.mean"]["if left out"] == "required"
    rows = {row["key"]: row["must be"] for row in table(Mine)}
    assert rows["folds"] == "a whole number from 2 to 100"
    assert rows["name"] == "the name of the model"


READERS = load_plugins().of(Reader)


@pytest.mark.parametrize("name", READERS)
def test_every_key_of_a_kind_that_is_built_in_says_what_it_means(name):
    rows = table(READERS[name].keys())
    assert {"name", "title"} < {row["key"] for row in rows}
    for row in rows:
        assert row["meaning"], row["key"]
        assert row["must be"] != "another value", row["key"]


def test_pydantic_is_loaded_only_when_a_file_is_read():
    code = (
        "import sys\nfrom harness.hooks.loader import load_plugins\nload_plugins()\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
