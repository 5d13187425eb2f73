"""Strings in, strings out: numbers as text, names that look alike, Markdown."""
