"""One person's scans by hand, without Snakemake: finds what was given and calls the stages; defines none."""
