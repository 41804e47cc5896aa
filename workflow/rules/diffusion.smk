# Latents and labels -> the conditional DiT and its samples.
localrules:
    diffusion,


DIT = f"{RESULTS}/diffusion/dit.safetensors"


rule diffusion:
    """The conditional DiT and its samples."""
    input:
        DIT,
        f"{RESULTS}/diffusion/samples.npz",


rule train_diffusion:
    """Train the conditional DiT by flow matching on cached tokens."""
    input:
        tokens=rules.cache_latents.output.tokens,
        tokenizer=TOKENIZER,
        volumes=rules.build_volume_list.output.volumes,
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/diffusion.json",
    output:
        weights=DIT,
    log:
        f"{LOGS}/diffusion/dit.log",
    benchmark:
        f"{BENCHMARKS}/diffusion/dit.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=1440,
        gpu=0,
    params:
        stage=STAGE["diffusion"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " diffusion train --tokens {input.tokens:q} --tokenizer {input.tokenizer:q}"
        " --volume-list {input.volumes:q} --labels {input.labels:q}"
        " --weights {output.weights:q} --settings {input.settings:q} --threads {threads}"


if CONFIG.diffusion.weights:

    ruleorder: take_diffusion > train_diffusion

    use rule take_mae as take_diffusion with:
        input:
            given=CONFIG.diffusion.weights,
        output:
            weights=DIT,
        log:
            f"{LOGS}/diffusion/dit.log",
        benchmark:
            f"{BENCHMARKS}/diffusion/dit.tsv"
        params:
            word="diffusion",
            stage=STAGE["diffusion"],


rule sample_diffusion:
    """Draw every arm's samples under guidance and decode a few to look at."""
    input:
        weights=DIT,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/diffusion.sampling.json",
    output:
        samples=f"{RESULTS}/diffusion/samples.npz",
        table=f"{RESULTS}/diffusion/samples.parquet",
        picture=report(
            f"{RESULTS}/diffusion/samples.png", caption="../report/samples.rst", category="Generation"
        ),
    log:
        f"{LOGS}/diffusion/samples.log",
    benchmark:
        f"{BENCHMARKS}/diffusion/samples.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        stage=STAGE["diffusion"],
    shell:
        "python -m braing3n diffusion sample --weights {input.weights:q} --tokenizer {input.tokenizer:q}"
        " --labels {input.labels:q} --samples {output.samples:q} --table {output.table:q}"
        " --picture {output.picture:q} --settings {input.settings:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
