"""What follows when a control moves, a link is opened, or a table of numbers is unfolded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update

from roofline.explorer import state as states
from roofline.explorer.bill import bills
from roofline.explorer.cards import cards, key
from roofline.explorer.controls import CONTROLS, hardware_options, kv_options, roof_options, values, words_of
from roofline.explorer.names import hardware
from roofline.explorer.pictures import PICTURES, sent, table
from roofline.explorer.view import devices, focused, verdict
from roofline.spec import SpecError, one_line

MOST_LINES = 4  # of an alert
_VALUES = [Output(one, "value") for one in CONTROLS]


def connect(app: Dash, initial: states.State) -> None:
    """Add the callbacks to the app of the page."""

    @app.callback(
        *_VALUES,
        Output("hw", "options"),
        Output("kv", "options"),
        Output("add", "value"),
        Output("link-problems", "data"),
        Input("address", "search"),
        Input("add", "n_submit"),
        Input("add-button", "n_clicks"),
        State("add", "value"),
        *(State(one, "value") for one in CONTROLS),
        prevent_initial_call=False,
    )
    def choose(search: Any, _entered: Any, _pressed: Any, added: Any, *given: Any) -> tuple[Any, ...]:
        """The controls of a link that is opened, or with one more device."""
        if ctx.triggered_id in ("add", "add-button"):
            return _with(added, given)
        if not search or not isinstance(search, str):
            state, lines = initial, list[str]()
        else:
            state, lines = states.from_query(search, initial)
        return _filled(state, lines)

    @app.callback(
        Output("alert", "children"),
        Output("verdict", "children"),
        Output("cards", "children"),
        Output("bill", "children"),
        Output("command", "children"),
        Output("view", "data"),
        Output("query", "data"),
        Output("roof", "options"),
        Output("roof", "value"),
        Output("key", "children"),
        *(Input(one, "value") for one in CONTROLS),
        Input("link-problems", "data"),
    )
    def move(*given: Any) -> tuple[Any, ...]:
        """Everything that the controls make."""
        *controls, link = given
        state, problems = states.read(words_of(controls))
        lines = list(problems.values())
        found = devices(replace(state, roof=""))
        focus = focused(state.roof, found)
        if focus == focused("", found):
            state = replace(state, roof="")  # it is drawn anyway
        query = states.to_query(state)
        if isinstance(link, dict) and link.get("query") == _bare(state):
            more = link.get("lines")
            lines += [line for line in more if isinstance(line, str)] if isinstance(more, list) else []
        if problems:
            return _alert(lines), *[no_update] * 9
        return (
            _alert(lines),
            verdict(found),
            cards(found),
            bills(found),
            states.to_command(state),
            {
                "query": query,
                "moved": ctx.triggered_id if len(ctx.triggered) == 1 else "",
                "charts": {one.identity: sent(one.identity, state) for one in PICTURES if one.soon},
            },
            query,
            roof_options(state),
            focus,
            key(found),
        )

    @app.callback(Output("rest", "data"), Input("query", "data"), prevent_initial_call=True)
    def follow(query: Any) -> Any:
        """The charts that take longer, worked out while the browser draws the others."""
        if not isinstance(query, str):
            return no_update
        state, _ = states.from_query(query)
        return {"query": query, "charts": {one.identity: sent(one.identity, state) for one in PICTURES if not one.soon}}

    @app.callback(
        *(Output(f"table-{picture.identity}", "children") for picture in PICTURES),
        Input("open-tables", "data"),
        prevent_initial_call=True,
    )
    def unfold(asked: Any) -> list[Any]:
        """The numbers of the charts whose tables are open."""
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            return [no_update for _ in PICTURES]
        state, _ = states.from_query(asked["query"])
        open_ = asked.get("open")
        wanted = open_ if isinstance(open_, list) else []
        return [_table(one.identity, one.heading, state) if one.identity in wanted else no_update for one in PICTURES]

    app.clientside_callback(
        ClientsideFunction(namespace="explorer", function_name="show"), Output("drawn", "data"), Input("view", "data")
    )
    app.clientside_callback(
        ClientsideFunction(namespace="explorer", function_name="follow"),
        Output("followed", "data"),
        Input("rest", "data"),
    )
    app.clientside_callback(
        ClientsideFunction(namespace="explorer", function_name="copy"),
        Output("copied", "children"),
        Input("copy-command", "n_clicks"),
        Input("copy-link", "n_clicks"),
        State("command", "children"),
        prevent_initial_call=True,
    )


def _bare(state: states.State) -> str:
    """What a problem is of: a state without the choice that the page makes itself."""
    return states.to_query(replace(state, roof=""))


def _filled(state: states.State, lines: list[str]) -> tuple[Any, ...]:
    """The outputs of `choose` for a state."""
    problems = {"query": _bare(state), "lines": lines}
    return *values(state), hardware_options(state), kv_options(state), "", problems


def _with(added: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
    """The outputs of `choose` with a device added to those that the controls name."""
    text = added if isinstance(added, str) else ""
    state, _ = states.read(words_of(given))
    count = len(CONTROLS)
    if not text.strip():
        return (no_update,) * (count + 4)
    try:
        names = tuple(dict.fromkeys((*state.hw, hardware(text))))
        more, lines = states.read({**states.words(state), "hw": names})
        if lines:
            raise SpecError(lines["hw"])
    except SpecError as error:
        problem = {"query": _bare(state), "lines": [str(error)], "again": text}
        return *[no_update] * (count + 3), problem
    return list(more.hw), *[no_update] * (count - 1), hardware_options(more), no_update, "", no_update


def _alert(lines: list[str]) -> list[Any]:
    """The lines of an alert, the first few of many."""
    told = [one_line(line) for line in lines]
    more = len(told) - MOST_LINES
    told = [*told[:MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
    return [html.P(line) for line in told]


def _table(identity: str, heading: str, state: states.State) -> Any:
    headings, rows = table(identity, state)
    if not rows:
        return html.P("No numbers.")
    return html.Table(
        [
            html.Caption(heading),
            html.Thead(html.Tr([html.Th(text, scope="col") for text in headings])),
            html.Tbody([html.Tr([html.Td(text) for text in row]) for row in rows]),
        ]
    )
