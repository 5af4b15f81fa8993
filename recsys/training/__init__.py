"""From a data set to a published version: fit, evaluate, gate, stage. Runs in a child process or the command line.

Imports pandas and scipy inside functions; the server never loads them.
"""
