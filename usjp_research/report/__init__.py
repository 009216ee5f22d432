"""Numbers for the eye: tables, figures, sentences, pages."""
