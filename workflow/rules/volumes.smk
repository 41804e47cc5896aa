# Preprocessed NIfTI -> packed, model-ready arrays, one file a shard.
localrules:
    volumes,


rule volumes:
    """All packed volumes."""
    input:
        [f"{RESULTS}/volumes/{cohort}/shard-{shard}.parquet" for cohort, shard in SHARDS],


rule pack_shard:
    """Pack one shard's volumes (crop, z-score, 16 bits, checksums)."""
    input:
        table=rules.preprocess_shard.output.table,
        settings=f"{SETTINGS}/volumes.json",
    output:
        index=f"{RESULTS}/volumes/{{cohort}}/shard-{{shard}}.parquet",
        array=f"{RESULTS}/volumes/{{cohort}}/shard-{{shard}}.b2nd",
    log:
        f"{LOGS}/volumes/{{cohort}}-{{shard}}.log",
    benchmark:
        f"{BENCHMARKS}/volumes/{{cohort}}-{{shard}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        stage=STAGE["volumes"],
    shell:
        "python -m braing3n volumes pack --table {input.table:q} --array {output.array:q}"
        " --index {output.index:q} --settings {input.settings:q}"
        " 2>&1 | tee {log:q}"
