"""Encoders of pathology by name: what is known of each, and that it is built, fed and read so."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from safetensors.torch import save, save_file  # noqa: E402
from timm.layers import SwiGLUPacked  # noqa: E402

import harness_nct_crc  # noqa: E402
from harness import HEADS, HarnessError, UnavailableError  # noqa: E402
from harness_timm import encoders  # noqa: E402
from harness_timm.encoders import Encoder, known, make  # noqa: E402

LOADED = [n for n, encoder in known().items() if encoder.loader in ("timm", "transformers")]
TOKENS = {"uni": 197, "virchow2": 261, "h-optimus-0": 261}


@pytest.fixture(scope="module")
def patches():
    """Four real patches, uint8 (4, 224, 224, 3)."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    return split.read(np.linspace(0, len(split.labels) - 1, 4).astype(int))


@pytest.mark.parametrize("name", LOADED)
def test_each_has_its_published_size_and_length(name):
    encoder = known()[name]
    if encoder.loader == "transformers":
        pytest.importorskip("transformers")
    from harness_timm.building import Architecture, build
    from harness_timm.encoding import Pooled, bare

    as_built = Architecture.of(
        encoder.network, pool="", classes=0, image_size=encoder.size, precision="float32"
    )

    with torch.device("meta"):
        if encoder.loader == "timm":
            model = build(as_built)
            prefix = getattr(model, "num_prefix_tokens", 1)
        else:
            model, prefix = bare(encoder, {**encoder.config}), 1
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        if encoder.parameters:  # published with two or three digits; some count the head as well
            assert millions == pytest.approx(encoder.parameters, rel=0.02)
        images = torch.zeros(2, 3, encoder.size, encoder.size)
        for pooling in encoder.poolings:
            found = Pooled(model, pooling, prefix)(images)
            assert found.shape == (2, encoder.length(pooling))


def test_what_is_known_of_each_has_a_source():
    for encoder in known().values():
        facts = {f for f in ("license", "parameters", "revision") if getattr(encoder, f)}
        facts |= {"pooling"}
        if encoder.loader != "none":
            facts |= {"normalization"} | ({"arguments"} if encoder.arguments else set())
        open_ones = facts - encoder.sources.keys()
        words = {"normalization": "mean", "parameters": "number of parameters"}
        for fact in open_ones:  # which then is said
            assert words.get(fact, fact) in encoder.uncertain, (encoder.name, fact)
        assert encoder.loader in ("timm", "transformers", "remote-code", "package", "none")
        assert bool(encoder.how) == (encoder.loader == "none" or not encoder.hub)
        assert bool(encoder.install) == bool(encoder.package) == (encoder.loader == "package")


def test_names():
    assert make("virchow2+linear").name == "encoder:virchow2+linear"
    assert make("virchow2[cls+mean]+linear").name == "encoder:virchow2+linear"
    assert make("virchow2[cls]+knn20").name == "encoder:virchow2[cls]+knn20"
    random = make("virchow2[random]+knn")
    assert random.name == "encoder:virchow2[random]+knn"
    assert random.execution["weights"] == "random"
    assert "random weights" in random.title
    assert "Virchow2 (cls+mean)" in make("virchow2+linear").title
    for head in HEADS:
        assert make(f"uni+{head}").name == f"encoder:uni+{head}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("virchow3+linear", "did you mean"),
        ("virchow2", "end it with one of +linear"),
        ("virchow2+svm", "end it with one of +linear"),
        ("virchow2[max]+linear", "one of cls+mean, cls, mean; or random"),
        ("virchow2[cls,mean]+linear", "in brackets"),
        ("virchow2[]+linear", "in brackets"),
        ("plip[cls]+linear", "one of projected; or random"),
        ("[cls]+linear", "write encoder:NAME+HEAD"),
        ("virchow2]+linear", "write encoder:NAME+HEAD"),
    ],
)
def test_names_that_mean_nothing(name, said):
    with pytest.raises(HarnessError) as caught:
        make(name)
    assert said in str(caught.value)


