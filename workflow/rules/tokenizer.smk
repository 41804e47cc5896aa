# Encoder and volumes -> projection and CNN decoder, with the held-out reconstruction metrics.
# The sweep over d (Table 5) trains all it needs from scratch, in the runs that have its cohorts.
localrules:
    tokenizer,
    sweep,


SWEEP = f"{RESULTS}/tokenizer/sweep"
SWEEP_RESULTS = [f"{SWEEP}/{arm}/metrics.json" for arm in CONFIG.sweep_arms]
SWEEP_RESULTS += [f"{RESULTS}/probe/sweep.parquet"] if CONFIG.sweep_arms else []


GIVEN_TOKENIZER = " --given {input.given:q}" if CONFIG.tokenizer.weights else ""  # then only measured


rule tokenizer:
    """The tokenizer, projection and CNN decoder, and the sweep over d where the run has one."""
    input:
        f"{RESULTS}/tokenizer/tokenizer.safetensors",
        SWEEP_RESULTS,


rule sweep:
    """The sweep over d and the AKL alone: all of Table 5 but the whole corpus's tokenizer."""
    input:
        SWEEP_RESULTS,


rule train_tokenizer:
    """Train projection and decoder on the frozen encoder, or take given ones; measure held-out people."""
    input:
        encoder=MAE,
        given=lambda wildcards: CONFIG.tokenizer.weights or [],
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
        settings=CONFIG.tokenizer.as_json(without=("sweep", "akl")),
        stage=STAGE["tokenizer"],
    shell:
        TRAIN + " tokenizer train --encoder {input.encoder:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --checkpoints {params.checkpoints:q}"
        " --weights {output.weights:q} --metrics {output.metrics:q} --picture {output.picture:q}"
        " --settings {params.settings:q} --threads {threads}" + GIVEN_TOKENIZER + " 2>&1 | tee {log:q}"


rule choose_sweep_volumes:
    """Choose one volume a person of the sweep's cohorts, and split the people anew."""
    input:
        volumes=rules.build_volume_list.output.volumes,
    output:
        volumes=f"{SWEEP}/volume_list.parquet",
    log:
        f"{LOGS}/tokenizer/sweep/volume_list.log",
    benchmark:
        f"{BENCHMARKS}/tokenizer/sweep/volume_list.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        settings=CONFIG.tokenizer.sweep.as_json(without=("d", "akl_budgets", "tasks", "n_pca_components")),
        stage=STAGE["tokenizer"],
    shell:
        "python -m braing3n tokenizer choose --volume-list {input.volumes:q} --out {output.volumes:q}"
        " --settings {params.settings:q} 2>&1 | tee {log:q}"


rule train_sweep_mae:
    """Train the sweep's own masked autoencoder, from scratch on its training people."""
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=[path for path in rules.volumes.input if path.split("/")[-2] in CONFIG.sweep_cohorts],
    output:
        weights=f"{SWEEP}/mae/mae.safetensors",
        loss=report(f"{SWEEP}/mae/loss.png", caption="../report/loss.rst", category="Training"),
    log:
        f"{LOGS}/tokenizer/sweep/mae.log",
    benchmark:
        f"{BENCHMARKS}/tokenizer/sweep/mae.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        checkpoints=f"{SWEEP}/mae/checkpoints",
        settings=CONFIG.pretrain.as_json(),
        stage=STAGE["pretrain"],
    shell:
        TRAIN + " pretrain train --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q}"
        " --checkpoints {params.checkpoints:q} --weights {output.weights:q} --loss-picture {output.loss:q}"
        " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_sweep_tokenizer:
    """Train projection and decoder of one d on the sweep's encoder; measure its held-out people."""
    input:
        encoder=rules.train_sweep_mae.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=rules.train_sweep_mae.input.indices,
    output:
        weights=f"{SWEEP}/d-{{d}}/tokenizer.safetensors",
        metrics=f"{SWEEP}/d-{{d}}/metrics.json",
        picture=report(
            f"{SWEEP}/d-{{d}}/reconstructions.png",
            caption="../report/reconstructions.rst",
            category="Training",
        ),
    log:
        f"{LOGS}/tokenizer/sweep/d-{{d}}.log",
    benchmark:
        f"{BENCHMARKS}/tokenizer/sweep/d-{{d}}.tsv"
    wildcard_constraints:
        d="none|[0-9]+",
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        checkpoints=f"{SWEEP}/d-{{d}}/checkpoints",
        settings=lambda wildcards: CONFIG.tokenizer.with_d(wildcards.d).as_json(without=("sweep", "akl")),
        stage=STAGE["tokenizer"],
    shell:
        TRAIN + " tokenizer train --encoder {input.encoder:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --checkpoints {params.checkpoints:q}"
        " --weights {output.weights:q} --metrics {output.metrics:q} --picture {output.picture:q}"
        " --settings {params.settings:q} --threads {threads} 2>&1 | tee {log:q}"


rule train_akl:
    """Train the AutoencoderKL from scratch on the same people, with one budget; measure the same others."""
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=rules.train_sweep_mae.input.indices,
    output:
        weights=f"{SWEEP}/akl-{{budget}}/akl.safetensors",
        metrics=f"{SWEEP}/akl-{{budget}}/metrics.json",
        picture=report(
            f"{SWEEP}/akl-{{budget}}/reconstructions.png",
            caption="../report/reconstructions.rst",
            category="Training",
        ),
    log:
        f"{LOGS}/tokenizer/sweep/akl-{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/tokenizer/sweep/akl-{{budget}}.tsv"
    wildcard_constraints:
        budget="compute|epochs",
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        checkpoints=f"{SWEEP}/akl-{{budget}}/checkpoints",
        settings=CONFIG.tokenizer.as_json(without=("sweep",)),
        pretrain=CONFIG.pretrain.as_json(),
        stage=STAGE["tokenizer"],
    shell:
        TRAIN + " tokenizer akl --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q}"
        " --checkpoints {params.checkpoints:q} --weights {output.weights:q} --metrics {output.metrics:q}"
        " --picture {output.picture:q} --settings {params.settings:q}"
        " --pretrain-settings {params.pretrain:q} --budget {wildcards.budget} --threads {threads}"
        " 2>&1 | tee {log:q}"
