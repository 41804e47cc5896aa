# Samples, real people and probes -> what samples have of what they were asked for.
localrules:
    control,


rule control:
    """Tables 2a and 7, counterfactuals of held-out people, and the claims of the generator."""
    input:
        f"{RESULTS}/control/scores.parquet",


rule sample_control:
    """Draw MCI, PD, null sets and guidance scales; give held-out people other conditions."""
    input:
        weights=DIT,
        tokens=rules.cache_latents.output.tokens,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        settings=[f"{SETTINGS}/{name}.json" for name in ("control", "diffusion.sampling", "probe")],
    output:
        samples=f"{RESULTS}/control/samples.npz",
        table=f"{RESULTS}/control/samples.parquet",
        swept=f"{RESULTS}/control/swept.npz",
        swept_table=f"{RESULTS}/control/swept.parquet",
        changed=f"{RESULTS}/control/changed.npz",
        picture=report(
            f"{RESULTS}/control/one_noise.png", caption="../report/one_noise.rst", category="Generation"
        ),
    log:
        f"{LOGS}/control/samples.log",
    benchmark:
        f"{BENCHMARKS}/control/samples.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=720,
    params:
        results=RESULTS,
        stage=STAGE["control"],
    shell:
        "python -m braing3n control sample --results {params.results:q} --threads {threads} 2>&1 | tee {log:q}"


rule read_control:
    """Read samples and counterfactuals with probes of real people, and compare the results with the claims."""
    input:
        tokens=rules.cache_latents.output.tokens,
        features=rules.cache_latents.output.features,
        encoder=MAE,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        samples=rules.sample_diffusion.output.samples,
        table=rules.sample_diffusion.output.table,
        more=rules.sample_control.output.samples,
        more_table=rules.sample_control.output.table,
        swept=rules.sample_control.output.swept,
        swept_table=rules.sample_control.output.swept_table,
        changed=rules.sample_control.output.changed,
        settings=[f"{SETTINGS}/{name}.json" for name in ("control", "diffusion.sampling", "probe")],
    output:
        scores=f"{RESULTS}/control/scores.parquet",
        guidance=f"{RESULTS}/control/guidance.parquet",
        counterfactuals=f"{RESULTS}/control/counterfactuals.parquet",
        usefulness=f"{RESULTS}/control/usefulness.parquet",
        judged=f"{RESULTS}/control/judged.parquet",
        coarse=f"{RESULTS}/control/decoded.npz",
        picture=report(
            f"{RESULTS}/control/scores.png", caption="../report/control.rst", category="Generation"
        ),
        people=report(
            f"{RESULTS}/control/counterfactuals.png",
            caption="../report/counterfactuals.rst",
            category="Generation",
        ),
    log:
        f"{LOGS}/control/scores.log",
    benchmark:
        f"{BENCHMARKS}/control/scores.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=12000,
        runtime=240,
        gpu=0,
    params:
        results=RESULTS,
        stage=STAGE["control"],
    shell:
        "python -m braing3n control read --results {params.results:q} --threads {threads} 2>&1 | tee {log:q}"
