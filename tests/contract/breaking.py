"""What a new OpenAPI document breaks for the callers of an old one.

A caller sends requests and reads answers. What it may send must stay allowed: nothing removed, narrowed or newly
required. What it reads must stay there: nothing removed, widened or no longer promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"}


def breaking(old: Json, new: Json) -> list[str]:
    """Return what breaks, each with the place where."""
    return [*_Comparison(old, new).paths()]


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._met: set[tuple[str, str, bool]] = set()

    def paths(self) -> Iterator[str]:
        for path, operations in self._old["paths"].items():
            for method, was in operations.items():
                now = self._new["paths"].get(path, {}).get(method)
                where = f"{method.upper()} {path}"
                if now is None:
                    yield f"{where}: removed"
                else:
                    yield from self._operation(where, was, now)

    def _operation(self, where: str, was: Json, now: Json) -> Iterator[str]:
        if was.get("x-scope") != now.get("x-scope") or was["security"] != now["security"]:
            yield f"{where}: needs another scope"
        olds = {(p["name"], p["in"]): p for p in was["parameters"]}
        news = {(p["name"], p["in"]): p for p in now["parameters"]}
        for name, parameter in olds.items():
            if name not in news:
                yield f"{where}: parameter {name[0]} removed"
            else:
                yield from self.schema(f"{where} {name[0]}", parameter["schema"], news[name]["schema"], sent=True)
        yield from (
            f"{where}: parameter {n[0]} is required" for n, p in news.items() if n not in olds and p["required"]
        )
        if "requestBody" in was:
            yield from self._content(f"{where} request", was["requestBody"], now.get("requestBody", {}), sent=True)
        for status, answer in was["responses"].items():
            if status not in now["responses"]:
                yield f"{where}: status {status} removed"
            else:
                yield from self._content(f"{where} {status}", answer, now["responses"][status], sent=False)

    def _content(self, where: str, was: Json, now: Json, *, sent: bool) -> Iterator[str]:
        for media, body in was["content"].items():
            if media not in now.get("content", {}):
                yield f"{where}: {media} removed"
            else:
                yield from self.schema(where, body["schema"], now["content"][media]["schema"], sent=sent)

    def schema(self, where: str, was: Json, now: Json, *, sent: bool) -> Iterator[str]:
        names = str(was.get("$ref", "")), str(now.get("$ref", ""))
        if any(names):
            if (*names, sent) in self._met:
                return
            self._met.add((*names, sent))
        was, now = self._resolved(self._old, was), self._resolved(self._new, now)
        yield from self._kinds(where, was, now, sent=sent)
        if "anyOf" in was or "anyOf" in now:  # each kind was compared by itself
            return
        yield from self._bounds(where, was, now, sent=sent)
        yield from self._properties(where, was, now, sent=sent)
        for inner in ("items", "additionalProperties"):
            if isinstance(was.get(inner), dict) and isinstance(now.get(inner), dict):
                yield from self.schema(f"{where}[]", was[inner], now[inner], sent=sent)

    def _kinds(self, where: str, was: Json, now: Json, *, sent: bool) -> Iterator[str]:
        olds, news = self._choices(self._old, was), self._choices(self._new, now)
        lost = set(olds) - set(news) if sent else set(news) - set(olds)
        if olds and news and lost and not (was.get("x-open") and not sent):
            yield f"{where}: {', '.join(sorted(lost))} {'no longer taken' if sent else 'may come now'}"
        if "anyOf" in was or "anyOf" in now:
            for name in olds.keys() & news.keys():
                yield from self.schema(f"{where}({name})", olds[name], news[name], sent=sent)

    def _choices(self, document: Json, schema: Json) -> dict[str, Json]:
        """Return the kinds of value a schema takes, by a name that stays when the schema grows."""
        if "anyOf" in schema:
            inner = [self._choices(document, self._resolved(document, s)) for s in schema["anyOf"]]
            return {name: s for found in inner for name, s in found.items()}
        if "enum" in schema:
            return {repr(value): {} for value in schema["enum"]}
        kind = str(schema.get("type", ""))
        return {str(schema.get("title", kind)) if kind == "object" else kind: schema} if kind else {}

    def _bounds(self, where: str, was: Json, now: Json, *, sent: bool) -> Iterator[str]:
        for name in sorted(_LOWER | _UPPER):
            old, new = was.get(name), now.get(name)
            if not sent or new is None or old == new:
                continue
            if old is None or (new > old if name in _LOWER else new < old):
                yield f"{where}: {name} is {new}, was {old}"
        for name in ("pattern", "format"):
            if sent and now.get(name) not in (None, was.get(name)):
                yield f"{where}: {name} is {now[name]}, was {was.get(name)}"

    def _properties(self, where: str, was: Json, now: Json, *, sent: bool) -> Iterator[str]:
        olds, news = was.get("properties", {}), now.get("properties", {})
        for name, schema in olds.items():
            if name not in news:
                yield f"{where}.{name}: removed"
            else:
                yield from self.schema(f"{where}.{name}", schema, news[name], sent=sent)
        required = (set(was.get("required", [])), set(now.get("required", [])))
        lost = required[1] - required[0] if sent else required[0] - required[1]
        word = "is required" if sent else "may be absent"
        yield from (f"{where}.{name}: {word}" for name in sorted(lost) if sent or name in news)
        if sent and was.get("additionalProperties", True) is True and now.get("additionalProperties") is False and olds:
            yield f"{where}: unknown fields are refused now"

    @staticmethod
    def _resolved(document: Json, schema: Json) -> Json:
        if "$ref" not in schema:
            return schema
        resolved: Json = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return resolved
