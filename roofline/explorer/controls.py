"""The controls of the page: one for each option of a state, with its label, and their words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html

from roofline.explorer import names
from roofline.explorer.state import BACKENDS, OPTIONS, State, Words, words
from roofline.quantization import KV_TYPES
from roofline.quantization import names as quant_infos
from roofline.units import format_number

NATIVE = "native"  # the word of the control for '', which a menu cannot hold
#: Options chosen from a menu; the others are typed.
_MENUS = ("hw", "model", "quant", "kv", "runtime", "backend", "flash_attn")
_LABELS = {
    "hw": "Hardware", "model": "Model", "quant": "Quantisation", "prompt": "Prompt", "gen": "Generation",
    "depth": "Depth", "batch": "Batch", "kv": "KV cache", "runtime": "Runtime", "backend": "Backend",
    "threads": "CPU threads", "gpu_layers": "GPU layers", "flash_attn": "Flash attention", "set": "Figures to replace",
    "roof": "Device",
}  # fmt: skip
_HINTS = {
    "prompt": "tokens", "gen": "tokens", "depth": "tokens in the cache", "batch": "sequences",
    "threads": "the fast cores", "gpu_layers": "as many as fit",
}  # fmt: skip
_EXAMPLES = {
    "prompt": ("128", "512", "2k", "8k", "32k"),
    "gen": ("32", "128", "512", "2k"),
    "depth": ("0", "4k", "16k", "32k", "128k"),
    "batch": ("1", "4", "16", "64"),
}
_SET_EXAMPLE = "memory.bandwidth=102.4GB/s"


def control_id(option: str) -> str:
    """The id of an option's control in the page."""
    return option.replace("_", "-")


CONTROLS = tuple(control_id(option) for option in OPTIONS)


def controls(state: State) -> list[Any]:
    """The form, filled in for a state."""
    shown = dict(zip(OPTIONS, values(state), strict=True))
    return [
        _field("hw", _menu("hw", shown["hw"], hardware_options(state), multi=True)),
        html.Div(
            [
                html.Label("Another device, a count or a pair", htmlFor="add"),
                html.Div(
                    [
                        dcc.Input(
                            id="add",
                            type="text",
                            value="",
                            placeholder="rtx-3090+ryzen-7950x",
                            list="all-hardware",
                            debounce=True,
                            autoComplete="off",
                            spellCheck=False,
                            maxLength=names.LONGEST,
                        ),
                        html.Button("Add", id="add-button", type="button", n_clicks=0),
                    ],
                    className="with-button",
                ),
            ],
            className="field",
        ),
        _field("model", _menu("model", shown["model"], _model_options())),
        html.Div(
            [
                _field("quant", _menu("quant", shown["quant"], _quant_options())),
                _field("kv", _menu("kv", shown["kv"], kv_options(state), searchable=False)),
                *(_field(option, _text(option, shown[option])) for option in ("prompt", "gen", "depth", "batch")),
            ],
            className="pairs",
        ),
        html.Details(
            [
                html.Summary("Runtime and hardware"),
                _field("runtime", _menu("runtime", shown["runtime"], _runtime_options(), searchable=False)),
                html.Div(
                    [
                        _field("backend", _menu("backend", shown["backend"], _backend_options(), searchable=False)),
                        _field("flash_attn", _menu("flash_attn", shown["flash_attn"], _SWITCH, searchable=False)),
                        *(_field(option, _text(option, shown[option])) for option in ("threads", "gpu_layers")),
                    ],
                    className="pairs",
                ),
                _field("set", _text("set", shown["set"])),
            ],
            className="more",
            open=any(getattr(state, option) for option in ("backend", "threads", "gpu_layers", "set")),
        ),
    ]


def roof_choice() -> dcc.RadioItems:
    """Which device's roofline is drawn; its options follow the devices."""
    return dcc.RadioItems(id="roof", options=[], value="", inline=True, className="roof-choice")


def roof_options(state: State) -> list[dict[str, str]]:
    """The devices of a state, for `roof_choice`."""
    return [{"label": name, "value": name} for name in state.hw]


def values(state: State) -> list[Any]:
    """What the controls hold for a state, in the order of OPTIONS."""
    found = words(state)
    return [_value(option, found[option]) for option in OPTIONS]


