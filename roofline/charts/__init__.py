"""What a chart shows, worked out: every number of a picture is made here, from predictions, and plot only draws it.

rooflines: ceilings and the points under them; curves: speed against one quantity; quants: against bits and quality;
token_time: what a token's time goes to; errors: predicted against measured; pareto: speed for money or power.
"""
