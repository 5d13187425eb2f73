"""Write what planted faults do to fine traces: signatures.csv and tuned_on.txt of harness_bias.

python tests/simulations/signatures.py

Faults are planted by harness_faults in every second patch of the NCT-CRC-HE sample, by name; the
others judge what is made of it (``harness calibrate --real nct-crc-he-sample``).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import harness_nct_crc
from harness.data.splits import Concat
from harness_bias.audit.signatures import TABLE, TUNED_ON
from harness_bias.measure.fine import JUDGED, OF_TRACES, TRACES, extract
from harness_faults import color, storage
from harness_faults.storage import Patch, Rng

Change = Callable[[Patch, Rng], Patch]


def chain(*steps: tuple[Callable[[Patch, float, Rng], Patch], float]) -> Change:
    """Several faults, one after the other."""

    def change(patch: Patch, rng: Rng) -> Patch:
        for fault, level in steps:
            patch = fault(patch, level, rng)
        return patch

    return change


def faults() -> Iterator[tuple[str, str, Change, Change]]:
    """Family, title, the fault, and what it is compared with."""
    none = chain()
    for loss in (5, 15, 30, 50):
        name = f"JPEG of quality {100 - loss}"
        yield "compression", name, chain((storage.jpeg, loss)), none
    for worse, better in ((30, 5), (30, 15), (50, 30), (12, 8)):
        yield (
            *("compression", f"JPEG of quality {100 - worse} against {100 - better}"),
            *(chain((storage.jpeg, loss)) for loss in (worse, better)),
        )
        yield (
            *(
                "compression",
                f"JPEG of {100 - worse} against {100 - better}, resized since",
            ),
            *(chain((storage.jpeg, loss), (storage.resized, 0.9)) for loss in (worse, better)),
        )
        yield (
            *("compression", f"JPEG of {100 - worse} against {100 - better}, normalized since"),
            *(chain((storage.jpeg, loss), (color.macenko, 1)) for loss in (worse, better)),
        )
    yield (
        *("compression", "JPEG of quality 60 against 95, then both of 85"),
        *(chain((storage.jpeg, loss), (storage.jpeg, 15)) for loss in (40, 5)),
    )
    for level, kind in ((1, "4:2:2"), (2, "4:2:0")):
        title = f"JPEG with chroma {kind} against 4:4:4"
        yield "compression", title, chain((storage.chroma, level)), chain((storage.chroma, 0))
    for fault, name in ((storage.webp, "WebP"), (storage.avif, "AVIF")):
        for loss in (25, 50):
            yield "compression", f"{name} of quality {100 - loss}", chain((fault, loss)), none
        for worse, better in ((50, 10), (15, 5)):
            title = f"{name} of quality {100 - worse} against {100 - better}"
            yield "compression", title, chain((fault, worse)), chain((fault, better))
    for fault, wavelet in ((storage.jpeg2000, "9/7"), (storage.jpeg2000_53, "5/3")):
        for ratio in (10, 20):
            title = f"JPEG 2000 ({wavelet}) of {ratio}:1"
            yield "compression", title, chain((fault, ratio)), none
    for pixels in (3, 5, 9):
        yield "sharpness", f"motion of {pixels} px", chain((storage.moved, pixels)), none
    for side in (3, 5, 7, 9):
        title = f"median of {side} by {side} px"
        yield "sharpness", title, chain((storage.despeckled, side)), none
    for share in (0.5, 0.7, 0.9):
        title = f"shrunk to {share} and enlarged again"
        yield "sharpness", title, chain((storage.resized, share)), none
    for sigma in (0.4, 0.55, 0.7, 1.0, 1.5, 2.0, 2.5):
        yield "sharpness", f"Gaussian blur of {sigma} px", chain((storage.blurred, sigma)), none
    for factor in (1.05, 1.11, 1.18, 1.25, 1.35, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.5, 3.0):
        yield "sharpness", f"enlarged {factor} times", chain((storage.enlarged, factor)), none
    for factor in (1.1, 1.25, 1.5, 1.75, 2.0, 2.5):
        title = f"enlarged {factor} times by Lanczos' filter"
        yield "sharpness", title, chain((storage.lanczos, factor)), none
    for amount in (0.5, 1.5):
        title = f"unsharp mask of {amount}"
        yield "sharpness", title, chain((storage.sharpened, amount)), none
    for sigma in (1, 2, 4, 8):
        title = f"noise of {sigma} gray levels"
        yield "noise", title, chain((storage.noisy, sigma)), none
        title = f"noise of {sigma} gray levels, alike in all channels"
        yield "noise", title, chain((storage.gray_noise, sigma)), none
    for fault, level, title in (
        (color.quantized, 1, "7 of 8 bits"),
        (color.quantized, 2, "6 of 8 bits"),
        (color.quantized, 4, "4 of 8 bits"),
        (color.palette, 1, "palette of 256 colors"),
        (color.capped, 20, "values capped at 235"),
        (color.capped, 35, "values capped at 220"),
        (color.gamma, 0.3, "gamma 1.23"),
        (color.gamma, -0.3, "gamma 0.81"),
        (color.contrast, 0.1, "contrast 1.1"),
        (color.contrast, -0.1, "contrast 0.9"),
        (color.saturated, 0.3, "saturation 1.3"),
        (color.saturated, -0.3, "saturation 0.7"),
        (color.white_balance, 0.05, "white balance 5 %"),
        (color.restained, 0.2, "stains 1.2 times as strong"),
        (color.restained, -0.2, "stains 0.8 times as strong"),
        (color.macenko, 1, "Macenko normalization"),
    ):
        yield "tone", title, chain((fault, level)), none


def main() -> None:
    """Plant the faults and write the files."""
    splits = next(
        one for one in harness_nct_crc.harness_datasets() if one.name == "nct-crc-he-sample"
    ).load(Path("unused"))
    assert splits.train is not None
    split = Concat(splits.train, splits.test)
    chosen = sorted(range(len(split.ids)), key=lambda index: split.ids[index])[::2]
    patches = split.read(chosen)

    def traces(change: Change) -> np.ndarray:
        changed = [change(p, np.random.default_rng(i)) for i, p in enumerate(patches)]
        return extract(np.stack([np.ascontiguousarray(patch) for patch in changed]))

    rows = []
    for family, title, fault, other in faults():
        with_fault, without = traces(fault), traces(other)
        judged = (with_fault[:, JUDGED] > 0) & (without[:, JUDGED] > 0)
        change = np.median((with_fault - without)[judged][:, OF_TRACES], axis=0)
        rows.append([family, title, *(f"{value:.4f}" for value in change)])
        print(title, flush=True)
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["family", "title", *TRACES])
        writer.writerows(rows)
    TUNED_ON.write_text("".join(f"{split.ids[i]}\n" for i in chosen), encoding="utf-8")


if __name__ == "__main__":
    main()
