"""Pairs of visits, the bridge DiT that leads from the earlier to the later, and its forecasts."""

STAGE_VERSION = 3
