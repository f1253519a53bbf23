"""Side-by-side measurements of weft, of the kernel's floor, and of its peers: `python -m bench`."""
