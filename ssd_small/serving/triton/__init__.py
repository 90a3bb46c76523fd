"""Model repositories for NVIDIA's Triton Inference Server, and its client.

:func:`.repository.write_repository` writes one for a network; :func:`.remote.open_remote` opens a
detector whose network runs in such a server.
"""
