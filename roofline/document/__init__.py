"""Documents of text, tables and charts: made once of blocks, written as a self-contained page or as Markdown."""
