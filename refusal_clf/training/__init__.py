"""Labels -> dataset -> fine-tuning, lexical fit, calibration -> evaluation and export. Needs the `train` extra."""
