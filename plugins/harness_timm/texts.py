"""Embeddings of texts by the text tower of an encoder of images and texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harness import HarnessError, InitialWeights
from harness_timm.encoders import Encoder
from harness_timm.encoding import read_weights, set_weights

SCALE = "logit_scale"


def embedded(
    encoder: Encoder,
    weights: InitialWeights,
    config: str,
    tokenizer: Path,
    classes: Sequence[Sequence[str]],
) -> tuple[NDArray[np.float32], float]:
    """Of the texts of each class the mean embedding, of unit length: float32 (C, D).

    And what the model multiplies cosines with. ``config`` is the configuration of the whole model
    as JSON, ``tokenizer`` the folder with the files of the tokenizer. Raises HarnessError when
    weights or tokenizer do not fit.
    """
    import transformers

    content = json.loads(config)
    kind = getattr(transformers, encoder.texts)
    of_texts = {**content.get("text_config", {}), "projection_dim": content["projection_dim"]}
    try:
        tokens = transformers.AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
        model = kind(kind.config_class(**of_texts)).eval()
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise HarnessError(
            f"{encoder.title}: transformers cannot build its text tower or tokenizer from "
            f"{tokenizer} ({reason}); get its files again, or upgrade transformers"
        ) from error
    set_weights(model, encoder, weights)
    scale = read_weights(weights).get(SCALE, torch.tensor(np.log(100.0)))
    found = []
    with torch.inference_mode():
        for texts in classes:
            rows = [
                model(**tokens(text, truncation=True, return_tensors="pt")).text_embeds[0]
                for text in texts
            ]
            each = torch.nn.functional.normalize(torch.stack(rows), dim=1)
            found.append(torch.nn.functional.normalize(each.mean(dim=0), dim=0))
    return torch.stack(found).float().numpy(), float(scale.exp())
