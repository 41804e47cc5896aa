"""All cohorts' tables to one volume list, its people and splits, and one label table."""

STAGE_VERSION = 5
