"""The conditional flow-matching transformer over tokens, and its samples."""

STAGE_VERSION = 3
