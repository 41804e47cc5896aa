# A cohort's inventory and tables -> its records. One rule a cohort, so that `-f ingest_<cohort>` reruns one.
from braing3n.cohort import digest_cohort_file, find_kind


localrules:
    ingest,


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
