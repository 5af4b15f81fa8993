"""The models: how they are fitted (`linear`, `popularity`) and the one ranking made of them (`recommend`).

Arrays in, arrays out: nothing here knows files, versions or HTTP.
"""