def _value(option: str, given: str | tuple[str, ...]) -> Any:
    if option == "hw":
        return list(given)
    if option == "set":
        return "; ".join(given)
    return given or NATIVE if option in _MENUS else given


def words_of(given: Sequence[Any]) -> Words:
    """The words that the controls hold, in the order of OPTIONS; what is no text is none."""
    return {option: _words(option, value) for option, value in zip(OPTIONS, given, strict=True)}


def _words(option: str, value: Any) -> str | tuple[str, ...]:
    if option == "hw":
        return tuple(part for part in value if isinstance(part, str)) if isinstance(value, list) else ()
    text = value if isinstance(value, str) else ""
    if option == "set":
        return tuple(part.strip() for part in text.split(";") if part.strip())
    return "" if option in _MENUS and text == NATIVE else text


# -- menus ------------------------------------------------------------------------------------------------------------

_SWITCH = [{"label": "as the runtime does", "value": NATIVE}, *({"label": way, "value": way} for way in ("on", "off"))]


def hardware_options(state: State) -> list[dict[str, str]]:
    """The devices of the catalog by name, and before them the counts and pairs of the state, which have none there."""
    known = names.titles("hardware")
    own = [{"label": name, "value": name, "search": name} for name in state.hw if name not in known]
    listed = sorted(known.items(), key=lambda item: item[1].lower())
    return own + [{"label": name, "value": one, "search": f"{name} {one}"} for one, name in listed]


def _model_options() -> list[dict[str, str]]:
    listed = sorted(names.titles("models").items(), key=lambda item: item[1].lower())
    return [{"label": name, "value": one, "search": f"{name} {one}"} for one, name in listed]


def _quant_options() -> list[dict[str, str]]:
    listed = [
        {"label": f"{one.id} · {format_number(one.model_bits_per_weight)} bit", "value": one.id, "search": one.id}
        for one in quant_infos()
    ]
    return [{"label": "as published", "value": NATIVE, "search": "native published"}, *listed]


def kv_options(state: State) -> list[str]:
    """The types of the cache, and before them the pair of the state, where it has one."""
    own = [] if state.kv in KV_TYPES else [state.kv]
    return [*own, *KV_TYPES]


def _runtime_options() -> list[dict[str, str]]:
    return [{"label": one, "value": one} for one in sorted(names.titles("runtimes"))]


def _backend_options() -> list[dict[str, str]]:
    return [{"label": "the usual one", "value": NATIVE}, *({"label": one, "value": one} for one in BACKENDS)]


def offers() -> dict[str, tuple[str, ...]]:
    """What the browser offers while one types, by the id of the list: not part of Dash's page, where each would be a
    component that is looked at with every change.
    """
    examples = {f"{control_id(option)}-examples": offered for option, offered in _EXAMPLES.items()}
    return {"all-hardware": tuple(names.titles("hardware")), **examples}


# -- parts ------------------------------------------------------------------------------------------------------------


def _field(option: str, control: Any) -> html.Div:
    identity = control_id(option)
    label = html.Label(_LABELS[option], htmlFor=identity, id=f"{identity}-label")
    return html.Div([label, control], className=f"field field-{identity}")


def _menu(
    option: str, value: Any, options: Sequence[Mapping[str, str] | str], multi: bool = False, searchable: bool = True
) -> dcc.Dropdown:
    return dcc.Dropdown(
        id=control_id(option), value=value, options=list(options), multi=multi, searchable=searchable, clearable=False,
        placeholder="Choose…", maxHeight=320,
    )  # fmt: skip


def _text(option: str, value: str) -> Any:
    examples = _EXAMPLES.get(option, ())
    identity = control_id(option)
    listed: dict[str, Any] = {"list": f"{identity}-examples"} if examples else {}
    keys: dict[str, Any] = {"inputMode": "text" if option == "set" else "numeric"}
    return dcc.Input(
        id=identity, type="text", value=value, placeholder=_HINTS.get(option, _SET_EXAMPLE), autoComplete="off",
        spellCheck=False, maxLength=400, **keys, **listed,
    )  # fmt: skip
