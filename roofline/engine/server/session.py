"""Measure a running server from outside: prefill and decode apart, one request and several, warm and repeated."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from roofline.bench.text import shown
from roofline.engine.server.address import parse_address, read_key
from roofline.engine.server.answer import Answer, Api
from roofline.engine.server.choice import API_NAMES, ApiName, choose_api
from roofline.engine.server.client import Connection, Limits, LostError
from roofline.engine.server.facts import ServerFacts, read_counters, read_facts, wait_until_ready
from roofline.engine.server.plan import Plan
from roofline.engine.server.prompts import MOST_TEMPLATE, Prompt, Prompts
from roofline.engine.server.results import Measured, Phase, ServerRun, measured_decode, measured_prefill
from roofline.engine.server.second import Tokenizer, per_character, read_tokenizer
from roofline.engine.server.together import ask_together
from roofline.spec import SpecError

Progress = Callable[[str], None]
SHORT = 16  # tokens of the prompt before a generation: deep enough to be a text, too few to slow attention
STEADY = 96  # generated tokens; with fewer, one slow token moves the mean by more than 1 %
TRIES = 2  # prompts sent before a server's cache is taken to be always on
KEPT_TEXTS = 16  # prompts kept for tokens per character


def measure_server(
    url: str,
    *,
    model_hint: str | None = None,
    prompt: int = 512,
    gen: int = 128,
    repetitions: int = 5,
    warm_up: int = 1,
    concurrency: Sequence[int] = (1,),
    api: ApiName = "auto",
    key_variable: str | None = None,
    timeout_s: float = 300.0,
    deadline_s: float = 1800.0,
    progress: Progress | None = None,
    second_tokenizer: Tokenizer | str | Path | None = None,
    seed: int | None = None,
) -> ServerRun:
    """Measure prefill of `prompt` tokens and decode of `gen` tokens on the server at `url`; 0 leaves a phase out.

    model_hint: which model to ask for where the server offers several. repetitions: recorded, after `warm_up` others.
    concurrency: how many requests at the same time, one measurement each. api: llama, completions or chat; auto finds
    out. key_variable: the environment variable with the API key. timeout_s: longest silence of the server, also while
    it loads its model [s]; deadline_s: longest duration of one answer [s]. progress: called with one line before each
    repetition. second_tokenizer: a function from text to tokens, or a tokenizer.json. seed: of the prompts, a new one
    where None, so that a second run does not meet the cache of the first.

    A server that is lost half-way gives what was measured until then, with the problem. SpecError when nothing was
    measured, and for arguments that make no sense. KeyboardInterrupt passes through with the connections closed.
    """
    plan = Plan(prompt, gen, repetitions, warm_up, tuple(concurrency))
    if api not in API_NAMES:
        raise SpecError(f"api: expected one of {', '.join(API_NAMES)}, found {shown(api)}")
    if not 0 < timeout_s <= deadline_s < 1e7:
        raise SpecError(
            f"time limits: expected 0 < silence <= whole answer, found {timeout_s:g} s and {deadline_s:g} s"
        )
    address, key = parse_address(url), read_key(key_variable)
    second = read_tokenizer(second_tokenizer) if second_tokenizer is not None else None
    limits = Limits(timeout_s, deadline_s)
    with ExitStack() as stack:
        connections = [
            stack.enter_context(Connection(address, limits, key)) for _ in range(max(plan.concurrency, default=1))
        ]
        wait_until_ready(connections[0], timeout_s)
        facts = read_facts(connections[0])
        name, chosen = choose_api(connections[0], facts, api, model_hint)
        seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        session = _Session(plan, chosen, connections, seed, progress)
        session.run()
        if not session.measured:
            raise session.errors[0]
        counted = _tokens_per_character(session)
        return ServerRun(
            url=address.base,
            api=name,
            facts=facts,
            connect_s=connections[0].connect_s,
            measured=tuple(session.measured),
            problems=tuple(str(error) for error in session.errors),
            notes=(*session.notes, *chosen.notes),
            seed=seed,
            tokens_per_char=counted,
            second_tokens_per_char=per_character(second, [text for text, _ in session.texts]) if second else None,
        )


@dataclass
class _Session:
    """One run: what is measured so far, and what went wrong."""

    plan: Plan
    api: Api
    connections: Sequence[Connection]
    seed: int
    progress: Progress | None
    measured: list[Measured] = field(default_factory=list)
    errors: list[SpecError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    texts: list[tuple[str, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._where = self.connections[0].address.base
        self._prompts = Prompts(lambda text: self.api.count(self.connections[0], text), self.seed)
        self._sent = 0  # prompt tokens that the server should have processed
        self._special: int | None = None

    def run(self) -> None:
        """Measure everything; stops when the server is lost, and goes on with the next after any other problem."""
        self._check_server()
        try:
            before = read_counters(self.connections[0])
            for phase, requests in self.plan.phases():
                rounds: list[list[Answer]] = []
                try:
                    self._repeat(phase, requests, rounds)
                except LostError:
                    raise
                except SpecError as error:
                    self.errors.append(error)
                finally:
                    self._keep(phase, rounds)
            if not self.errors:
                self._look_for_strangers(before, read_counters(self.connections[0]))
        except LostError as error:
            self.errors.append(error)

    def _check_server(self) -> None:
        """What is known before the first request."""
        facts: ServerFacts = self.api.facts
        needed = max(self.plan.prompt + 1, SHORT + self.plan.gen if self.plan.gen else 0)
        if facts.context is not None and needed > facts.context:
            raise SpecError(f"{self._where}: expected a context of at least {needed} tokens, found {facts.context}")
        most = max(self.plan.concurrency)
        if facts.slots is not None and most > facts.slots:
            self.notes.append(
                f"{most} requests at the same time, but the server works on {facts.slots}: the rest queue"
            )
        if 0 < self.plan.gen < STEADY:
            self.notes.append(
                f"{self.plan.gen} generated tokens are few for a steady mean: {STEADY} or more are better"
            )

    def _repeat(self, phase: Phase, requests: int, rounds: list[list[Answer]]) -> None:
        """Warm up, then add the answers of every repetition to `rounds`."""
        tokens = self.plan.prompt if phase == "pp" else self.plan.gen
        name = f"{phase}{tokens}" + (f" x {requests}" if requests > 1 else "")
        for repetition in range(-self.plan.warm_up, self.plan.repetitions):
            if self.progress is not None:
                which = f"{repetition + 1} of {self.plan.repetitions}" if repetition >= 0 else "warm-up"
                self.progress(f"{name}: {which}")
            answers = self._prefill(requests) if phase == "pp" else self._generate(requests)
            if repetition >= 0:
                rounds.append(answers)

    def _keep(self, phase: Phase, rounds: Sequence[Sequence[Answer]]) -> None:
        found = measured_prefill(rounds) if phase == "pp" else measured_decode(rounds)
        if found is not None:
            self.measured.append(found)

    def _prefill(self, requests: int) -> list[Answer]:
        """One round of prompts that came from no cache; another try with new ones where they did."""
        for _ in range(TRIES):
            prompts, answers = self._ask(requests, self.plan.prompt, self.api.prefill)
            missing = max(self._missing(answer, prompt) for answer, prompt in zip(answers, prompts, strict=True))
            if not missing:
                return answers
        raise SpecError(
            f"{self._where}: expected prompts that are processed whole, found {missing} tokens of a new one"
            " taken from a cache (or cut off): no measurement of prefill"
        )

    def _missing(self, answer: Answer, prompt: Prompt) -> int:
        """Tokens of a prompt that were not processed, 0 where they are too few to spoil the measurement."""
        if answer.prompt is None:
            raise SpecError(f"{self._where}: expected the prompt's tokens in usage or /tokenize, found neither")
        processed, sent = answer.prompt - answer.cached, prompt.tokens or 0
        if sent and processed > sent + MOST_TEMPLATE:
            raise SpecError(f"{self._where}: expected a prompt of about {sent} tokens, found {processed} processed")
        if self._special is None:
            self._special = self.api.count(self.connections[0], "") or 0
        # The same special tokens, or a chat's template, stand before every text.
        allowed = max(self._special, 1) if answer.timings else max(self._special, 1, answer.prompt // 20)
        missing = max(answer.cached, sent - processed)
        return missing if missing > allowed else int(processed < 1)

    def _generate(self, requests: int) -> list[Answer]:
        """One round of answers long enough to be timed."""

        def generate(connection: Connection, prompt: str) -> Answer:
            return self.api.generate(connection, prompt, self.plan.gen)

        _, answers = self._ask(requests, SHORT, generate)
        for answer in answers:
            if answer.gen < 2:
                raise SpecError(f"{self._where}: expected {self.plan.gen} generated tokens, found {answer.gen}")
            if answer.arrivals < 2 and (requests > 1 or answer.timings is None):
                raise SpecError(
                    f"{self._where}: expected the tokens one by one, found them all at once (a proxy between?)"
                )
            if answer.gen < self.plan.gen:
                self._note(f"answers ended early, at {answer.gen} of {self.plan.gen} tokens")
            if answer.arrivals < answer.gen / 2 and answer.timings is None:
                self._note(f"{answer.gen} tokens came in {answer.arrivals} pieces: times between tokens are coarse")
        return answers

    def _ask(
        self, requests: int, tokens: int, ask: Callable[[Connection, str], Answer]
    ) -> tuple[list[Prompt], list[Answer]]:
        prompts = [self._prompts.make(tokens) for _ in range(requests)]
        answers = ask_together(ask, self.connections, [prompt.text for prompt in prompts])
        for prompt, answer in zip(prompts, answers, strict=True):
            self._sent += (answer.prompt or 0) - answer.cached
            if answer.prompt is not None and tokens > SHORT:
                self._prompts.learn(prompt, answer.prompt)
            if len(self.texts) < KEPT_TEXTS:
                self.texts.append((prompt.text, prompt.tokens))
            self._compare_clocks(answer)
        return prompts, answers

    def _compare_clocks(self, answer: Answer) -> None:
        """A server cannot have worked for longer than the client waited."""
        if answer.timings is not None:
            worked, waited = answer.timings.prompt_s + answer.timings.gen_s, answer.last - answer.sent
            if worked > 1.1 * waited + 0.1:
                self._note(f"the server says it worked {worked:.3g} s on an answer that came after {waited:.3g} s")

    def _look_for_strangers(self, before: dict[str, float], after: dict[str, float]) -> None:
        """Other requests to the same server, by its counters, share its time with the measured ones."""
        if before.get("requests_processing", 0) > 0:
            self._note("the server worked on other requests when the run began: the speeds are too low")
        elif "prompt_tokens_total" in before and "prompt_tokens_total" in after:
            more = after["prompt_tokens_total"] - before["prompt_tokens_total"] - self._sent
            if more > 0:
                self._note(f"the server processed {more:.0f} prompt tokens of other requests meanwhile")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _tokens_per_character(session: _Session) -> float | None:
    """By the server's tokenizer, over the prompts that it counted."""
    counted = [(len(text), tokens) for text, tokens in session.texts if tokens]
    return sum(tokens for _, tokens in counted) / sum(length for length, _ in counted) if counted else None
