"""Whatever a file holds, reading it gives jobs or one AnfinsenError; a job that is written and read is the same job."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anfinsen.common.errors import AnfinsenError
from anfinsen.jobs import (
    AtomAddress,
    Job,
    JobBond,
    Ligand,
    Modification,
    Polymer,
    TemplateAlignment,
    generated_chain_id,
    job_json,
    load_jobs,
)
from anfinsen.jobs.glycans import parse_glycan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
JOBS = ("lysozyme.yaml", "everything.yaml", "alphafold3.json", "alphafoldserver.json", "boltz.yaml", "complex.fasta")
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("jobs") / "examples"
    shutil.copytree(EXAMPLES, path)
    return path


def read(folder, content):
    path = folder / "job"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        return load_jobs(path)
    except AnfinsenError as error:
        assert "\n" not in str(error)
        assert str(error).endswith(".")
        return None


@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
@quick
def test_arbitrary_content(folder, content):
    read(folder, content)


@given(st.text(alphabet="{}[]:,-'\"#&*!|>?%@`~ \n\tabc:nulltrue019.\\ue", max_size=80))
@quick
def test_text_of_signs(folder, content):
    read(folder, content)
    read(folder, "chains: " + content)
    read(folder, ">" + content)


@given(st.sampled_from(JOBS), st.data())
@settings(quick, max_examples=400)
def test_mutated_examples(folder, name, data):
    content = (EXAMPLES / name).read_bytes()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        other = data.draw(st.integers(0, len(content)))
        piece = data.draw(
            st.one_of(st.binary(max_size=6), st.text(max_size=6).map(str.encode), st.just(content[other : other + 20]))
        )
        content = content[:start] + piece + content[end:]
    read(folder, content)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 2**33),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["A", "ACDE", "ATP", "none", "NAG(NAG)", "lysozyme.a3m", "A:1:CA", "1-3", ">q\nAC\n", "C", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["1", "id", "cyclic"]), inner, max_size=2)
    ),
    max_leaves=6,
)
WORDS = {
    "own": (
        "chains",
        (
            "protein",
            "dna",
            "rna",
            "ligand",
            "ion",
            "smiles",
            "sdf",
            "id",
            "copies",
            "description",
            "msa",
            "paired_msa",
            "modifications",
            "glycans",
            "templates",
            "cyclic",
        ),
    ),
    "af3": (
        "sequences",
        (
            "id",
            "sequence",
            "modifications",
            "unpairedMsa",
            "unpairedMsaPath",
            "pairedMsa",
            "templates",
            "ccdCodes",
            "smiles",
            "description",
            "anfinsen",
        ),
    ),
    "server": (
        "sequences",
        ("sequence", "count", "glycans", "modifications", "useStructureTemplate", "maxTemplateDate", "ligand", "ion"),
    ),
    "boltz": ("sequences", ("id", "sequence", "msa", "modifications", "cyclic", "smiles", "ccd")),
}
KINDS = {
    "af3": ("protein", "dna", "rna", "ligand"),
    "boltz": ("protein", "dna", "rna", "ligand"),
    "server": ("proteinChain", "dnaSequence", "rnaSequence", "ligand", "ion"),
}


@given(st.sampled_from(tuple(WORDS)), st.data())
@settings(quick, max_examples=400)
def test_values_of_any_type_in_every_field(folder, dialect, data):
    key, words = WORDS[dialect]
    entity = data.draw(st.dictionaries(st.sampled_from(words), VALUES, min_size=1, max_size=4))
    if dialect == "own":
        entity = data.draw(st.sampled_from([{"protein": "ANST"}, {"rna": "ACGU"}, {"ligand": "ATP"}, {}])) | entity
    else:
        kind = data.draw(st.sampled_from(KINDS[dialect]))
        base = {"id": "A", "sequence": "ACGA"} if dialect != "server" else {"sequence": "ACGA"}
        entity = {kind: (base if kind not in ("ligand", "ion") else {}) | entity}
    job = {
        "own": {},
        "af3": {"dialect": "alphafold3", "version": 4, "name": "a", "modelSeeds": [1]},
        "boltz": {},
        "server": {"name": "a"},
    }[dialect]
    extra = data.draw(
        st.dictionaries(
            st.sampled_from(
                ["name", "seeds", "modelSeeds", "bonds", "bondedAtomPairs", "constraints", "userCCD", "components"]
            ),
            VALUES,
            max_size=1,
        )
    )
    job = job | {key: [entity]} | extra
    read(folder, json.dumps([job] if dialect == "server" else job))


@given(st.text(alphabet="NAGMBFUC()12-6 x", max_size=30))
@quick
def test_glycan_notation(text):
    try:
        sugars = parse_glycan(text, "here")
    except AnfinsenError:
        return
    assert sum(sugar.parent == -1 for sugar in sugars) == 1
    assert all(sugar.parent < index for index, sugar in enumerate(sugars))


WORDS_OF_MEN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
MOL = (
    "\n  by hand\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n"
    "    0.0000    0.0000    0.0000 C   0  0  0  0  0  0  0  0  0  0  0  0\nM  END\n"
)


@st.composite
def msas(draw, sequence):
    kind = draw(st.sampled_from(["none", "empty", "text"]))
    if kind != "text":
        return None if kind == "none" else ""
    rows = draw(st.lists(WORDS_OF_MEN, max_size=2))
    return f">query\n{sequence}\n" + "".join(f">{row.strip()}\n{sequence[::-1]}\n" for row in rows)


@st.composite
def polymers(draw):
    kind = draw(st.sampled_from(["protein", "dna", "rna"]))
    letters = {"protein": "ACDEFGHIKLMNPQRSTVWYUOX", "dna": "ACGTN", "rna": "ACGUN"}[kind]
    code = {"protein": "SEP", "dna": "6OG", "rna": "PSU"}[kind]
    sequence = draw(st.text(letters, min_size=3, max_size=12))
    return {
        "kind": kind,
        "sequence": sequence,
        "modifications": [(at, code) for at in sorted(draw(st.sets(st.integers(1, len(sequence)), max_size=2)))],
        "unpaired_msa": None if kind == "dna" else draw(msas(sequence)),
        "paired_msa": draw(msas(sequence)) if kind == "protein" else None,
        "templates": draw(st.none() | st.lists(st.integers(0, len(sequence)), max_size=2))
        if kind == "protein"
        else None,
        "cyclic": draw(st.booleans()),
    }


LIGANDS = st.one_of(
    st.fixed_dictionaries(
        {"ccd_codes": st.lists(st.sampled_from(["ATP", "MG", "NAG", "004", "NO"]), min_size=1, max_size=3).map(tuple)}
    ),
    st.fixed_dictionaries({"smiles": st.sampled_from(["CCO", "C[C@H](N)C(=O)O", "[Na+]", r"F/C=C\F"])}),
    st.fixed_dictionaries({"molblock": st.just(MOL)}),
)


JOBS_AS_DATA = st.fixed_dictionaries(
    {
        "name": WORDS_OF_MEN.map(lambda text: f"x{text}"),
        "seeds": st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3, unique=True),
        "entities": st.lists(
            st.tuples(st.one_of(polymers(), LIGANDS), st.integers(1, 3), WORDS_OF_MEN), min_size=1, max_size=4
        ),
    }
)


def built(content):
    """The Job of plain data (built outside the strategy: beartype draws random numbers, which strategies must not)."""
    names = (generated_chain_id(index) for index in range(100))
    entities = []
    for data, copies, description in content["entities"]:
        common = {"ids": tuple(next(names) for _ in range(copies)), "description": description}
        if "sequence" not in data:
            entities.append(Ligand(**common, **data))
            continue
        changes = tuple(Modification(position=position, code=code) for position, code in data["modifications"])
        templates = data["templates"]
        if templates is not None:
            templates = tuple(
                TemplateAlignment(
                    mmcif="data_x\n", query_indices=tuple(range(n)), template_indices=tuple(range(9, 9 + n))
                )
                for n in templates
            )
        entities.append(Polymer(**common, **(data | {"modifications": changes, "templates": templates})))
    proteins = [name for entity in entities if entity.kind == "protein" for name in entity.ids]
    bonds = tuple(
        JobBond(first=AtomAddress(chain=a, residue=2, atom="N"), second=AtomAddress(chain=b, residue=2, atom="N"))
        for a, b in itertools.pairwise(proteins)
    )
    return Job(name=content["name"], seeds=tuple(content["seeds"]), entities=tuple(entities), bonds=bonds)


@given(JOBS_AS_DATA)
@settings(quick, max_examples=200)
def test_a_job_written_and_read_is_the_same_job(folder, content):
    job = built(content)
    path = folder / "again.json"
    path.write_text(job_json(job), encoding="utf-8")
    assert load_jobs(path) == (job,)
    assert job_json(load_jobs(path)[0]) == job_json(job)
