"""Scores the windows of a golden.jsonl as one would with transformers: one teacher-forced f32 pass a batch, logits of
the suffix only. Prints windows a second, loading not counted. Compare in one run with
`byrote score --model MODEL --input GOLDEN --output /dev/null --dtype f32`, which prints the same figure.

usage: transformers_score.py FOLDER FILE.gguf GOLDEN.jsonl [BATCH]      (needs torch, transformers, gguf)
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, gguf, golden = sys.argv[1:4]
batch = int(sys.argv[4]) if len(sys.argv) > 4 else 16
windows = [json.loads(line) for line in open(golden)]
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=gguf, dtype=torch.float32).eval()


def score(windows):
    ids = torch.tensor([w["token_ids"] for w in windows])
    prefix = windows[0]["prefix_len"]
    suffix = ids.shape[1] - prefix
    with torch.inference_mode():
        logits = model(ids[:, :-1], logits_to_keep=suffix).logits
        return torch.log_softmax(logits, -1).gather(-1, ids[:, prefix:, None])[..., 0]


score(windows[:batch])
start, cpu, worst = time.perf_counter(), time.process_time(), 0.0
for i in range(0, len(windows), batch):
    part = windows[i : i + batch]
    got = score(part)
    worst = max(worst, (got - torch.tensor([w["logprobs"] for w in part])).abs().max().item())
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
print(
    f"{len(windows)} windows in {seconds:.1f} s: {len(windows) / seconds:.2f} a second, {len(windows) / cpu:.2f} a "
    f"CPU-second; largest difference from golden {worst:.1e}"
)
