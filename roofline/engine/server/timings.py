"""llama-server's `timings`: tokens and milliseconds, from which the speeds are computed anew.

The milliseconds of generation begin when the first token has been sampled, from the logits of the prompt's last batch.
Hence n tokens took n − 1 passes through the model in that time. Builds from 2026 on say so in `predicted_per_second`;
those before divide n by the time, which is 1 % too fast at 100 tokens. Both state n and the time: only those are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from roofline.engine.server.fields import Record, milliseconds_in, tokens_in
from roofline.units import SMALL_PREFIXES


@dataclass(frozen=True, slots=True)
class Timings:
    """What a server's clock says of one answer.

    cached: prompt tokens taken from the cache, None where the server does not say. prompt: prompt tokens processed, in
    prompt_s [s] (0 for none). gen: tokens generated; steps: passes through the model in gen_s [s] (0 for none).
    stated: what the server's own predicted_per_second is: "(n - 1)/t", "n/t", "" (not stated), or "neither".
    """

    cached: int | None
    prompt: int
    prompt_s: float
    gen: int
    steps: int
    gen_s: float
    stated: str

    @property
    def prompt_tok_s(self) -> float:
        """Speed of prefill [tok/s]; 0 where no prompt was processed."""
        return self.prompt / self.prompt_s if self.prompt_s else 0.0

    @property
    def gen_tok_s(self) -> float:
        """Speed of decode [tok/s]; 0 where fewer than two tokens were generated."""
        return self.steps / self.gen_s if self.gen_s else 0.0


def read_timings(record: Record, where: str, decoded: int | None = None) -> Timings:
    """`timings` checked: SpecError for missing keys, and for times that are not above 0.

    decoded: tokens that the answer holds by another count of the server. The first servers, before slots, counted the
    passes in predicted_n, one less than the tokens.
    """
    prompt, gen = tokens_in(record, "prompt_n", where), tokens_in(record, "predicted_n", where)
    steps = gen if decoded is not None and decoded == gen + 1 else max(gen - 1, 0)
    prompt_ms = milliseconds_in(record, "prompt_ms", where) if prompt else 0.0
    gen_ms = milliseconds_in(record, "predicted_ms", where) if steps else 0.0
    seconds = gen_ms * SMALL_PREFIXES["m"]
    return Timings(
        cached=tokens_in(record, "cache_n", where) if "cache_n" in record else None,
        prompt=prompt,
        prompt_s=prompt_ms * SMALL_PREFIXES["m"],
        gen=gen,
        steps=steps,
        gen_s=seconds,
        stated=_definition(record.get("predicted_per_second"), gen, seconds),
    )


def _definition(stated: object, gen: int, seconds: float) -> str:
    """Which formula gives the speed that the server states."""
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or gen < 2 or not seconds:
        return ""
    found = {"(n - 1)/t": (gen - 1) / seconds, "n/t": gen / seconds}
    nearest = min(found, key=lambda name: abs(found[name] - stated))
    # The two differ by 1 / n.
    return nearest if math.isclose(found[nearest], stated, rel_tol=0.25 / gen) else "neither"
