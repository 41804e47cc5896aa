"""What probes of real people read in samples, at every guidance scale, and counterfactuals of real people."""

STAGE_VERSION = 4
