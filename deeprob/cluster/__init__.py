"""Jobs on a cluster: what is to run, the script that a scheduler takes, how far everything is."""
