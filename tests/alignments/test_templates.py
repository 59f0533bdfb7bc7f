"""Templates: the right structures are found, laid over the right residues, from an index that reads each file once."""

import gzip
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from made_up_families import AMINO, relative, sequence
from made_up_structures import mmcif

from anfinsen.alignments import SearchCache, SearchConfig, TemplateConfig, TemplateIndex, TemplateSearch, parse_msa
from anfinsen.alignments import template_index as index_module
from anfinsen.alignments import template_profile as profile_module
from anfinsen.alignments.template_profile import (
    aligned_rows,
    build_profile,
    hits_from_text,
    hits_text,
    search_sequences,
)
from anfinsen.chemistry import ChainKind, structure_from_bytes
from anfinsen.common.errors import AlignmentError, ConfigError, MissingExtraError, OutputError

PARENT = sequence(11, 90)
ANY = TemplateConfig(max_subsequence_ratio=1.0)  # the chain itself is a template


def mutant(seed, parent=PARENT, changed=0.3):
    """A relative without insertions and deletions."""
    return relative(random.Random(seed), parent, AMINO, changed, indels=0.0)


class Notes:
    def __init__(self):
        self.notes = []

    def stage(self, name, total):
        pass

    def advance(self, steps=1):
        pass

    def note(self, message):
        self.notes.append(message)


@pytest.fixture
def here(tmp_path):
    (tmp_path / "pdb").mkdir()
    return tmp_path


def add(here, name, *chains, **options):
    text = mmcif(dict(zip("ABCDEFG", chains, strict=False)), **options)
    path = here / "pdb" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def search(here, config=None):
    return TemplateSearch(here / "pdb", SearchCache(here / "cache"), config, SearchConfig(cpus=1))


def strangers(here, count=5):
    for number in range(count):
        add(here, f"stranger{number}.cif", sequence(500 + number, 80))


def pairs(template):
    return list(zip(template.query_indices, template.template_indices, strict=True))


# ---- what is found, and how it is laid over the chain ----


def test_a_part_of_a_chain_is_laid_over_the_residues_it_was_cut_from(here):
    strangers(here)
    add(here, "whole.cif.gz", PARENT)
    query = PARENT[20:70]
    (template,) = search(here, ANY).find(query).templates
    assert template.chain.file == "whole.cif.gz"
    assert pairs(template) == [(q, q + 20) for q in range(50)]
    assert template.identity == 1.0
    # The text is the whole chain, so that indices are those of its sequence.
    structure, _ = structure_from_bytes(template.mmcif, "template")
    assert [chain.sequence for chain in structure.chains] == [PARENT]
    at_ca = structure.atoms.name == "CA"
    np.testing.assert_allclose(structure.atoms.coordinates[at_ca][30], [-1.15, 1.992, 45.0], atol=2e-3)


def test_insertions_and_deletions_shift_the_map(here):
    strangers(here)
    assert "W" not in PARENT[27:33]
    assert len({PARENT[59], PARENT[63]}) == 2
    assert len({PARENT[60], PARENT[64]}) == 2  # else the gap could lie one place beside
    add(here, "edited.cif", f"{PARENT[:30]}WWWW{PARENT[30:60]}{PARENT[64:]}")
    expected = [(q, q) for q in range(30)] + [(q, q + 4) for q in range(30, 60)] + [(q, q) for q in range(64, 90)]
    (template,) = search(here, ANY).find(PARENT).templates
    assert pairs(template) == expected
    # The same with the profile of an alignment whose rows have insertions and gaps of their own.
    rows = [mutant(seed, changed=0.2) for seed in range(6)]
    rows = [row[:12] + "gg" + row[12:40] + "---" + row[43:] for row in rows[:3]] + [
        row[:77] + "wyw" + row[77:] for row in rows[3:]
    ]
    text = "".join(f">r\n{row}\n" for row in [PARENT, *rows])
    msa = parse_msa(text, PARENT, ChainKind.PROTEIN, "MSA")
    (template,) = search(here, ANY).find(PARENT, msa).templates
    assert pairs(template) == expected


