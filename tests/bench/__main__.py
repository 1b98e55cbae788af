"""All of them: ``python -m tests.bench``."""

from tests.bench import inspection, prediction, startup

for bench in (startup, prediction, inspection):
    bench.main()