def test_what_is_not_loaded_says_how_it_can_be_had():
    with pytest.raises(UnavailableError, match="its weights are a pickle"):
        make("gpfm+linear")


def test_what_its_page_says_of_a_model(command):
    output = command("list", "--model", "encoder:virchow2+linear")
    assert "Weights: paige-ai/Virchow2; its terms must be accepted first." in output
    assert "License: CC-BY-NC-ND-4.0." in output
    assert re.search(r"Sources differ: .*eva takes CLS alone.* takes cls\+mean\.", output)
    for encoder in known().values():
        assert all(said.endswith(".") and ".." not in said for said in encoder.about), encoder.name


def tiny(name: str, **changed) -> Encoder:
    """An encoder of the registry at a small width; all else as it is there."""
    encoder = known()[name]
    hub = f"tiny/{name}"
    if encoder.loader == "timm":
        small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
        return replace(encoder, hub=hub, width=32, arguments={**encoder.arguments, **small})
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 64} if "intermediate_size" in encoder.config else {}
    small |= {"projection_dim": 16} if encoder.pooling == "projected" else {}
    width = 16 if encoder.pooling == "projected" else 32
    return replace(encoder, hub=hub, width=width, config={**encoder.config, **small})


def embedded(encoder, pooling, images, weights="hub"):
    settings = {"precision": "float32", "device": "cpu", "weights": weights}
    found = encoders.features(encoder, pooling, settings)
    return found, found.extract(images)


def normalized(images, mean, std):
    x = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def test_virchow2_as_its_card_says(serve, patches):
    encoder = tiny("virchow2")
    torch.manual_seed(1)
    model = timm.create_model(
        "vit_huge_patch14_224", img_size=224, init_values=1e-5, num_classes=0, mlp_ratio=5.3375,
        global_pool="", reg_tokens=4, mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU,
        embed_dim=32, depth=2, num_heads=2,
    ).eval()  # fmt: skip
    noisy(model)
    serve({"tiny/virchow2/model.safetensors": save(model.state_dict())})
    with torch.inference_mode():
        output = model(normalized(patches, *IMAGENET))
    assert output.shape == (4, 261, 32)
    expected = torch.cat([output[:, 0], output[:, 5:].mean(1)], dim=-1).numpy()
    about, found = embedded(encoder, "cls+mean", patches)
    assert found.shape == (4, 64)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert about.weights.label == "pretrained (tiny/virchow2)"
    other, cls = embedded(encoder, "cls", patches)
    np.testing.assert_allclose(cls, output[:, 0].numpy(), rtol=1e-6, atol=1e-6)
    assert other.name != about.name  # which is part of the key


def test_uni2_h_and_h_optimus_as_their_cards_say(serve, patches):
    torch.manual_seed(2)
    uni2 = timm.create_model(
        "vit_giant_patch14_224", img_size=224, patch_size=14, depth=2, num_heads=2,
        init_values=1e-5, embed_dim=32, mlp_ratio=5.33334, num_classes=0, no_embed_class=True,
        mlp_layer=SwiGLUPacked, act_layer=torch.nn.SiLU, reg_tokens=8, dynamic_img_size=True,
    ).eval()  # fmt: skip
    optimus = timm.create_model(
        "vit_giant_patch14_reg4_dinov2", img_size=224, init_values=1e-5, num_classes=0,
        dynamic_img_size=False, embed_dim=32, depth=2, num_heads=2,
    ).eval()  # fmt: skip
    for model in (uni2, optimus):
        noisy(model)
    serve(
        {
            "tiny/uni2-h/model.safetensors": save(uni2.state_dict()),
            "tiny/h-optimus-0/model.safetensors": save(optimus.state_dict()),
        }
    )
    mean = (0.707223, 0.578729, 0.703617)
    std = (0.211883, 0.230117, 0.177517)
    with torch.inference_mode():
        expected = uni2(normalized(patches, *IMAGENET)).numpy()
        also = optimus(normalized(patches, mean, std)).numpy()
    np.testing.assert_allclose(
        embedded(tiny("uni2-h"), "cls", patches)[1], expected, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        embedded(tiny("h-optimus-0"), "cls", patches)[1], also, rtol=1e-6, atol=1e-6
    )


