"""The schema accepts every example and refuses what the reader refuses for its form."""

import json
import re
import shutil
from pathlib import Path

import pytest

from anfinsen.jobs import job_schema, job_structure, load_jobs
from anfinsen.jobs.markup import parse_yaml

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def is_type(value, name):
    return isinstance(value, TYPES[name]) and (name != "integer" or not isinstance(value, bool))


def accepts(schema, value):
    """Enough of JSON Schema to check the keywords that the schema uses; unknown keywords fail the test."""
    known = {
        "$schema",
        "title",
        "description",
        "type",
        "additionalProperties",
        "required",
        "properties",
        "items",
        "oneOf",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "pattern",
        "minLength",
        "maxLength",
        "prefixItems",
        "propertyNames",
        "const",
    }
    assert set(schema) <= known
    names = schema.get("type", list(TYPES))
    if not any(is_type(value, name) for name in ([names] if isinstance(names, str) else names)):
        return False
    checks = [value == schema["const"]] if "const" in schema else []
    if "oneOf" in schema:
        checks.append(sum(accepts(option, value) for option in schema["oneOf"]) == 1)
    if isinstance(value, dict):
        known_keys = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        checks += [key in value for key in schema.get("required", ())]
        checks += [accepts(known_keys[key], item) for key, item in value.items() if key in known_keys]
        checks += [
            extra if isinstance(extra, bool) else accepts(extra, value[key]) for key in value.keys() - known_keys
        ]
        checks += [accepts({"type": "string"} | schema.get("propertyNames", {}), key) for key in value]
    elif isinstance(value, list):
        checks.append(schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)))
        checks += [accepts(schema.get("items", {}), item) for item in value]
        checks += [accepts(part, item) for part, item in zip(schema.get("prefixItems", ()), value, strict=False)]
    elif isinstance(value, str):
        checks.append(re.search(schema.get("pattern", ""), value) is not None)
        checks.append(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    elif isinstance(value, int):
        checks.append(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return all(checks)


def test_the_schema_is_json():
    assert json.loads(json.dumps(job_schema())) == job_schema()


@pytest.mark.parametrize("name", ["lysozyme.yaml", "everything.yaml"])
def test_examples_follow_the_schema(name):
    assert accepts(job_schema(), parse_yaml((EXAMPLES / name).read_text(), name))


@pytest.mark.parametrize(
    "text",
    [
        "chains: []",
        "name: a",
        "chains: [{protein: ACDE}]\ncolour: red",
        "chains: [{protein: AC1E}]",
        "chains: [{dna: ACGU}]",
        "chains: [{dna: ACGT, msa: a.a3m}]",
        "chains: [{id: A}]",
        "chains: [{protein: AC, dna: AC}]",
        "chains: [{protein: AC, id: A_1}]",
        "chains: [{protein: AC, copies: 0}]",
        "chains: [{protein: AC, modifications: {a: SEP}}]",
        "chains: [{protein: AC, templates: [{file: a.cif}]}]",
        "chains: [{protein: AC, cyclic: 1}]",
        "chains: [{protein: AC}]\nseeds: -1",
        "chains: [{protein: AC}]\nseeds: []",
        "chains: [{protein: AC}]\nbonds: [[A:1:SG]]",
        "chains: [{protein: AC}]\nbonds: [[A-1-SG, A:2:SG]]",
    ],
)
def test_what_is_malformed_does_not(text):
    assert not accepts(job_schema(), parse_yaml(text, "text"))


def test_the_documentation_shows_jobs_that_load(tmp_path):
    """Every YAML block of docs/jobs.md that is a whole job is one, and so is every JSON list."""
    folder = tmp_path / "examples"
    shutil.copytree(EXAMPLES, folder)
    (folder / "homologue.cif").write_text("data_homologue\n")
    text = (EXAMPLES.parent / "jobs.md").read_text()
    blocks = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if re.search(r"^chains:", block, re.M)
    ]
    assert len(blocks) >= 3
    for block in blocks:
        assert accepts(job_schema(), parse_yaml(block, "docs/jobs.md"))
        (folder / "job.yaml").write_text(block)
        job_structure(load_jobs(folder / "job.yaml")[0])
    others = re.findall(r"```(?:yaml|json|text)\n((?:version|\[|>).*?)```", text, re.DOTALL)
    assert len(others) == 3
    for block in others:
        (folder / "job").write_text(block)
        job_structure(load_jobs(folder / "job")[0])
