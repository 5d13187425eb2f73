"""``kind = "torch-encoder"``: an encoder of your own, described as in ``encoders.toml``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from harness import HarnessError, Model
from harness.data.normalization import misfit
from harness.hooks.toml_keys import Arguments, Keys, MustBe, Number, Text, checked
from harness_timm.encoders import ADDED, Encoder, known
from harness_timm.networks import IMAGENET_MEAN, IMAGENET_STD

UNKNOWN = {
    "timm": ("projected", "pooler"),
    "transformers": ("pooled", "pooler"),
    "remote-code": (),
}
"""Poolings that a loader cannot give."""
Three = Annotated[list[Number], MustBe("three numbers, of red, green and blue in 0..1")]


class EncoderKeys(Keys):
    """What a TOML file of an encoder may say."""

    name: Annotated[str, MustBe("lower-case letters, digits and . _ -")] = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$", description="the model is then encoder:NAME+HEAD"
    )
    title: Text | None = Field(None, description="for tables; by default, the name")
    loader: Literal["timm", "transformers", "remote-code"] = Field(
        "timm",
        description="the library that has the network; remote-code for transformers with code of "
        "the repository, which runs in a process of its own and only with --set "
        "trust_remote_code=true",
    )
    architecture: Text = Field(
        "",
        description="its name in timm, such as vit_large_patch16_224, or its class in "
        "transformers, such as Dinov2Model; its code knows it with remote-code",
    )
    call: Annotated[str, MustBe("the name of a method")] = Field(
        "",
        pattern=r"^([^\W\d]\w*)?$",
        description="for remote-code: the method that makes embeddings of patches, or forward; by "
        "default, pooler_output is taken of the model's answer",
    )
    registers: int = Field(
        0,
        ge=0,
        description="for remote-code: tokens between the class token and those of patches",
    )
    arguments: Arguments = Field(
        default_factory=dict,
        description="what it is built with besides; classes by their full names, such as "
        "timm.layers.SwiGLUPacked",
    )
    config: Arguments = Field(
        default_factory=dict,
        description="for transformers: its configuration, for random weights alone; otherwise that "
        "of config.json beside the weights",
    )
    hub: Annotated[str, MustBe("OWNER/NAME")] = Field(
        "", pattern=r"^([\w.-]+/[\w.-]+)?$", description="repository on the Hugging Face hub"
    )
    revision: Annotated[str, MustBe("the 40 digits of a commit")] = Field(
        "",
        pattern=r"^([0-9a-f]{40})?$",
        description="commit of that repository; by default, the newest",
    )
    weights: Text | None = Field(
        None,
        description="instead of hub: a .safetensors file, or the folder of a repository with "
        "remote-code, relative to this one",
    )
    size: int = Field(224, ge=16, description="side, in pixels, that patches are resized to")
    interpolation: Literal["bicubic", "bilinear"] = Field("bicubic", description="how")
    mean: Three = Field(
        list(IMAGENET_MEAN),
        min_length=3,
        max_length=3,
        description="subtracted; by default ImageNet's",
    )
    std: Three = Field(
        list(IMAGENET_STD),
        min_length=3,
        max_length=3,
        description="divided by; by default ImageNet's",
    )
    pooling: Literal["cls", "mean", "cls+mean", "pooler", "pooled", "projected"] = Field(
        "cls",
        description="what is read by default: of the tokens the first, the mean of those of "
        "patches, or both; pooled for what a network of timm gives itself, projected for what CLIP "
        "projects, pooler for what code of a repository calls so",
    )
    license: Text = Field("", description="of the weights")


def keys() -> type[EncoderKeys]:
    """The class of its keys."""
    return EncoderKeys


def read(path: Path, content: Mapping[str, Any] | EncoderKeys) -> Sequence[Model]:
    """Make an encoder known by its name. Raises HarnessError naming what is wrong."""
    said = checked(path, content, EncoderKeys)
    if said.name in known() and said.name not in ADDED:
        raise HarnessError(f"{path}: name = {said.name!r}: the harness has an encoder of that name")
    if bool(said.hub) == bool(said.weights):
        raise HarnessError(f"{path}: give either hub or weights, where its weights are")
    if why := misfit(tuple(said.mean), tuple(said.std)):
        raise HarnessError(f"{path}: mean and std cannot be used: {why}; correct them")
    file = ""
    if said.weights is not None:
        file = str((path.parent / said.weights).absolute())
        whole = said.loader == "remote-code"
        if whole and not Path(file).is_dir():
            raise HarnessError(f"{path}: weights = {said.weights!r}: there is no such folder")
        if not whole and not (file.endswith(".safetensors") and Path(file).is_file()):
            raise HarnessError(
                f"{path}: weights = {said.weights!r}: there is no such .safetensors file"
            )
    if "num_classes" in said.arguments:
        raise HarnessError(f"{path}: arguments.num_classes is the harness's to say; leave it out")
    if said.pooling in UNKNOWN[said.loader]:
        raise HarnessError(
            f"{path}: pooling = {said.pooling!r}: {said.loader} has no such; say another"
        )
    if said.loader != "remote-code" and not said.architecture:
        raise HarnessError(f"{path}: architecture: is missing; {said.loader} needs it")
    if said.pooling in ("pooled", "projected") and said.loader == "remote-code" and not said.call:
        raise HarnessError(
            f"{path}: pooling = {said.pooling!r}: say call, the method that makes it"
        )
    ADDED[said.name] = Encoder(
        name=said.name,
        title=said.title or said.name,
        loader=said.loader,
        hub=said.hub,
        revision=said.revision,
        file=file,
        architecture=said.architecture,
        arguments=said.arguments,
        config=said.config,
        size=said.size,
        interpolation=said.interpolation,
        mean=tuple(said.mean),
        std=tuple(said.std),
        pooling=said.pooling,
        call=said.call,
        registers=said.registers,
        license=said.license,
    )
    return []  # with whatever head, it is of the family of the plugin that has all encoders
