# Inventory shard -> volumes in SRI24. Volumes lie undeclared at their BIDS path; the shard declares its table.
localrules:
    preprocess,


rule preprocess:
    """All cohorts in SRI24."""
    input:
        [f"{RESULTS}/preprocess/{cohort}/shard-{shard}.parquet" for cohort, shard in SHARDS],


rule preprocess_shard:
    """Bring one shard of subjects to SRI24: N4, brain extraction, affine, one interpolation."""
    input:
        inventory=f"{RESULTS}/inventory/{{cohort}}/shard-{{shard}}.tsv",
        settings=f"{SETTINGS}/preprocess.json",
        resources=f"{SETTINGS}/resources.json",
    output:
        table=f"{RESULTS}/preprocess/{{cohort}}/shard-{{shard}}.parquet",
    log:
        f"{LOGS}/preprocess/{{cohort}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/preprocess/{{cohort}}-{{shard}}.tsv"
    conda:
        "../../envs/preprocess.yaml"
    threads: THREADS
    resources:
        mem_mb=12000,
        runtime=240,
    params:
        store=f"{RESULTS}/preprocess",
        stage=STAGE["preprocess"],
    shell:
        "python -m braing3n preprocess shard --inventory {input.inventory:q} --store {params.store:q}"
        " --table {output.table:q} --settings {input.settings:q} --resources {input.resources:q}"
        " --threads {threads} 2>&1 | tee {log:q}"
