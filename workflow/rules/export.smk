# Weights, probes and statistics -> the model folder.
localrules:
    export,


EXPORT = f"{RESULTS}/export"
EXPORTED_SECTIONS = [
    "preprocess",
    "volumes",
    "diffusion.sampling",
    "longitudinal.forecast",
    "probe",
    "export",
]


rule export:
    """The model folder that a person loads or publishes."""
    input:
        f"{EXPORT}/config.json",


rule write_model_folder:
    """Write the model folder: weights, probes as coefficients, statistics, configuration and card."""
    input:
        encoder=MAE,
        tokenizer=TOKENIZER,
        dit=DIT,
        bridge=BRIDGE,
        features=rules.cache_latents.output.features,
        labels=rules.build_label_table.output.labels,
        scores=rules.compare_encoders.output.scores,
        rivals=rules.compare_encoders.output.rivals,
        predictions=f"{RESULTS}/probe/predictions_mae.parquet",
        losses=[] if CONFIG.pretrain.weights else rules.train_mae.output.table,
        metrics=f"{RESULTS}/tokenizer/metrics.json",
        judged=rules.read_control.output.judged,
        pairs=f"{RESULTS}/longitudinal/pairs.parquet",
        settings=[f"{SETTINGS}/{name}.json" for name in EXPORTED_SECTIONS],
    output:
        config=f"{EXPORT}/config.json",
    log:
        f"{LOGS}/export/folder.log",
    benchmark:
        f"{BENCHMARKS}/export/folder.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        results=RESULTS,
        out=EXPORT,
        stage=STAGE["export"],
    shell:
        "python -m braing3n export folder --results {params.results:q} --out {params.out:q}"
        " --threads {threads} 2>&1 | tee {log:q}"
