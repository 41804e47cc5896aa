# Volumes -> the masked autoencoder's weights. Checkpoints lie undeclared, in a folder named by what they come from.
localrules:
    pretrain,


MAE = f"{RESULTS}/pretrain/mae.safetensors"


rule pretrain:
    """The MAE encoder."""
    input:
        MAE,


if CONFIG.pretrain.weights:

    rule take_mae:
        """Start from an encoder that was trained elsewhere."""
        input:
            given=lambda wildcards: CONFIG.pretrain.weights,
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
            stage=STAGE["pretrain"],
        shell:
            "python -m braing3n pretrain take --given {input.given:q} --weights {output.weights:q} 2>&1 | tee {log:q}"

else:

    rule train_mae:
        """Train the masked autoencoder; a killed job resumes at its last checkpoint."""
        input:
            volumes=rules.build_volume_list.output.volumes,
            indices=rules.volumes.input,
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
            checkpoints=f"{RESULTS}/pretrain/checkpoints",
            settings=CONFIG.pretrain.as_json(),
            stage=STAGE["pretrain"],
        shell:
            TRAIN + " pretrain train --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q}"
            " --checkpoints {params.checkpoints:q} --weights {output.weights:q} --loss-picture {output.loss:q}"
            " --loss-table {output.table:q}"
            " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log:q}"
