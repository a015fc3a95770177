"""How do notebooks show figures? As SVG with text as text, so that the book can translate it."""

c = get_config()  # noqa: F821 # IPython gives it

c.InlineBackend.figure_formats = ["svg"]
c.InlineBackend.rc = {"svg.fonttype": "none"}
