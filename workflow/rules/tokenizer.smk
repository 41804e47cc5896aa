# Encoder and volumes -> projection and CNN decoder, with the held-out reconstruction metrics.
localrules:
    tokenizer,


rule tokenizer:
    """The tokenizer: projection and CNN decoder."""
    input:
        f"{RESULTS}/tokenizer/tokenizer.safetensors",


rule train_tokenizer:
    """Train projection and decoder on the frozen encoder; measure reconstruction on held-out people."""
    input:
        encoder=rules.train_mae.output.weights,
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
    output:
        weights=f"{RESULTS}/tokenizer/tokenizer.safetensors",
        metrics=f"{RESULTS}/tokenizer/metrics.json",
        picture=report(
            f"{RESULTS}/tokenizer/reconstructions.png",
            caption="../report/reconstructions.rst",
            category="Training",
        ),
    log:
        f"{LOGS}/tokenizer/tokenizer.log",
    benchmark:
        f"{BENCHMARKS}/tokenizer/tokenizer.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        checkpoints=f"{RESULTS}/tokenizer/checkpoints",
        settings=CONFIG.tokenizer.as_json(without=("akl",)),
        stage=STAGE["tokenizer"],
    shell:
        TRAIN + " tokenizer train --encoder {input.encoder:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --checkpoints {params.checkpoints:q}"
        " --weights {output.weights:q} --metrics {output.metrics:q} --picture {output.picture:q}"
        " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log:q}"
