# Volumes -> cached tokens and pooled features; one resumable job each.
from braing3n import encoders


localrules:
    latents,


rule latents:
    """Tokens of our encoder and features of every encoder that is probed."""
    input:
        f"{RESULTS}/latents/tokens.npy",
        [f"{RESULTS}/latents/features_{encoder}.npz" for encoder in CONFIG.latents.encoders],


EXTRACTED = "|".join(name for name in encoders.list_encoders() if name != "mae")


rule cache_latents:
    """Encode every volume: projected tokens, and features pooled over tokens."""
    input:
        encoder=MAE,
        tokenizer=TOKENIZER,
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/latents.json",
    output:
        tokens=f"{RESULTS}/latents/tokens.npy",
        features=f"{RESULTS}/latents/features_mae.npz",
    log:
        f"{LOGS}/latents/tokens.log",
    benchmark:
        f"{BENCHMARKS}/latents/tokens.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents cache --encoder {input.encoder:q} --tokenizer {input.tokenizer:q}"
        " --volume-list {input.volumes:q} --volumes-dir {params.volumes_dir:q} --tokens {output.tokens:q}"
        " --features {output.features:q} --settings {input.settings:q} --threads {threads}"
        " 2>&1 | tee {log:q}"


rule extract_features:
    """Features of an encoder that no training of this run made: a baseline, or one of others."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/latents.json",
        pretrain=lambda wildcards: [
            f"{SETTINGS}/{name}.json" for name in encoders.load(wildcards.encoder).SECTIONS
        ],
        weights=lambda wildcards: encoders.list_weights(wildcards.encoder, CONFIG.latents.foreign.weights),
    output:
        features=f"{RESULTS}/latents/features_{{encoder}}.npz",
    log:
        f"{LOGS}/latents/features_{{encoder}}.log",
    benchmark:
        f"{BENCHMARKS}/latents/features_{{encoder}}.tsv"
    wildcard_constraints:
        encoder=EXTRACTED,
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        part="",
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents features --name {wildcards.encoder} --volume-list {input.volumes:q}"
        " --volumes-dir {params.volumes_dir:q} --features {output.features:q}"
        " --settings {input.settings:q} {input.pretrain:q} {params.part} --threads {threads}"
        " 2>&1 | tee {log:q}"


# Of a large corpus several jobs share an encoder's volumes (`latents.n_parts`).
use rule extract_features as extract_part with:
    output:
        features=temp(f"{RESULTS}/latents/parts/features_{{encoder}}_{{part}}.npz"),
    log:
        f"{LOGS}/latents/features_{{encoder}}_{{part}}.log",
    benchmark:
        f"{BENCHMARKS}/latents/features_{{encoder}}_{{part}}.tsv"
    wildcard_constraints:
        encoder=EXTRACTED,
        part="[0-9]+",
    params:
        volumes_dir=f"{RESULTS}/volumes",
        part=f"--part {{part}} --n-parts {CONFIG.latents.n_parts}",
        stage=STAGE["latents"],


if CONFIG.latents.n_parts > 1:

    ruleorder: join_features > extract_features

else:

    ruleorder: extract_features > join_features


rule join_features:
    """Join the features that several jobs extracted."""
    input:
        parts=expand(
            f"{RESULTS}/latents/parts/features_{{{{encoder}}}}_{{part}}.npz",
            part=range(CONFIG.latents.n_parts),
        ),
    output:
        features=f"{RESULTS}/latents/features_{{encoder}}.npz",
    log:
        f"{LOGS}/latents/features_{{encoder}}_joined.log",
    benchmark:
        f"{BENCHMARKS}/latents/features_{{encoder}}_joined.tsv"
    wildcard_constraints:
        encoder=EXTRACTED,
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        stage=STAGE["latents"],
    shell:
        "python -m braing3n latents join --parts {input.parts:q} --features {output.features:q}"
        " 2>&1 | tee {log:q}"
