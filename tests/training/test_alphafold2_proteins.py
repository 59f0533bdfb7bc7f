"""Structure files that cannot be used for AlphaFold 2's training are left out, and that is told."""

import shutil

from kept_notes import Notes

from anfinsen.training.alphafold2_proteins import ProteinStore


def test_files_that_cannot_be_read_are_told_and_the_others_used(shared, tmp_path):
    folder, cache, progress = tmp_path / "structures", tmp_path / "kept.safetensors", Notes()
    folder.mkdir()
    shutil.copy(shared / "data" / "structures" / "single" / "1PIN.pdb.gz", folder)
    (folder / "junk.cif").write_bytes(b"\x00\xff" * 50)
    # One that the manifest names is not there at all.
    (folder / "manifest.csv").write_text("file,split\njunk.cif,train\n1PIN.pdb.gz,train\nnone.cif,train\n")
    store = ProteinStore(folder, cache, progress)
    assert len(store) == 1 and set(store.refused) == {"junk.cif", "none.cif"}
    (note,) = progress.said
    assert note.startswith("Structure files that are left out: 2; junk.cif for one: ") and "damaged" in note
    # When the missing file comes, all are read again.
    shutil.copy(folder / "junk.cif", folder / "none.cif")
    assert set(ProteinStore(folder, cache, progress).refused) == {"junk.cif", "none.cif"}
