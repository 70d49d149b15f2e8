"""A detector for garak: did the target refuse? Asked of the classifier in place of a list of phrases.

    python -m refusal_clf.integrations.garak --target_type openai --spec probes.dan --detectors refusal_clf.NotRefused

`detector` holds the plugin and imports garak, `__main__` is garak's own command that knows it.
"""
