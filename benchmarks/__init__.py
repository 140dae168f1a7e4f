"""Measurements behind the figures in the documentation: attrgan beside its peers, on the same rows and cells."""
