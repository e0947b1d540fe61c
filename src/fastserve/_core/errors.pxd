"""The errors of the core. They are Python classes; this file marks the module as one that can be cimported."""
