"""Room: models/alphafold3."""
