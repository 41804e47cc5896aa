"""How far generated volumes lie from real ones and how much they vary, arm by arm."""

STAGE_VERSION = 5
