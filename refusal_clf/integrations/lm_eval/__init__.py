"""Tasks for lm-evaluation-harness, whose metrics are the classifier's; give this folder as `--include_path`.

    lm_eval --model hf --model_args pretrained=... --tasks refusal_clf --metadata '{"file": "prompts.jsonl"}' \
        --include_path "$(python -c 'import refusal_clf.integrations.lm_eval as tasks; print(*tasks.__path__)')"

`refusal_clf` takes the prompts of any file that `refusal-clf score` reads, `refusal_clf_coconot_original` and
`refusal_clf_coconot_contrast` those of `refusal-clf data pull coconot`. With `--log_samples --output_path DIR`, the
samples of any generation task can be scored afterwards: `refusal-clf score DIR/*/samples_*.jsonl`.
"""
