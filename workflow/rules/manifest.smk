# All cohorts' tables -> the volume list (no label enters it) and, apart from it, the label table and the counts.
from braing3n.manifest.counts import expect_counts


localrules:
    manifest,


# The tolerance of the counts changes no volume, so that it must not replan what reads volumes.
VOLUME_SETTINGS = CONFIG.manifest.as_json(without=("count_tolerance",))


rule manifest:
    """The volume list, the label table, and each cohort's numbers against the expected ones."""
    input:
        f"{RESULTS}/manifest/volume_list.parquet",
        f"{RESULTS}/manifest/labels.parquet",
        f"{RESULTS}/manifest/counts.parquet",


rule find_near_duplicates:
    """Search all volumes for one brain under two people's ids, before anything is split."""
    input:
        inventories=rules.inventory.input,
        tables=rules.preprocess.input,
        indices=lambda wildcards: rules.volumes.input,
    output:
        pairs=f"{RESULTS}/manifest/near_duplicates.parquet",
        picture=report(
            f"{RESULTS}/manifest/near_duplicates.png",
            caption="../report/near_duplicates.rst",
            category="Quality",
            subcategory="people",
        ),
    log:
        f"{LOGS}/manifest/near_duplicates.log",
    benchmark:
        f"{BENCHMARKS}/manifest/near_duplicates.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        settings=VOLUME_SETTINGS,
        volumes=CONFIG.volumes.as_json(),
        inventory_dir=f"{RESULTS}/inventory",
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest near-duplicates --tables {input.tables:q}"
        " --inventory-dir {params.inventory_dir:q} --volumes-dir {params.volumes_dir:q}"
        " --out {output.pairs:q} --picture {output.picture:q}"
        " --settings {params.settings:q} --volumes {params.volumes:q} 2>&1 | tee {log:q}"


rule build_volume_list:
    """List what is trained on, with people and splits, from inventories and preprocess tables alone."""
    input:
        inventories=rules.inventory.input,
        tables=rules.preprocess.input,
        near_duplicates=rules.find_near_duplicates.output.pairs,
    output:
        volumes=f"{RESULTS}/manifest/volume_list.parquet",
        flow=f"{RESULTS}/manifest/flow.parquet",
        excluded=f"{RESULTS}/manifest/exclusions.parquet",
        segmentations=f"{RESULTS}/manifest/segmentations.parquet",
    log:
        f"{LOGS}/manifest/volume_list.log",
    benchmark:
        f"{BENCHMARKS}/manifest/volume_list.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=VOLUME_SETTINGS,
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest volume-list --inventories {input.inventories:q} --tables {input.tables:q}"
        " --near-duplicates {input.near_duplicates:q} --out {output.volumes:q} --flow {output.flow:q}"
        " --excluded {output.excluded:q} --segmentations {output.segmentations:q}"
        " --settings {params.settings:q} 2>&1 | tee {log:q}"


rule build_label_table:
    """Join what is known about each listed volume; a changed label replans from here, not before."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        records=rules.ingest.input,
        exclusions=[f"{RESULTS}/ingest/{cohort}_exclusions.parquet" for cohort in CONFIG.cohorts],
    output:
        labels=f"{RESULTS}/manifest/labels.parquet",
        flow=f"{RESULTS}/manifest/ingest_flow.parquet",
    log:
        f"{LOGS}/manifest/labels.log",
    benchmark:
        f"{BENCHMARKS}/manifest/labels.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest labels --volume-list {input.volumes:q} --records {input.records:q}"
        " --exclusions {input.exclusions:q} --out {output.labels:q} --flow {output.flow:q} 2>&1 | tee {log:q}"


rule count_cohorts:
    """Compare what each cohort holds with what its file expects; a difference is a warning."""
    input:
        volumes=rules.build_volume_list.output.volumes,
    output:
        counts=f"{RESULTS}/manifest/counts.parquet",
    log:
        f"{LOGS}/manifest/counts.log",
    benchmark:
        f"{BENCHMARKS}/manifest/counts.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        expected=expect_counts(CONFIG.cohorts),
        tolerance=CONFIG.manifest.count_tolerance,
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest counts --volume-list {input.volumes:q} --expected {params.expected:q}"
        " --tolerance {params.tolerance} --out {output.counts:q} 2>&1 | tee {log:q}"
