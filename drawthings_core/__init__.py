"""Everything about Draw Things: tensors, configuration, the gRPC client, and a server simulator.

Knows neither ComfyUI nor torch. Pictures are numpy arrays here; `nodes` turns torch tensors into them and back.
"""
