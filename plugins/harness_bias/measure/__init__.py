"""What is measured in each patch: features that a probe of datasets reads."""