def test_midnight_and_plip_as_their_cards_say(serve, patches):
    transformers = pytest.importorskip("transformers")
    midnight, plip = tiny("midnight-12k"), tiny("plip")
    torch.manual_seed(3)
    config = transformers.Dinov2Config(**midnight.config)
    model = transformers.Dinov2Model(config).eval()
    noisy(model)
    both = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={k: v for k, v in plip.config.items() if k != "projection_dim"},
            text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
            projection_dim=16,
        )
    ).eval()
    noisy(both)
    state = {name: value.contiguous() for name, value in both.state_dict().items()}
    serve(
        {
            "tiny/midnight-12k/config.json": config.to_json_string().encode(),
            "tiny/midnight-12k/model.safetensors": save(model.state_dict()),
            "tiny/plip/config.json": both.config.to_json_string().encode(),
            "tiny/plip/model.safetensors": save(state),
        }
    )
    with torch.inference_mode():
        half = (0.5, 0.5, 0.5)
        tokens = model(pixel_values=normalized(patches, half, half)).last_hidden_state
        expected = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], dim=-1).numpy()
        x = normalized(patches, plip.mean, plip.std)
        answer = both.get_image_features(pixel_values=x)
        projected = getattr(answer, "pooler_output", answer).numpy()
    np.testing.assert_allclose(
        embedded(midnight, "cls+mean", patches)[1], expected, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        embedded(plip, "projected", patches)[1], projected, rtol=1e-6, atol=1e-6
    )


