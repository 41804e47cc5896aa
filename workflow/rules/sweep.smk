# Table 5: encoder, tokenizers and the baselines, all from scratch on one volume a person of a few cohorts.
localrules:
    sweep,


SWEEP = f"{RESULTS}/sweep"
SWEEP_RESULTS = [f"{SWEEP}/{arm}/metrics.json" for arm in CONFIG.sweep_arms]
SWEEP_RESULTS += [f"{SWEEP}/scores.parquet"] if CONFIG.sweep_arms else []
DRAWN = {"caption": "../report/reconstructions.rst", "category": "Training"}
SWEEP_INDICES = [path for path in rules.volumes.input if path.split("/")[-2] in CONFIG.sweep_cohorts]


rule sweep:
    """All of Table 5 but the whole corpus's tokenizer, where the run has the sweep's cohorts."""
    input:
        SWEEP_RESULTS,


rule choose_sweep_volumes:
    """Choose one volume a person of the sweep's cohorts, and split the people anew."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        settings=f"{SETTINGS}/sweep.json",
    output:
        volumes=f"{SWEEP}/volume_list.parquet",
    log:
        f"{LOGS}/sweep/volume_list.log",
    benchmark:
        f"{BENCHMARKS}/sweep/volume_list.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGE["sweep"],
    shell:
        "python -m braing3n sweep choose --volume-list {input.volumes:q} --out {output.volumes:q}"
        " --settings {input.settings:q} 2>&1 | tee {log:q}"


use rule train_mae as train_sweep_mae with:
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/pretrain.json",
    output:
        weights=f"{SWEEP}/mae/mae.safetensors",
        loss=report(f"{SWEEP}/mae/loss.png", caption="../report/loss.rst", category="Training"),
        table=f"{SWEEP}/mae/masked_loss.parquet",
    log:
        f"{LOGS}/sweep/mae.log",
    benchmark:
        f"{BENCHMARKS}/sweep/mae.tsv"


use rule train_tokenizer as train_sweep_tokenizer with:
    input:
        encoder=rules.train_sweep_mae.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/tokenizer.json",
    output:
        weights=f"{SWEEP}/d-{{d}}/tokenizer.safetensors",
        metrics=f"{SWEEP}/d-{{d}}/metrics.json",
        picture=report(f"{SWEEP}/d-{{d}}/reconstructions.png", **DRAWN),
    log:
        f"{LOGS}/sweep/d-{{d}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/d-{{d}}.tsv"
    params:
        volumes_dir=f"{RESULTS}/volumes",
        d=lambda wildcards: wildcards.d,
        stage=STAGE["tokenizer"],


rule train_baseline:
    """Train a baseline tokenizer from scratch on the same people, with one budget; measure the same others."""
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/sweep.{{baseline}}.json",
        pretrain=f"{SETTINGS}/pretrain.json",
        tokenizer=f"{SETTINGS}/tokenizer.json",
    output:
        weights=f"{SWEEP}/{{baseline}}-{{budget}}/{{baseline}}.safetensors",
        metrics=f"{SWEEP}/{{baseline}}-{{budget}}/metrics.json",
        picture=report(f"{SWEEP}/{{baseline}}-{{budget}}/reconstructions.png", **DRAWN),
    log:
        f"{LOGS}/sweep/{{baseline}}-{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/{{baseline}}-{{budget}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=0,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["sweep"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " sweep baseline --name {wildcards.baseline} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --weights {output.weights:q} --metrics {output.metrics:q}"
        " --picture {output.picture:q} --settings {input.settings:q} --pretrain-settings {input.pretrain:q}"
        " --tokenizer-settings {input.tokenizer:q} --budget {wildcards.budget} --threads {threads}"


use rule cache_latents as cache_sweep_latents with:
    input:
        encoder=rules.train_sweep_mae.output.weights,
        tokenizer=rules.train_sweep_tokenizer.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/latents.json",
    output:
        tokens=f"{SWEEP}/d-{{d}}/latents.npy",
        features=f"{SWEEP}/d-{{d}}/features.npz",
    log:
        f"{LOGS}/sweep/latents-d-{{d}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/latents-d-{{d}}.tsv"


rule cache_baseline_latents:
    """Encode the sweep's volumes by a baseline tokenizer."""
    input:
        weights=rules.train_baseline.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/latents.json",
    output:
        latents=f"{SWEEP}/{{baseline}}-{{budget}}/latents.npy",
    log:
        f"{LOGS}/sweep/latents-{{baseline}}-{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/latents-{{baseline}}-{{budget}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["sweep"],
    shell:
        "python -m braing3n sweep cache-baseline --weights {input.weights:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --latents {output.latents:q} --settings {input.settings:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


use rule extract_features as extract_sweep_features with:
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=SWEEP_INDICES,
        settings=f"{SETTINGS}/latents.json",
        pretrain=f"{SETTINGS}/pretrain.json",
    output:
        features=f"{SWEEP}/{{encoder}}/features.npz",
    log:
        f"{LOGS}/sweep/{{encoder}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/{{encoder}}.tsv"
    wildcard_constraints:
        encoder="untrained",


rule probe_sweep:
    """Probe every arm of the sweep in two readings, and the untrained encoder, on the same folds."""
    input:
        latents=[f"{SWEEP}/{arm}/latents.npy" for arm in CONFIG.sweep_arms],
        untrained=f"{SWEEP}/untrained/features.npz",
        volumes=rules.choose_sweep_volumes.output.volumes,
        labels=rules.build_label_table.output.labels,
        sweep=f"{SETTINGS}/sweep.probe.json",
        settings=f"{SETTINGS}/probe.json",
    output:
        scores=f"{SWEEP}/scores.parquet",
    log:
        f"{LOGS}/sweep/scores.log",
    benchmark:
        f"{BENCHMARKS}/sweep/scores.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        arms=CONFIG.sweep_arms,
        stage=STAGE["sweep"],
    shell:
        "python -m braing3n sweep probe --arms {params.arms:q} --labels {input.labels:q}"
        " --scores {output.scores:q} --sweep-settings {input.sweep:q}"
        " --settings {input.settings:q} --threads {threads} 2>&1 | tee {log:q}"
