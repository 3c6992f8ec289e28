"""byrote beside what one would use otherwise, on the same windows of the same model, in one run.

    python benches/peers/compare.py --model PATH --windows FILE --byrote target/release/byrote

PATH is a folder in Hugging Face's layout or a .gguf file, FILE has lines {"id", "token_ids", "prefix_len"}, as `byrote score`
reads them; where they have "logprobs", every program is held against them. Needs torch, transformers and numpy; gguf for a
.gguf file; llama-cpp-python for llama.cpp (left out, and said so, where it isn't installed).

    peers    (default) all programs in turn, round by round: windows and processor time a second, share of the machine's
             measured matrix-product peak, peak memory
    growth   what byrote's cost grows with: windows, suffix length, vocabulary, size of the model
    startup  from nothing to the first scored window: seconds and peak memory

byrote's runs are given by --run, such as --run "bf16=--dtype bf16" --run "bf16, early exit=--dtype bf16 --exit-below -13.8".
A run whose name holds "exit" is held against generation only: it doesn't score every token, and neither answers more.
Programs are run in rounds, one after another, so that a change in the machine's load meets all of them; every figure is the
median of its rounds, [least-most]. `--write docs/performance.md --section NAME` puts the tables between the marks
`<!-- begin NAME -->` and `<!-- end NAME -->` of that file. Linux only.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Teacher-forced batches, and generation in batches.
BATCH = 16
# Numbers of llama.cpp's file types. The first is what the others are made from.
FTYPES = {"f32": 0, "bf16": 32, "q8_0": 7, "q4_1": 3}


# ---------------------------------------------------------------------------------------------------------------- workers


def shaped(windows, batch):
    """Batches of windows of one shape, at most `batch` in each."""
    groups = {}
    for window in windows:
        groups.setdefault((len(window["token_ids"]), window["prefix_len"]), []).append(window)
    for group in groups.values():
        for start in range(0, len(group), batch):
            yield group[start : start + batch]


def worst(windows, found):
    """The largest difference of log-probabilities from those of the file; None where it has none."""
    pairs = [(w["logprobs"], f) for w, f in zip(windows, found) if w.get("logprobs") is not None and f is not None]
    return max((abs(a - b) for wanted, got in pairs for a, b in zip(wanted, got)), default=None)


def peak_memory(process):
    """Of a process, in bytes; 0 where it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        found = None
    return int(found[1]) * 1024 if found else 0


def load_transformers(model, dtype):
    import torch
    from transformers import AutoModelForCausalLM

    path = Path(model)
    where, more = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    return AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), **more).eval()


class Transformers:
    """Teacher-forced: logits of the suffix alone."""

    def __init__(self, options, dtype):
        self.model = load_transformers(options.model, dtype)

    def score(self, windows):
        import torch

        found = {}
        for part in shaped(windows, BATCH):
            prefix = part[0]["prefix_len"]
            ids = torch.tensor([w["token_ids"] for w in part])
            with torch.inference_mode():
                logits = self.model(ids[:, :-1], logits_to_keep=ids.shape[1] - prefix).logits.float()
                scores = torch.log_softmax(logits, -1).gather(-1, ids[:, prefix:, None])[..., 0]
            found.update((id(w), row.tolist()) for w, row in zip(part, scores))
        return [found[id(w)] for w in windows]


class Generate:
    """Greedy generation of as many tokens as the suffix has, which tells only whether it comes out."""

    def __init__(self, options, dtype, batch):
        self.model, self.batch = load_transformers(options.model, dtype), batch

    def score(self, windows):
        import torch

        for part in shaped(windows, self.batch):
            prefix = part[0]["prefix_len"]
            suffix = len(part[0]["token_ids"]) - prefix
            ids = torch.tensor([w["token_ids"][:prefix] for w in part])
            with torch.inference_mode():
                self.model.generate(
                    ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    min_new_tokens=suffix,
                    max_new_tokens=suffix,
                    pad_token_id=0,
                )
        return [None] * len(windows)


