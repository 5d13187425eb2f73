"""My plugin: figures from the literature, with where they stand."""

from __future__ import annotations

from harness import PublishedResult, hookimpl


@hookimpl
def harness_published_results() -> list[PublishedResult]:
    """The results of this plugin. Replace this one, which the harness has already."""
    return [
        PublishedResult(
            model="my-plugin",
            title="My plugin",
            test_set="CRC-VAL-HE-7K",
            trained_on="NCT-CRC-HE-100K",
            selected_on="unknown",  # "none", "held-out", "validation" or "test", if it is said
            tta="none",  # or "flips": logits summed over the four flips of a patch
            n=7180,
            accuracy=0.943,
            source="Kather et al., PLoS Medicine 2019, VGG19",  # down to the table or the file
            checked="secondary",  # "source" once you read the figure there yourself
        )
    ]
