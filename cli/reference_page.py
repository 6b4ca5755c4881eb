"""API reference as one HTML page without scripts or external resources, for small screens and dark mode."""

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from cli.errors import list_problems

Json = dict[str, Any]  # Any: JSON

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
        --soft: color-mix(in srgb, currentColor 6%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; }
summary { padding: .5rem .75rem; cursor: pointer; overflow-wrap: anywhere; }
details > div { padding: 0 .75rem .75rem; }
code, pre { font: .875em/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .3rem; }
.method { display: inline-block; min-width: 4rem; font-weight: 600; }
.quiet { opacity: .7; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
         border-bottom: 1px solid var(--line); }
nav a { margin-right: .8rem; white-space: nowrap; }
:target { outline: 2px solid; outline-offset: .3rem; }
"""
INTRODUCTION = """
<p>All resources are at this address. Send <code>Authorization: Bearer &lt;access_token&gt;</code> with a token from
<code>POST /v1/auth/register</code> or <code>login</code>. Amounts and prices are strings such as
<code>"0.10"</code>, times are UTC such as <code>2026-01-31T09:30:00.123Z</code>, lists are
{<code>items</code>, <code>next_cursor</code>}. Requests that create a resource accept an
<code>Idempotency-Key</code>: the same request may then be sent again. Machine-readable:
<a href="/openapi.json">openapi.json</a>.</p>
"""


def page(document: Json) -> str:
    """Render an OpenAPI document as HTML."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation, document))
    tags = sorted(by_tag)
    links = " ".join(f'<a href="#{tag}">{tag}</a>' for tag in [*tags, "errors"])
    parts = [f'<h2 id="{tag}">{tag}</h2>\n{"".join(by_tag[tag])}' for tag in tags]
    title = escape(document["info"]["title"])
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}: the API</title>\n<style>{STYLE}</style>\n<h1>{title}: the API</h1>\n"
        f"{INTRODUCTION}<nav>{links}</nav>\n{''.join(parts)}{_errors()}</html>\n"
    )


def _operation(path: str, method: str, operation: Json, document: Json) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><span class="method">{method.upper()}</span> '
        f'<code>{escape(path)}</code> <span class="quiet">{escape(operation["summary"])}'
        f"{'' if operation['security'] else ' (no token)'}</span></summary><div>\n"
        f"{_parameters(operation['parameters'])}{_sample('Body', body, document)}"
        f"{_responses(operation['responses'], document)}</div></details>\n"
    )


def _parameters(parameters: list[Json]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(each['name'])}</code>{' *' if each['required'] else ''}<td>{each['in']}"
        f"<td>{escape(_kind(each['schema']))}<td>{escape(each.get('description', ''))}"
        for each in parameters
    )
    return f'<h4>Parameters</h4><div class="wide"><table><tr><th>name<th>in<th>type<th>{rows}</table></div>\n'


def _responses(responses: Json, document: Json) -> str:
    rows = []
    shown = ""
    for status, response in responses.items():
        rows.append(f"<tr><td>{status}<td>{escape(response['description'])}<td>{_types(response)}")
        shown = shown or _sample(f"Response {status}", response.get("content", {}), document)
    return f'{shown}<h4>Statuses</h4><div class="wide"><table>{"".join(rows)}</table></div>'


def _types(response: Json) -> str:
    """Return links to the problems that the response may contain."""
    schema = response.get("content", {}).get("application/problem+json", {}).get("schema", {})
    names = [each.rpartition("/")[2] for each in schema.get("properties", {}).get("type", {}).get("enum", [])]
    return " ".join(f'<a href="#problem-{name}">{name}</a>' for name in names)


def _sample(title: str, content: Json, document: Json) -> str:
    """Return an example, with its types in a collapsed section."""
    if not content or "application/problem+json" in content:
        return ""
    media = next(iter(content.values()))
    example = media.get("example", "")
    text = escape("\n".join((example if isinstance(example, str) else _text(example)).splitlines()))
    shown = f"<h4>{title}</h4><pre>{text}</pre>\n"
    if "application/json" not in content:
        return shown
    types = escape(_text(_shape(media["schema"], document, 0)))
    return f"{shown}<details><summary>types</summary><div><pre>{types}</pre></div></details>\n"


def _text(value: Any) -> str:  # Any: JSON
    return json.dumps(value, indent=2, ensure_ascii=False)


def _shape(schema: Json, document: Json, depth: int) -> Any:  # Any: JSON
    """Return the shape of the JSON, with types in place of values."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if depth > 5:
        return "…"
    if "properties" in schema:
        required = schema.get("required", [])
        return {
            name + ("" if name in required else "?"): _shape(part, document, depth + 1)
            for name, part in schema["properties"].items()
        }
    if schema.get("type") == "array":
        return [_shape(schema.get("items", {}), document, depth + 1)]
    alternatives = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if len(alternatives) == 1:
        return _shape(alternatives[0], document, depth)
    return _kind(schema)


def _kind(schema: Json) -> str:
    return " | ".join(dict.fromkeys(_kinds(schema))) or "any JSON"


def _kinds(schema: Json) -> Iterator[str]:
    if "enum" in schema:
        yield from map(str, schema["enum"])
    elif "const" in schema:
        yield str(schema["const"])
    elif "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    elif "anyOf" in schema or "oneOf" in schema:
        for part in schema.get("anyOf") or schema["oneOf"]:
            yield from _kinds(part)
    elif "type" in schema:
        limits = ", ".join(
            f"{sign} {schema[name]}"
            for name, sign in (("minimum", "≥"), ("maximum", "≤"), ("maxLength", "at most"))
            if name in schema
        )
        yield str(schema.get("format") or schema["type"]) + (f" ({limits})" if limits else "")


def _errors() -> str:
    rows = "".join(
        f'<tr id="problem-{each.type}"><td><code>/problems/{each.type}</code><td>{each.status}'
        f"<td>{escape(each.title)}<br>{_with_code(each.when)}<td>{each.retry}"
        for each in list_problems()
    )
    return (
        '<h2 id="errors">errors</h2>\n<p>Every error is <code>application/problem+json</code> with one of these '
        "types, the invalid fields in <code>errors</code>, and the <code>request_id</code> that is in our logs. "
        "Retry: the same request may succeed after the seconds in <code>Retry-After</code>."
        f'</p><div class="wide"><table><tr><th>type<th>status<th>title and condition<th>retry{rows}</table></div>\n'
    )


def _with_code(text: str) -> str:
    """Convert Markdown code spans to HTML."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