def test_the_alignment_finds_what_the_sequence_alone_does_not(here):
    rng = random.Random(4)
    family = [relative(rng, PARENT, AMINO, 0.55, indels=0.0) for _ in range(30)]
    # As far from the parent as the family can be: none of its residues is the parent's.
    far = "".join(
        next(letter for letter in column if letter != own)
        for own, column in zip(PARENT, (rng.sample([row[k] for row in family], 30) for k in range(90)), strict=True)
    )
    strangers(here, 30)
    add(here, "far.cif", far)
    assert search(here).find(PARENT).templates == ()
    msa = parse_msa("".join(f">r\n{row}\n" for row in [PARENT, *family]), PARENT, ChainKind.PROTEIN, "MSA")
    (template,) = search(here).find(PARENT, msa).templates
    assert template.chain.file == "far.cif"
    assert template.identity == 0.0


def test_missing_residues_keep_their_place(here):
    add(here, "gap.cif", PARENT, missing=range(40, 50))
    (template,) = search(here, ANY).find(PARENT).templates
    assert pairs(template) == [(k, k) for k in range(90)]
    structure, _ = structure_from_bytes(template.mmcif, "template")
    resolved = np.zeros(90, dtype=bool)
    resolved[structure.atoms.residue[structure.atoms.resolved]] = True
    assert np.flatnonzero(~resolved).tolist() == list(range(40, 50))


# ---- what is refused ----


def test_refusals_of_alphafold_3(here):
    query = PARENT
    for name, letters, missing in (
        ("itself.cif", query, ()),
        ("most.cif", query[:86], ()),  # 95.6 % of it, letter by letter
        ("part.cif", query[:85], ()),  # 94.4 %: used
        ("changed.cif", f"{query[:40]}W{query[41:]}", ()),  # the whole chain but one letter: used
        ("unseen.cif", mutant(3), range(90)),
        ("hidden.cif", f"{sequence(77, 60)}{mutant(5, changed=0.1)}", range(60, 150)),  # seen only elsewhere
        ("short.cif", query[30:38], ()),  # 8 of 90: not even searched
    ):
        add(here, name, letters, missing=missing)
    assert query[40] != "W"
    found = search(here).find(query)
    assert [template.chain.file for template in found.templates] == ["changed.cif", "part.cif"]
    assert found.refused == {
        "identical to the chain": 2,
        "without coordinates where they are laid over the chain": 1,
    }
    assert found.hits == 5
    assert search(here, TemplateConfig(max_templates=1)).find(query).templates == found.templates[:1]
    assert search(here, TemplateConfig(max_templates=0)).find(query).templates == ()
    strict = TemplateConfig(min_align_ratio=0.95, min_hit_length=88)
    assert [each.chain.file for each in search(here, strict).find(query).templates] == ["changed.cif"]


def test_equal_templates_count_once_and_the_best_resolved_is_taken(here):
    twin = mutant(1)
    add(here, "a_gaps.cif", twin, missing=range(10, 20))
    add(here, "b_whole.cif", twin, twin)
    add(here, "c_longer.cif", twin + sequence(9, 30))  # another sequence, the same part of it
    found = search(here).find(PARENT)
    assert [(each.chain.file, each.chain.chain_id) for each in found.templates] == [("b_whole.cif", "A")]
    assert found.refused == {"equal to a better one": 1}


def test_templates_after_the_date_are_not_used(here):
    days = ["2001-01-01", "2005-06-30", "2005-07-01", ""]
    for number, day in enumerate(days):
        add(here, f"{number}.cif", mutant(number), released=day)

    def used(latest):
        found = search(here, TemplateConfig(latest=latest)).find(PARENT)
        return sorted(each.chain.file for each in found.templates), found.refused

    assert used(None) == (["0.cif", "1.cif", "2.cif", "3.cif"], {})
    undated = {"without a release date": 1}
    assert used(date(2005, 6, 30)) == (["0.cif", "1.cif"], {"released after the date": 1, **undated})
    assert used(date(2005, 7, 1)) == (["0.cif", "1.cif", "2.cif"], undated)
    assert used(date(2000, 12, 31))[0] == []
    # Of equal chains the older one serves.
    add(here, "older.cif", mutant(2), released="1999-01-01", missing=range(5))
    found, _ = used(date(2000, 12, 31))
    assert found == ["older.cif"]


def test_chance_gives_no_templates_in_a_small_folder(here):
    strangers(here, 40)
    for seed in range(5):
        assert search(here).find(sequence(900 + seed, 90)).templates == ()


def test_only_protein_chains_and_modified_residues_as_their_parents(here):
    text = mmcif({"A": PARENT}).replace("MET", "MSE")
    assert "MSE" in text
    (here / "pdb" / "x.cif").write_text(text)
    state = TemplateIndex(here / "pdb", here).refresh()
    assert (state.chains, state.broken) == (1, ())
    (template,) = search(here, ANY).find(PARENT).templates
    assert template.identity == 1.0
    assert "MSE" in template.mmcif


