"""The capacity model behind `capacity.py`, and the measuring of its figures.

plan ← fleet ← model, which is arithmetic only; measuring, redis_figures and gateway_figures need servers.
"""
