"""Charts as figures of the plotly schema: plain dictionaries, so that making one needs no plotly and takes little time.

theme: colours, dashes, symbols and the common layout; text: names made harmless; images: files of other formats. The
others draw a kind of chart each. Nothing here calculates: the numbers come from roofline.charts as they are shown.
"""