# ---- the same as HMMER's own programs ----


def needs(program):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} (Debian: apt-get install hmmer)")


@pytest.fixture(scope="module")
def family():
    rng = random.Random(8)
    msa_rows = [relative(rng, PARENT, AMINO, 0.4, indels=0.0) for _ in range(25)]
    msa_rows = [row[:50] + "acd" + row[50:70] + "--" + row[72:] if k % 3 else row for k, row in enumerate(msa_rows)]
    text = "".join(f">r\n{row}\n" for row in [PARENT, *msa_rows])
    msa = parse_msa(text, PARENT, ChainKind.PROTEIN, "MSA")
    members = [relative(rng, PARENT, AMINO, rng.uniform(0.3, 0.7), indels=0.03) for _ in range(20)]
    doubled = [members[0] + sequence(6, 40) + members[1]]
    others = ["".join(rng.choices(AMINO, k=rng.randint(40, 200))) for _ in range(150)]
    return msa, sorted({*members, *doubled, *others})


def test_same_hits_as_hmmsearch(family, tmp_path):
    needs("hmmsearch")
    msa, sequences = family
    profile = build_profile(PARENT, msa)
    with (tmp_path / "profile.hmm").open("wb") as file:
        profile.write(file)
    (tmp_path / "db.fasta").write_text("".join(f">{n}\n{letters}\n" for n, letters in enumerate(sequences)))
    limits = [word for name in ("-E", "--incE", "--domE", "--incdomE") for word in (name, "10")]
    limits += [word for name in ("--F1", "--F2", "--F3") for word in (name, "0.1")]
    files = ["--domtblout", tmp_path / "table", "-o", "/dev/null", tmp_path / "profile.hmm", tmp_path / "db.fasta"]
    subprocess.run(["hmmsearch", "--cpu", "0", *limits, *files], check=True)
    lines = [line.split() for line in (tmp_path / "table").read_text().splitlines() if not line.startswith("#")]
    # hmmsearch: name, i-Evalue, score, first and last column of the profile, first and last residue.
    theirs = {(int(w[0]), *map(int, (w[15], w[16], w[17], w[18]))): (float(w[12]), float(w[13])) for w in lines}
    hits = search_sequences(profile, sequences, 10.0, 0.1, 1)
    ours = {
        (
            sequences.index(hit.sequence),
            hit.pairs[0][0] + 1,
            hit.pairs[-1][0] + 1,
            hit.pairs[0][1] + 1,
            hit.pairs[-1][1] + 1,
        ): (hit.e_value, hit.score)
        for hit in hits
    }
    assert len(hits) > 22
    assert ours.keys() == theirs.keys()
    for key, (e_value, score) in theirs.items():
        assert ours[key][0] == pytest.approx(e_value, rel=0.06)  # two digits in the table
        assert ours[key][1] == pytest.approx(score, abs=0.051)


def test_same_profile_as_hmmbuild(family, tmp_path):
    needs("hmmbuild")
    msa, _ = family
    rows, reference = aligned_rows(msa)
    assert reference.count("x") == 90
    assert all(row.replace("-", "") for row in rows)
    lines = ["# STOCKHOLM 1.0", *(f"row{k} {row}" for k, row in enumerate(rows)), f"#=GC RF {reference}", "//", ""]
    (tmp_path / "query.sto").write_text("\n".join(lines))
    command = ["hmmbuild", "--amino", "--hand", "-n", "query", tmp_path / "theirs", tmp_path / "query.sto"]
    subprocess.run(command, check=True, capture_output=True)
    with (tmp_path / "ours").open("wb") as file:
        build_profile(PARENT, msa).write(file)

    def numbers(name):
        text = (tmp_path / name).read_text().split("\nHMM ")[1]
        return [word for word in text.split() if word.replace(".", "").isdigit()]

    assert len(numbers("ours")) > 90 * 40
    assert numbers("ours") == numbers("theirs")


def test_blocks_threads_and_the_cache_change_nothing(family, monkeypatch):
    msa, sequences = family
    profile = build_profile(PARENT, msa)
    whole = search_sequences(profile, sequences, 10.0, 0.1, 1)
    assert hits_from_text(hits_text(whole)) == whole
    monkeypatch.setattr(profile_module, "_BLOCK_RESIDUES", 700)
    assert search_sequences(profile, sequences, 10.0, 0.1, 3) == whole
    assert search_sequences(profile, [], 10.0, 0.1, 1) == []


