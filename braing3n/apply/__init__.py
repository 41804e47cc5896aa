"""Commands on a person's own scans, without Snakemake; they call the stages and define none."""
