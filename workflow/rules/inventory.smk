# Raw folders -> inventories. No rule makes them: the main process does, before the DAG.
localrules:
    inventory,


rule inventory:
    """The inventories of all cohorts, written before the DAG."""
    input:
        [f"{RESULTS}/inventory/{cohort}/shard-{shard}.tsv" for cohort, shard in SHARDS],
