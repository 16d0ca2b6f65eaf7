"""Hyper-parameter search over Hydra overrides: many processes, one study in a folder.

space.py what is searched; study.py the shared study; trial.py one training; report.py the page.
"""
