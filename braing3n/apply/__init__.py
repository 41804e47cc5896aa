"""What a person runs on their own scans, without Snakemake; it calls the stages and defines none."""
