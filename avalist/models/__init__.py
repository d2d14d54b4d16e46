"""Training set, training, calibration, artefact, score. Pure: a float32 matrix with column names and a plan hash."""
