"""How fast the classifier is on this machine."""
