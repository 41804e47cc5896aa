# Samples and real volumes -> distances by arm.
localrules:
    fidelity,


rule fidelity:
    """How far generated volumes lie from real ones."""
    input:
        f"{RESULTS}/fidelity/distances.parquet",


rule measure_fidelity:
    """Distances of generated to real volumes by arm, on our encoder's features and, with weights, on those of others."""
    input:
        samples=rules.sample_diffusion.output.samples,
        table=rules.sample_diffusion.output.table,
        tokens=rules.cache_latents.output.tokens,
        encoder=MAE,
        tokenizer=TOKENIZER,
        # The networks of others alone see real volumes.
        weights=CONFIG.fidelity.list_weights(),
        volumes=rules.build_volume_list.output.volumes if CONFIG.fidelity.list_weights() else [],
        indices=rules.volumes.input if CONFIG.fidelity.list_weights() else [],
        features=rules.cache_latents.output.features,
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/fidelity.json",
    output:
        distances=f"{RESULTS}/fidelity/distances.parquet",
        coarse=f"{RESULTS}/fidelity/decoded.npz",
    log:
        f"{LOGS}/fidelity/distances.log",
    benchmark:
        f"{BENCHMARKS}/fidelity/distances.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=0,
    params:
        packed=lambda wildcards, input: (
            f"--volume-list {input.volumes} --volumes-dir {RESULTS}/volumes" if input.volumes else ""
        ),
        stage=STAGE["fidelity"],
    shell:
        "python -m braing3n fidelity measure --samples {input.samples:q} --table {input.table:q}"
        " --tokens {input.tokens:q} --encoder {input.encoder:q} --tokenizer {input.tokenizer:q} --features {input.features:q}"
        " {params.packed}"
        " --labels {input.labels:q} --distances {output.distances:q} --settings {input.settings:q}"
        " --threads {threads} 2>&1 | tee {log:q}"
