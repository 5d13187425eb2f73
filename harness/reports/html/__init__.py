"""One HTML file for a dataset: board, models, comparisons, audit and patches, to open offline.

``gathered`` says what goes in, ``board``, ``models``, ``pairs``, ``audit`` and ``gallery`` make of
it what the templates show, and ``page`` writes the file.
"""
