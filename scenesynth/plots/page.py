"""Self-contained HTML pages: one file that opens from disk and fetches nothing.

Templates are Jinja's, which escapes every value that is not `Markup`: a clip called `<script>` is
shown as text. A page extends `page.html` of this package, whose content security policy forbids the
browser to fetch anything, and brings its own style and script as files beside its template.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_OWN: Final = "scenesynth.plots"


def render_page(package: str, template: str, **values: Any) -> str:
    """The HTML of a template in the folder `templates` of `package`, such as `scenesynth.preview`.

    A template may take in a file of that folder, or of this package's, as it is by
    `{{ asset("page.css") }}`.
    """
    loaders = [PackageLoader(name, "templates") for name in (package, _OWN)]
    environment = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: _asset(package, name)
    return environment.get_template(template).render(**values)


def _asset(package: str, name: str) -> Markup:
    for owner in (package, _OWN):
        file = files(owner) / "templates" / name
        if file.is_file():
            return Markup(file.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"{package}: has no templates/{name}")
