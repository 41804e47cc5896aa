"""A cohort's inventory and tables to records, one row a volume."""

STAGE_VERSION = 5