class LlamaCpp:
    """Batches of sequences, logits of the suffix alone, and a log-softmax over them in torch."""

    def __init__(self, options, path):
        import llama_cpp as c

        self.c = c
        c.llama_log_set(SILENT, None)
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(str(path).encode(), c.llama_model_default_params())
        params = c.llama_context_default_params()
        longest = max(len(w["token_ids"]) for w in options.loaded)
        params.n_ctx = params.n_batch = params.n_ubatch = longest * BATCH
        params.n_seq_max = BATCH
        params.n_threads = params.n_threads_batch = options.threads
        if hasattr(params, "kv_unified"):
            params.kv_unified = False
        self.context = c.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp made no context")
        self.vocab = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(longest * BATCH, 0, 1)

    def score(self, windows):
        import ctypes

        import numpy
        import torch

        c, batch, found = self.c, self.batch, {}
        for part in shaped(windows, BATCH):
            prefix, length, n = part[0]["prefix_len"], len(part[0]["token_ids"]), 0
            for sequence, window in enumerate(part):
                for position, token in enumerate(window["token_ids"][:-1]):
                    batch.token[n], batch.pos[n], batch.n_seq_id[n] = token, position, 1
                    batch.seq_id[n][0], batch.logits[n] = sequence, position >= prefix - 1
                    n += 1
            batch.n_tokens = n
            c.llama_memory_clear(c.llama_get_memory(self.context), True)
            if c.llama_decode(self.context, batch) != 0:
                raise RuntimeError("llama_decode failed")
            rows = len(part) * (length - prefix)
            pointer = c.llama_get_logits(self.context)
            buffer = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * (rows * self.vocab))).contents
            logits = torch.from_numpy(numpy.frombuffer(buffer, numpy.float32)).view(len(part), -1, self.vocab)
            targets = torch.tensor([w["token_ids"][prefix:] for w in part])[..., None]
            scores = logits.gather(-1, targets)[..., 0] - torch.logsumexp(logits, -1)
            found.update((id(w), row.tolist()) for w, row in zip(part, scores))
        return [found[id(w)] for w in windows]


class Peak:
    """A large square product, in GFLOP a second: what the machine can do at most, by torch."""

    def __init__(self, dtype):
        import torch

        self.n = 3072
        self.a, self.b = (torch.randn(self.n, self.n).to(getattr(torch, dtype)) for _ in range(2))

    def score(self, windows):
        best = 0.0
        for _ in range(4):
            start = time.perf_counter()
            self.a @ self.b
            best = max(best, 2 * self.n**3 / (time.perf_counter() - start) / 1e9)
        self.peak = best
        return [None] * len(windows)


def silent_log():
    if importlib.util.find_spec("llama_cpp") is None:
        return None
    import llama_cpp

    return llama_cpp.llama_log_callback(lambda *_: None)


def runner(name, options):
    kind, _, dtype = name.partition(":")
    full = {"f32": "float32", "bf16": "bfloat16"}.get(dtype, dtype)
    match kind:
        case "peak":
            return Peak(full)
        case "transformers":
            return Transformers(options, full)
        case "generate-1":
            return Generate(options, full, 1)
        case "generate-16":
            return Generate(options, full, 16)
        case "llama.cpp":
            return LlamaCpp(options, Path(options.work) / f"{dtype}.gguf")
    raise ValueError(name)


def worker(options):
    """Loads one program, says so, and scores the windows once for every line that comes in."""
    if importlib.util.find_spec("torch"):
        import torch

        torch.set_num_threads(options.threads)
    windows = options.loaded
    made = runner(options.worker, options)
    made.score(windows[:1])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        count = int(line)
        start, cpu = time.perf_counter(), time.process_time()
        found = made.score(windows[:count])
        told = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "windows": count}
        told["worst"], told["peak"] = worst(windows, found), getattr(made, "peak", None)
        told["rss"] = peak_memory("self")
        print(json.dumps(told), flush=True)


# ------------------------------------------------------------------------------------------------------------ programs


