"""A Draw Things server that runs anywhere: gRPCServerCLI's flags, messages and habits, without the diffusion.

cli         flags, the ready line, the control channel         certificate  the TLS certificate it makes itself
server      the six calls                                      uploads      UploadFile
jobs        one generation at a time                           generation   one generation, as a stream of messages
catalog     models, LoRAs, ... and what a file name means       inputs       what arrived, decoded as the real server does
plan        which path runs, its events, sizes and counts      latents      previews that look like the picture
painting    the picture that shows what arrived                faults       what goes wrong on request
results     encoding, chunking, audio
process     the whole thing as a child process, for tests and the demo
"""
