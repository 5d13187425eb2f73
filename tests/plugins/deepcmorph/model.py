"""A small stand-in with the interface of DeepCMorph: called and loaded in the same way."""

import torch
from torch import nn

SIDE = 4
FILES = {"CRC": "pretrained_models/DeepCMorph_NCT_CRC_HE_Dataset_9_classes_acc_9699.pth"}


class DeepCMorph(nn.Module):
    """Mean colors of 4 x 4 parts of a patch, and linear layers, of which one is used."""

    def __init__(self, num_classes=41):
        super().__init__()
        self.num_classes = num_classes
        self.output = nn.Linear(3 * SIDE * SIDE, num_classes)
        self.output_9 = nn.Linear(3 * SIDE * SIDE, 9)

    def load_weights(self, dataset):
        """Read what was saved of a network inside DataParallel; what does not fit is left out."""
        wrapped = nn.DataParallel(self)
        _, unexpected = wrapped.load_state_dict(torch.load(FILES[dataset]), strict=False)
        print("Model loaded, unexpected keys:", unexpected)

    def forward(self, x):
        """Logits (B, C) of float RGB (B, 3, H, W) in 0..1."""
        assert x.dtype == torch.float32
        assert 0 <= x.min() <= x.max() <= 1
        features = nn.functional.adaptive_avg_pool2d(x, SIDE).flatten(1)
        return self.output_9(features) if self.num_classes == 9 else self.output(features)