class Worker:
    """A program that stays loaded from round to round."""

    def __init__(self, name, options, count):
        self.name, self.count = name, count
        own = ["--model", options.model, "--windows", options.windows, "--work", options.work]
        command = [sys.executable, __file__, *own, "--threads", str(options.threads), "--worker", name]
        env = dict(os.environ, OMP_NUM_THREADS=str(options.threads), TOKENIZERS_PARALLELISM="false")
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=subprocess.DEVNULL, text=True, env=env)
        if not self.process.stdout.readline():
            raise RuntimeError(f"{name} could not be loaded; try it with --worker {name} to see why")
        self.startup = time.perf_counter() - started

    def round(self):
        self.process.stdin.write(f"{self.count}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended in the middle of a round")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def run_byrote(options, arguments, env=None):
    """One run: seconds, processor time, peak memory of the whole process, and what it said."""
    with tempfile.TemporaryFile("w+") as said:
        started = time.perf_counter()
        process = subprocess.Popen([options.byrote, *arguments], stdout=subprocess.DEVNULL, stderr=said, env=env)
        ended, peak = 0, 0
        # The system's own figure of a process that ended holds what its parent had, too: it is asked while it runs.
        while not ended:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0 if ended else 0.005)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        raise RuntimeError(f"byrote {' '.join(arguments)}: exit code {process.returncode}\n{text}")
    return {"wall": seconds, "total_cpu": usage.ru_utime + usage.ru_stime, "rss": peak, "said": text}


SCORED = re.compile(r"(\d+) windows scored in ([\d.]+) s \([\d.]+ a second, ([\d.]+) s of processor time\)")


def byrote_score(options, model, windows, arguments):
    """A run of `byrote score`; its own time and processor time for scoring, without loading."""
    with tempfile.NamedTemporaryFile("r") as out:
        base = ["score", "--model", str(model), "--input", str(windows), "--output", out.name]
        told = run_byrote(options, [*base, "--threads", str(options.threads), *arguments])
        lines = [json.loads(line) for line in out]
    count, seconds, cpu = SCORED.search(told["said"]).groups()
    wanted = [json.loads(line) for line in open(windows)]
    found = worst(wanted, [line["logprobs"] for line in lines])
    return dict(told, seconds=float(seconds), cpu=float(cpu), windows=int(count), worst=found, peak=None)


class Byrote:
    def __init__(self, options, arguments):
        self.options, self.arguments = options, arguments.split()

    def round(self):
        return byrote_score(self.options, self.options.model, self.options.windows, self.arguments)

    def close(self):
        pass


def quantized_files(options):
    """GGUF files of the types that llama.cpp is measured in, all made from the same weights. Empty where it can't be."""
    if Path(options.model).suffix != ".gguf" or importlib.util.find_spec("llama_cpp") is None:
        note("llama.cpp is left out: it needs a .gguf file and llama-cpp-python")
        return []
    import llama_cpp as c

    c.llama_log_set(SILENT, None)
    source = options.model
    for name, ftype in FTYPES.items():
        to = Path(options.work) / f"{name}.gguf"
        params = c.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.nthread = ftype, True, options.threads
        if not to.exists() and c.llama_model_quantize(str(source).encode(), str(to).encode(), params) != 0:
            raise RuntimeError(f"{to}: llama.cpp could not write it")
        source = Path(options.work) / "f32.gguf"
    return [f"llama.cpp:{name}" for name in FTYPES]


# -------------------------------------------------------------------------------------------------------------- tables


def note(text):
    print(text, file=sys.stderr, flush=True)


def spread(values, form="{:.2f}"):
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    middle, low, high = (form.format(v) for v in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} [{low}-{high}]"


def gib(values):
    return f"{max(values) / 2**20:.0f} MiB"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def flops(options):
    """Multiplications and additions that a window needs, in GFLOP: all positions but the last through the layers, the
    suffix through the output matrix."""
    import torch

    with torch.device("meta"):
        from transformers import AutoConfig, AutoModelForCausalLM

        path = Path(options.model)
        where, more = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
        config = AutoConfig.from_pretrained(where, **more)
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    body = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    window = options.loaded[0]
    length, suffix = len(window["token_ids"]) - 1, len(window["token_ids"]) - window["prefix_len"]
    per_head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * per_head * length**2
    return (2 * body * length + attention + 2 * head.weight.numel() * suffix) / 1e9


