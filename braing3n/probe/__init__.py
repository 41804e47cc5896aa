"""Linear probes on frozen features: the paper's 23 tasks, planted controls and random labels."""

STAGE_VERSION = 7
