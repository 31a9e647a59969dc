"""The wire: imageService.proto, config.fbs, and what `generate.py` makes from them.

`messages` and `service` are loaded into a private protobuf pool, so that they live beside any other package that defines
the same message names. `config_generated` is flatc's object API for the generation configuration.
"""