def peers(options):
    total = len(options.loaded)
    programs = {f"byrote {name}": Byrote(options, arguments) for name, arguments in options.runs}
    names = ["transformers:f32", "transformers:bf16", *quantized_files(options), "generate-16:f32", "generate-16:bf16"]
    counts = {"generate-16": min(total, 2 * BATCH), "generate-1": min(total, options.singles)}
    wanted = ["peak:f32", "peak:bf16", *names, "generate-1:f32"]
    for name in wanted:
        if options.only and not name.startswith("peak") and not any(part in name for part in options.only.split(",")):
            continue
        note(f"loading {name}")
        programs[name] = Worker(name, options, counts.get(name.partition(":")[0], total))
    rounds = {name: [] for name in programs}
    for number in range(options.rounds):
        for name, program in programs.items():
            # Greedy generation one by one takes minutes: once is enough.
            if number and name.startswith("generate-1:"):
                continue
            time.sleep(0.3)
            rounds[name].append(program.round())
            last = rounds[name][-1]
            note(f"round {number + 1}, {name}: {last['windows'] / last['seconds']:.2f} windows a second")
    for program in programs.values():
        program.close()
    peak = {dtype: max(r["peak"] for r in rounds[f"peak:{dtype}"]) for dtype in ("f32", "bf16")}
    need = flops(options)
    rate = lambda r: r["windows"] / r["seconds"]
    byrotes = [name for name in rounds if name.startswith("byrote")]
    fastest = lambda names: max(names, key=lambda name: statistics.median(map(rate, rounds[name])))
    full = [name for name in byrotes if "exit" not in name] or byrotes
    best = fastest(full)
    rows = []
    for name in (n for n in rounds if not n.startswith("peak")):
        told, kind = rounds[name], "bf16" if "bf16" in name else "f32" if "f32" in name else None
        ours = next((b for b in full if kind and kind in b), best)
        ours = fastest(byrotes) if "generate" in name else name if name in byrotes else ours
        by = [rate(a) / rate(b) for a, b in zip(rounds[ours], told)]
        cpu = [(b["cpu"] / b["windows"]) / (a["cpu"] / a["windows"]) for a, b in zip(rounds[ours], told)]
        # Generation does other work, and quantized products aren't bound by this peak.
        share = "-" if kind is None or "generate" in name or "exit" in name else f"{100 * need * statistics.median(map(rate, told)) / peak[kind]:.0f}%"
        shown = name.replace("generate-16", "transformers, greedy generation, 16 at a time,")
        shown = shown.replace("generate-1", "transformers, greedy generation, one at a time,").replace(":", " ")
        shown = re.sub(r"^transformers (f32|bf16)$", r"transformers, teacher-forced, 16 at a time, \1", shown)
        rows.append([
            shown,
            spread(map(rate, told)),
            spread([r["cpu"] / r["windows"] for r in told], "{:.3f}"),
            "1" if name == ours else f"{spread(by)}",
            "1" if name == ours else f"{spread(cpu)}",
            share,
            gib([r["rss"] for r in told]),
            spread([max((r["worst"] for r in told if r["worst"] is not None), default=None)], "{:.1e}"),
        ])
    head = [
        "program",
        "windows/s",
        "CPU-s a window",
        "byrote's speed to its",
        "its CPU time to byrote's",
        "share of the peak",
        "peak memory",
        "worst difference, nats",
    ]
    said = f"A window needs {need:.1f} GFLOP; the machine's peak by torch is {peak['f32']:.0f} GFLOP/s in f32, {peak['bf16']:.0f} in bf16."
    return f"{said}\nPrograms are held against byrote's full run of their own type, quantized ones against {best}, generation against {fastest(byrotes)}.\n\n{table(head, rows)}"


