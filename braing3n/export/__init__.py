"""The model folder of a run: weights, probes and statistics that a person loads or publishes."""

STAGE_VERSION = 4
