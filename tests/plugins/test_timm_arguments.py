"""Arguments after the name of a network: what they mean, how they are spelled, and mistakes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from torch import nn  # noqa: E402

import harness_timm  # noqa: E402
from harness import HarnessError, InitialWeights  # noqa: E402
from harness.hooks.loader import load_plugins  # noqa: E402
from harness.hooks.settings import parse as parse_settings  # noqa: E402
from harness.store.stored import LONGEST_NAME, file_name  # noqa: E402
from harness_timm.arguments import OURS, parse, resolved, spell  # noqa: E402
from harness_timm.building import Architecture, build_tried  # noqa: E402
from harness_timm.loading import load_initial  # noqa: E402
from harness_timm.networks import canonical, look_up  # noqa: E402

VIT = "test_vit"


def architecture(name):
    network = look_up(name)
    return network, Architecture.of(
        network, pool="", classes=9, image_size=network.input_size, precision="float32"
    )


def built(name):
    return build_tried(*architecture(name))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("True", True),
        ("False", False),
        ("None", None),
        ("true", True),
        ("false", False),
        ("null", None),
        ("0", 0),
        ("-3", -3),
        ("1e-5", 1e-5),
        ("1e+5", 1e5),
        (".5", 0.5),
        ("(2,2,6,2)", [2, 2, 6, 2]),
        ("[2, 2]", [2, 2]),
        ("[True,None]", [True, None]),
        ("[true,null]", [True, None]),
        ("((1,2),(3,4))", [[1, 2], [3, 4]]),
        ("{'a':1}", {"a": 1}),
        ("token", "token"),
        ("none", "none"),
        ("'True'", "True"),
        ('"a, b"', "a, b"),
        ("a_b-c.d/e", "a_b-c.d/e"),
    ],
)
def test_values_are_literals_of_python_or_json(text, value):
    (found,) = parse(f"pos_embed={text}", VIT).values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("mlp_layer=SwiGLUPacked", timm.layers.SwiGLUPacked),
        ("mlp_layer=timm.layers.SwiGLUPacked", timm.layers.SwiGLUPacked),
        ("act_layer=SiLU", nn.SiLU),
        ("act_layer=torch.nn.SiLU", nn.SiLU),
        ("act_layer=nn.SiLU", nn.SiLU),
        ("act_layer=silu", "silu"),
        ("norm_layer=LayerNorm", timm.layers.LayerNorm),
        ("norm_layer=torch.nn.LayerNorm", nn.LayerNorm),
        ("norm_layer=layernorm2d", "layernorm2d"),
        ("embed_layer=PatchEmbed", timm.layers.PatchEmbed),
        ("aa_layer=BlurPool2d", timm.layers.BlurPool2d),
        ("round_chs_fn=make_divisible", timm.layers.make_divisible),
        ("act_layer='SiLU'", "SiLU"),
        ("rope_type=Linear", "Linear"),
        ("global_pool=token", "token"),
    ],
)
def test_names_are_classes_where_an_argument_takes_one(argument, expected):
    (value,) = parse(argument, VIT).values()
    assert resolved(value) is expected or resolved(value) == expected
    assert resolved(json.loads(json.dumps(value))) == expected


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("drop_rate", "write timm:test_vit,ARGUMENT=VALUE; 'drop_rate' is none"),
        ("drop_rate=", "'drop_rate=' is none"),
        ("=3", "'=3' is none"),
        ("qkv_bias=False,", "'' is none"),
        ("depth=2,depth=3", "depth stands there twice"),
        ("mlp_layer=SwiGluPacked", r"argument mlp_layer=SwiGluPacked: .*did you mean SwiGLUPacked"),
        ("act_layer=torch.nn.Silu", r"argument act_layer=torch\.nn\.Silu: .*did you mean SiLU"),
        ("act_layer=timm.layers.nothing", "has a class nothing"),
        ("qkv_bias=no", "argument qkv_bias=no: write True or False"),
        ("qkv_bias=FALSE", "write True or False"),
        ("qkv_bias=yes", "write True or False"),
        ("depths=(1,2", "it is no Python literal"),
        ("name='a", "it is no Python literal"),
        ("depth=1j", "only numbers, texts, True, False, None"),
        ("depth=b'1'", "only numbers, texts"),
        ("depth={1,2}", "only numbers, texts"),
        *((f"{key}=1", f"{key} is not to be given") for key in sorted(OURS)),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_the_argument(listed, says):
    with pytest.raises(HarnessError, match=says) as caught:
        parse(listed, VIT)
    assert VIT in str(caught.value)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3),
)
KEYS = st.sampled_from(["pos_embed", "act_layer", "depths", "init_values", "round_chs_fn"])


@given(st.dictionaries(KEYS, VALUES | TEXTS, min_size=1))
def test_what_is_spelled_is_understood_again(arguments):
    assert parse(spell(arguments), VIT) == arguments
    assert spell(parse(spell(arguments), VIT)) == spell(arguments)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("qkv_bias=False", "qkv_bias=False"),
        ("qkv_bias=false", "qkv_bias=False"),
        (" qkv_bias = false", "qkv_bias=False"),
        ("init_values=1e-05", "init_values=1e-5"),
        ("init_values=0.00001", "init_values=1e-5"),
        ("init_values=1e22", "init_values=1e22"),
        ("global_pool='token'", "global_pool=token"),
        ("mlp_layer=timm.layers.SwiGLUPacked", "mlp_layer=SwiGLUPacked"),
        ("norm_layer=torch.nn.LayerNorm", "norm_layer=torch.nn.LayerNorm"),
        ("norm_layer=timm.layers.LayerNorm", "norm_layer=LayerNorm"),
        ("depth=2,class_token=true", "class_token=True,depth=2"),
        ("img_size=(96, 96)", "img_size=[96,96]"),
    ],
)
def test_a_network_has_one_name_however_it_is_written(written, name):
    assert canonical(f"{VIT},{written}") == f"{VIT},{name}"
    assert harness_timm.make(f"{VIT},{written}+linear").name == f"timm:{VIT},{name}+linear"
    models = load_plugins().models
    one, other = (models.find(f"timm:{VIT},{text}+flips") for text in (written, name))
    assert one is other
    assert one.terms[0][0] == f"timm:{VIT},{name}"
    assert {key for key in models if VIT in key} == {
        f"timm:{VIT},{name}{e}" for e in ("", "+flips")
    }


def test_a_number_may_hold_a_plus_and_heads_are_still_known():
    assert harness_timm.make(f"{VIT},init_values=1e+5").name == f"timm:{VIT},init_values=100000.0"
    with pytest.raises(HarnessError, match=r"there is no \+svm"):
        harness_timm.make(f"{VIT},depth=2+svm")


def test_a_setting_can_be_given_to_a_network_with_arguments():
    model = harness_timm.make(f"{VIT},qkv_bias=False")
    found = parse_settings([f"{model.name}.epochs=3"], [model])
    assert found == {model.name: {"epochs": 3}}


def test_arguments_build_the_network_that_they_say():
    assert built(f"{VIT},qkv_bias=False").blocks[0].attn.qkv.bias is None
    assert built(f"{VIT},qkv_bias=True").blocks[0].attn.qkv.bias is not None
    packed = built(f"{VIT},mlp_layer=SwiGLUPacked,act_layer=silu")
    assert isinstance(packed.blocks[0].mlp.act, nn.SiLU)
    assert isinstance(packed.blocks[0].mlp, timm.layers.GluMlp)
    assert isinstance(built(f"{VIT},act_layer=torch.nn.SiLU").blocks[0].mlp.act, nn.SiLU)
    assert len(built("test_resnet,layers=(1,1,2,1)").layer3) == 2
    assert built(f"{VIT},class_token=False,global_pool=avg").cls_token is None


def test_none_is_passed_on():
    """timm itself leaves out what is None: this network would keep the scales of its layers."""
    name = "deit3_small_patch16_224"
    assert isinstance(built(f"{name},init_values=None,depth=1").blocks[0].ls1, nn.Identity)
    assert not isinstance(built(f"{name},depth=1").blocks[0].ls1, nn.Identity)


def test_a_size_that_is_given_is_the_size_that_it_sees():
    network, made = architecture(f"{VIT},img_size=96")
    assert (network.input_size, network.fixed_size) == (96, True)
    assert json.loads(made.arguments)["img_size"] == 96
    assert harness_timm.make(network.name).settings["image_size"] == 96
    assert build_tried(network, made).patch_embed.img_size == (96, 96)
    with pytest.raises(HarnessError, match=r"img_size=.*patches are made square"):
        look_up(f"{VIT},img_size=(96,128)")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("qkv_bias=abc", "argument qkv_bias=abc: VisionTransformer takes bool"),
        ("qkv_bias=2", "argument qkv_bias=2: VisionTransformer takes True or False"),
        ("qkv_bias='False'", "argument qkv_bias='False': VisionTransformer takes bool"),
        ("drop_rate=True", "argument drop_rate=True: VisionTransformer takes float"),
        ("qkv_bias=[False]", "qkv_bias=.*False.*: VisionTransformer takes bool"),
        ("qk_norm={'a':False}", "argument qk_norm=.*: VisionTransformer takes bool"),
        ("drop_rate=[0.1]", r"cannot build it .*change its arguments .*drop_rate"),
        ("dynamic_img_size=maybe", "takes bool"),
        ("fc_norm=on_off", "takes bool"),
        ("no_such=3", "cannot build it .*no_such.*change its arguments"),
        ("act_layer=surely_not", "cannot build it .*change its arguments .*surely_not"),
        ("global_pool=surely_not", "cannot build it .*change its arguments .*surely_not"),
        ("mlp_layer=mlp", "not callable.*name a class for mlp_layer"),
    ],
)
def test_an_argument_that_a_network_cannot_take_is_named(argument, says):
    with pytest.raises(HarnessError, match=says) as caught:
        built(f"{VIT},{argument}")
    assert "\n" not in str(caught.value)


def test_the_names_of_files_do_not_grow_with_the_arguments():
    uni = (
        "timm:hf_hub:MahmoodLab/UNI2-h,act_layer=SiLU,depth=24,dynamic_img_size=True,embed_dim=1536"
        ",img_size=224,init_values=1e-5,mlp_layer=SwiGLUPacked,mlp_ratio=5.33334,no_embed_class=True"
        ",num_heads=24,patch_size=14,reg_tokens=8+linear"
    )
    assert file_name("timm:resnet18,a=1+knn") == "timm:resnet18%2Ca%3D1+knn"
    assert LONGEST_NAME < len(file_name(uni)) < 200
    assert file_name(uni) != file_name(uni.replace("+linear", "+knn"))


def test_networks_with_arguments_run_and_are_found_again(command):
    spellings = "mlp_layer={0}SwiGLUPacked,qkv_bias={1},init_values=1e-5,dynamic_img_size=True"
    long = ",norm_layer=timm.layers.LayerNorm,embed_layer=timm.layers.PatchEmbed,drop_rate=0.0"
    asked = ("--dataset", "nct-crc-he-sample", "--no-probes", "--set", "weights=random", "--model")
    name = f"timm:{VIT},{spellings.format('', 'False')}{long}+knn"
    output = command("run", *asked, name)
    assert "results to compute" in output
    other = f"timm:{VIT},{spellings.format('timm.layers.', 'false')}{long}+knn"
    assert "nothing to compute" in command("run", *asked, other)
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    (row,) = (row for row in board["rows"] if row["result"] == "measured")
    assert "qkv_bias=False" in row["model"]


@pytest.mark.parametrize("lost", ["base_layer.0.weight", "level2.tree1.bn1.running_var"])
def test_weights_that_timm_passes_over_are_named(tmp_path, lost):
    """Of this network timm itself takes what it finds."""
    from safetensors.torch import save_file

    _, made = architecture("dla46_c")
    state = timm.create_model("dla46_c").state_dict()
    path = tmp_path / "dla.safetensors"
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    weights = InitialWeights(label="test", digest="test", path=path)
    model = built("dla46_c")
    load_initial(model, weights, made)
    assert torch.equal(model.state_dict()[lost], state[lost])
    save_file({key: value.contiguous() for key, value in state.items() if key != lost}, path)
    with pytest.raises(HarnessError, match=f"cannot be loaded .*it has no {lost}"):
        load_initial(built("dla46_c"), weights, made)
