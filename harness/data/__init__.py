"""Patches: images, files, splits, folds, downloads, views and perturbations."""
