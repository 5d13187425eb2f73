"""Patches compared with texts: a tiny network of PLIP's class, in the layout of the hub."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("timm")

from safetensors.torch import save_file  # noqa: E402

import harness_nct_crc  # noqa: E402
from harness import FitContext, HarnessError, UnavailableError  # noqa: E402
from harness_nct_crc import CLASSES  # noqa: E402
from harness_timm.encoders import make  # noqa: E402
from harness_timm.weights import find  # noqa: E402
from harness_timm.zero_shot import TOKENIZER, prompts  # noqa: E402


def write_tokenizer(folder):
    """One of CLIP that knows single bytes and no word; returns how many tokens there are."""
    printable = [chr(b) for b in (*range(33, 127), *range(161, 173), *range(174, 256))]
    others = [chr(256 + n) for n in range(256 - len(printable))]
    tokens = [*printable, *others]
    tokens += [f"{token}</w>" for token in tokens]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    about |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    about |= {"unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return len(tokens)


@pytest.fixture
def plip(tmp_path, monkeypatch):
    """The whole model, whose files lie where $HARNESS_WEIGHTS says."""
    folder = tmp_path / "weights" / "vinid" / "plip"
    folder.mkdir(parents=True)
    n = write_tokenizer(folder)
    sides = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sides |= {"num_attention_heads": 2}
    torch.manual_seed(0)
    model = transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={**sides, "image_size": 224, "patch_size": 32},
            text_config={**sides, "vocab_size": n, "bos_token_id": n - 2, "eos_token_id": n - 1},
            projection_dim=16,
            logit_scale_init_value=2.0,
        )
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(model.config.to_json_string())
    monkeypatch.setenv("HARNESS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    find.cache_clear()
    return model, folder


def test_logits_are_scaled_cosines_of_patches_and_texts(plip, tmp_path):
    whole, folder = plip
    model = make("plip+zero-shot")
    settings = {**model.settings, **model.execution, "device": "cpu"}
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TEST)
    images = split.read(np.arange(3))
    inputs = model.features_with(settings).extract(images)
    classes = CLASSES[::-1]
    context = FitContext(seed=0, classes=classes, settings=settings, folder=tmp_path)
    found = model.fit(split, None, context)

    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    x = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    expected = []
    with torch.inference_mode():
        for name in classes:
            of_class = []
            for text in prompts()[name]:
                answer = whole(
                    **tokenizer(text, return_tensors="pt"), pixel_values=(x - mean) / std
                )
                of_class.append(answer.text_embeds[0])  # of unit length, as those of images
            middle = torch.stack(of_class).mean(0)
            middle /= middle.norm()
            expected.append(whole.logit_scale.exp() * answer.image_embeds @ middle)
    expected = torch.stack(expected, dim=1).numpy()
    np.testing.assert_allclose(found.logits(inputs), expected, rtol=1e-5, atol=1e-5)
    stored = tmp_path / "stored"
    stored.mkdir()
    found.save(stored)
    assert np.array_equal(model.load(stored, settings).logits(inputs), found.logits(inputs))


def test_no_patch_is_fitted_on(plip, command):
    output = command(
        *("run", "--dataset", "nct-crc-he-sample", "--no-probes"),
        *("--model", "encoder:plip+zero-shot", "--model", "encoder:plip+simpleshot"),
        HARNESS_WEIGHTS=str(plip[1].parents[1]),
    )
    assert "encoder:plip+zero-shot" in output
    board = json.loads((command.folder / "reports/nct-crc-he-sample.json").read_text())
    row = next(r for r in board["rows"] if r["model"] == "encoder:plip+zero-shot")
    assert row["trained_on"] == "OpenPath"
    assert row["n_train"] is None
    assert row["initial_weights"] == "pretrained (vinid/plip)"
    there = {"HARNESS_WEIGHTS": str(plip[1].parents[1])}
    both = ("--model", "encoder:plip+zero-shot", "--model", "encoder:plip+simpleshot")
    output = command("few-shot", "nct-crc-he-sample", "--json", *both, **there)
    curves = json.loads(output[output.index("{") : output.rindex("}") + 1])["curves"]
    assert {curve["model"] for curve in curves} == {"encoder:plip"}
    output = command("export", "embeddings", "nct-crc-he-sample", "encoder:plip+zero-shot", **there)
    assert "111 embeddings of 16 numbers" in output
    fits = [path.parent.name for path in (command.folder / "runs/fit").glob("*/*/*")]
    assert fits.count("encoder:plip+zero-shot") == 1, "no fit for each fold"


def test_what_cannot_be_compared_says_why(plip, command):
    with pytest.raises(HarnessError, match="UNI knows no texts"):
        make("uni+zero-shot")
    with pytest.raises(HarnessError, match="takes nothing in brackets"):
        make("plip[random]+zero-shot")
    model = make("plip+zero-shot")
    settings = {**model.settings, **model.execution}
    with pytest.raises(HarnessError, match="random weights tell nothing"):
        model.initial_weights({**settings, "weights": "random"})
    before = model.initial_weights(settings).digest
    _, folder = plip
    assert before != make("plip+linear").features_with(settings).weights.digest
    (folder / TOKENIZER[1]).unlink()
    with pytest.raises(UnavailableError, match="vinid/plip"):
        model.initial_weights(settings)
    (folder / TOKENIZER[1]).write_text("{")
    run = ("run", "--dataset", "nct-crc-he-sample", "--no-probes")
    there = {"HARNESS_WEIGHTS": str(folder.parents[1])}
    output = command(*run, "--model", "encoder:plip+zero-shot", code=1, **there)
    assert "cannot build its text tower or tokenizer" in output


def test_each_class_of_nct_crc_he_has_texts():
    assert tuple(prompts()) == CLASSES
    for texts in prompts().values():
        assert len(texts) == len(set(texts)) == 6
        assert not any("{" in text for text in texts)
