"""The explorer: predictions in the browser that move with their controls, served from this machine.

names: what may be named from outside; state: what is looked at, as a link, as controls and as a command line; view: the
numbers and charts of a state; page: what the browser shows; callbacks: what follows when a control moves; guard: which
requests are answered; server: the whole, listening.
"""
