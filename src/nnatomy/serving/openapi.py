"""The service as an OpenAPI document and as a page with a form, both made of its schema."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnatomy import __version__
from nnatomy.data.requests import JSON

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'"
"""The page sends requests to this service alone."""


def openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the routes of the service that `schema` describes, by OpenAPI 3.1."""
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    refusals = {
        "400": "The body cannot be read.", "403": "Host or Origin names another service.", "408": "The body came too late.",
        "413": "The body or its rows are too many.", "415": "The Content-Type is not accepted.",
        "422": "The body does not match the training data.", "500": "The service failed.",
        "503": "Too many requests wait; send this one again.", "504": "The response came too late.",
    }  # fmt: skip
    bodies: dict[str, Any] = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in schema["accepts"]}
    bodies[JSON] = {"schema": shape_of(schema["example"]), "example": schema["example"]}
    predictions = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": {"type": "object"}},
            "files": {"type": "object", "additionalProperties": {"type": "string", "contentEncoding": "base64"}},
            "notices": {"type": "array", "items": {"type": "string"}},
        },
    }

    def route(method: str, summary: str, kind: str, found: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        good = {"description": summary, "content": {kind: {"schema": found}}}
        return {method: {"summary": summary, "responses": {"200": good, **more.pop("responses", {})}, **more}}

    anything = {"type": "object"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{schema['title']}: {schema['task']}",
            "description": f"Trained on {schema['trained_on']}.",
            "version": __version__,
        },
        "paths": {
            "/predict": route(
                "post", "Predict one row for each row of the body.", JSON, predictions,
                requestBody={"required": True, "content": bodies},
                responses={
                    status: {"description": reason, "content": {JSON: {"schema": error}}} for status, reason in refusals.items()
                },
            ),
            "/schema": route("get", "Describe the inputs, with an example.", JSON, anything),
            "/health": route("get", "Report whether a worker runs.", JSON, anything),
            "/metrics": route("get", "Report counts and times for Prometheus.", "text/plain", {"type": "string"}),
            "/openapi.json": route("get", "Return this document.", JSON, anything),
        },
    }  # fmt: skip


def shape_of(example: Any) -> dict[str, Any]:
    """Return a JSON schema that `example` fits; a number or null may stand wherever a number does."""
    if isinstance(example, Mapping):
        return {"type": "object", "properties": {name: shape_of(value) for name, value in example.items()}}
    if isinstance(example, list):
        return {"type": "array", "items": shape_of(example[0]) if example else {}}
    kind = {bool: "boolean", int: "number", float: "number", str: "string"}.get(type(example))
    return {"type": [kind, "null"]} if kind else {}


def page(schema: Mapping[str, Any]) -> str:
    """Return the page with a form: fields for the columns of a row, or the example as text, or a file."""

    def text(name: str) -> str:
        return html.escape(str(schema[name]))

    data = json.dumps(schema).replace("<", "\\u003c")  # so that no name of a column ends the script
    form = Path(__file__).with_name("form.html").read_text(encoding="utf-8")
    return (
        form.replace("@TITLE@", text("title")).replace("@TASK@", text("task"))
        .replace("@DATA@", text("trained_on")).replace("@SCHEMA@", data)
    )  # fmt: skip
