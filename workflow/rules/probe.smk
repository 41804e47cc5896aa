# Features and labels -> the linear-probing benchmark, baselines beside it.
localrules:
    probe,


COLUMNS = f"{RESULTS}/probe/columns.parquet"
OWN_COLUMNS = " --columns {input.columns:q} --own {input.own:q}" if CONFIG.probe.columns else ""

FINETUNED = [f"{RESULTS}/probe/finetuned_{task}.parquet" for task in CONFIG.probe.finetune.tasks]
READOUTS = [f"{RESULTS}/probe/readouts.parquet"] if CONFIG.probe.readouts or FINETUNED else []
READS_TOKENS = bool({"pca", "attentive"} & set(CONFIG.probe.readouts))
TOKENS = " --tokens {input.tokens:q}" if READS_TOKENS else ""
TOKENS += " --finetuned {input.tasks:q}" if FINETUNED else ""


rule probe:
    """Scores, paired differences and controls of the linear probes."""
    input:
        f"{RESULTS}/probe/scores.parquet",
        READOUTS,


rule probe_encoder:
    """Probe one encoder on every task and slice, out of fold by group."""
    input:
        features=f"{RESULTS}/latents/features_{{encoder}}.npz",
        labels=rules.build_label_table.output.labels,
        columns=COLUMNS if CONFIG.probe.columns else [],
        own=f"{SETTINGS}/probe.columns.json" if CONFIG.probe.columns else [],
        settings=f"{SETTINGS}/probe.json",
    output:
        predictions=f"{RESULTS}/probe/predictions_{{encoder}}.parquet",
        halves=f"{RESULTS}/probe/halves_{{encoder}}.parquet",
    log:
        f"{LOGS}/probe/{{encoder}}.log",
    benchmark:
        f"{BENCHMARKS}/probe/{{encoder}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=480,
    params:
        stage=STAGE["probe"],
    shell:
        "python -m braing3n probe encoder --name {wildcards.encoder} --features {input.features:q}"
        " --labels {input.labels:q} --predictions {output.predictions:q} --halves {output.halves:q}"
        " --settings {input.settings:q} --threads {threads}" + OWN_COLUMNS + " 2>&1 | tee {log:q}"


rule compare_encoders:
    """Score all encoders on the same people: intervals, differences, rivals, subgroups and controls."""
    input:
        predictions=[f"{RESULTS}/probe/predictions_{encoder}.parquet" for encoder in CONFIG.latents.encoders],
        halves=[f"{RESULTS}/probe/halves_{encoder}.parquet" for encoder in CONFIG.latents.encoders],
        features=rules.cache_latents.output.features,
        labels=rules.build_label_table.output.labels,
        columns=COLUMNS if CONFIG.probe.columns else [],
        own=f"{SETTINGS}/probe.columns.json" if CONFIG.probe.columns else [],
        settings=f"{SETTINGS}/probe.json",
    output:
        scores=f"{RESULTS}/probe/scores.parquet",
        differences=f"{RESULTS}/probe/differences.parquet",
        rivals=f"{RESULTS}/probe/rivals.parquet",
        checks=f"{RESULTS}/probe/checks.parquet",
        fairness=f"{RESULTS}/probe/fairness.parquet",
        controls=f"{RESULTS}/probe/controls.parquet",
    log:
        f"{LOGS}/probe/compare.log",
    benchmark:
        f"{BENCHMARKS}/probe/compare.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        encoders=CONFIG.latents.encoders,
        probe_dir=f"{RESULTS}/probe",
        stage=STAGE["probe"],
    shell:
        "python -m braing3n probe compare --encoders {params.encoders:q} --probe-dir {params.probe_dir:q}"
        " --features {input.features:q} --labels {input.labels:q} --settings {input.settings:q}"
        " --threads {threads}" + OWN_COLUMNS + " 2>&1 | tee {log:q}"


rule read_otherwise:
    """Read all encoders by the readouts that `probe.readouts` names."""
    input:
        features=[f"{RESULTS}/latents/features_{encoder}.npz" for encoder in CONFIG.latents.encoders],
        tokens=rules.cache_latents.output.tokens if READS_TOKENS else [],
        finetuned=FINETUNED,
        tasks=f"{SETTINGS}/probe.finetune.tasks.json" if FINETUNED else [],
        labels=rules.build_label_table.output.labels,
        chosen=f"{SETTINGS}/probe.readouts.json",
        settings=f"{SETTINGS}/probe.json",
    output:
        readouts=f"{RESULTS}/probe/readouts.parquet",
    log:
        f"{LOGS}/probe/readouts.log",
    benchmark:
        f"{BENCHMARKS}/probe/readouts.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=1440 if READS_TOKENS else 720,
    params:
        encoders=CONFIG.latents.encoders,
        features_dir=f"{RESULTS}/latents",
        stage=STAGE["probe"],
    shell:
        "python -m braing3n probe readouts --encoders {params.encoders:q} --features-dir {params.features_dir:q}"
        " --labels {input.labels:q} --readouts {output.readouts:q} --chosen {input.chosen:q}"
        " --settings {input.settings:q} --threads {threads}" + TOKENS + " 2>&1 | tee {log:q}"


rule finetune_encoder:
    """Fine-tune our encoder on one task in each fold; a killed job resumes at its last checkpoint."""
    input:
        encoder=MAE,
        features=rules.cache_latents.output.features,
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/probe.json",
        training=f"{SETTINGS}/probe.finetune.json",
    output:
        scores=f"{RESULTS}/probe/finetuned_{{task}}.parquet",
    log:
        f"{LOGS}/probe/finetuned_{{task}}.log",
    benchmark:
        f"{BENCHMARKS}/probe/finetuned_{{task}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["probe"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " probe finetune --task {wildcards.task} --encoder {input.encoder:q} --features {input.features:q}"
        " --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q} --labels {input.labels:q}"
        " --scores {output.scores:q} --settings {input.settings:q} --training {input.training:q}"
        " --threads {threads}"


rule read_columns:
    """Read the columns that `probe.columns` names; nothing but the probes depends on them."""
    input:
        volumes=f"{RESULTS}/manifest/volume_list.parquet",
        labels=f"{RESULTS}/manifest/labels.parquet",
        tables=[f"{RESULTS}/inventory/{cohort}/tables.tsv" for cohort in CONFIG.cohorts],
        cohorts=[f"{SETTINGS}/cohorts.{cohort}.json" for cohort in CONFIG.cohorts],
        settings=f"{SETTINGS}/probe.columns.json",
    output:
        columns=COLUMNS,
    log:
        f"{LOGS}/probe/columns.log",
    benchmark:
        f"{BENCHMARKS}/probe/columns.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        run=CONFIG.run,
        settings_dir=SETTINGS,
        names=list(CONFIG.cohorts),
        stage=STAGE["probe"],
    shell:
        "python -m braing3n probe columns --volume-list {input.volumes:q} --labels {input.labels:q}"
        " --run {params.run} --settings-dir {params.settings_dir:q} --cohorts {params.names:q}"
        " --settings {input.settings:q} --out {output.columns:q} 2>&1 | tee {log:q}"
