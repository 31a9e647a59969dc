"""A small host for this package that speaks to ComfyUI's page as ComfyUI does. For the tests only; it needs no ComfyUI.

    cd tests/browser; python -m host --page FOLDER --package FOLDER --base FOLDER [--port N]

page: an unpacked frontend. package: this checkout. base: a scratch folder, laid out like ComfyUI's base directory.

    messages.py   the websocket: events and previews to the page
    peer.py       the modules of ComfyUI that nodes reach for, in sys.modules
    package.py    the package, imported as ComfyUI imports it, and what /object_info says about its classes
    jobs.py       the queue, and how a prompt runs
    web.py        the routes
"""
