# Pairs of visits -> the bridge DiT and its forecasts.
localrules:
    longitudinal,


BRIDGE = f"{RESULTS}/longitudinal/bridge.safetensors"


rule longitudinal:
    """The bridge between two visits and its forecasts of held-out people."""
    input:
        BRIDGE,
        f"{RESULTS}/longitudinal/forecasts.npz",
        f"{RESULTS}/longitudinal/ageing.parquet",


rule pair_visits:
    """List every earlier-later pair of visits of one person."""
    input:
        labels=rules.build_label_table.output.labels,
        settings=f"{SETTINGS}/longitudinal.json",
    output:
        pairs=f"{RESULTS}/longitudinal/pairs.parquet",
    log:
        f"{LOGS}/longitudinal/pairs.log",
    benchmark:
        f"{BENCHMARKS}/longitudinal/pairs.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
    params:
        stage=STAGE["longitudinal"],
    shell:
        "python -m braing3n longitudinal pair --labels {input.labels:q} --out {output.pairs:q}"
        " --settings {input.settings:q} 2>&1 | tee {log:q}"


rule train_longitudinal:
    """Train the bridge from earlier to later visits on cached tokens."""
    input:
        tokens=rules.cache_latents.output.tokens,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        pairs=rules.pair_visits.output.pairs,
        settings=f"{SETTINGS}/longitudinal.json",
    output:
        weights=BRIDGE,
    log:
        f"{LOGS}/longitudinal/bridge.log",
    benchmark:
        f"{BENCHMARKS}/longitudinal/bridge.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=1440,
        gpu=0,
    params:
        stage=STAGE["longitudinal"],
    shell:
        "exec python -m braing3n run-training --gpus {resources.gpu} --log {log:q}"
        " longitudinal train --tokens {input.tokens:q} --tokenizer {input.tokenizer:q}"
        " --labels {input.labels:q} --pairs {input.pairs:q}"
        " --weights {output.weights:q} --settings {input.settings:q} --threads {threads}"


if CONFIG.longitudinal.weights:

    ruleorder: take_longitudinal > train_longitudinal

    use rule take_mae as take_longitudinal with:
        input:
            given=CONFIG.longitudinal.weights,
        output:
            weights=BRIDGE,
        log:
            f"{LOGS}/longitudinal/bridge.log",
        benchmark:
            f"{BENCHMARKS}/longitudinal/bridge.tsv"
        params:
            word="longitudinal",
            stage=STAGE["longitudinal"],


rule forecast_longitudinal:
    """Forecast held-out people from their first visit."""
    input:
        weights=BRIDGE,
        tokens=rules.cache_latents.output.tokens,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        pairs=rules.pair_visits.output.pairs,
        settings=f"{SETTINGS}/longitudinal.forecast.json",
    output:
        forecasts=f"{RESULTS}/longitudinal/forecasts.npz",
        table=f"{RESULTS}/longitudinal/forecasts.parquet",
    log:
        f"{LOGS}/longitudinal/forecasts.log",
    benchmark:
        f"{BENCHMARKS}/longitudinal/forecasts.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        stage=STAGE["longitudinal"],
    shell:
        "python -m braing3n longitudinal forecast --weights {input.weights:q} --tokens {input.tokens:q}"
        " --tokenizer {input.tokenizer:q} --labels {input.labels:q} --pairs {input.pairs:q}"
        " --out {output.forecasts:q} --table {output.table:q}"
        " --settings {input.settings:q} --threads {threads} 2>&1 | tee {log:q}"


rule evaluate_longitudinal:
    """Decode forecasts, read their ageing with a probe of real people, beside true later visits; draw Figures 4 and 7."""
    input:
        weights=BRIDGE,
        forecasts=rules.forecast_longitudinal.output.forecasts,
        table=rules.forecast_longitudinal.output.table,
        pairs=rules.pair_visits.output.pairs,
        tokens=rules.cache_latents.output.tokens,
        features=rules.cache_latents.output.features,
        encoder=MAE,
        tokenizer=TOKENIZER,
        labels=rules.build_label_table.output.labels,
        settings=[
            f"{SETTINGS}/{name}.json"
            for name in ("longitudinal", "longitudinal.forecast", "longitudinal.evaluation", "probe")
        ],
        # Of the atlas's regions.
        grid=[f"{SETTINGS}/{name}.json" for name in ("volumes", "preprocess", "resources")],
    output:
        ageing=f"{RESULTS}/longitudinal/ageing.parquet",
        changes=f"{RESULTS}/longitudinal/changes.parquet",
        coarse=f"{RESULTS}/longitudinal/decoded.npz",
        follow_up=report(
            f"{RESULTS}/longitudinal/figure_4.png", caption="../report/figure_4.rst", category="Generation"
        ),
        by_years=report(
            f"{RESULTS}/longitudinal/figure_7.png", caption="../report/figure_7.rst", category="Generation"
        ),
    log:
        f"{LOGS}/longitudinal/ageing.log",
    benchmark:
        f"{BENCHMARKS}/longitudinal/ageing.tsv"
    conda:
        "../../envs/models.yaml"
    threads: THREADS
    resources:
        mem_mb=6000,
        runtime=240,
    params:
        results=RESULTS,
        stage=STAGE["longitudinal"],
    shell:
        "python -m braing3n longitudinal evaluate --results {params.results:q} --threads {threads}"
        " 2>&1 | tee {log:q}"
