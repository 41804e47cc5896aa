# Volumes -> the masked autoencoder's weights. Checkpoints lie undeclared, in a folder named by what they come from.
localrules:
    pretrain,


# A name and no rule's output, which would bring its rule along where another one makes the file.
MAE = f"{RESULTS}/pretrain/mae.safetensors"


rule pretrain:
    """The MAE encoder."""
    input:
        MAE,


rule train_mae:
    """Train the masked autoencoder; a killed job resumes at its last checkpoint."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/pretrain.json",
    output:
        weights=MAE,
        loss=report(f"{RESULTS}/pretrain/loss.png", caption="../report/loss.rst", category="Training"),
        table=f"{RESULTS}/pretrain/masked_loss.parquet",
    log:
        f"{LOGS}/pretrain/mae.log",
    benchmark:
        f"{BENCHMARKS}/pretrain/mae.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["pretrain"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " pretrain train --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q}"
        " --weights {output.weights:q} --loss-picture {output.loss:q}"
        " --loss-table {output.table:q} --settings {input.settings:q} --threads {threads}"


if CONFIG.pretrain.weights:

    ruleorder: take_mae > train_mae

    rule take_mae:
        """Start from an encoder that was trained elsewhere."""
        input:
            given=CONFIG.pretrain.weights,
        output:
            weights=MAE,
        log:
            f"{LOGS}/pretrain/mae.log",
        benchmark:
            f"{BENCHMARKS}/pretrain/mae.tsv"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            word="pretrain",
            stage=STAGE["pretrain"],
        shell:
            "python -m braing3n {params.word} take --given {input.given:q} --weights {output.weights:q}"
            " 2>&1 | tee {log:q}"
