"""HTTP: the composition root, routes, schemas, errors and pages. The only room that knows aiohttp."""
