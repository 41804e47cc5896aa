"""Commands that are no stage: resources, stage versions, generated files, withdrawn people."""