class Stem(torch.nn.Module):
    """The stem of CTransPath, as ctran.py of Xiyue-Wang/TransPath describes it."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.proj = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 96, 1),
        )  # fmt: skip
        self.norm = nn.LayerNorm(96)

    def forward(self, x):
        return self.norm(self.proj(x).flatten(2).transpose(1, 2)).unflatten(1, (56, 56))


@pytest.mark.parametrize("harmless", [True, False])
def test_ctranspath_as_its_own_code_says(tmp_path, patches, harmless):
    torch.manual_seed(6)
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    model.patch_embed = Stem()
    noisy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    model.eval()
    # In its file, of timm 0.5.4, a stage ends with what the next begins with in later ones.
    state = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): v
        for name, v in model.state_dict().items()
    }
    state["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    more = {} if harmless else {"args": Opened(tmp_path / "ran")}
    torch.save({"model": state, **more}, tmp_path / "ctranspath.pth")
    encoder, path = known()["ctranspath"], str(tmp_path / "ctranspath.pth")
    if not harmless:
        with pytest.raises(HarnessError, match=r"ctranspath.pth: holds more than tensors.*save_fi"):
            embedded(encoder, "pooled", patches, path)
        assert not (tmp_path / "ran").exists()
        return
    with torch.inference_mode():
        expected = model(normalized(patches, *IMAGENET)).numpy()
    found = embedded(encoder, "pooled", patches, path)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    del state["patch_embed.proj.3.weight"]
    torch.save({"model": state}, tmp_path / "less.pth")
    with pytest.raises(HarnessError, match=r"less.pth: cannot be loaded into swin.*proj.3.weight"):
        embedded(encoder, "pooled", patches, str(tmp_path / "less.pth"))


def test_ctranspath_says_where_its_weights_are():
    settings = {"precision": "float32", "device": "cpu", "weights": "hub"}
    with pytest.raises(UnavailableError, match=r"ctranspath: .*Google Drive; name the file with"):
        encoders.features(known()["ctranspath"], "pooled", settings)


def test_a_folder_can_be_named_in_the_place_of_a_file(tmp_path, patches):
    encoder = tiny("virchow2")
    model = timm.create_model(encoder.architecture, num_classes=0, **resolved_arguments(encoder))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    found, _ = embedded(encoder, "cls", patches, str(tmp_path))
    assert found.weights.path == tmp_path / "model.safetensors"
    (tmp_path / "empty").mkdir()
    with pytest.raises(HarnessError, match=r"empty: it has no model.safetensors or pytorch_model"):
        embedded(encoder, "cls", patches, str(tmp_path / "empty"))


def resolved_arguments(encoder):
    from harness_timm.arguments import resolved

    return {name: resolved(value) for name, value in encoder.arguments.items()}


def test_weights_of_another_network_are_named(serve, patches, tmp_path):
    pytest.importorskip("transformers")
    encoder = replace(tiny("midnight-12k"), hub="tiny/wrong")
    content = save({"other": torch.zeros(3)})
    config = json.dumps({**encoder.config}).encode()
    serve({f"{encoder.hub}/config.json": config, f"{encoder.hub}/model.safetensors": content})
    with pytest.raises(HarnessError, match=r"cannot be loaded into Midnight-12k .* it has no "):
        embedded(encoder, "cls", patches)
    path = tmp_path / "mine.safetensors"
    save_file({"other": torch.zeros(3)}, path)
    with pytest.raises(HarnessError, match=r"mine\.safetensors: cannot be loaded into"):
        embedded(tiny("virchow2"), "cls", patches, str(path))


def test_a_folder_of_repositories_is_looked_in_first(tmp_path, monkeypatch, patches):
    transformers = pytest.importorskip("transformers")
    encoder = replace(tiny("midnight-12k"), hub="tiny/local")
    config = transformers.Dinov2Config(**encoder.config)
    torch.manual_seed(4)
    model = transformers.Dinov2Model(config).eval()
    place = tmp_path / "tiny" / "local"
    place.mkdir(parents=True)
    (place / "config.json").write_text(config.to_json_string())
    save_file(model.state_dict(), place / "model.safetensors")
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    about, found = embedded(encoder, "mean", patches)
    assert about.weights.path == place / "model.safetensors"
    with torch.inference_mode():
        half = (0.5, 0.5, 0.5)
        tokens = model(pixel_values=normalized(patches, half, half)).last_hidden_state
    np.testing.assert_allclose(found, tokens[:, 1:].mean(1).numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("harmless", [True, False])
def test_a_pickle_is_read_only_if_it_holds_tensors_alone(tmp_path, monkeypatch, patches, harmless):
    encoder = replace(tiny("phikon"), hub=f"tiny/pickle{harmless}")
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(**encoder.config)
    model = transformers.ViTModel(config, add_pooling_layer=False)
    place = tmp_path / encoder.hub
    place.mkdir(parents=True)
    (place / "config.json").write_text(config.to_json_string())
    more = {} if harmless else {"optimizer": Opened(tmp_path / "ran")}
    torch.save({**model.state_dict(), **more}, place / "pytorch_model.bin")
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    if harmless:
        assert embedded(encoder, "cls", patches)[1].shape == (4, 32)
    else:
        with pytest.raises(HarnessError, match="reading it would run code of others; save its"):
            embedded(encoder, "cls", patches)
    assert not (tmp_path / "ran").exists()


class Opened:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_random_weights_are_the_same_each_time(patches):
    encoder = tiny("virchow2")
    about, found = embedded(encoder, "cls", patches, "random")
    assert about.weights.label == "random initialization"
    from harness_timm import encoding

    encoding._loaded.cache_clear()
    assert np.array_equal(embedded(encoder, "cls", patches, "random")[1], found)
    assert not np.array_equal(found[0], found[1])


def test_patches_of_another_size_are_resized_as_pillow_does(patches):
    from PIL import Image

    from harness_timm.encoding import resized

    encoder = known()["uni"]
    small = np.ascontiguousarray(patches[:, :150, :150])
    found = resized(small, encoder)
    assert found.shape == (4, 224, 224, 3)
    for image, other in zip(small, found, strict=True):
        expected = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC))
        apart = np.abs(expected.astype(int) - other)
        assert apart.max() <= 2
        assert (apart <= 1).mean() > 0.999
    assert resized(patches, encoder) is patches


def noisy(model):
    """Let no parameter have the value that it is built with."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


