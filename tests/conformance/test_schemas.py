"""JSON Schemas of the messages, AsyncAPI of the catalogue, and what may not change in a released message."""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest

from labspine import messages
from labspine.endpoints import MessageEndpoints
from labspine.endpoints.asyncapi import asyncapi_document
from labspine.messages.schema import json_schema, json_schemas, published_classes

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SNAPSHOT = DATA / "schemas-0.1.json"
NAMES = [cls.__name__ for cls in published_classes()]
_EXAMPLES = runpy.run_path(str(DATA / "message_examples.py"))
HOW_TO_RECORD = (
    "If the change is intended: run scripts/generate-reference --snapshot, and say in the changelog what readers "
    "and senders must do, because an old reader refuses what it does not know (ADR 0003, 0014)."
)


def in_json(value: Any) -> Any:
    """Show a value as the schema describes it: arrays as a map, bytes as base64."""

    def hook(item: object) -> object:
        if isinstance(item, np.ndarray):
            return {
                "nd": True,
                "type": item.dtype.str,
                "kind": "",
                "shape": item.shape,
                "data": item.tobytes(),
            }
        return item.item() if isinstance(item, np.generic) else repr(item)

    return json.loads(msgspec.json.encode(value, enc_hook=hook))


@pytest.mark.parametrize("name", NAMES)
def test_each_schema_follows_the_meta_schema_and_accepts_the_example(name: str) -> None:
    schema = json_schema(name)

    jsonschema.Draft202012Validator.check_schema(schema)

    example = getattr(messages, name)(**_EXAMPLES["fields_of"](name, messages))
    jsonschema.Draft202012Validator(schema).validate(in_json(example))
    assert schema["title"] == name
    assert schema["x-msg-type"] == example.msg_type


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ScanMessage", {"point_id": "1"}),
        ("ScanMessage", {"pont_id": 1}),
        ("ScanStatusMessage", {"status": "opened"}),
        ("DeviceMonitor1DMessage", {"data": [1, 2]}),
        ("DynamicMetricMessage", {"metrics": {"a": {"type_name": "int", "value": "x"}}}),
        ("NotificationMessage", {"message": [{"text": "x"}]}),
    ],
)
def test_a_schema_refuses_what_the_class_refuses(name: str, change: dict[str, Any]) -> None:
    example = in_json(getattr(messages, name)(**_EXAMPLES["fields_of"](name, messages)))

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema(name)).validate({**example, **change})


@pytest.mark.parametrize("profile", ["seed", "bec4"])
def test_the_catalogue_follows_the_official_schema_of_asyncapi(profile: Any) -> None:
    official = json.loads((DATA / "asyncapi-3.0.0.json").read_text())
    validator = jsonschema.validators.validator_for(official)(official)
    document = asyncapi_document(profile, version="0.1.0")

    validator.validate(document)

    definitions = MessageEndpoints.definitions()
    assert set(document["channels"]) == {definition.name for definition in definitions}
    assert len(document["operations"]) == 2 * len(definitions)
    assert (
        document["channels"]["device_read"]["address"]
        == MessageEndpoints.definition("device_read").templates[profile]
    )
    for reference in references(document):
        target: Any = document
        for key in reference.removeprefix("#/").split("/"):
            target = target[key]
    broken = {**document, "channels": {"scan_status": {"address": 3}}}
    assert not validator.is_valid(broken)


def references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    if isinstance(value, dict):
        return [
            *([value["$ref"]] if "$ref" in value else []),
            *(ref for item in value.values() for ref in references(item)),
        ]
    return []


# --- what may not change ---------------------------------------------------------------------------------


def current_schemas() -> dict[str, Any]:
    _, schemas = json_schemas(published_classes(), ref_template="#/$defs/{name}")
    return json.loads(json.dumps(schemas))


def without_words(schema: Any) -> Any:
    """Leave out what people read: titles and descriptions may change."""
    if isinstance(schema, dict):
        return {
            key: without_words(item) for key, item in schema.items() if key not in ("title", "description")
        }
    return [without_words(item) for item in schema] if isinstance(schema, list) else schema


def breaking_changes(released: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Name each change that breaks a reader or a sender of the released messages."""
    found = []
    for name, old in released.items():
        new = now.get(name)
        if new is None:
            found.append(f"{name} is gone")
            continue
        fields, new_fields = old.get("properties", {}), new.get("properties", {})
        found += [f"{name}.{field} is gone" for field in fields if field not in new_fields]
        found += [
            f"{name}.{field} has another type or default"
            for field in fields
            if field in new_fields and without_words(fields[field]) != without_words(new_fields[field])
        ]
        found += [
            f"{name}.{field} is required now"
            for field in new.get("required", [])
            if field not in old.get("required", [])
        ]
        rest, new_rest = (
            {k: v for k, v in s.items() if k not in ("properties", "required")} for s in (old, new)
        )
        if without_words(rest) != without_words(new_rest):
            found.append(f"{name} is of another kind")
    return found


def test_no_released_message_has_changed_in_a_breaking_way() -> None:
    released = json.loads(SNAPSHOT.read_text())

    found = breaking_changes(released, current_schemas())

    assert not found, "; ".join(found) + ". " + HOW_TO_RECORD


def remove_field(s: dict[str, Any]) -> None:
    del s["ScanMessage"]["properties"]["scan_id"]


def change_type(s: dict[str, Any]) -> None:
    s["ScanMessage"]["properties"]["point_id"] = {"type": "number"}


def require_field(s: dict[str, Any]) -> None:
    s["FileMessage"]["required"].append("file_type")


def remove_class(s: dict[str, Any]) -> None:
    del s["FileMessage"]


def rename_on_the_wire(s: dict[str, Any]) -> None:
    s["FileMessage"]["x-msg-type"] = "file"


def change_a_part(s: dict[str, Any]) -> None:
    del s["ErrorInfo"]["properties"]["device"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove_field, "ScanMessage.scan_id is gone"),
        (change_type, "ScanMessage.point_id has another type"),
        (require_field, "FileMessage.file_type is required now"),
        (remove_class, "FileMessage is gone"),
        (rename_on_the_wire, "FileMessage is of another kind"),
        (change_a_part, "ErrorInfo.device is gone"),
    ],
)
def test_a_breaking_change_is_found(change: Any, words: str) -> None:
    released = current_schemas()
    changed = copy.deepcopy(released)

    change(changed)

    assert any(words in line for line in breaking_changes(released, changed))


def test_a_new_optional_field_and_new_words_break_nothing() -> None:
    released = current_schemas()
    changed = copy.deepcopy(released)
    changed["ScanMessage"]["properties"]["note"] = {"type": "string", "default": ""}
    changed["ScanMessage"]["description"] = "Other words."

    assert breaking_changes(released, changed) == []


def test_the_reference_pages_are_those_of_the_sources() -> None:
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate-reference"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 0, run.stdout + run.stderr


def test_the_command_prints_schemas() -> None:
    def labspine(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from labspine.cli.main import run; run()", "schema", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert json.loads(labspine("ScanMessage").stdout) == json_schema("ScanMessage")
    assert labspine().stdout.split() == NAMES
    assert (
        json.loads(labspine("--asyncapi", "--profile", "bec4").stdout)["id"] == "urn:labspine:catalogue:bec4"
    )
    wrong = labspine("ScanMesage")
    assert wrong.returncode == 2
    assert 'did you mean "ScanMessage"' in wrong.stderr
