"""What each probe of models asks, of stored logits for clean and for changed test patches."""
