"""The project card: one page about an experiment, from its config, its data and its runs.

data.py, network.py, compute.py, evidence.py: the facts of each section; page.py: the page of them.
What none of these can know is taken from the config's `card`, and shown as not stated where it says nothing.
"""
