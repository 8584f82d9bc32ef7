"""Hosts: what starts, kills and weighs worker processes; a pool of workers needs no more."""
