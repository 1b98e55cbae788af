"""Prompts of a wanted number of tokens that no server has seen before.

A server that holds the beginning of a prompt in its cache does not process it again, so each prompt is different from
the first word on. Words stand in random order, the same for the same seed: repeated text would be as fast to process
in a dense model, but not where experts are chosen by what is read.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

Count = Callable[[str], int | None]
LEAST = 8  # tokens of text, however long the template around it
MOST_TEMPLATE = 4096  # tokens that a chat template can put around a text

# Frequent English words, which most tokenizers hold as one token with the blank before them.
_TEXT = """
    able above across after again against air all almost along also always among animal another answer any apple
    area arm around art ask autumn away baby back bad ball bank base bear beat beauty bed before begin behind believe
    best better between big bird black blue board boat body book both bottom box boy branch bread bridge bright bring
    brother brown build burn busy buy call calm camp can car care carry case catch cause cell center chair chance
    change check child choose circle city class clean clear climb clock close cloud coast cold color come common
    control cook cool copy corn corner count country course cover cross crowd cry current cut dance danger dark
    daughter day dead deal dear decide deep desert design die differ dinner direct doctor dog dollar door down draw
    dream dress drink drive drop dry during each ear early earth east easy eat edge effect egg eight else end energy
    engine enough enter equal evening event ever every exact example eye face fact fair fall family famous far farm
    fast father fear feel field fight figure fill final find fine finger finish fire first fish five flat floor flow
    flower fly follow food foot force forest form forward four free fresh friend from front fruit full game garden
    gas gather general gentle girl give glad glass gold good grand grass great green ground group grow guess guide
    hand happy hard hat head hear heart heat heavy help high hill history hold hole home hope horse hot hour house
    huge human hundred hunt hurry ice idea imagine inch industry island job join jump key kind king know lady lake
    land language large last late laugh law lead learn leave left leg length letter level lie life lift light like
    line list listen little live log lone long look lost loud love low machine main make man many map mark market
    mass master matter mean measure meat meet metal middle might mile milk million mind minute miss mix modern moment
    money month moon morning mother motion mount mountain mouth move music must name nation nature near neck need
    never new next night nine noise north nose note nothing notice number object ocean off offer office often oil old
    once only open orange order other outside over own page paint pair paper parent part party pass path pattern pay
    people perhaps person phrase picture piece place plain plan plane planet plant play please point poor position
    possible post pound power present press print problem process produce product proper provide pull push question
    quick quiet race radio rain raise range reach read ready real reason record red region remember repeat reply rest
    result rich ride right ring rise river road rock roll room root rope rose round row rule run safe sail salt same
    sand save say scale school science score sea search season seat second section see seed seem select self sell
    send sense sentence separate serve set settle seven shape share sharp ship shoe shop short shoulder shout show
    side sight sign silent silver similar simple sing sister size skill skin sky sleep slow small smell smile snow
    soft soil soldier solve some son song soon sound south space speak special speech speed spell spend spoke spot
    spread spring square stand star start state station stay steam steel step stick still stone stop store story
    straight strange stream street string strong student study subject success sudden sugar suit summer sun supply
    support sure surface surprise swim table tail take talk tall teach team tell temperature ten test thank thick
    thin thing think third thought thousand three through throw tie time tiny together tone tool top total touch
    toward town track trade train travel tree triangle trip trouble truck true try tube turn twenty two type under
    unit until usual valley value village visit voice wait walk wall want war warm wash watch water wave way weather
    week weight west wheel white whole wide wife wild wind window wing winter wish woman wonder wood word work world
    write yard year yellow young
"""
WORDS = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text and its number of tokens, None where nobody can count them before the server does."""

    text: str
    tokens: int | None


class Prompts:
    """Makes prompts, each different from all before.

    count: tokens of a text as the server counts, special tokens with them, or None. seed: the same prompts for the
    same seed.
    """

    def __init__(self, count: Count, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._made = 0
        self._tokens_per_word = 1.0
        self._template = 0
        # The first word comes round again only when every other one has been first.
        self._first = list(WORDS)
        random.Random(f"{seed} first").shuffle(self._first)

    def make(self, tokens: int) -> Prompt:
        """A new prompt that the server processes as `tokens` tokens, or as near as whole words come."""
        tokens = max(tokens - self._template, min(tokens, LEAST))
        words = self._words(2 * tokens + 8)
        self._made += 1
        wanted = min(max(round(tokens / self._tokens_per_word), 1), len(words))
        best = Prompt(" ".join(words[:wanted]), None)
        tried: set[int] = set()
        for _ in range(12):  # two or three do; the bound is for a tokenizer whose counts jump about
            text = " ".join(words[:wanted])
            counted = self._count(text)
            if counted is None:
                return Prompt(text, None)
            tried.add(wanted)
            if best.tokens is None or abs(counted - tokens) < abs(best.tokens - tokens):
                best = Prompt(text, counted)
            if counted == tokens:
                break
            step = round((tokens - counted) / max(counted / wanted, 0.25)) or (1 if tokens > counted else -1)
            wanted = min(max(wanted + step, 1), len(words))
            if wanted in tried:
                break
        return best

    def learn(self, prompt: Prompt, tokens: int) -> None:
        """Take over how many tokens the server found in a prompt: of its own around the text, or all of them."""
        if prompt.tokens is not None:
            self._template = min(max(tokens - prompt.tokens, 0), MOST_TEMPLATE)
        elif tokens > 0:
            self._tokens_per_word = min(max(tokens / len(prompt.text.split()), 0.5), 20.0)

    def _words(self, number: int) -> list[str]:
        order = random.Random(f"{self._seed} {self._made}")
        return [self._first[self._made % len(self._first)], *order.choices(WORDS, k=number)]
