"""Raw folders to inventories, before the DAG: which files are which subject's scans."""

STAGE_VERSION = 4
