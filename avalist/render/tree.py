"""Elements of a page. Texts stay texts: nothing here parses markup."""

from __future__ import annotations

from xml.etree import ElementTree

Element = ElementTree.Element


def element(tag: str, *content: Element | str, cls: str | None = None, **attributes: str | float | None) -> Element:
    """Return an element; attributes that are None are left out, ``cls`` is its class.

    >>> ElementTree.tostring(element("p", "a < b", cls="x")).decode()
    '<p class="x">a &lt; b</p>'
    """
    named = {"class": cls, **attributes}
    made = Element(tag, {name.replace("_", "-"): _text(value) for name, value in named.items() if value is not None})
    for part in content:
        if isinstance(part, Element):
            made.append(part)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + part
        else:
            made.text = (made.text or "") + part
    return made


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
