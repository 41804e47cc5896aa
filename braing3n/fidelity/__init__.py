"""Fréchet distances between generated and real volumes on our own encoder's features, arm by arm."""

STAGE_VERSION = 2
