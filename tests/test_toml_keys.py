"""Keys of TOML files: every mistake names the file, the key, and what would be right."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness import HarnessError
from harness.toml_keys import checked

SCHEMA = {
    "properties": {
        "name": {"type": "string", "minLength": 1, "description": "the name of the model"},
        "demo": {"type": "boolean", "description": "true or false", "default": False},
        "arguments": {
            "$ref": "#/$defs/arguments",
            "description": "a table of texts, numbers and lists of them",
            "default": {},
        },
        "input": {
            "properties": {
                "size": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "a whole number, at least 1",
                    "default": 224,
                },
                "mean": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 3,
                    "maxItems": 3,
                    "description": "three numbers",
                },
            },
            "required": ["mean"],
            "type": "object",
            "description": "a table",
        },
    },
    "required": ["name"],
    "$defs": {
        "value": {
            "anyOf": [
                {"type": ["string", "number", "boolean"]},
                {"type": "array", "items": {"$ref": "#/$defs/value"}},
                {"$ref": "#/$defs/arguments"},
            ]
        },
        "arguments": {"type": "object", "additionalProperties": {"$ref": "#/$defs/value"}},
    },
}


def read(text):
    return checked(Path("mine/model.toml"), tomllib.loads(text), SCHEMA)


def test_what_is_left_out_gets_its_default():
    defaults = {"demo": False, "arguments": {}}
    assert read('name = "a"') == {"name": "a", **defaults}
    found = read('name = "a"\ndemo = true\ninput.mean = [0, 0.5, 1e3]')
    assert found["demo"] is True
    assert found["input"] == {"size": 224, "mean": [0, 0.5, 1000]}
    read('name = "a"')["arguments"]["x"] = 1
    assert read('name = "a"') == {"name": "a", **defaults}, "a default is nobody's to change"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('nam = "a"', "there is no key 'nam'; did you mean name?"),
        ("", "lacks name: the name of the model; add it"),
        ('name = ""', "name = '': must be the name of the model; correct it"),
        ("name = 3", "name = 3: must be the name of the model; correct it"),
        ("demo = 1", "demo = 1: must be true or false; correct it"),
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


def test_a_number_may_be_as_large_as_it_likes():
    assert read(f'name = "a"\ninput.mean = [0, 0, {10**400}]')["input"]["mean"][2] == 10**400


def test_the_validator_is_loaded_only_when_it_is_used():
    code = "import sys, harness.toml_keys; sys.exit('jsonschema' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
