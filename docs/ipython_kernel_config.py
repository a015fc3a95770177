"""Show figures in notebooks as SVG. Its text stays text, so that the book can translate it."""

c = get_config()  # noqa: F821 # IPython defines it

c.InlineBackend.figure_formats = ["svg"]
c.InlineBackend.rc = {"svg.fonttype": "none"}
