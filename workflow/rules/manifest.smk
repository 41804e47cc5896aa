# All cohorts' tables -> the volume list (no label enters it) and, apart from it, the label table and the counts.
from braing3n.manifest.counts import expect_counts


localrules:
    manifest,


# A leaf of the DAG: the main process has checked it, and written it where what it says has changed.
REVIEW = f"{RESULTS}/manifest/review.tsv"


# A run has hundreds of shards: a command takes how many each cohort has.
N_SHARDS = [f"{key}:{item.n_shards}" for key, item in CONFIG.cohorts.items()]


def list_shards(word, cohort):
    """The tables of one cohort's shards."""
    return [f"{RESULTS}/{word}/{cohort}/shard-{shard}.parquet" for key, shard in SHARDS if key == cohort]


rule manifest:
    """The volume list, the label table, found against expected, and a quality page a cohort."""
    input:
        f"{RESULTS}/manifest/volume_list.parquet",
        f"{RESULTS}/manifest/labels.parquet",
        f"{RESULTS}/manifest/counts.parquet",
        [f"{RESULTS}/preprocess/{cohort}/quality.html" for cohort in CONFIG.cohorts],


rule find_near_duplicates:
    """Search all volumes for one brain under two people's ids, before anything is split."""
    input:
        inventories=rules.inventory.input,
        tables=rules.preprocess.input,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/manifest.json",
        spacing=f"{SETTINGS}/volumes.json",
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
        results=RESULTS,
        shards=N_SHARDS,
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest near-duplicates --results {params.results:q} --shards {params.shards:q}"
        " --out {output.pairs:q} --picture {output.picture:q}"
        " --settings {input.settings:q} --volumes {input.spacing:q} --threads {threads} 2>&1 | tee {log:q}"


rule build_volume_list:
    """List what is trained on, with people and splits; no label enters it, but the review does."""
    input:
        inventories=rules.inventory.input,
        tables=rules.preprocess.input,
        indices=rules.volumes.input,
        near_duplicates=rules.find_near_duplicates.output.pairs,
        review=REVIEW,
        settings=f"{SETTINGS}/manifest.json",
        outliers=f"{SETTINGS}/manifest.max_outlier_score.json",
    output:
        volumes=f"{RESULTS}/manifest/volume_list.parquet",
        flow=f"{RESULTS}/manifest/flow.parquet",
        excluded=f"{RESULTS}/manifest/exclusions.parquet",
        segmentations=f"{RESULTS}/manifest/segmentations.parquet",
        quality=f"{RESULTS}/manifest/quality.parquet",
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
        results=RESULTS,
        shards=N_SHARDS,
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest volume-list --results {params.results:q} --shards {params.shards:q}"
        " --review {input.review:q} --settings {input.settings:q} --outliers {input.outliers:q} 2>&1 | tee {log:q}"


rule show_quality:
    """Put one cohort's volumes on a page, the worst first, for review."""
    input:
        tables=lambda wildcards: list_shards("preprocess", wildcards.cohort),
        indices=lambda wildcards: list_shards("volumes", wildcards.cohort),
        review=REVIEW,
        outliers=f"{SETTINGS}/manifest.max_outlier_score.json",
    output:
        page=f"{RESULTS}/preprocess/{{cohort}}/quality.html",
    log:
        f"{LOGS}/manifest/quality-{{cohort}}.log",
    benchmark:
        f"{BENCHMARKS}/manifest/quality-{{cohort}}.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        results=RESULTS,
        shards=lambda wildcards: [item for item in N_SHARDS if item.startswith(f"{wildcards.cohort}:")],
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest quality --results {params.results:q} --shards {params.shards:q}"
        " --review {input.review:q} --out {output.page:q} --outliers {input.outliers:q} 2>&1 | tee {log:q}"


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
        ingest_dir=f"{RESULTS}/ingest",
        names=list(CONFIG.cohorts),
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest labels --volume-list {input.volumes:q} --ingest-dir {params.ingest_dir:q}"
        " --cohorts {params.names:q} --out {output.labels:q} --flow {output.flow:q} 2>&1 | tee {log:q}"


rule count_cohorts:
    """Compare what each cohort holds with what its file expects; a difference is a warning."""
    input:
        volumes=rules.build_volume_list.output.volumes,
        cohorts=[f"{SETTINGS}/cohorts.{cohort}.json" for cohort in CONFIG.cohorts],
        tolerance=f"{SETTINGS}/manifest.count_tolerance.json",
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
        expected=expect_counts(CONFIG.cohorts),  # an edited number is compared again
        settings_dir=SETTINGS,
        names=list(CONFIG.cohorts),
        stage=STAGE["manifest"],
    shell:
        "python -m braing3n manifest counts --volume-list {input.volumes:q} --settings-dir {params.settings_dir:q}"
        " --cohorts {params.names:q} --tolerance {input.tolerance:q} --out {output.counts:q} 2>&1 | tee {log:q}"
