"""Print the colours of the variants as a JavaScript module for the page."""

import json

from litecheck.artifacts import VARIANTS

colors = {name: variant.color for name, variant in VARIANTS.items()}
print(f"export const COLORS = {json.dumps(colors)};")
