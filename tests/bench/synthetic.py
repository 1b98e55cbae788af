"""A real model file against a synthetic one of its shape and types: ``python -m tests.bench.synthetic [ROUNDS]``.

Needs llama-bench (ROOFLINE_LLAMA_BIN, or PATH). The two run in turn, so that both see the same machine; the medians and
the ratio of each pair are printed, and nothing is judged.
"""

import sys
import tempfile
from pathlib import Path

from roofline.bench import Given
from roofline.engine import programs
from roofline.engine.llama_bench import Sweep, run_sweep
from roofline.engine.synthetic import write_synthetic
from roofline.measure.timing import Samples
from tests.conftest import download_smollm2

MODEL, QUANT, ROUNDS, TIMEOUT = "smollm2-135m", "q4_1", 10, 600.0


def speeds(program: programs.Program, path: Path) -> dict[str, float]:
    """Tokens per second of both phases in one run [tok/s], on one thread: a second one waits for the first."""
    given = Given(hardware="xeon-8480", model=MODEL, quant=QUANT)  # of no effect on what is measured
    sweep = Sweep(prompt=(256,), gen=(64,), threads=(1,), repetitions=1)
    return {one.phase: one.tok_s for one in run_sweep(program, path, sweep, given, TIMEOUT).reading.observations}


def main(rounds: int) -> None:
    program = programs.find("llama-bench")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "synthetic.gguf"
        write_synthetic(MODEL, QUANT, made)
        files = {"real": download_smollm2(), "synthetic": made}
        for path in files.values():
            speeds(program, path)  # warm-up, and both in the page cache
        found: dict[str, list[dict[str, float]]] = {name: [] for name in files}
        for number in range(rounds):
            for name in sorted(files, reverse=bool(number % 2)):
                found[name].append(speeds(program, files[name]))
    print(f"{MODEL} {QUANT}, 1 thread, {rounds} interleaved runs, medians [tok/s], (spread: 10th to 90th percentile)")
    for phase, words in (("pp", "prefill 256"), ("tg", "decode 64")):
        samples = {name: Samples(tuple(run[phase] for run in runs)) for name, runs in found.items()}
        pairs = [
            synthetic[phase] / real[phase] for real, synthetic in zip(found["real"], found["synthetic"], strict=True)
        ]
        ratio = Samples(tuple(pairs))
        texts = [f"{name} {one.median:.1f} ({one.spread or 0:.0%})" for name, one in samples.items()]
        print(f"{words:12} {', '.join(texts)}, synthetic / real {ratio.median:.3f} ({ratio.spread or 0:.0%})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