# ---- the index ----


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are read for the index."""
    names, original = [], index_module.read_protein_chains

    def counted(path):
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(index_module, "read_protein_chains", counted)
    return names


def test_only_new_and_changed_files_are_read(here, reads):
    for name in ("a.cif", "sub/b.cif.gz", "c.mmcif"):
        add(here, name, mutant(len(name)))
    (here / "pdb" / "notes.txt").write_text("no structure")
    (here / "pdb" / ".hidden.cif").write_text("no structure")
    state = TemplateIndex(here / "pdb", here).refresh()
    assert sorted(reads) == ["a.cif", "b.cif.gz", "c.mmcif"]
    assert (state.files, state.chains, state.read, state.broken) == (3, 3, 3, ())
    reads.clear()
    assert TemplateIndex(here / "pdb", here).refresh().read == 0
    assert reads == []
    add(here, "a.cif", PARENT, PARENT[:50])  # changed
    add(here, "d.cif", PARENT[5:])  # new
    (here / "pdb" / "c.mmcif").unlink()  # gone
    os.utime(here / "pdb" / "sub" / "b.cif.gz", ns=(1, 1))  # touched
    index = TemplateIndex(here / "pdb", here)
    state = index.refresh()
    assert reads == ["a.cif", "d.cif", "b.cif.gz"]
    assert (state.files, state.chains) == (3, 4)
    assert index.sequences(1, 1000) == sorted([PARENT, PARENT[:50], PARENT[5:], mutant(len("sub/b.cif.gz"))])
    assert [each.chain_id for each in index.chains(PARENT)] == ["A"]


def test_a_changed_folder_gives_new_hits_and_the_same_one_the_known(here):
    add(here, "a.cif", mutant(1))
    first = search(here).find(PARENT)
    again = search(here).find(PARENT)
    assert (first.cached, again.cached) == (False, True)
    assert again.templates == first.templates
    add(here, "b.cif", mutant(2))
    third = search(here).find(PARENT)
    assert not third.cached
    assert len(third.templates) == 2


AT_ONCE = """
import sys
from pathlib import Path
from anfinsen.alignments import TemplateIndex
from anfinsen.alignments import template_index as module
original = module.read_protein_chains
def counted(path):
    with open(sys.argv[3], "a") as log:
        log.write(path.name + "\\n")
    return original(path)
