# Every result table -> the paper's tables and one page.
localrules:
    paper,


NAMES = [*(f"table_{n}" for n in (1, "2a", "2b", 3, 5, 6, 7, 8)), "appendix_f"]
TABLES = [f"{RESULTS}/paper/{name}.{end}" for name in NAMES for end in ("csv", "md", "tex", "html")]


# Which weights they come from is printed.
FOREIGN = [
    f"{RESULTS}/latents/features_{encoder}.npz"
    for encoder in CONFIG.latents.encoders
    if encoder in encoders.list_encoders("foreign")
]

# As text: a rule's output named as such would bring its rule along, past `--allowed-rules`.
SHOWN = [
    rules.manifest.input,
    rules.build_volume_list.output.flow,
    rules.build_volume_list.output.segmentations,
    rules.build_volume_list.output.quality,
    rules.find_near_duplicates.output.pairs,
    rules.build_label_table.output.flow,
    rules.volumes.input,
    rules.compare_encoders.output,
    FOREIGN,
    READOUTS,
    rules.measure_fidelity.output.distances,
    rules.measure_fidelity.output.anatomy,
    rules.audit_memorization.output.distances,
    rules.audit_memorization.output.copies,
    rules.audit_memorization.output.contrastive,
    rules.audit_memorization.output.planted,
    rules.audit_memorization.output.membership,
    rules.audit_memorization.output.pictures,
    rules.train_tokenizer.output.metrics,
    SWEEP_RESULTS,
    rules.sample_diffusion.output.picture,
    rules.read_control.output,
    rules.sample_control.output.picture,
    rules.evaluate_longitudinal.output,
    *([] if CONFIG.pretrain.weights else [rules.train_mae.output.loss, rules.train_mae.output.table]),
]
SHOWN = [str(path) for part in SHOWN for path in ([part] if isinstance(part, str) else part)]


rule paper:
    """The paper's tables, the index page and the dataset card."""
    input:
        f"{RESULTS}/paper/index.html",
        f"{RESULTS}/paper/card.html",


rule tabulate_paper:
    """Write Tables 1, 2a, 2b, 3 and 5 to 8 and Appendix F, ours beside the paper's numbers, the dataset card and the index page."""
    input:
        SHOWN,
    output:
        TABLES,
        bars=f"{RESULTS}/paper/appendix_f.png",
        card=report(f"{RESULTS}/paper/card.html", caption="../report/card.rst", category="Paper"),
        index=report(f"{RESULTS}/paper/index.html", caption="../report/index.rst", category="Paper"),
    log:
        f"{LOGS}/paper/tables.log",
    benchmark:
        f"{BENCHMARKS}/paper/tables.tsv"
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        results=RESULTS,
        out=f"{RESULTS}/paper",
        stage=STAGE["paper"],
    shell:
        "python -m braing3n paper tables --results-dir {params.results:q} --out-dir {params.out:q}"
        " 2>&1 | tee {log:q}"