MINE = """
kind = "torch-encoder"
name = "mine"
architecture = "test_vit"
weights = "mine.safetensors"
size = 160
pooling = "cls+mean"
"""


def test_an_encoder_of_ones_own_with_each_head(command):
    torch.manual_seed(5)
    model = timm.create_model("test_vit", num_classes=0)
    save_file(model.state_dict(), command.folder / "mine.safetensors")
    (command.folder / "mine.toml").write_text(MINE)
    named = [part for head in HEADS for part in ("--model", f"encoder:mine+{head}")]
    named += ["--model", "encoder:mine[cls]+simpleshot"]
    run = ("run", "--dataset", "nct-crc-he-sample", "--no-probes", "--plugin", "mine.toml")
    command(*run, *named)
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    rows = {row["model"]: row for row in board["rows"] if row["result"] == "measured"}
    assert set(rows) == set(named[1::2])
    for name, row in rows.items():
        assert row["accuracy"] > 0.15, name  # of nine classes, with random weights
        assert row["initial_weights"] == "file mine.safetensors"
    # Features are shared by all heads, and each pooling has its own.
    kept = sorted(path.parent.name for path in (command.folder / "runs/features").glob("*/*/*"))
    names = [f"mine-{p}-{part}" for p in ("cls", "cls+mean") for part in ("test", "train")]
    assert kept == sorted(names)
    # Fed otherwise, it is another: nothing of the first is taken for it.
    (command.folder / "mine.toml").write_text(f"{MINE}mean = [0.7, 0.5, 0.7]\n")
    command(*run, "--model", "encoder:mine+simpleshot")
    kept = [path.parent.name for path in (command.folder / "runs/features").glob("*/*/*")]
    assert kept.count("mine-cls+mean-test") == 2
    fits = [path.parent.name for path in (command.folder / "runs/fit").glob("*/*/*")]
    assert fits.count("encoder:mine+simpleshot") == 2 * fits.count("encoder:mine+knn20")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('name = "mine"', 'name = "uni"'), "the harness has an encoder of that name"),
        (("mine.safetensors", "other.safetensors"), "there is no such .safetensors file"),
        (('weights = "mine.safetensors"', ""), "give either hub or weights"),
        (("cls+mean", "max"), "pooling = 'max': must be"),
        (("size = 160", "size = 160\nmean = [123.0, 116.0, 103.0]"), "mean and std cannot be used"),
        (("architecture", "network"), "there is no key 'network'"),
        (('architecture = "test_vit"', ""), "architecture: is missing; timm needs it"),
    ],
)
def test_descriptions_that_are_wrong(command, change, said):
    save_file({"a": torch.zeros(1)}, command.folder / "mine.safetensors")
    (command.folder / "mine.toml").write_text(MINE.replace(*change))
    output = command("list", "models", "--strict", "--plugin", "mine.toml", code=3)
    assert said in output


def test_published_rows_name_encoders_that_there_are():
    from harness.hooks.loader import load_plugins

    names = {result.model for result, _ in load_plugins().published}
    named = [name.removeprefix("encoder:") for name in names if name.startswith("encoder:")]
    assert len(named) == 21
    for rest in named:
        assert make(rest).name == f"encoder:{rest}"


