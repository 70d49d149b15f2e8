"""Labelling by people: what is worth a look, a local page to label it on, and the files that come of it."""
