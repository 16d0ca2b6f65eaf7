"""Predictions in a file, whatever made them, judged against a data set: poses, boxes, masks, label maps.

names.py how a file names images and classes; files.py what it holds; pose.py, boxes.py, pixels.py the numbers
of each task; chance.py what knowing nothing about the image would reach; judge.py all of it together; page.py
the report.
"""