def test_weights_and_configuration_are_fetched_for_a_run_without_internet(
    serve, monkeypatch, patches
):
    transformers = pytest.importorskip("transformers")
    from huggingface_hub import constants

    encoder = replace(tiny("midnight-12k"), hub="tiny/fetched")
    config = transformers.Dinov2Config(**encoder.config)
    model = transformers.Dinov2Model(config)
    files = {
        "tiny/fetched/config.json": config.to_json_string().encode(),
        "tiny/fetched/model.safetensors": save(model.state_dict()),
    }
    serve(files)
    settings = {"precision": "float32", "device": "cpu", "weights": "hub"}
    encoders.features(encoder, "cls", settings)  # as harness fetch asks
    files.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert embedded(encoder, "cls", patches)[1].shape == (4, 32)


def test_how_a_network_is_built_and_fed_is_in_the_key(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    settings = {"precision": "float32", "device": "cpu", "weights": "random"}
    first = tiny("uni")
    others = [
        replace(first, mean=(0.5, 0.5, 0.5)),
        replace(first, interpolation="bilinear"),
        replace(first, arguments={**first.arguments, "depth": 3}),
    ]
    found = {encoders.features(one, "cls", settings).weights.digest for one in (first, *others)}
    assert len(found) == 4
    place = tmp_path / "tiny" / "config"
    place.mkdir(parents=True)
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    encoder = replace(tiny("midnight-12k"), hub="tiny/config")
    model = transformers.Dinov2Model(transformers.Dinov2Config(**encoder.config))
    save_file(model.state_dict(), place / "model.safetensors")
    digests = set()
    for act in ("gelu", "relu"):
        config = transformers.Dinov2Config(**encoder.config, hidden_act=act)
        (place / "config.json").write_text(config.to_json_string())
        asked = {**settings, "weights": "hub"}
        digests.add(encoders.features(encoder, "cls", asked).weights.digest)
    assert len(digests) == 2
    (place / "config.json").write_text("[1]")
    with pytest.raises(HarnessError, match="is no configuration of transformers"):
        encoders.features(encoder, "cls", asked)
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(HarnessError, match=r"HARNESS_WEIGHTS=.*nowhere: no such folder"):
        encoders.features(replace(encoder, hub="tiny/other"), "cls", asked)


@pytest.mark.parametrize(
    ("change", "pooling", "said"),
    [
        ({"arguments": {"class_token": False, "global_pool": "avg"}}, "cls", "has no class token"),
        ({"architecture": "test_resnet", "arguments": {}}, "cls", "gives no tokens but an array"),
        ({"architecture": "no_such"}, "cls", "timm cannot build no_such"),
        ({"arguments": {"depths": 3}}, "cls", "timm cannot build"),
    ],
)
def test_what_cannot_be_read_so_is_said(patches, change, pooling, said):
    small = {"embed_dim": 32, "depth": 2, "num_heads": 2}
    if "architecture" not in change:
        change = {"arguments": {**small, **change["arguments"]}}
    encoder = replace(tiny("uni"), **change)
    with pytest.raises(HarnessError, match=said):
        embedded(encoder, pooling, patches, "random")


def test_a_file_of_two_networks_is_refused(tmp_path, monkeypatch, patches):
    transformers = pytest.importorskip("transformers")
    encoder = replace(tiny("midnight-12k"), hub="tiny/two")
    config = transformers.Dinov2Config(**encoder.config)
    state = transformers.Dinov2Model(config).state_dict()
    both = {f"{who}.{k}": v.clone() for who in ("teacher", "student") for k, v in state.items()}
    place = tmp_path / "tiny" / "two"
    place.mkdir(parents=True)
    (place / "config.json").write_text(config.to_json_string())
    save_file(both, place / "model.safetensors")
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    with pytest.raises(HarnessError, match="twice, as of two networks"):
        embedded(encoder, "cls", patches)
