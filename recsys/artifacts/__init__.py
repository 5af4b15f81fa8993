"""Model versions on disk: what one holds (`manifest`, `contents`), where they live (`store`, `marks`), how one is
loaded (`servable`).
"""
