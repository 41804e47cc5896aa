# A cohort's inventory and tables -> its records. One rule a cohort, so that `-f ingest_<cohort>` reruns one.
from braing3n.cohort import digest_cohort_file, find_kind


localrules:
    ingest,


COLUMNS = f"{RESULTS}/manifest/columns.parquet"


rule ingest:
    """The records of all cohorts."""
    input:
        [f"{RESULTS}/ingest/{cohort}.parquet" for cohort in CONFIG.cohorts],


for key, settings in CONFIG.cohorts.items():

    rule:
        """Read one cohort's tables into records, one row a volume."""
        name:
            f"ingest_{key}"
        input:
            scans=f"{RESULTS}/inventory/{key}/scans.tsv",
            left_out=f"{RESULTS}/inventory/{key}/left_out.tsv",
            tables=f"{RESULTS}/inventory/{key}/tables.tsv",
            settings=f"{SETTINGS}/cohorts.{key}.json",
        output:
            records=f"{RESULTS}/ingest/{key}.parquet",
            exclusions=f"{RESULTS}/ingest/{key}_exclusions.parquet",
        log:
            f"{LOGS}/ingest/{key}.log",
        benchmark:
            f"{BENCHMARKS}/ingest/{key}.tsv"
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        params:
            key=key,
            run=CONFIG.run,
            cohort=digest_cohort_file(find_kind(key, settings)),  # an edited code reads the tables again
            stage=STAGE["ingest"],
        shell:
            "python -m braing3n ingest cohort --key {params.key} --run {params.run} --scans {input.scans:q}"
            " --left-out {input.left_out:q} --tables {input.tables:q} --records {output.records:q}"
            " --exclusions {output.exclusions:q} --settings {input.settings:q}"
            " 2>&1 | tee {log:q}"


rule read_columns:
    """Read the columns that `probe.columns` names; nothing but the probes depends on them."""
    input:
        volumes=f"{RESULTS}/manifest/volume_list.parquet",
        labels=f"{RESULTS}/manifest/labels.parquet",
        tables=[f"{RESULTS}/inventory/{cohort}/tables.tsv" for cohort in CONFIG.cohorts],
        cohorts=[f"{SETTINGS}/cohorts.{cohort}.json" for cohort in CONFIG.cohorts],
        settings=f"{SETTINGS}/probe.columns.json",
    output:
        columns=COLUMNS,
    log:
        f"{LOGS}/ingest/columns.log",
    benchmark:
        f"{BENCHMARKS}/ingest/columns.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        run=CONFIG.run,
        stage=STAGE["ingest"],
    shell:
        "python -m braing3n ingest columns --volume-list {input.volumes:q} --labels {input.labels:q}"
        " --run {params.run} --cohorts {input.cohorts:q} --settings {input.settings:q} --out {output.columns:q} 2>&1 | tee {log:q}"