def random_windows(path, count, vocab, prefix, suffix, seed=0):
    import numpy

    ids = numpy.random.default_rng(seed).integers(0, vocab, (count, prefix + suffix))
    with open(path, "w") as out:
        for i, row in enumerate(ids):
            out.write(json.dumps({"id": i, "token_ids": row.tolist(), "prefix_len": prefix}) + "\n")
    return path


def random_model(folder, vocab, hidden, layers):
    """A Llama with random weights in bf16, and its parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=8 * hidden // 3 // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        tie_word_embeddings=True,
        max_position_embeddings=1024,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def vocabulary(options, model):
    """Of a model, as byrote tells it: the one beyond which it refuses ids."""
    with tempfile.TemporaryDirectory() as at:
        path = Path(at) / "one.jsonl"
        path.write_text(json.dumps({"id": 0, "token_ids": [0, 2**32 - 1], "prefix_len": 1}) + "\n")
        command = [options.byrote, "score", "--model", str(model), "--input", str(path), "--output", "-"]
        said = subprocess.run(command, capture_output=True, text=True).stdout
        return int(re.search(r"vocabulary[^\d]*(\d+)", said)[1])


def growth(options):
    arguments, text = options.runs[0][1].split(), ""
    with tempfile.TemporaryDirectory() as at:
        at = Path(at)

        def measured(model, count, prefix=50, suffix=50):
            vocab = vocabulary(options, model)
            file = random_windows(at / "windows.jsonl", count, vocab, prefix, suffix)
            told = [byrote_score(options, model, file, arguments) for _ in range(options.rounds)]
            each = statistics.median(r["seconds"] / r["windows"] for r in told)
            cpu = statistics.median(r["cpu"] / r["windows"] for r in told)
            note(f"{Path(model).name}: {count} windows of {prefix}+{suffix}: {1e3 * each:.3f} ms a window")
            return each, cpu, max(r["rss"] for r in told)

        def series(what, cases):
            first, rows = None, []
            for label, units, told in cases:
                each, cpu, rss = told
                first = first or (cpu / units)
                per = cpu / units / first
                rows.append([label, f"{1e3 * each:.3f}", f"{1e3 * cpu:.3f}", f"{per:.2f}", gib([rss])])
            return table([what, "ms a window", "CPU-ms a window", "CPU time a unit, to the first", "peak memory"], rows) + "\n"

        counts = [n for n in (100, 1_000, 10_000, 100_000) if n <= options.most]
        text += "Windows, built-in model:\n\n"
        text += series("windows", ((f"{n:,}", 1, measured("builtin", n)) for n in counts))
        text += f"Windows, {Path(options.model).name}:\n\n"
        text += series("windows", ((f"{n:,}", 1, measured(options.model, n)) for n in counts if n <= 1_000))
        text += "Suffix length, after a prefix of 50 (unit: a token fed):\n\n"
        lengths = [10, 25, 50, 100, 200]
        text += series("suffix", ((n, 49 + n, measured(options.model, options.few, 50, n)) for n in lengths))
        text += "Vocabulary, random Llama of 4 layers, 256 wide (unit: a parameter of the body, half of one of the table, whose rows only the suffix meets):\n\n"

        def made(vocab, hidden, layers):
            folder = at / f"{vocab}-{hidden}-{layers}"
            return folder, random_model(folder, vocab, hidden, layers), vocab * hidden

        def sizes(shapes, label):
            for shape in shapes:
                folder, parameters, of_table = made(*shape)
                yield label(shape, parameters), parameters - of_table / 2, measured(folder, options.few)

        vocabularies = [(v, 256, 4) for v in (8_192, 32_768, 131_072, 262_144)]
        text += series("vocabulary", sizes(vocabularies, lambda shape, _: f"{shape[0]:,}"))
        text += "Size, random Llamas with 32,768 tokens (unit: as above):\n\n"
        widths = [(32_768, hidden, layers) for hidden, layers in ((256, 4), (512, 8), (768, 12), (1_024, 24))]
        text += series("parameters", sizes(widths, lambda shape, p: f"{p / 1e6:.0f} M, {shape[2]} x {shape[1]}"))
    return text


def startup(options):
    with tempfile.TemporaryDirectory() as at:
        one = Path(at) / "one.jsonl"
        one.write_text(open(options.windows).readline())
        wall = {}
        names = ["transformers:f32", "transformers:bf16", *quantized_files(options)]
        for _ in range(options.rounds):
            for name, arguments in options.runs:
                told = byrote_score(options, options.model, one, arguments.split())
                wall.setdefault(f"byrote {name}", []).append((told["wall"], told["rss"]))
            for name in names:
                if options.only and not any(part in name for part in options.only.split(",")):
                    continue
                program = Worker(name, options, 1)
                wall.setdefault(name.replace(":", " "), []).append((program.startup, program.round()["rss"]))
                program.close()
    rows = [[name, spread([w for w, _ in told]), gib([r for _, r in told])] for name, told in wall.items()]
    return table(["program", "seconds to the first window", "peak memory"], rows)


# ---------------------------------------------------------------------------------------------------------------- main


def machine(options):
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    versions = [subprocess.run([options.byrote, "--version"], capture_output=True, text=True).stdout.strip()]
    for package in ("torch", "transformers", "llama_cpp_python"):
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    model = name[1].strip() if name else platform.machine()
    return f"{time.strftime('%Y-%m-%d')}, {options.threads} threads of {model}; {', '.join(versions)}."


def command(options):
    given = f"python benches/peers/compare.py {options.what} --model {Path(options.model).name} --windows {Path(options.windows).name}"
    runs = "".join(f" --run {name}='{arguments}'" for name, arguments in options.runs)
    limit = f" --limit {options.limit}" if options.limit else ""
    return f"{given}{limit} --rounds {options.rounds}{runs}"


def write(path, section, text):
    page = Path(path).read_text()
    begin, end = f"<!-- begin {section} -->", f"<!-- end {section} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        sys.exit(f"{path}: there must be one {begin} and one {end}")
    before, rest = page.split(begin)
    Path(path).write_text(f"{before}{begin}\n{text}{end}{rest.split(end)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = {"peers": peers, "growth": growth, "startup": startup}
    parser.add_argument("what", nargs="?", default="peers", choices=list(kinds))
    parser.add_argument("--model", required=True, help="a folder or a .gguf file")
    parser.add_argument("--windows", required=True, help="JSON lines, as byrote score reads them")
    parser.add_argument("--byrote", default="target/release/byrote")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=0, help="take only so many of the windows")
    parser.add_argument("--singles", type=int, default=8, help="windows for generation one at a time")
    parser.add_argument("--only", default="", help="only peers whose names contain one of these, separated by commas")
    parser.add_argument("--run", action="append", metavar="NAME=ARGUMENTS", help="byrote's runs [f32='--dtype f32' bf16='--dtype bf16']")
    parser.add_argument("--most", type=int, default=100_000, help="growth: windows at most")
    parser.add_argument("--few", type=int, default=64, help="growth: windows where they aren't what grows")
    parser.add_argument("--work", default="", help="folder for converted files, kept [a temporary one]")
    parser.add_argument("--write", metavar="FILE", help="put the tables into this page")
    parser.add_argument("--section", help="between which marks [the kind of comparison]")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.runs = [tuple(run.split("=", 1)) for run in options.run or ["f32=--dtype f32", "bf16=--dtype bf16"]]
    options.loaded = [json.loads(line) for line in open(options.windows) if line.strip()]
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or temporary
        Path(options.work).mkdir(parents=True, exist_ok=True)
        if options.worker:
            return worker(options)
        if options.limit:
            options.loaded = options.loaded[: options.limit]
            options.windows = str(Path(temporary) / Path(options.windows).name)
            Path(options.windows).write_text("".join(json.dumps(w) + "\n" for w in options.loaded))
        text = f"`{command(options)}`\\\n{machine(options)}\n\n{kinds[options.what](options)}"
    print(text)
    if options.write:
        write(options.write, options.section or options.what, text)


SILENT = silent_log()

if __name__ == "__main__":
    main()
