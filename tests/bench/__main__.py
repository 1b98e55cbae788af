"""All of them: ``python -m tests.bench``. The sweep is of the Llama models alone; see tests.bench.sweep for all.

The explorer's needs a browser, and is left out where there is none.
"""

from tests.bench import explorer, inspection, prediction, recommendation, startup, sweep
from tests.browser import installed

for bench in (startup, prediction, inspection, recommendation, *([explorer] if installed() else [])):
    bench.main()
sweep.main("llama-*")
