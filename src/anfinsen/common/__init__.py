"""What every room needs: errors, strict configs, seeding, progress, device choice, whole-file writing."""
