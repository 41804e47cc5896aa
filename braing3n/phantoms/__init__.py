"""Phantom heads on real anatomy, with planted effects: the miniature cohorts of demo, smoke and tests."""

STAGE_VERSION = 6
