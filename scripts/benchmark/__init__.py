"""Measures a whole Headrace on one machine: server, worker and client processes over loopback.

Every figure stands beside a floor that is taken in the same run: the same gRPC stack with nothing behind it. Nothing in
here judges; a missed target is a word in a table.
"""
