"""What every report is made of: figures, pages, overlays, definitions."""
