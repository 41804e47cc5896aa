# Volumes -> cached tokens and pooled features; one resumable job each.
localrules:
    latents,


rule latents:
    """Tokens of our encoder and features of every encoder that is probed."""
    input:
        f"{RESULTS}/latents/tokens.npy",
        [f"{RESULTS}/latents/features_{encoder}.npz" for encoder in CONFIG.latents.encoders],


rule cache_latents:
    """Encode every volume: projected tokens, and features pooled over tokens."""
    input:
        encoder=MAE,
        tokenizer=rules.train_tokenizer.output.weights,
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
    output:
        tokens=f"{RESULTS}/latents/tokens.npy",
        features=f"{RESULTS}/latents/features_mae.npz",
    log:
        f"{LOGS}/latents/tokens.log",
    benchmark:
        f"{BENCHMARKS}/latents/tokens.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        settings=CONFIG.latents.as_json(without=("encoders",)),
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents cache --encoder {input.encoder:q} --tokenizer {input.tokenizer:q}"
        " --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q} --tokens {output.tokens:q}"
        " --features {output.features:q} --settings {params.settings:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule extract_features:
    """Features of a baseline: the untrained encoder, raw patches, voxels or the histogram."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
    output:
        features=f"{RESULTS}/latents/features_{{encoder}}.npz",
    log:
        f"{LOGS}/latents/features_{{encoder}}.log",
    benchmark:
        f"{BENCHMARKS}/latents/features_{{encoder}}.tsv"
    wildcard_constraints:
        encoder="untrained|untrained_flattened|patches|voxels|histogram",
    conda:
        "../../envs/models.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        settings=CONFIG.latents.as_json(without=("encoders",)),
        # Voxels and the histogram know nothing of an encoder's sizes.
        pretrain=lambda wildcards: (
            "{}" if wildcards.encoder in ("voxels", "histogram") else CONFIG.pretrain.as_json()
        ),
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents features --name {wildcards.encoder} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --features {output.features:q}"
        " --settings {params.settings:q} --pretrain-settings {params.pretrain:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule cache_sweep_latents:
    """Encode the sweep's volumes: the tokens of one d."""
    input:
        encoder=rules.train_sweep_mae.output.weights,
        tokenizer=rules.train_sweep_tokenizer.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=rules.train_sweep_mae.input.indices,
    output:
        tokens=f"{SWEEP}/d-{{d}}/latents.npy",
        features=f"{SWEEP}/d-{{d}}/features.npz",
    log:
        f"{LOGS}/latents/sweep/d-{{d}}.log",
    benchmark:
        f"{BENCHMARKS}/latents/sweep/d-{{d}}.tsv"
    wildcard_constraints:
        d="none|[0-9]+",
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        settings=CONFIG.latents.as_json(without=("encoders",)),
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents cache --encoder {input.encoder:q} --tokenizer {input.tokenizer:q}"
        " --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q} --tokens {output.tokens:q}"
        " --features {output.features:q} --settings {params.settings:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule cache_akl_latents:
    """Encode the sweep's volumes: an AutoencoderKL's mean latents."""
    input:
        weights=rules.train_akl.output.weights,
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=rules.train_sweep_mae.input.indices,
    output:
        latents=f"{SWEEP}/akl-{{budget}}/latents.npy",
    log:
        f"{LOGS}/latents/sweep/akl-{{budget}}.log",
    benchmark:
        f"{BENCHMARKS}/latents/sweep/akl-{{budget}}.tsv"
    wildcard_constraints:
        budget="compute|epochs",
    conda:
        "../../envs/models.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        settings=CONFIG.latents.as_json(without=("encoders",)),
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents akl --weights {input.weights:q} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --latents {output.latents:q} --settings {params.settings:q}"
        " --threads {threads} 2>&1 | tee {log:q}"


rule extract_sweep_features:
    """Features of the untrained encoder for the sweep's volumes."""
    input:
        volumes=rules.choose_sweep_volumes.output.volumes,
        indices=rules.train_sweep_mae.input.indices,
    output:
        features=f"{SWEEP}/untrained/features.npz",
    log:
        f"{LOGS}/latents/sweep/untrained.log",
    benchmark:
        f"{BENCHMARKS}/latents/sweep/untrained.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 2
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        settings=CONFIG.latents.as_json(without=("encoders",)),
        pretrain=CONFIG.pretrain.as_json(),
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents features --name untrained --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --features {output.features:q}"
        " --settings {params.settings:q} --pretrain-settings {params.pretrain:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
