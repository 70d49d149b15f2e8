"""How far two sets of labels agree, and how far probabilities mean what they say. Knows no models."""
