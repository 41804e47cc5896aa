"""Commands on resources, stage versions, generated files and withdrawn people."""
