"""What follows from labels and stored logits: figures, their intervals, and comparisons.

Arrays in, figures out; nothing here knows a dataset, a model or the store.
"""
