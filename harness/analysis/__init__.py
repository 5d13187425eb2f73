"""Arithmetic on stored logits."""