module.read_protein_chains = counted
print("ready", flush=True)
sys.stdin.readline()
state = TemplateIndex(Path(sys.argv[1]), Path(sys.argv[2])).refresh()
print(state.files, state.chains, state.read, len(state.broken))
"""


def test_two_processes_read_each_file_once_between_them(here):
    for number in range(60):
        add(here, f"{number}.cif", sequence(number, 40))
    (here / "pdb" / "broken.cif").write_text("data_x\n")
    command = [sys.executable, "-c", AT_ONCE, here / "pdb", here / "index", here / "log"]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [list(map(int, process.communicate(timeout=600)[0].split())) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted((here / "log").read_text().split()) == sorted(["broken.cif", *(f"{k}.cif" for k in range(60))])
    for files, chains, _, broken in answers:
        assert (files, chains, broken) == (61, 60, 1)
    assert sum(read for _, _, read, _ in answers) == 61


def test_an_interrupted_index_goes_on(here, monkeypatch):
    monkeypatch.setattr(index_module, "_BATCH", 2)
    for number in range(6):
        add(here, f"{number}.cif", sequence(number, 40))
    original, done = index_module.read_protein_chains, []

    def interrupted(path):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(path.name)
        return original(path)

    monkeypatch.setattr(index_module, "read_protein_chains", interrupted)
    with pytest.raises(KeyboardInterrupt):
        TemplateIndex(here / "pdb", here).refresh()
    done.clear()
    assert TemplateIndex(here / "pdb", here).refresh().read == 2  # two whole batches of two were kept
    assert done == ["4.cif", "5.cif"]


BROKEN = {
    "empty.cif": b"",
    "cut.cif.gz": gzip.compress(mmcif({"A": PARENT}).encode())[:-400],
    "prose.cif": b"Hello\n",
    "no_atoms.cif": b"data_x\n_entry.id x\n",
    "number.cif": mmcif({"A": PARENT}).replace("1.4784115", "nan").encode(),
    "binary.bcif": bytes(range(200, 256)) * 9,
}


def test_broken_files_are_named_and_the_others_used(here, reads):
    for name, content in BROKEN.items():
        (here / "pdb" / name).write_bytes(content)
    add(here, "good.cif", mutant(1))
    for _ in range(2):
        notes, looking = Notes(), search(here)
        looking.prepare(notes)
        (note,) = notes.notes
        assert all(name in note for name in BROKEN)
        assert "good.cif" not in note
        assert note.isprintable()
        assert [each.chain.file for each in looking.find(PARENT).templates] == ["good.cif"]
    assert len(reads) == len(BROKEN) + 1  # nor are they read again
    add(here, "empty.cif", mutant(2))  # mended
    assert len(search(here).find(PARENT).templates) == 2


def test_a_file_that_changes_under_the_search_is_passed_over(here):
    add(here, "a.cif", mutant(1))
    add(here, "b.cif", mutant(2))
    looking = search(here)
    looking.prepare()
    add(here, "a.cif", mutant(3))
    (here / "pdb" / "b.cif").unlink()
    found = looking.find(PARENT)
    assert found.templates == ()
    assert len(found.unusable) == 2
    assert any("a.cif changed" in problem for problem in found.unusable)
    assert any("b.cif" in problem for problem in found.unusable)


def test_folders_without_structures(here):
    with pytest.raises(AlignmentError, match="holds no structures"):
        search(here).find(PARENT)
    with pytest.raises(AlignmentError, match="does not exist"):
        TemplateIndex(here / "absent", here)
    add(here, "a.cif", sequence(1, 8))  # too short for any template
    assert search(here).find(PARENT).hits == 0


def test_an_index_of_another_version_is_made_anew_and_a_damaged_one_is_told(here, reads):
    add(here, "a.cif", mutant(1))
    index = TemplateIndex(here / "pdb", here)
    index.refresh()
    connection = sqlite3.connect(index.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert index.refresh().read == 1
    index.path.write_bytes(b"not a database" * 99)
    with pytest.raises(OutputError, match="delete it"):
        index.refresh()


def test_folders_have_indexes_of_their_own(here):
    add(here, "a.cif", mutant(1))
    first = TemplateIndex(here / "pdb", here)
    assert TemplateIndex(Path(os.path.relpath(here / "pdb")), here).path == first.path
    shutil.copytree(here / "pdb", here / "copy")
    assert TemplateIndex(here / "copy", here).path != first.path


def test_wrong_settings(here):
    for number in (-1, 21):
        with pytest.raises(ConfigError, match="'max_templates'"):
            TemplateConfig(max_templates=number)


def test_without_pyhmmer(here, monkeypatch):
    def absent(name):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)

    monkeypatch.setattr("anfinsen.alignments.template_search.version", absent)
    with pytest.raises(MissingExtraError, match=r"anfinsen\[search\]"):
        search(here)


def test_real_entries_are_cut_without_change(shared):
    """A chain cut out has the atoms and the sequence that it has in its file."""
    from anfinsen.alignments.template_files import cut_chain, read_protein_chains

    folder = shared / "data" / "structures"
    names = ("modified/1B7V.cif.gz", "modified/1SZA.cif.gz", "mixed/1A8O.cif.gz", "mixed/3JQH.cif.gz")
    for path in (folder / name for name in names):
        whole, _ = structure_from_bytes(path.read_bytes(), path.name)
        found = read_protein_chains(path)
        assert found.release_date == whole.release_date
        for chain in found.chains[:2]:
            text, letters, resolved = cut_chain(path, chain.chain_id)
            cut, _ = structure_from_bytes(text, path.name)
            place = next(k for k, each in enumerate(whole.chains) if each.chain_id == chain.chain_id)
            assert letters == chain.sequence == whole.chains[place].sequence == cut.chains[0].sequence
            mine = (whole.atom_chain == place) & whole.atoms.resolved
            np.testing.assert_array_equal(whole.atoms.coordinates[mine], cut.atoms.coordinates[cut.atoms.resolved])
            assert sum(resolved) == chain.resolved == len(np.unique(cut.atoms.residue[cut.atoms.resolved]))
            assert (
                hashlib.sha256(text.encode()).digest()
                == hashlib.sha256(cut_chain(path, chain.chain_id)[0].encode()).digest()
            )
