# Latents and samples -> the nearest-neighbour audit.
localrules:
    memorization,


rule memorization:
    """Whether samples are copies."""
    input:
        f"{RESULTS}/memorization/distances.parquet",
        f"{RESULTS}/memorization/copies.parquet",
        f"{RESULTS}/memorization/contrastive.parquet",
        f"{RESULTS}/memorization/planted.parquet",
        f"{RESULTS}/memorization/membership.parquet",


rule audit_memorization:
    """Nearest neighbours in the latent, copy detectors and membership inference: samples against training volumes."""
    input:
        tokens=rules.cache_latents.output.tokens,
        volumes=rules.build_volume_list.output.volumes,
        samples=rules.sample_diffusion.output.samples,
        table=rules.sample_diffusion.output.table,
        coarse=rules.measure_fidelity.output.coarse,
        others=rules.read_control.output.coarse,
        other_samples=rules.sample_control.output.samples,
        other_table=rules.sample_control.output.table,
        forecasts=rules.forecast_longitudinal.output.forecasts,
        forecast_table=rules.forecast_longitudinal.output.table,
        decoded_forecasts=rules.evaluate_longitudinal.output.coarse,
        indices=rules.volumes.input,
        settings=f"{SETTINGS}/memorization.json",
    output:
        distances=f"{RESULTS}/memorization/distances.parquet",
        copies=f"{RESULTS}/memorization/copies.parquet",
        contrastive=f"{RESULTS}/memorization/contrastive.parquet",
        planted=f"{RESULTS}/memorization/planted.parquet",
        membership=f"{RESULTS}/memorization/membership.parquet",
        pictures=f"{RESULTS}/memorization/nearest.png",
    log:
        f"{LOGS}/memorization/distances.log",
    benchmark:
        f"{BENCHMARKS}/memorization/distances.tsv"
    conda:
        "../../envs/models.yaml"
    # The last long job: nothing else could take the cores.
    threads: 4
    resources:
        mem_mb=6000,
        runtime=360,
    params:
        volumes_dir=f"{RESULTS}/volumes",
        stage=STAGE["memorization"],
    shell:
        "python -m braing3n memorization measure --tokens {input.tokens:q} --volume-list {input.volumes:q}"
        " --samples {input.samples:q} --distances {output.distances:q}"
        " --coarse {input.coarse:q} --volumes-dir {params.volumes_dir:q}"
        " --forecasts {input.decoded_forecasts:q} --others {input.others:q}"
        " --settings {input.settings:q} --threads {threads} 2>&1 | tee {log:q}"
