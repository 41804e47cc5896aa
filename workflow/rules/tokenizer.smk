# Encoder and volumes -> projection and CNN decoder, with the held-out reconstruction metrics.
localrules:
    tokenizer,


TOKENIZER = f"{RESULTS}/tokenizer/tokenizer.safetensors"


rule tokenizer:
    """The tokenizer: projection and CNN decoder."""
    input:
        TOKENIZER,


rule train_tokenizer:
    """Train projection and decoder on the frozen encoder; measure held-out people."""
    input:
        encoder=MAE,
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/tokenizer.json",
    output:
        weights=TOKENIZER,
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
        mem_mb=8000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        d=CONFIG.tokenizer.d,
        stage=STAGE["tokenizer"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " tokenizer train --encoder {input.encoder:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q}"
        " --weights {output.weights:q} --metrics {output.metrics:q} --picture {output.picture:q}"
        " --settings {input.settings:q} --d {params.d} --threads {threads}"


if CONFIG.tokenizer.weights:

    ruleorder: take_tokenizer > train_tokenizer

    rule take_tokenizer:
        """Take a tokenizer that was trained elsewhere; measure held-out people."""
        input:
            given=CONFIG.tokenizer.weights,
            encoder=MAE,
            volumes=rules.build_volume_list.output.volumes,
            indices=rules.volumes.input,
            settings=f"{SETTINGS}/tokenizer.json",
        output:
            weights=TOKENIZER,
            metrics=str(rules.train_tokenizer.output.metrics),
            picture=str(rules.train_tokenizer.output.picture),
        log:
            f"{LOGS}/tokenizer/tokenizer.log",
        benchmark:
            f"{BENCHMARKS}/tokenizer/tokenizer.tsv"
        conda:
            "../../envs/models.yaml"
        threads: 4
        resources:
            mem_mb=8000,
            runtime=240,
            gpu=0,
        params:
            volumes_dir=f"{RESULTS}/volumes",
            stage=STAGE["tokenizer"],
        shell:
            "python -m braing3n tokenizer train --given {input.given:q} --encoder {input.encoder:q}"
            " --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q}"
            " --weights {output.weights:q} --metrics {output.metrics:q}"
            " --picture {output.picture:q} --settings {input.settings:q} --threads {threads} 2>&1 | tee {log:q}"
