# Samples and real volumes -> distances by arm.
localrules:
    fidelity,


rule fidelity:
    """How far generated volumes lie from real ones."""
    input:
        f"{RESULTS}/fidelity/distances.parquet",


rule measure_fidelity:
    """Distances of generated to real volumes by arm, on features of our encoder and of others, and in anatomy."""
    input:
        samples=rules.sample_diffusion.output.samples,
        table=rules.sample_diffusion.output.table,
        tokens=rules.cache_latents.output.tokens,
        encoder=MAE,
        tokenizer=TOKENIZER,
        # Real volumes are seen by the segmentation and by the networks of others.
        weights=CONFIG.fidelity.list_weights(),
        measured=CONFIG.fidelity.list_measured(),
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        grid=[f"{SETTINGS}/{name}.json" for name in ("volumes", "preprocess", "resources")],
        features=rules.cache_latents.output.features,
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/fidelity.json",
    output:
        distances=f"{RESULTS}/fidelity/distances.parquet",
        coarse=f"{RESULTS}/fidelity/decoded.npz",
        anatomy=f"{RESULTS}/fidelity/anatomy.parquet",
        segmented=f"{RESULTS}/fidelity/segmented.parquet",
    log:
        f"{LOGS}/fidelity/distances.log",
    benchmark:
        f"{BENCHMARKS}/fidelity/distances.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=240,
        gpu=0,
    params:
        results=RESULTS,
        stage=STAGE["fidelity"],
    shell:
        "python -m braing3n fidelity measure --samples {input.samples:q} --table {input.table:q}"
        " --tokens {input.tokens:q} --encoder {input.encoder:q} --tokenizer {input.tokenizer:q} --features {input.features:q}"
        " --results {params.results:q} --labels {input.labels:q} --distances {output.distances:q} --settings {input.settings:q}"
        " --threads {threads} 2>&1 | tee {log:q}"
