"""All of them: ``python -m tests.bench``. The sweep is of the Llama models alone; see tests.bench.sweep for all."""

from tests.bench import inspection, prediction, recommendation, startup, sweep

for bench in (startup, prediction, inspection, recommendation):
    bench.main()
sweep.main("llama-*")
